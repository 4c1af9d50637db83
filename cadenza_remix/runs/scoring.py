"""Score enhanced signals against clean stems: one record per song and listener, from which all tables are made.

Every pair is a unit of its own with its own noise, so that its scores depend neither on the number of workers nor on
the order. Few pairs are scored by threads of this process, many by processes, each of which loads the clean stems of a
song once for all of its listeners.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from cadenza_remix.atomic import check_writable
from cadenza_remix.audio.io import audio_duration_s
from cadenza_remix.challenge.metadata import SongEntry, SongSegments
from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.challenge.scorers import check_scorer
from cadenza_remix.challenge.scores import PairScore
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.runs.memory import affordable_workers
from cadenza_remix.runs.pool import Failure, default_workers, run_units
from cadenza_remix.runs.processes import run_in_processes
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.runs.records import Record
from cadenza_remix.runs.score_job import ScoreJob, unit_name
from cadenza_remix.runs.songs import SongFile, find_references, first_file
from cadenza_remix.runs.sources import CleanStems, EntryFiles, Mixtures, ProcessedSource

_PAIRS_WORTH_A_PROCESS = 4  # a process takes about two seconds to start
_WORKER_BYTES = 400e6
_BYTES_PER_SECOND = 16e6  # of audio: HAAQI's arrays, the clean stems and the processed ones


@dataclass(frozen=True)
class ScoreReport:
    """Records of the scored pairs in the order of the pairs, how many were found done, and failures."""

    records: tuple[Record, ...]
    n_found: int
    failures: tuple[Failure, ...]

    @property
    def rows(self) -> list[PairScore]:
        """Return the rows of the challenge's ``scores.csv``."""
        return [PairScore(r.results["song"], r.results["listener"], r.results["haaqi"]) for r in self.records]


@dataclass(frozen=True)
class ScorePlan:
    """What a run of scoring comes to: the pairs in order, the records of those that are done, and the job."""

    job: ScoreJob
    pairs: tuple[Pair, ...]
    found: Mapping[Pair, Record]

    @property
    def pending(self) -> list[Pair]:
        """Return the pairs that have to be scored, in order."""
        return [pair for pair in self.pairs if pair not in self.found]

    def only(self, pairs: Iterable[Pair]) -> ScorePlan:
        """Return the plan for some of its pairs."""
        wanted = set(pairs)
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair in wanted))


def plan_scores(
    source: ProcessedSource,
    pairs: Sequence[Pair],
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    records: Path,
    segments: Mapping[str, SongSegments] | None = None,
    scorer: str = "builtin",
    noise: str = "legacy",
) -> ScorePlan:
    """Find out what is to be scored and what has been.

    Parameters
    ----------
    source : ProcessedSource
        Such as ``EntryFiles(path)``.
    pairs : sequence of Pair
    references : path
        Folder of clean stems, found by the song's name (see `find_references`).
    listeners : mapping of str to Listener
        Matched by id.
    records : Path
        Where records lie, or will.
    segments : mapping of str to SongSegments, optional
        Test mode: the references are cut to each song's objective segment.
    scorer, noise : str
        See `cadenza_remix.challenge.scorers`.

    Raises
    ------
    InputError
        Unknown listener, scorer or noise; a song without segments in test mode.
    """
    check_scorer(scorer, noise)
    for pair in pairs:
        if pair.listener not in listeners:
            raise unknown_name("listener", pair.listener, listeners)
        if segments is not None and pair.song not in segments:
            raise InputError("song has no segments", where=pair.song, expected="an entry in the segments file")
    clean = {}
    for song in dict.fromkeys(pair.song for pair in pairs):
        with suppress(InputError):  # told when it is needed, or by whoever looks for faults
            clean[song] = find_references(references, song)
    people = {listener: listeners[listener] for listener in dict.fromkeys(pair.listener for pair in pairs)}
    job = ScoreJob(source, Path(references), clean, people, segments, records, scorer, noise)
    known, _ = run_units(pairs, job.find)
    return ScorePlan(
        job, tuple(pairs), {pair: record for pair, record in zip(pairs, known, strict=True) if record is not None}
    )


def run_scores(plan: ScorePlan, *, n_workers: int | None = None, progress: Progress | None = None) -> ScoreReport:
    """Score what a plan still lacks.

    Parameters
    ----------
    plan : ScorePlan
    n_workers : int, optional
        All cores by default, or as many as memory allows (HAAQI takes about 16 MB per second of audio).

    Raises
    ------
    InputError
        A song has no references.
    OutputError
        The folder of the records cannot be written.
    """
    progress = progress or NoProgress()
    pending = plan.pending
    for song in dict.fromkeys(pair.song for pair in pending):
        if song not in plan.job.references:
            find_references(plan.job.references_folder, song)  # says what is missing
    check_writable(plan.job.records)
    progress.start("score", len(pending))

    def advance() -> None:
        progress.advance("score")

    def work(pair: Pair) -> Record:
        record = plan.job(pair)
        advance()
        return record

    n_workers = min(n_workers or default_workers(), len(pending))
    if n_workers > 1:
        n_workers = _as_memory_allows(plan.job, pending, n_workers, progress)
    is_clarity = plan.job.scorer == "clarity"  # which draws from the one generator that all threads share
    if n_workers > 1 and (is_clarity or len(pending) >= _PAIRS_WORTH_A_PROCESS * n_workers):
        made, failures = run_in_processes(
            pending, plan.job, n_workers=n_workers, group=lambda pair: pair.song, name=unit_name, on_done=advance
        )
    else:
        with threadpool_limits(1):  # as in the processes: several BLAS threads would change the last digit
            made, failures = run_units(pending, work, n_workers=n_workers, name=unit_name)
    records = {Pair(r.results["song"], r.results["listener"]): r for r in made} | dict(plan.found)
    return ScoreReport(tuple(records[pair] for pair in plan.pairs if pair in records), len(plan.found), tuple(failures))


def score_pairs(
    entry: str | Path,
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    records: Path,
    pairs: Sequence[Pair] | None = None,
    segments: Mapping[str, SongSegments] | None = None,
    scorer: str = "builtin",
    noise: str = "legacy",
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> ScoreReport:
    """Score pairs of a folder of enhanced signals or of a submission's zip file; see `plan_scores`.

    ``pairs``: only these; all that are found otherwise.
    """
    source = EntryFiles(Path(entry))
    found = found_pairs(source, listeners)
    pairs = found if pairs is None else pairs
    plan = plan_scores(
        source, pairs, references=references, listeners=listeners, records=records, segments=segments,
        scorer=scorer, noise=noise,
    )  # fmt: skip
    return run_scores(plan, n_workers=n_workers, progress=progress)


def found_pairs(source: EntryFiles, listeners: Mapping[str, Listener]) -> list[Pair]:
    """Return the pairs that lie in an entry, in the challenge's order; an InputError when there are none."""
    pairs = source.tree.pairs(listeners)
    if pairs:
        return pairs
    others = sorted({pair.listener for pair in EntryFiles(source.path).tree.pairs()}) if source.listeners else []
    if others:
        raise InputError(
            "holds nothing of these listeners", where=source.tree.where, expected=", ".join(source.listeners or ()),
            found=", ".join(others),
        )  # fmt: skip
    raise InputError(
        "holds no enhanced signals", where=source.tree.where, expected="<listener>/<song>/<listener>_<song>_*.flac"
    )


def expected_pairs(
    source: EntryFiles, listeners: Mapping[str, Listener], *, songs: Sequence[SongEntry] | None = None
) -> list[Pair]:
    """Return what an entry should hold, in the challenge's order.

    With a list of songs: each of them for each of the listeners. Without one: every song that there is for every
    listener that there is, so that a pair which was forgotten is noticed.

    Raises
    ------
    InputError
        The entry holds nothing, or nothing of these listeners.
    """
    found = found_pairs(source, listeners)
    if songs is not None:
        return make_pairs(songs, listeners)
    present = {pair.listener for pair in found}
    known = [listener for listener in listeners if listener in present]
    if not known:
        raise InputError(
            "nobody in it is among the listeners",
            where=source.tree.where,
            expected=", ".join(listeners),
            found=", ".join(sorted(present)),
        )
    return make_pairs(dict.fromkeys(pair.song for pair in found if pair.listener in known), known)


def score_mixtures(
    songs: Sequence[SongFile],
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    records: Path,
    progress: Progress | None = None,
) -> ScoreReport:
    """Score what doing nothing gives: the unprocessed mixture in place of each stem, for every song and listener."""
    source = Mixtures({song.name: song.path for song in songs})
    pairs = make_pairs([song.name for song in songs], listeners)
    plan = plan_scores(source, pairs, references=references, listeners=listeners, records=records)
    return run_scores(plan, progress=progress)


def score_clean_stems(
    songs: Sequence[SongFile],
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    records: Path,
    progress: Progress | None = None,
) -> ScoreReport:
    """Score what a perfect separation would give: the clean stems with each listener's NAL-R."""
    source = CleanStems(Path(references), listeners)
    pairs = make_pairs([song.name for song in songs], listeners)
    plan = plan_scores(source, pairs, references=references, listeners=listeners, records=records)
    return run_scores(plan, progress=progress)


def _as_memory_allows(job: ScoreJob, pending: Sequence[Pair], n_workers: int, progress: Progress) -> int:
    longest_s = 0.0
    for song in {pair.song for pair in pending}:
        if job.segments:
            longest_s = max(longest_s, job.segments[song].objective.duration_s)
            continue
        with suppress(InputError):  # whoever scores the song says what is wrong with it
            longest_s = max(longest_s, audio_duration_s(first_file(job.references[song])))
    bytes_each = _WORKER_BYTES + _BYTES_PER_SECOND * longest_s
    affordable = affordable_workers(n_workers, bytes_each)
    if affordable < n_workers:
        progress.say(
            f"{affordable} of {n_workers} workers: each needs about {bytes_each / 1e9:.1f} GB for {longest_s:.0f} s of "
            "audio, and memory is not enough for more"
        )
    return affordable

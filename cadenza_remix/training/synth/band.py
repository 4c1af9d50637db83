"""The synthetic band: a data set of songs with stems, as many hours as wanted, from a seed.

Every song depends on the settings and its number alone, so that a set can be made again, continued, and made by any
number of workers.
"""

from __future__ import annotations

import json
import math
import pickle
import queue
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from cadenza_remix.atomic import check_writable, write_json
from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.runs.processes import Worker, one_thread_each
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.training.own_folder import own_folder
from cadenza_remix.training.synth.production import BandSettings, make_song
from cadenza_remix.training.synth.samples import open_samples
from cadenza_remix.training.synth.song import random_plan
from cadenza_remix.training.synth.soundfont import check_soundfont, soundfont_digest
from cadenza_remix.training.synth.voice import available_engines
from cadenza_remix.training.synth.writing import is_whole, remove_dead_parts, write_song

VERSION = 1
"""Counts the versions of the band: another one makes other songs from the same seed."""
SHORTEST_SONG_S, LONGEST_SONG_S = 5.0, 1200.0
_STAGE = "songs"
#: Where more of the songs are for testing, none are left for validation.
_LARGEST_VALID_SHARE = 0.34
#: Five tracks of two channels in 16 bits at 44.1 kHz.
_BYTES_PER_S = 5 * 2 * 2 * 44_100


@dataclass(frozen=True)
class SynthReport:
    """What a call of `synthesise_songs` did.

    Parameters
    ----------
    out : Path
        Folder of the data set.
    n_songs, n_made : int
        Songs that the set has now, and how many of them this call made.
    duration_s : float
        Of all songs together.
    n_train, n_valid, n_test : int
        Songs of each split.
    """

    out: Path
    n_songs: int
    n_made: int
    duration_s: float
    n_train: int
    n_valid: int
    n_test: int


@dataclass(frozen=True)
class _Job:
    number: int
    split: str
    folder: Path
    settings: BandSettings
    duration_s: float


def synthesise_songs(
    out: str | Path,
    *,
    hours: float,
    seed: int,
    soundfont: str | Path | None = None,
    samples: str | Path | None = None,
    engines: tuple[str, ...] | None = None,
    n_workers: int = 2,
    song_length_s: tuple[float, float] = (60.0, 150.0),
    test_share: float = 0.1,
    progress: Progress | None = None,
) -> SynthReport:
    """Make songs whose stems add up to the mixture, in MUSDB18-HQ's layout: ``<out>/{train,test}/<song>/<stem>.wav``.

    Songs that are there whole are not made again, so that a call that was stopped goes on, one with more hours adds
    songs, and one with fewer takes none away. ``<out>/dataset.json`` holds the settings, ``song.json`` beside each song
    its tempo, key, form and sounds.

    Parameters
    ----------
    out : path
        Folder of the data set; made as needed.
    hours : float
        At least so much music; the last song is whole.
    seed : int
        0 or more. Another seed gives other songs.
    soundfont : path, optional
        A SoundFont whose instruments play beside our own (needs the program fluidsynth).
    samples : path, optional
        A folder of one-shot samples for drums and bass, named as `samples` says.
    engines : tuple of str, optional
        Kinds of voice; all that are at hand by default.
    n_workers : int
        Processes; 1 makes the songs in this one. The songs do not depend on it.
    song_length_s : pair of float
        Shortest and longest song, in seconds.
    test_share : float
        Share of the songs that go to ``test``, from 0 to below 1; up to a third, as many are for validation, which
        lie in ``train`` and are listed in ``metadata/musdb18.valid.json``, as the challenge has it.
    progress : Progress, optional
        Told of every finished song, in seconds of music.

    Raises
    ------
    InputError
        Senseless settings; a folder that holds songs made with others, or in which another process works.
    MissingDependencyError
        A SoundFont without fluidsynth or mido; a voice engine that is not installed.
    OutputError
        Nothing can be written there, or there is not enough space.
    WorkerLostError
        A worker was killed from outside.
    """
    out = Path(out)
    _check_numbers(hours, seed, n_workers, song_length_s, test_share)
    settings = BandSettings(
        seed=seed,
        song_length_s=(float(song_length_s[0]), float(song_length_s[1])),
        engines=tuple(engines) if engines is not None else available_engines(),
        soundfont=None if soundfont is None else Path(soundfont).resolve(),
        samples=None if samples is None else Path(samples).resolve(),
    )
    facts = _dataset_facts(settings, test_share)
    if out.exists() and not out.is_dir():
        raise InputError("is a file", where=out, expected="a folder for the songs")
    check_writable(out)
    tell = progress or NoProgress()
    with own_folder(out, tell=tell.say):
        return _fill(out, hours, settings, facts, test_share, n_workers, tell)


def _fill(
    out: Path,
    hours: float,
    settings: BandSettings,
    facts: dict[str, Any],
    test_share: float,
    n_workers: int,
    progress: Progress,
) -> SynthReport:
    """Make the songs that are missing."""
    _check_disk(out, hours * 3600, shutil.disk_usage(out).total)  # before they are planned one by one
    _claim(out, facts)
    remove_dead_parts(out)
    jobs = _plan_jobs(out, settings, hours, test_share)
    missing = [job for job in jobs if not is_whole(job.folder)]
    duration_s, missing_s = (sum(job.duration_s for job in some) for some in (jobs, missing))
    _check_disk(out, missing_s, shutil.disk_usage(out).free)
    progress.start(_STAGE, duration_s)
    progress.advance(_STAGE, duration_s - missing_s)
    _write_lists(out, jobs)
    try:
        for job in _done(missing, n_workers):
            progress.advance(_STAGE, job.duration_s)
    finally:
        remove_dead_parts(out)
    counts = Counter(job.split for job in jobs)
    return SynthReport(out, len(jobs), len(missing), duration_s, counts["train"], counts["valid"], counts["test"])


def _check_disk(out: Path, seconds: float, n_bytes: int) -> None:
    """Refuse what cannot be kept; a disk that does not tell its size (0) is believed."""
    needed = seconds * _BYTES_PER_S
    if 0 < n_bytes < needed:
        found = f"{n_bytes / 1e9:,.1f} GB"
        raise OutputError(f"{out}: not enough space for the songs: expected {needed / 1e9:,.1f} GB, found {found}")


def _check_numbers(
    hours: float, seed: int, n_workers: int, song_length_s: tuple[float, float], test_share: float
) -> None:
    if not (math.isfinite(hours) and hours > 0):
        raise InputError("not a duration", where="hours", expected="more than 0", found=hours)
    if seed < 0:
        raise InputError("not a seed", where="seed", expected="0 or more", found=seed)
    if n_workers < 1:
        raise InputError("not a number of workers", where="workers", expected="1 or more", found=n_workers)
    shortest, longest = song_length_s
    if not SHORTEST_SONG_S <= shortest <= longest <= LONGEST_SONG_S:
        expected = f"shortest and longest between {SHORTEST_SONG_S:g} and {LONGEST_SONG_S:g} s"
        raise InputError("not a range of durations", where="song length", expected=expected, found=song_length_s)
    if not 0 <= test_share < 1:
        raise InputError("not a share", where="test share", expected="0 to below 1", found=test_share)


def _dataset_facts(settings: BandSettings, test_share: float) -> dict[str, Any]:
    """Return what the songs depend on; also checks that SoundFont and samples can be used."""
    facts: dict[str, Any] = {
        "made_by": "cadenza-remix synthetic band",
        "version": VERSION,
        "seed": settings.seed,
        "song_length_s": list(settings.song_length_s),
        "test_share": test_share,
        "voice_engines": list(settings.engines),
        "soundfont": None,
        "samples": None,
    }
    if settings.soundfont is not None:
        check_soundfont(settings.soundfont)
        facts["soundfont"] = {"name": settings.soundfont.name, "sha256": soundfont_digest(settings.soundfont)}
    if settings.samples is not None:
        folder = open_samples(settings.samples)
        facts["samples"] = {"n_files": len(folder.names), "sha256": folder.digest}
    return facts


def _claim(out: Path, facts: dict[str, Any]) -> None:
    """Write ``dataset.json``, or make sure that the one that is there has the same settings."""
    path = out / "dataset.json"
    if not path.exists():
        write_json(path, facts)
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("cannot be read", where=path, expected="what an earlier call wrote", found=error) from error
    differing = [key for key in facts if not isinstance(before, dict) or before.get(key) != facts[key]]
    if differing:
        key = differing[0]
        found = before.get(key) if isinstance(before, dict) else before
        raise InputError(
            f"songs here were made with another {key}",
            where=out,
            expected=json.dumps(facts[key]),
            found=json.dumps(found),
        )


def _plan_jobs(out: Path, settings: BandSettings, hours: float, test_share: float) -> list[_Job]:
    """Return all songs of the set; a longer set begins with the songs of a shorter one, and is never made shorter."""
    jobs: list[_Job] = []
    total_s = 0.0
    while True:
        number = len(jobs)
        split = _split_of(number, test_share)
        folder = out / ("test" if split == "test" else "train") / f"band_{number:05d}"
        if total_s >= hours * 3600 and not is_whole(folder):
            return jobs
        plan = random_plan(np.random.default_rng([settings.seed, number, 0]), song_length_s=settings.song_length_s)
        jobs.append(_Job(number, split, folder, settings, plan.duration_s))
        total_s += plan.duration_s


def _split_of(number: int, share: float) -> str:
    """Return a song's split: of every 1 / share songs the last one is for testing, and one halfway for validation."""

    def falls(offset: int) -> bool:
        return math.floor((number + offset + 1) * share + 1e-9) > math.floor((number + offset) * share + 1e-9)

    if falls(0):
        return "test"
    return "valid" if share <= _LARGEST_VALID_SHARE and falls(round(0.5 / share) if share else 0) else "train"


def _write_lists(out: Path, jobs: list[_Job]) -> None:
    """Write the lists of songs as the challenge has them: validation songs lie in the folder ``train``, too.

    A split without songs has no list: an empty one is none that the challenge knows.
    """
    for split in ("train", "valid", "test"):
        songs = [
            {"Track Name": job.folder.name, "Genre": "", "Source": "synthetic band", "License": "", "Split": split}
            for job in jobs
            if job.split == split
        ]
        path = out / "metadata" / f"musdb18.{split}.json"
        if songs:
            write_json(path, songs)
        else:
            path.unlink(missing_ok=True)


def _done(jobs: list[_Job], n_workers: int) -> Iterator[_Job]:
    """Make songs, several at a time; yield each when it is there."""
    if n_workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield _make(job)
        return
    waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    made: queue.SimpleQueue[_Job | BaseException] = queue.SimpleQueue()

    def drive(worker: Worker) -> None:
        try:
            while True:
                made.put(cast("_Job", worker.do(waiting.get_nowait())))
        except queue.Empty:
            return
        except BaseException as error:
            made.put(error)

    # Started by this thread, since they are bound to its life: however it ends, they end, too.
    workers = [Worker(pickle.dumps(_make), environment=one_thread_each(), is_bound=True) for _ in jobs[:n_workers]]
    threads = [threading.Thread(target=drive, args=(worker,), name="songs", daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            done = made.get()
            if isinstance(done, BaseException):
                raise done
            yield done
    finally:
        for worker in workers:
            worker.kill()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.close()


def _make(job: _Job) -> _Job:
    song = make_song(job.number, job.settings)
    write_song(job.folder, song.stems, song.facts)
    return job

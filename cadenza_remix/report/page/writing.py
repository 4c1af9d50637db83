"""From finished runs to the file: gather, measure, draw, write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cadenza_remix.atomic import write_text
from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.report.measures import measure_pairs
from cadenza_remix.report.page.comparison_section import comparison_section
from cadenza_remix.report.page.contents import N_MEASURED, Contents, gather
from cadenza_remix.report.page.document import Section, document
from cadenza_remix.report.page.listeners_section import Measures, listeners_section
from cadenza_remix.report.page.markup import counted
from cadenza_remix.report.page.overview import overview
from cadenza_remix.report.page.pairs_section import pairs_section
from cadenza_remix.report.page.scores_section import scores_section
from cadenza_remix.report.page.sound_section import sound_section
from cadenza_remix.report.page.summary import summary
from cadenza_remix.report.page.time_section import time_section
from cadenza_remix.runs.finished import FinishedRun
from cadenza_remix.runs.progress import NoProgress, Progress


def write_report(
    runs: Sequence[FinishedRun],
    path: str | Path,
    *,
    against: str | None = None,
    songs: Sequence[SongEntry] | None = None,
    audio: bool = False,
    n_measured: int = N_MEASURED,
    progress: Progress | None = None,
) -> int:
    """Write a report of runs as one HTML file, whole or not at all, and return its size in bytes.

    Parameters
    ----------
    runs : sequence of FinishedRun
        As `cadenza_remix.runs.finished.find_runs` gives them; names are unique.
    path : path
        The file; its folder is made as needed.
    against : str, optional
        Name of the run that the others are compared with; the first one with enhanced signals by default.
    songs : sequence of SongEntry, optional
        For genres.
    audio : bool
        Embed clips of the best and worst pairs.
    n_measured : int
        How many pairs of each run are measured as sound, at most; best and worst ones among them.
    progress : Progress, optional
        Told of the stages ``statistics``, ``measure`` and ``pairs``.

    Raises
    ------
    InputError
        See `cadenza_remix.report.page.contents.gather`. Files that are missing or damaged are no error: the page says
        so in their place.
    OutputError
        The file cannot be written.
    """
    progress = progress or NoProgress()
    contents = gather(runs, against=against, songs=songs, n_measured=n_measured, progress=progress)
    measures = {
        run.name: measure_pairs(run, contents.measured[run.name], progress=progress) for run in contents.systems
    }
    names = " · ".join(run.name for run in contents.runs)
    n_songs = len({song for run in runs for song in run.songs})
    counts = [(len(runs), "run"), (n_songs, "song"), (len(contents.listeners), "listener")]
    subtitle = ", ".join(counted(count, what) for count, what in counts)
    title = f"Cadenza remix: {names}"
    text = document(title, subtitle, _sections(contents, measures, audio=audio, progress=progress))
    write_text(path, text)
    return len(text.encode())


def _sections(contents: Contents, measures: Measures, *, audio: bool, progress: Progress) -> list[Section]:
    n_measured = sum(map(len, measures.values()))
    n_enhanced = sum(len(run.enhanced) for run in contents.systems)
    of_all = f"{n_measured} of {n_enhanced} pairs were measured." if n_measured else ""
    return [
        Section("summary", "In short", "The numbers to begin with, and what to bear in mind.", summary(contents)),
        Section("runs", "What was run", "Chains, separators, how much, and which records.", overview(contents)),
        Section("scores", "Scores", "HAAQI, SNR and SDR, with intervals.", scores_section(contents)),
        Section(
            "comparison",
            "Side by side",
            f"Paired differences, against {contents.against}." if contents.comparisons else "Paired differences.",
            comparison_section(contents),
        ),
        Section(
            "listeners",
            "Listeners",
            "Audiograms, and the gains prescribed and achieved for each ear.",
            listeners_section(contents, measures),
        ),
        Section(
            "pairs",
            "Best and worst pairs",
            "The songs and listeners at both ends of mean HAAQI, looked at closely.",
            pairs_section(contents, audio=audio, progress=progress),
        ),
        Section(
            "sound",
            "Sound",
            f"Loudness, peaks, clipping and spectrum before and after. {of_all}".strip(),
            sound_section(contents, measures),
        ),
        Section("time", "Time and memory", "What each stage took, where that was noted.", time_section(contents)),
    ]

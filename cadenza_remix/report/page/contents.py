"""What a report tells of, gathered once: scores, their means and differences, and which pairs are looked at closely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.severity import better_ear_average
from cadenza_remix.report.comparison import Comparison, compare
from cadenza_remix.report.statistics import NO_GENRE, summarise
from cadenza_remix.report.tidy import tidy_frame
from cadenza_remix.runs.finished import UNPROCESSED, UPPER_BOUND, FinishedRun
from cadenza_remix.runs.progress import NoProgress, Progress

if TYPE_CHECKING:
    import pandas as pd

N_EXTREMES = 2
"""Pairs of each run that are shown as its best, and as its worst."""

N_MEASURED = 24
"""Pairs of each run that are measured as sound, unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What the score records of a run say.

    ``tidy``: a row for each value; ``summary``: means as `cadenza_remix.report.statistics.summarise` gives them;
    ``means``: mean HAAQI of each pair.
    """

    tidy: pd.DataFrame
    summary: pd.DataFrame
    means: Mapping[Pair, float]

    def mean(self, metric: str, factor: str, level: str) -> Mapping[Any, Any] | None:
        """Return a row of the summary, None where there is no such group or no value in it."""
        return group_row(self.summary, metric, factor, level)


def group_row(table: pd.DataFrame, metric: str, factor: str, level: str) -> Mapping[Any, Any] | None:
    """Return the row of a group in a table of means or of differences, None where it holds no value."""
    chosen = table[(table["metric"] == metric) & (table["factor"] == factor) & (table["level"] == level)]
    return chosen.iloc[0].to_dict() if len(chosen) and chosen.iloc[0]["n_values"] else None


@dataclass(frozen=True, eq=False)
class Contents:
    """Everything that the sections draw on.

    Parameters
    ----------
    runs : tuple of FinishedRun
        Names are unique.
    listeners : mapping of str to Listener
        Of all runs; from the least hearing loss of the better ear to the greatest.
    scores : mapping of str to Scores
        By run; runs that were not scored are not there.
    against : str or None
        The run that the others are compared with.
    comparisons : mapping of str to Comparison
        By the other run; runs that share no pair with it are not there.
    extremes : mapping of str to (best, worst)
        Pairs with the highest and the lowest mean HAAQI of each scored run that has enhanced signals.
    measured : mapping of str to tuple of Pair
        Pairs of each run with enhanced signals that are measured as sound.
    notes : tuple of str
        What could not be done, for the reader.
    """

    runs: tuple[FinishedRun, ...]
    listeners: Mapping[str, Listener]
    scores: Mapping[str, Scores]
    against: str | None
    comparisons: Mapping[str, Comparison]
    extremes: Mapping[str, tuple[tuple[Pair, ...], tuple[Pair, ...]]]
    measured: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...] = field(default=())

    @property
    def systems(self) -> tuple[FinishedRun, ...]:
        """The runs that have enhanced signals."""
        return tuple(run for run in self.runs if run.enhanced)

    @property
    def others(self) -> tuple[str, ...]:
        """The runs that are compared with ``against``."""
        return tuple(self.comparisons)


def gather(
    runs: Sequence[FinishedRun],
    *,
    against: str | None = None,
    songs: Sequence[SongEntry] | None = None,
    n_measured: int = N_MEASURED,
    progress: Progress | None = None,
) -> Contents:
    """Read the scores of runs, and reckon means, differences and which pairs to look at.

    Parameters
    ----------
    runs : sequence of FinishedRun
    against : str, optional
        Name of the run that the others are compared with; the first one with enhanced signals by default.
    songs : sequence of SongEntry, optional
        For genres; songs that it lacks are of no genre.
    n_measured : int
        How many pairs of each run are measured as sound, at most.

    Raises
    ------
    InputError
        No run; two of one name; ``against`` is none of them; a person has different audiograms in two runs.
    """
    progress = progress or NoProgress()
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not runs or twice is not None:
        raise InputError("two runs of one name", expected="NAME=PATH to name one", found=twice or "no run at all")
    if against is not None and against not in names:
        raise unknown_name("run", against, names, where="--against")
    listeners = _listeners(runs)
    progress.start("statistics", len(runs))
    scores: dict[str, Scores] = {}
    for run in runs:
        if run.scored:
            scores[run.name] = _scores(run, listeners, songs)
        progress.advance("statistics")
    against = against or _first_system(runs, scores)
    comparisons, notes = _comparisons(scores, against, listeners, songs, progress)
    extremes = {run.name: _extremes(scores[run.name]) for run in runs if run.enhanced and run.name in scores}
    measured = {run.name: _spread(run, extremes.get(run.name), n_measured) for run in runs if run.enhanced}
    return Contents(tuple(runs), listeners, scores, against, comparisons, extremes, measured, tuple(notes))


def _listeners(runs: Sequence[FinishedRun]) -> dict[str, Listener]:
    found: dict[str, tuple[Listener, str]] = {}
    for run in runs:
        for name, listener in run.listeners.items():
            known, where = found.setdefault(name, (listener, run.name))
            same = all(
                np.array_equal(known.ear(ear).frequencies_hz, listener.ear(ear).frequencies_hz)
                and np.array_equal(known.ear(ear).levels_db_hl, listener.ear(ear).levels_db_hl)
                for ear in ("left", "right")
            )
            if not same:
                raise InputError(
                    f"{name} has other audiograms than in {where}",
                    where=run.name,
                    expected="one person of one name in all runs",
                )
    people = sorted((listener for listener, _ in found.values()), key=lambda one: (better_ear_average(one), one.id))
    return {listener.id: listener for listener in people}


def _scores(run: FinishedRun, listeners: Mapping[str, Listener], songs: Sequence[SongEntry] | None) -> Scores:
    try:
        tidy = tidy_frame([record.results for record in run.scored.values()])
    except InputError as error:
        raise InputError(str(error), where=run.name) from error
    summary = summarise(tidy, listeners=listeners, songs=_entries(run, songs))
    haaqi = tidy[tidy["metric"] == "haaqi"]
    means = haaqi.groupby(["song", "listener"], sort=True)["value"].mean()
    names = zip(means.index.get_level_values("song"), means.index.get_level_values("listener"), strict=True)
    pairs = {Pair(*name): float(value) for name, value in zip(names, means, strict=True)}
    return Scores(tidy, summary, pairs)


def _entries(run: FinishedRun, songs: Sequence[SongEntry] | None) -> list[SongEntry] | None:
    """Return an entry for every song of a run, those that the list lacks without a genre."""
    if songs is None:
        return None
    known = {song.name: song for song in songs}
    return [known.get(name) or SongEntry(name, "test", NO_GENRE) for name in run.songs]


def _first_system(runs: Sequence[FinishedRun], scores: Mapping[str, Scores]) -> str | None:
    scored = [run for run in runs if run.name in scores]
    ends = {UNPROCESSED, UPPER_BOUND}
    ranked = sorted(scored, key=lambda run: (not run.enhanced, run.name.rpartition("/")[2] in ends))
    return ranked[0].name if ranked else None


def _comparisons(
    scores: Mapping[str, Scores],
    against: str | None,
    listeners: Mapping[str, Listener],
    songs: Sequence[SongEntry] | None,
    progress: Progress,
) -> tuple[dict[str, Comparison], list[str]]:
    found: dict[str, Comparison] = {}
    notes: list[str] = []
    if against is not None and against not in scores:
        return found, [f"{against} was not scored: nothing is compared with it."]
    others = [name for name in scores if name != against]
    progress.start("statistics", len(others))
    for name in others:
        assert against is not None
        try:
            entries = _entries_of(scores[name], songs)
            found[name] = compare(scores[name].tidy, scores[against].tidy, listeners=listeners, songs=entries)
        except InputError as error:
            notes.append(f"{name} and {against} are not compared: {error}.")
        progress.advance("statistics")
    return found, notes


def _entries_of(scores: Scores, songs: Sequence[SongEntry] | None) -> list[SongEntry] | None:
    if songs is None:
        return None
    known = {song.name: song for song in songs}
    names = scores.tidy["song"].unique()
    return [known.get(str(name)) or SongEntry(str(name), "test", NO_GENRE) for name in names]


def _extremes(scores: Scores) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Return the best and the worst pairs, no pair in both; pairs without a defined value are neither."""
    ranked = sorted((pair for pair, mean in scores.means.items() if mean == mean), key=lambda p: (-scores.means[p], p))
    n_best = min(N_EXTREMES, (len(ranked) + 1) // 2)
    n_worst = min(N_EXTREMES, len(ranked) - n_best)
    return tuple(ranked[:n_best]), tuple(reversed(ranked[len(ranked) - n_worst :])) if n_worst else ()


def _spread(
    run: FinishedRun, extremes: tuple[tuple[Pair, ...], tuple[Pair, ...]] | None, n_measured: int
) -> tuple[Pair, ...]:
    """Return pairs to measure: the best, the worst, and others at equal distances in the run's order.

    The others are the same in every run of the same songs and listeners, which makes runs comparable.
    """
    pairs = [pair for pair in run.pairs if pair in run.enhanced]
    if len(pairs) <= n_measured:
        return tuple(pairs)
    wanted = [pair for part in extremes or () for pair in part if pair in run.enhanced][: n_measured // 2]
    places = np.unique(np.linspace(0, len(pairs) - 1, max(0, n_measured - len(wanted))).astype(int))
    return tuple(sorted({*wanted, *(pairs[place] for place in places)}))

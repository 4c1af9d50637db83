"""The best and the worst pairs of each run: their eight values, spectrograms and clips."""

from __future__ import annotations

from collections.abc import Iterator

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.hearing.severity import listener_grade
from cadenza_remix.report.figures import plot_spectrograms
from cadenza_remix.report.page.clips import clips
from cadenza_remix.report.page.contents import Contents
from cadenza_remix.report.page.data_table import Cell, Column, data_table
from cadenza_remix.report.page.markup import Html, element, how_to_read, join, missing, paragraph
from cadenza_remix.report.page.pair_signals import PairSignals, pair_signals
from cadenza_remix.report.page.pictures import picture
from cadenza_remix.runs.finished import FinishedRun
from cadenza_remix.runs.progress import Progress

_DPI = 110
_SPECTROGRAM_WORDS = (
    "Spectrograms: the upper row is as it should be, the lower one as it is. In the middle stands what HAAQI compares: "
    "the reference, which is the clean stem with this ear’s NAL-R, and the estimate, which is the enhanced stem. "
    "Darker is louder, relative to the panel’s loudest point; what the lower panel has more of leaked in from other "
    "stems, what it lacks was lost."
)


def pairs_section(contents: Contents, *, audio: bool, progress: Progress) -> Html:
    """Return the extreme pairs of each run that has enhanced signals and scores."""
    chosen = [(run, pair) for run in contents.systems for pair in _extremes(contents, run)]
    if not chosen:
        if contents.extremes:
            return missing("No pair has a HAAQI that is defined.")
        return missing("Best and worst pairs need a run with both enhanced signals and scores.")
    progress.start("pairs", len(chosen))
    parts = [element("div", how_to_read(_SPECTROGRAM_WORDS), class_="spectrograms")]
    for run in contents.systems:
        best, worst = contents.extremes.get(run.name, ((), ()))
        if not best:
            parts.append(missing(f"{run.name} was not scored."))
            continue
        parts.append(element("h3", run.name))
        for rank, pair in _ranked(best, worst):
            parts.append(_pair(contents, run, pair, rank, audio=audio))
            progress.advance("pairs")
    return join(*parts)


def _extremes(contents: Contents, run: FinishedRun) -> list[Pair]:
    return [pair for part in contents.extremes.get(run.name, ()) for pair in part]


def _ranked(best: tuple[Pair, ...], worst: tuple[Pair, ...]) -> Iterator[tuple[str, Pair]]:
    for word, pairs in (("best", best), ("worst", worst)):
        for place, pair in enumerate(pairs, start=1):
            yield (word.capitalize() if place == 1 else f"{_ORDINALS[place]} {word}"), pair


_ORDINALS = {2: "Second", 3: "Third", 4: "Fourth", 5: "Fifth"}


def _pair(contents: Contents, run: FinishedRun, pair: Pair, rank: str, *, audio: bool) -> Html:
    scores = contents.scores[run.name]
    grade = listener_grade(contents.listeners[pair.listener])
    heading = element("h4", f"{rank}: {pair.song} for {pair.listener} ({grade})")
    haaqi = run.scored[pair].results["haaqi"]
    known = {(ear, stem): haaqi[channel_name(ear, stem)] for stem in STEMS for ear in EARS}
    known = {channel: value for channel, value in known.items() if value is not None}
    ear, stem = (max if "best" in rank.lower() else min)(known, key=lambda channel: known[channel])
    summary = paragraph(
        f"Mean HAAQI {scores.means[pair]:.3f}. Shown: {ear} {stem}, its "
        f"{'highest' if 'best' in rank.lower() else 'lowest'} value ({known[ear, stem]:.3f})."
    )
    signals = pair_signals(run, pair, ear, stem)
    lacking = missing(f"Not shown: {'; '.join(signals.missing)}.") if signals.missing else None
    heard = clips(signals.songs, f"{pair.song} for {pair.listener}, {run.name}") if audio else None
    table = _eight_values(run, pair)
    return element(
        "article", heading, summary, lacking, _spectrograms(signals, ear, run, pair), heard, table, class_="pair"
    )


def _spectrograms(signals: PairSignals, ear: str, run: FinishedRun, pair: Pair) -> Html | None:
    drawn = {**signals.stems, **signals.songs}
    if not drawn:
        return None
    # Reference and estimate of the same thing stand one below the other.
    rows = [name for name in drawn if name.startswith("clean") or name == "mixture"]
    ordered = {name: drawn[name] for name in (*rows, *(name for name in drawn if name not in rows))}
    caption = f"Spectrograms, {ear} ear, from {signals.start_s:.0f} s of the song on"
    alt = f"Spectrograms of {pair.song} for {pair.listener}, {run.name}: {', '.join(ordered)}."
    return picture(
        caption, alt, plot_spectrograms, ordered, form="png", dpi=_DPI, ear=ear, own_level=True,
        start_s=signals.start_s,
    )  # fmt: skip


def _eight_values(run: FinishedRun, pair: Pair) -> Html:
    results = run.scored[pair].results
    metrics = [metric for metric in _METRICS if results.get(metric[0])]
    columns = [Column("stem")]
    columns += [Column(f"{title} {ear}", decimals, unit=unit) for _, title, decimals, unit in metrics for ear in EARS]
    rows: list[list[Cell]] = [
        [stem, *(results[metric[0]][channel_name(ear, stem)] for metric in metrics for ear in EARS)] for stem in STEMS
    ]
    name = f"values {run.name} {pair.listener} {pair.song}"
    return data_table(name, "Its eight values", columns, rows)


_METRICS: tuple[tuple[str, str, int, str], ...] = (
    ("haaqi", "HAAQI", 3, ""),
    ("snr_db", "SNR", 1, "dB"),
    ("sdr_db", "SDR", 1, "dB"),
)

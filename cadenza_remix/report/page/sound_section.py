"""The sound of mixtures and remixes: loudness, peaks, clipping, spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from cadenza_remix.audio.signal import EARS
from cadenza_remix.report.figures import plot_loudness, plot_spectrum
from cadenza_remix.report.measures import PairMeasures, mean_spectrum
from cadenza_remix.report.page.contents import Contents
from cadenza_remix.report.page.data_table import Cell, Column, data_table
from cadenza_remix.report.page.listeners_section import Measures
from cadenza_remix.report.page.markup import Html, element, join, missing
from cadenza_remix.report.page.pictures import picture
from cadenza_remix.report.page.places import without_folders
from cadenza_remix.runs.finished import FinishedRun
from cadenza_remix.units import lin_to_db

_MOST_REASONS = 6


def sound_section(contents: Contents, measures: Measures) -> Html:
    """Return a table of each system and of each measured pair, and figures."""
    if not contents.systems:
        return missing("No run has enhanced signals: there is nothing to measure.")
    return join(_not_measured(contents, measures), _summary(contents, measures), _loudness_picture(measures),
                _spectrum_picture(measures), _each_pair(measures))  # fmt: skip


def _not_measured(contents: Contents, measures: Measures) -> Html | None:
    """Say what could not be measured, each reason once."""
    places = {run.name: run for run in contents.runs}
    reasons: dict[str, int] = {}
    for name, many in measures.items():
        for one in many:
            for reason in {without_folders(text, places[name]) for text in one.missing.values()}:
                reasons[reason] = reasons.get(reason, 0) + 1
    if not reasons:
        return None
    shown = list(reasons.items())[:_MOST_REASONS]
    items = [element("li", f"{reason} ({count} pair{'s' * (count != 1)})") for reason, count in shown]
    if len(reasons) > _MOST_REASONS:
        items.append(element("li", f"and {len(reasons) - _MOST_REASONS} more such"))
    return element("div", "Not everything could be measured:", element("ul", *items), class_="missing")


def _summary(contents: Contents, measures: Measures) -> Html:
    columns = [Column("system"), Column("mixture", 1, unit="LUFS"), Column("remix", 1, unit="LUFS"),
               Column("change", 1, signed=True, unit="LU"), Column("pairs measured", 0),
               Column("highest peak", 1, signed=True, unit="dBFS"), Column("over full scale", 3, unit="% of samples"),
               Column("pairs that clip", 0), Column("pairs enhanced", 0)]  # fmt: skip
    rows: list[list[Cell]] = []
    for run in contents.systems:
        many = measures.get(run.name, ())
        middle = [_median([getattr(one, name) for one in many]) for name in
                  ("mixture_lufs", "remix_lufs", "loudness_change_lu")]  # fmt: skip
        clipping = clipping_of(run)
        told: list[Cell] = [None] * 3
        if clipping is not None:
            told = [clipping.peak_dbfs, clipping.percent, clipping.n_pairs]
        rows.append([run.name, *middle, len(many), *told, len(run.enhanced)])
    explanation = (
        "Loudness after ITU-R BS.1770, median of the measured pairs. Peak and share over full scale come from the "
        "records of all pairs: those of the remix before its soft clip, which bends what lies over full scale. Nothing "
        "of the kind touches the eight stems that are scored."
    )
    return data_table("sound", "Loudness and clipping of each system", columns, rows, explanation=explanation)


@dataclass(frozen=True)
class Clipping:
    """What all pairs of a run drove over full scale before the soft clip.

    ``peak_dbfs``: highest peak; ``percent``: share of all samples, 0 to 100; ``n_pairs``: how many pairs have such
    samples.
    """

    peak_dbfs: float
    percent: float
    n_pairs: int


def clipping_of(run: FinishedRun) -> Clipping | None:
    """Return what the records of a run say about clipping, None where they say nothing."""
    results = [record.results for record in run.enhanced.values()]
    known = [r for r in results if all(isinstance(r.get(key), (int, float)) for key in _FROM_RECORDS)]
    if not known:
        return None
    n_over, n_all = (sum(r[key] for r in known) for key in _FROM_RECORDS[:2])
    peak_db = float(lin_to_db(max(r["remix_peak_lin"] for r in known)))
    return Clipping(peak_db, 100 * n_over / n_all if n_all else 0.0, sum(r["n_over_full_scale"] > 0 for r in known))


_FROM_RECORDS = ("n_over_full_scale", "n_remix_samples", "remix_peak_lin")


def _loudness_picture(measures: Measures) -> Html:
    return picture(
        "Loudness, peaks and clipping",
        "Loudness, peak and share of clipped samples of each measured pair by system. The numbers stand in the tables.",
        plot_loudness, {name: many for name, many in measures.items() if many},
        explanation="A mark is one song for one listener, the upright line the median. To the right of the dashed line "
        "a remix peaks over full scale.",
    )  # fmt: skip


def _spectrum_picture(measures: Measures) -> Html:
    before = mean_spectrum(
        list({one.song: one.mixture_spectrum for many in measures.values() for one in many}.values())
    )
    after = {
        name: spectrum
        for name, many in measures.items()
        if (spectrum := mean_spectrum([o.remix_spectrum for o in many]))
    }
    return picture(
        "Spectrum before and after",
        "Third-octave spectra of left and right ear: the mixture as a grey area, the remix of each system as a line.",
        plot_spectrum, before, after,
        explanation="Mean levels in dB of full scale by third of an octave over the measured songs (mixture) and pairs "
        "(remixes). Where a line lies above the grey area, listeners get more than the mixture holds.",
    )  # fmt: skip


def _each_pair(measures: Measures) -> Html:
    columns = [Column("system"), Column("song"), Column("listener"), Column("mixture", 1, unit="LUFS"),
               Column("remix", 1, unit="LUFS"), Column("change", 1, signed=True, unit="LU"),
               Column("mixture peak", 1, signed=True, unit="dBFS"), Column("remix peak", 1, signed=True, unit="dBFS"),
               Column("over full scale", 3, unit="%"),
               *(Column(f"gain {ear}", 1, signed=True, unit="dB") for ear in EARS)]  # fmt: skip
    rows: list[list[Cell]] = [_pair_row(name, one) for name, many in measures.items() for one in many]
    return data_table(
        "sound-of-pairs", "Sound of each measured pair", columns, rows,
        explanation="Gain left and right: at 1 kHz, as achieved. The remix’s peak is the one before its soft clip.",
    )  # fmt: skip


def _pair_row(name: str, one: PairMeasures) -> list[Cell]:
    share = one.over_full_scale_share
    gains: list[Cell] = [float(one.gains_db[ear].at(1000.0)[0]) if one.gains_db else None for ear in EARS]
    return [name, one.song, one.listener, one.mixture_lufs, one.remix_lufs, one.loudness_change_lu,
            one.mixture_peak_dbfs, one.remix_peak_dbfs, None if share is None else 100 * share, *gains]  # fmt: skip


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None

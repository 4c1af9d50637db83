"""The listeners: audiograms, and the gains that were prescribed and achieved for each ear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cadenza_remix.audio.signal import EARS
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.nalr import NALR_FREQUENCIES_HZ, nalr_gains_db
from cadenza_remix.hearing.severity import ear_grade, pure_tone_average
from cadenza_remix.report.figures import plot_audiograms, plot_gains
from cadenza_remix.report.measures import PairMeasures, mean_gains
from cadenza_remix.report.page.contents import Contents
from cadenza_remix.report.page.data_table import Cell, Column, data_table
from cadenza_remix.report.page.markup import Html, join, missing
from cadenza_remix.report.page.pictures import picture

_MOST_DRAWN = 8

Measures = Mapping[str, Sequence[PairMeasures]]
"""By run."""


def listeners_section(contents: Contents, measures: Measures) -> Html:
    """Return figures of some listeners and tables of all."""
    drawn = drawn_listeners(contents, measures)
    of_many = "" if len(drawn) == len(contents.listeners) else f" ({len(drawn)} of {len(contents.listeners)})"
    names = ", ".join(listener.id for listener in drawn)
    audiograms = picture(
        f"Audiograms and prescribed gains{of_many}",
        f"Audiograms of {names}, with the NAL-R gains prescribed for each ear. The numbers stand in the tables below.",
        plot_audiograms, drawn, nalr_gains_db,
        explanation="Above: hearing level in dB HL, further down is a greater loss; right ear as circles, left ear as "
        "crosses. Below: insertion gain that NAL-R prescribes.",
    )  # fmt: skip
    return join(
        audiograms,
        _gains_picture(drawn, measures, of_many),
        _audiogram_table(contents),
        _gain_table(contents, measures),
    )


def drawn_listeners(contents: Contents, measures: Measures) -> list[Listener]:
    """Return whom to draw: all when they are few, otherwise some from the least to the greatest loss.

    Those of whom achieved gains were measured come first into the choice.
    """
    known = {one.listener for many in measures.values() for one in many if one.gains_db is not None}
    people = [listener for listener in contents.listeners.values() if listener.id in known or not known]
    if len(contents.listeners) <= _MOST_DRAWN:
        people = list(contents.listeners.values())
    places = np.unique(np.linspace(0, len(people) - 1, min(_MOST_DRAWN, len(people))).astype(int))
    return [people[place] for place in places]


def _gains_picture(drawn: Sequence[Listener], measures: Measures, of_many: str) -> Html:
    achieved = {name: gains for name, many in measures.items() if (gains := mean_gains(many))}
    if not achieved:
        return missing(
            "Achieved gains were not measured: that takes the enhanced stems and the separated ones they were made of."
        )
    return picture(
        f"Prescribed and achieved gains{of_many}",
        "Prescribed gains of each ear as a grey line, achieved gains of each system as coloured ones, against "
        "frequency. The numbers stand in a table below.",
        plot_gains, drawn, nalr_gains_db, achieved,
        explanation="The thick grey line is NAL-R’s prescription; the others are what came out: the energy of the four "
        "enhanced stems over that of the separated ones, by third of an octave, mean of the measured songs. A "
        "compressor or stem gains pull them off the grey line.",
    )  # fmt: skip


def _audiogram_table(contents: Contents) -> Html:
    columns = [Column("listener"), Column("ear"), Column("hearing loss"), Column("mean", 1, unit="dB HL")]
    ears = [listener.ear(ear) for listener in contents.listeners.values() for ear in EARS]
    frequencies = sorted({frequency for audiogram in ears for frequency in audiogram.frequencies_hz.tolist()})
    columns += [Column(f"{frequency:g}", 0, unit="Hz") for frequency in frequencies]
    rows: list[list[Cell]] = []
    for name, listener in contents.listeners.items():
        for ear in EARS:
            audiogram = listener.ear(ear)
            levels = dict(zip(audiogram.frequencies_hz.tolist(), audiogram.levels_db_hl.tolist(), strict=True))
            rows.append([name, ear, ear_grade(audiogram), pure_tone_average(audiogram),
                         *(levels.get(frequency) for frequency in frequencies)])  # fmt: skip
    return data_table(
        "audiograms", "Audiograms in dB HL", columns, rows,
        explanation="Hearing levels as measured; a dash where none was. Mean: of 0.5, 1, 2 and 4 kHz.",
    )  # fmt: skip


def _gain_table(contents: Contents, measures: Measures) -> Html:
    frequencies = [int(frequency) for frequency in NALR_FREQUENCIES_HZ]
    columns = [Column("listener"), Column("ear"), Column("gain")]
    columns += [Column(f"{frequency}", 1, unit="Hz") for frequency in frequencies]
    achieved = {name: mean_gains(many) for name, many in measures.items()}
    rows: list[list[Cell]] = []
    for name, listener in contents.listeners.items():
        for ear in EARS:
            rows.append([name, ear, "prescribed", *map(float, nalr_gains_db(listener.ear(ear)))])
            for system, gains in achieved.items():
                if name in gains:
                    rows.append([name, ear, f"achieved: {system}", *map(float, gains[name][ear].at(frequencies))])
    return data_table(
        "gains", "Prescribed and achieved gains in dB", columns, rows,
        explanation="Achieved gains are those of the third-octave band at that frequency; a dash where the songs hold "
        "too little there. They are known for the measured pairs only.",
    )  # fmt: skip

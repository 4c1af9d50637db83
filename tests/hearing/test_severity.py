"""Grades of hearing loss: the four-frequency average, WHO's limits, and which ear speaks for a person."""

import numpy as np
import pytest

from cadenza_remix.hearing.audiogram import Audiogram, Listener, load_listeners
from cadenza_remix.hearing.severity import (
    GRADE_LIMITS_DB_HL,
    GRADES,
    better_ear_average,
    ear_grade,
    grade_of,
    listener_grade,
    pure_tone_average,
)

CADENZA_HZ = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]


def test_only_the_four_frequencies_count():
    levels = [90.0, 10.0, 20.0, 30.0, 90.0, 60.0, 90.0, 90.0]
    assert pure_tone_average(Audiogram(CADENZA_HZ, levels)) == pytest.approx(30.0, abs=1e-12)  # (10 + 20 + 30 + 60) / 4


def test_a_frequency_that_was_not_measured_is_interpolated():
    # A line over log frequency, 10 dB an octave: 0, 10, 20, 30 dB at the four frequencies.
    assert pure_tone_average(Audiogram([500, 4000], [0, 30])) == pytest.approx(15.0, abs=1e-12)


def test_a_limit_belongs_to_the_grade_above():
    for grade, limit in zip(GRADES[1:], GRADE_LIMITS_DB_HL, strict=True):
        assert grade_of(limit) == grade
        assert grade_of(np.nextafter(limit, 0)) == GRADES[GRADES.index(grade) - 1]


def test_the_grades_run_from_normal_hearing_to_complete_loss():
    assert [grade_of(level) for level in (-10, 25, 40, 55, 70, 90, 120)] == list(GRADES)


def test_the_better_ear_grades_the_person_and_each_ear_itself():
    listener = Listener("L1", Audiogram([500, 4000], [55, 55]), Audiogram([500, 4000], [30, 30]))
    assert better_ear_average(listener) == 30.0
    assert listener_grade(listener) == "mild"
    assert (ear_grade(listener.left), ear_grade(listener.right)) == ("moderately severe", "mild")


def test_listeners_of_cad1_lie_in_the_range_they_were_chosen_from():
    """CAD1's listener page: better-ear four-frequency averages between 25 and 60 dB HL."""
    for listener in load_listeners("cad1-sample").values():
        assert 25.0 <= better_ear_average(listener) <= 60.0


def test_standard_audiograms_grow_worse_in_their_order():
    listeners = load_listeners("bisgaard")
    averages = [pure_tone_average(listeners[f"N{n}"].left) for n in range(1, 8)]
    assert averages == sorted(averages)
    assert grade_of(averages[0]) == "normal"
    assert grade_of(averages[-1]) == "complete"

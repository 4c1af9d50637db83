"""How severe a hearing loss is: the four-frequency average of an ear and the grade that goes with it.

Cadenza chose its listeners by the better ear's average over 0.5, 1, 2 and 4 kHz (listener metadata of CAD1: 25 to
60 dB HL) and calls its panel "mild" to "moderately severe" (Bannister et al., Trends in Hearing 30, 2026). Those are
the grades of the World Health Organization ("World Report on Hearing", 2021, table 1.3; Stevens et al., European
Journal of Public Health 23(1), 2013), 15 dB wide from 20 dB on.

Not to be confused with `Audiogram.severity`, the three coarser words of Clarity's hearing-loss model for the mean level
from 2 to 8 kHz, in which a sloping loss counts for more.
"""

from __future__ import annotations

import numpy as np

from cadenza_remix.hearing.audiogram import Audiogram, Listener

AVERAGE_FREQUENCIES_HZ = (500.0, 1000.0, 2000.0, 4000.0)

GRADES = ("normal", "mild", "moderate", "moderately severe", "severe", "profound", "complete")
"""From the least to the greatest loss."""

GRADE_LIMITS_DB_HL = (20.0, 35.0, 50.0, 65.0, 80.0, 95.0)
"""Where each grade after the first begins; an average on a limit belongs to the grade above it."""


def pure_tone_average(audiogram: Audiogram) -> float:
    """Return the mean level in dB HL at 500, 1000, 2000 and 4000 Hz, interpolated where one was not measured.

    Examples
    --------
    >>> pure_tone_average(Audiogram([500, 1000, 2000, 4000], [30, 40, 50, 60]))
    45.0
    """
    return float(np.mean(audiogram.levels_at(AVERAGE_FREQUENCIES_HZ)))


def better_ear_average(listener: Listener) -> float:
    """Return the lower of the two ears' averages, in dB HL."""
    return min(pure_tone_average(listener.left), pure_tone_average(listener.right))


def grade_of(average_db_hl: float) -> str:
    """Return which of `GRADES` an average over four frequencies falls into.

    Examples
    --------
    >>> grade_of(34.9), grade_of(35.0)
    ('mild', 'moderate')
    """
    return GRADES[int(np.searchsorted(GRADE_LIMITS_DB_HL, average_db_hl, side="right"))]


def ear_grade(audiogram: Audiogram) -> str:
    """Return the grade of one ear: what a score of that ear's signal goes with."""
    return grade_of(pure_tone_average(audiogram))


def listener_grade(listener: Listener) -> str:
    """Return the grade of a person: that of the better ear, as WHO and Cadenza have it.

    WHO speaks of a unilateral loss where the better ear is below 20 dB HL and the other at 35 or more; such a person
    is "normal" here.
    """
    return grade_of(better_ear_average(listener))

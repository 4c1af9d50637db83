"""Figures as PNG or SVG: audiograms and gains, scores, differences, spectra, loudness, times.

Every ``plot_...`` function takes its data, then a path that ends in ``.png`` or ``.svg`` (or a binary file with
``form="png"`` or ``"svg"``); `figure_bytes` returns the bytes. How they look is told in
`cadenza_remix.report.figures.style`. Importing this loads no matplotlib.
"""

from __future__ import annotations

from cadenza_remix.report.figures.audiograms import plot_audiograms
from cadenza_remix.report.figures.differences import plot_differences
from cadenza_remix.report.figures.factors import plot_factor, plot_listeners
from cadenza_remix.report.figures.gains import MOST_LISTENERS, plot_gains
from cadenza_remix.report.figures.loudness import plot_loudness
from cadenza_remix.report.figures.scores import plot_scores
from cadenza_remix.report.figures.spectra import plot_spectrum
from cadenza_remix.report.figures.spectrograms import plot_spectrograms
from cadenza_remix.report.figures.stages import plot_stage_times
from cadenza_remix.report.figures.style import COLOURS, FIGURE_STYLE, FORMS, HATCHES, MARKERS, figure_bytes

__all__ = [
    "COLOURS",
    "FIGURE_STYLE",
    "FORMS",
    "HATCHES",
    "MARKERS",
    "MOST_LISTENERS",
    "figure_bytes",
    "plot_audiograms",
    "plot_differences",
    "plot_factor",
    "plot_gains",
    "plot_listeners",
    "plot_loudness",
    "plot_scores",
    "plot_spectrograms",
    "plot_spectrum",
    "plot_stage_times",
]

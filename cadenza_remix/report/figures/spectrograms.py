"""Spectrograms of several signals side by side, of one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import EARS, Audio
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.report.figures.style import DPI, PAGE_WIDTH_IN, FigureFile, saved_figure, shortened, shown_hz
from cadenza_remix.units import lin_to_db

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap

_TICKS_HZ = (63, 125, 250, 500, 1000, 2000, 4000, 8000)
_LIMITS_HZ = (50.0, 11_000.0)
_ROWS = 144
_MOST_COLUMNS = 320
_FRAME_S = 0.06
_MOST_PANELS = 12


def plot_spectrograms(
    signals: Mapping[str, Audio],
    path: FigureFile,
    *,
    ear: str | None = None,
    range_db: float = 70.0,
    own_level: bool = False,
    start_s: float = 0.0,
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw spectrograms as small panels, three in a row: the same seconds, frequencies and colours in all of them.

    Log frequency from 50 Hz to 11 kHz. Levels are those of 60 ms (Hann window) in bands of equal width in octaves,
    relative to the loudest point.

    Parameters
    ----------
    signals : mapping of str to Audio
        1 to 12, by what to call them; of any rate and length.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.
    ear : str, optional
        ``left`` or ``right`` channel of signals with two; the mean energy of both otherwise.
    range_db : float
        What is so far below the loudest point is white.
    own_level : bool
        Levels in each panel are those below its own loudest point, instead of the loudest one of all panels.
    start_s : float
        Where in the song the signals begin, for the time axis.

    Raises
    ------
    InputError
        No signals or too many, an unknown ear, a senseless range; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    if not 1 <= len(signals) <= _MOST_PANELS:
        raise InputError("wrong number of signals to draw", expected=f"1 to {_MOST_PANELS}", found=len(signals))
    if ear is not None and ear not in EARS:
        raise unknown_name("ear", ear, EARS)
    if not 10 <= range_db <= 150:
        raise InputError("wrong range", where="range_db", expected="10 to 150 dB", found=range_db)
    images = {name: log_spectrogram(audio, ear=ear) for name, audio in signals.items()}
    tops = {name: float(image.max()) for name, image in images.items()}
    if not own_level:
        tops = dict.fromkeys(tops, max(tops.values()))
    longest_s = max(audio.duration_s for audio in signals.values())
    n_columns = 2 if len(signals) == 4 else min(len(signals), 3)
    n_rows = math.ceil(len(signals) / n_columns)
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=0.75 + 1.75 * n_rows, form=form, dpi=dpi) as figure:
        grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(signals) :]:
            axes.set_visible(False)
        low, high = (math.log2(limit) for limit in _LIMITS_HZ)
        colours = _colours()
        for axes, (name, image) in zip(grid.flat, images.items(), strict=False):
            top_db = tops[name] if math.isfinite(tops[name]) else 0.0
            picture = axes.imshow(
                np.rint(np.clip(image - top_db, -range_db, 0.0)),  # whole dB: a third of the size
                origin="lower",
                aspect="auto",
                interpolation="none",
                cmap=colours,
                vmin=-range_db,
                vmax=0.0,
                extent=(start_s, start_s + signals[name].duration_s, low, high),
            )
            axes.set_title(shortened(name, 100 // n_columns), loc="left", fontsize=8)
            axes.set_xlim(start_s, start_s + longest_s)
            axes.set_ylim(low, high)
            axes.set_yticks([math.log2(tick) for tick in _TICKS_HZ], [shown_hz(tick) for tick in _TICKS_HZ])
        for axes in grid[:, 0]:
            axes.set_ylabel("Frequency (Hz)")
        for place in range(max(0, len(signals) - n_columns), len(signals)):
            axes = grid.flat[place]
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("Time (s)")
        of_what = "its" if own_level and len(signals) > 1 else "the"
        label = f"Level relative to\n{of_what} loudest point (dB)"
        figure.colorbar(picture, ax=list(grid.flat), label=label, fraction=0.04, pad=0.015, aspect=18 * n_rows)


def log_spectrogram(audio: Audio, *, ear: str | None = None) -> NDArray[np.float64]:
    """Return levels in dB over log frequency (rows, 50 Hz to 11 kHz) and time (columns, at most 320).

    What lies above half the sample rate is minus infinity; several frames that share a column count by their mean
    energy. Shape (144, n_columns).
    """
    samples = audio.samples
    channels = range(audio.n_channels) if ear is None else [min(EARS.index(ear), audio.n_channels - 1)]
    frame = round(_FRAME_S * audio.sample_rate)
    hop = max(1, frame // 4)
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    window /= window.sum() / 2  # a sine of amplitude 1 has a level of 0 dB
    n_frames = -(-audio.n_samples // hop)
    per_column = max(1, -(-n_frames // _MOST_COLUMNS))
    weights = _row_weights(frame, audio.sample_rate)
    image = np.zeros((_ROWS, -(-n_frames // per_column)))
    for channel in channels:
        # A frame stands around its own time: half a frame of silence goes before the first.
        padded = np.pad(samples[:, channel], (frame // 2, frame + per_column * hop))
        views = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
        for column in range(image.shape[1]):
            frames = views[column * per_column : min((column + 1) * per_column, n_frames)]
            power = np.square(np.abs(np.fft.rfft(frames * window, axis=1))).mean(axis=0)
            image[:, column] += weights @ power / len(channels)
    return lin_to_db(np.sqrt(image))


def _colours() -> ListedColormap:
    """Return white for quiet to black for loud in even steps of lightness: it reads in grey and by the colour-blind."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    colours = matplotlib.colormaps["magma_r"](np.linspace(0.0, 1.0, 256))[:, :3]
    white = np.clip(1.0 - np.arange(256) / 40.0, 0.0, 1.0)[:, np.newaxis]  # the map begins with a pale yellow
    return ListedColormap(white + (1.0 - white) * colours)


def _row_weights(frame: int, sample_rate: int) -> NDArray[np.float64]:
    """Return which bins of the spectrum make each row: those inside its edges by their share, or the nearest two."""
    low, high = (math.log2(limit) for limit in _LIMITS_HZ)
    edges_hz = np.exp2(np.linspace(low, high, _ROWS + 1))
    step_hz = sample_rate / frame
    bins = np.arange(frame // 2 + 1)
    edges = edges_hz / step_hz
    middles = np.sqrt(edges[1:] * edges[:-1])
    # A row that is narrower than a bin is read off between the two nearest ones (a triangle one bin to either side).
    narrow = np.maximum(1.0 - np.abs(bins - middles[:, np.newaxis]), 0.0)
    inside = np.minimum(bins + 0.5, edges[1:, np.newaxis]) - np.maximum(bins - 0.5, edges[:-1, np.newaxis])
    wide = np.clip(inside, 0.0, 1.0)
    weights = np.where((np.diff(edges) < 1.0)[:, np.newaxis], narrow, wide)
    weights[edges_hz[1:] > 0.5 * sample_rate] = 0.0
    return weights

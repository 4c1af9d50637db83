"""What figures are drawn of in tests: listeners, scores by a rule, levels, tones; and the figure as a read SVG."""

import numpy as np
from drawn_svg import DrawnSvg

from cadenza_remix.audio.signal import EARS, STEMS, Audio
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.report.bands import BAND_CENTRES_HZ, BandLevels
from cadenza_remix.report.figures import figure_bytes
from cadenza_remix.report.tidy import tidy_frame

FREQUENCIES_HZ = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]


def listener(name, left_db_hl=40.0, right_db_hl=60.0):
    ears = (Audiogram(FREQUENCIES_HZ, [level] * len(FREQUENCIES_HZ)) for level in (left_db_hl, right_db_hl))
    return Listener(name, *ears)


def tidy(haaqi_of, songs=("a", "b"), listeners=("L1", "L2", "L3")):
    """Scores by a rule of (stem, ear, listener, song)."""
    return tidy_frame(
        {
            "song": song,
            "listener": name,
            "haaqi": {f"{ear}_{stem}": haaqi_of(stem, ear, name, song) for ear in EARS for stem in STEMS},
        }
        for song in songs
        for name in listeners
    )


def ears_of(level_db, *, n_bands=24):
    return {
        ear: BandLevels(BAND_CENTRES_HZ[:n_bands], np.full(n_bands, level_db + row)) for row, ear in enumerate(EARS)
    }


def tone(frequency_hz, *, rate=24_000, duration_s=2.0, amplitude=0.5):
    time_s = np.arange(round(duration_s * rate)) / rate
    return Audio(amplitude * np.sin(2 * np.pi * frequency_hz * time_s), rate)


def drawn(plot, *args, **options):
    return DrawnSvg(figure_bytes(plot, *args, **options))

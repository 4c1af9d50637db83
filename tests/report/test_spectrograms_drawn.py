"""Spectrograms: a tone is a line where it should be, levels are colours, and time is told as it was."""

import io

import matplotlib
import numpy as np
import pytest
from figure_data import drawn, tone

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.report.figures import figure_bytes, plot_spectrograms
from cadenza_remix.report.figures.spectrograms import log_spectrogram


@pytest.mark.parametrize("rate", [24_000, 32_000, 44_100])
@pytest.mark.parametrize("frequency_hz", [62.0, 440.0, 3000.0])
def test_a_tone_is_a_line_at_its_frequency(rate, frequency_hz):
    image = log_spectrogram(tone(frequency_hz, rate=rate))
    edges_hz = np.geomspace(50, 11_000, len(image) + 1)
    loudest = image[:, image.shape[1] // 2].argmax()
    # The low rows are narrower than a bin of 16.7 Hz.
    assert edges_hz[loudest] - 9 <= frequency_hz <= edges_hz[loudest + 1] + 9
    # Amplitude 0.5: -6 dB; less between two narrow rows, 1.8 dB more where a row holds the whole peak.
    assert -10 < image.max() < -4


def test_columns_are_few_and_in_time():
    samples = np.zeros((24_000 * 30, 2))
    samples[24_000 * 10 : 24_000 * 11, 0] = tone(1000, duration_s=1.0).samples[:, 0]
    image = log_spectrogram(Audio(samples, 24_000))
    assert image.shape[1] <= 320
    loud = np.nonzero(image.max(axis=0) > -30)[0] * 30 / image.shape[1]
    assert loud.min() == pytest.approx(10.0, abs=0.2)
    assert loud.max() == pytest.approx(11.0, abs=0.2)
    # The other ear is silent; both together have half of the energy.
    assert np.isneginf(log_spectrogram(Audio(samples, 24_000), ear="right")).all()
    left = log_spectrogram(Audio(samples, 24_000), ear="left")
    assert left.max() - image.max() == pytest.approx(10 * np.log10(2), abs=1e-6)


def pixels(signals, **options):
    content = figure_bytes(plot_spectrograms, signals, form="png", **options)
    return matplotlib.image.imread(io.BytesIO(content))[:, :, :3]


def test_panels_have_one_scale_unless_told_otherwise():
    def coloured(**options):
        """Pixels of neither grey, black nor white in each of the two panels."""
        image = pixels(signals, **options)
        panels = (image[:, :680], image[:, 680:1230])
        return [int((panel.max(axis=2) - panel.min(axis=2) > 0.1).sum()) for panel in panels]

    # 80 dB softer lies below the range: the second panel stays white.
    signals = {"loud": tone(440), "soft": tone(440, amplitude=0.5e-4)}
    loud, soft = coloured()
    assert loud > 5000
    assert soft == 0
    loud, soft = coloured(own_level=True)
    assert soft == pytest.approx(loud, rel=0.1)


def test_colours_get_darker_with_level_in_grey_too():
    from cadenza_remix.report.figures.spectrograms import _colours

    red, green, blue = _colours()(np.linspace(0, 1, 256))[:, :3].T
    linear = [np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) for part in (red, green, blue)]
    lightness = 116 * np.cbrt(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]) - 16
    assert lightness[0] == pytest.approx(100, abs=0.5)
    assert lightness[-1] < 5
    assert (np.diff(lightness) <= 0).all()


def test_silence_and_wrong_signals():
    assert figure_bytes(plot_spectrograms, {"silence": Audio(np.zeros(100), 8_000)})
    with pytest.raises(InputError, match="1 to 12"):
        figure_bytes(plot_spectrograms, {})
    with pytest.raises(InputError, match="unknown ear 'middle'"):
        figure_bytes(plot_spectrograms, {"a": tone(440)}, ear="middle")
    with pytest.raises(InputError, match="10 to 150 dB"):
        figure_bytes(plot_spectrograms, {"a": tone(440)}, range_db=0)


def test_times_begin_where_the_passage_does():
    svg = drawn(plot_spectrograms, {"a": tone(440, duration_s=4.0)}, start_s=60.0)
    assert {"60.0", "62.0", "64.0"} <= set(svg.axes[0].x_ticks)
    assert svg.axes[0].x_values(svg.axes[0].x_ticks["62.0"]) == pytest.approx(62.0)
    assert "Level relative to" in " ".join(svg.words)

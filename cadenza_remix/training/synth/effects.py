"""What a mixing desk does to a track: filters, compressor, saturation, chorus, echo, reverberation.

Tracks are float32, shape (n_samples, n_channels), at 44.1 kHz; every function returns a new array of that shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE as RATE

Track = NDArray[np.float32]
_CONTROL = 64  # samples for one value of a level that is followed


@dataclass(frozen=True)
class Band:
    """A bell of an equaliser: gain in dB at a frequency, quality factor."""

    frequency_hz: float
    gain_db: float
    quality: float = 0.9


def equalise(track: Track, *, low_cut_hz: float = 0.0, high_cut_hz: float = 0.0, bands: Sequence[Band] = ()) -> Track:
    """Return the track through a high-pass, a low-pass (12 dB per octave; 0 leaves either out) and bells."""
    sections = []
    if low_cut_hz > 0:
        sections.append(butter(2, low_cut_hz, "highpass", fs=RATE, output="sos"))
    if high_cut_hz > 0:
        sections.append(butter(2, min(high_cut_hz, 0.48 * RATE), "lowpass", fs=RATE, output="sos"))
    sections += [_bell(band) for band in bands if abs(band.gain_db) > 0.2]
    if not sections:
        return track
    return np.asarray(sosfilt(np.concatenate(sections), track, axis=0), dtype=np.float32)


def _bell(band: Band) -> NDArray[np.float64]:
    """Return the peaking filter of Bristow-Johnson's cookbook as a second-order section."""
    amplitude = 10 ** (band.gain_db / 40)
    omega = 2 * np.pi * band.frequency_hz / RATE
    alpha = np.sin(omega) / (2 * band.quality)
    numerator = np.array([1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude])
    denominator = np.array([1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude])
    return np.concatenate([numerator, denominator])[np.newaxis] / denominator[0]


def compress(
    track: Track, *, threshold_db: float, ratio: float, attack_ms: float = 8.0, release_ms: float = 120.0
) -> Track:
    """Return the track with what is louder than a threshold, relative to its own RMS level, turned down.

    The level is that of the louder channel; it rises with the attack and falls with the release.
    """
    level = np.sqrt(_block_means(np.square(_louder(track))) + 1e-12)
    active = level[level > 0.03 * level.max()]
    if not active.size:
        return track
    level_db = 20 * np.log10(level / np.sqrt(np.mean(active**2)))
    over_db = np.maximum(level_db - threshold_db, 0.0)
    # The larger of a fast and a slow follower rises fast and falls slowly.
    followed = np.maximum(_one_pole(over_db, attack_ms), _one_pole(over_db, release_ms))
    return track * _stretched(10 ** (-followed * (1 - 1 / ratio) / 20), len(track))[:, np.newaxis]


def saturate(track: Track, amount: float) -> Track:
    """Return the track through a soft limit; ``amount`` from 0 (clean) to 1 (a fuzz box). The level stays about."""
    if amount <= 0.01:
        return track
    loud = np.sqrt(np.mean(np.square(track))) * 4 + 1e-9
    drive = np.float32(10 ** (1.6 * amount) / loud * 0.5)
    shaped = np.tanh(drive * track)
    return (shaped * np.float32(np.sqrt(np.mean(np.square(track)) / (np.mean(np.square(shaped)) + 1e-12)))).astype(
        np.float32
    )


def amplify(track: Track, drive: float, rng: np.random.Generator) -> Track:
    """Return the track through a guitar amplifier and its cabinet; ``drive`` from 0 to 1."""
    tight = equalise(track, low_cut_hz=rng.uniform(70, 160), high_cut_hz=rng.uniform(4500, 8000))
    driven = saturate(tight, 0.25 + drive)
    cabinet = (
        Band(rng.uniform(90, 160), rng.uniform(0, 5), 1.2),
        Band(rng.uniform(350, 700), rng.uniform(-6, 1)),
        Band(rng.uniform(1800, 3500), rng.uniform(1, 7), 1.0),
    )
    return equalise(driven, low_cut_hz=70, high_cut_hz=rng.uniform(4200, 6500), bands=cabinet)


def chorus(track: Track, *, rate_hz: float, depth_ms: float, mix: float) -> Track:
    """Return the track with a copy of each channel whose delay sways, the channels in opposite phase."""
    n_samples = len(track)
    places = np.arange(n_samples)
    sway = np.sin(2 * np.pi * rate_hz / RATE * places)
    out = np.empty_like(track)
    for channel in range(track.shape[1]):
        delay = (8 + depth_ms * (sway if channel == 0 else -sway)) * RATE / 1000
        at = np.maximum(places - delay, 0)
        whole = at.astype(np.int64)
        part = (at - whole).astype(np.float32)
        column = track[:, channel]
        late = column[whole] * (1 - part) + column[np.minimum(whole + 1, n_samples - 1)] * part
        out[:, channel] = column + np.float32(mix) * late
    return out


def echo(track: Track, *, delay_s: float, feedback: float, mix: float, n_echoes: int = 4) -> Track:
    """Return the track with echoes that cross from side to side."""
    out = track.copy()
    step = max(1, int(delay_s * RATE))
    gain = np.float32(mix)
    for index in range(1, n_echoes + 1):
        if index * step >= len(track):
            break
        late = track[: len(track) - index * step]
        out[index * step :] += gain * (late[:, ::-1] if index % 2 else late)
        gain *= np.float32(feedback)
    return out


def impulse_response(rng: np.random.Generator, *, decay_s: float, pre_delay_s: float, damping_hz: float) -> Track:
    """Return a room: a few early reflections, then noise that decays, its high frequencies faster; shape (n, 2).

    ``decay_s`` is the time for 60 dB at low frequencies; the energy is 1.
    """
    n_samples = int((pre_delay_s + decay_s) * RATE)
    start = int(pre_delay_s * RATE)
    times = np.arange(n_samples - start) / RATE
    room = np.zeros((n_samples, 2))
    for share, cut_hz in ((1.0, damping_hz), (0.35, min(3 * damping_hz, 16000))):
        noise = rng.standard_normal((n_samples - start, 2)) * np.exp(-6.9 * times / (decay_s * share))[:, np.newaxis]
        room[start:] += sosfilt(butter(1, cut_hz, "lowpass", fs=RATE, output="sos"), noise, axis=0)
    room[start:] *= np.minimum(times / rng.uniform(0.001, 0.03), 1)[:, np.newaxis]
    scale = np.abs(room).max()
    for _ in range(int(rng.integers(3, 9))):
        place = start // 2 + int(rng.uniform(0.002, 0.06) * RATE)
        if place < n_samples:
            room[place, rng.integers(2)] += scale * rng.uniform(0.5, 2.5) * rng.choice([-1, 1])
    room = sosfilt(butter(1, 150, "highpass", fs=RATE, output="sos"), room, axis=0)
    return (room / np.sqrt(np.mean(np.sum(room**2, axis=0)))).astype(np.float32)


def reverberate(track: Track, response: Track) -> Track:
    """Return the reverberation alone of a track's middle, in stereo and of the track's length."""
    middle = centre(track)
    return np.stack([oaconvolve(middle, response[:, channel])[: len(track)] for channel in (0, 1)], axis=1).astype(
        np.float32
    )


def duck(track: Track, times_s: Sequence[float], *, depth: float, release_s: float) -> Track:
    """Return the track turned down at every given time (the kick drum), coming back within ``release_s``."""
    n_control = len(track) // _CONTROL + 2
    gain = np.ones(n_control)
    shape = (
        1
        - depth * np.clip(1 - np.arange(int(release_s * RATE / _CONTROL)) * _CONTROL / (release_s * RATE), 0, 1) ** 1.5
    )
    for time_s in times_s:
        first = int(time_s * RATE / _CONTROL)
        n = max(0, min(len(shape), n_control - first))
        gain[first : first + n] = np.minimum(gain[first : first + n], shape[:n])
    return track * _stretched(gain, len(track))[:, np.newaxis]


def limiter_gain(mixture: Track, *, ceiling: float) -> NDArray[np.float32]:
    """Return the gain over time, shape (n_samples, 1), that keeps a mixture's peaks below a ceiling without a jump."""
    reach = int(0.005 * RATE)
    peaks = maximum_filter1d(_louder(mixture), 2 * reach + 1)
    wanted = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    slow = -maximum_filter1d(-wanted, int(0.08 * RATE))  # holds a little: less distortion
    return uniform_filter1d(slow, 2 * reach + 1).astype(np.float32)[:, np.newaxis]


def centre(track: Track) -> NDArray[np.float32]:
    """Return the mean of a track's channels, shape (n_samples,)."""
    # NumPy's own reductions are slow along an axis of two.
    return track[:, 0] if track.shape[1] == 1 else np.float32(0.5) * (track[:, 0] + track[:, 1])


def _louder(track: Track) -> NDArray[np.float32]:
    return np.abs(track[:, 0]) if track.shape[1] == 1 else np.maximum(np.abs(track[:, 0]), np.abs(track[:, 1]))


def _block_means(values: NDArray[np.floating]) -> NDArray[np.float64]:
    n_blocks = max(1, len(values) // _CONTROL)
    whole = values[: n_blocks * _CONTROL]
    if len(whole) < _CONTROL:
        return np.array([float(np.mean(values))]) if len(values) else np.zeros(1)
    return whole.reshape(n_blocks, _CONTROL).mean(axis=1, dtype=np.float64)


def _one_pole(values: NDArray[np.float64], time_ms: float) -> NDArray[np.float64]:
    keep = np.exp(-_CONTROL / (RATE * time_ms / 1000))
    return lfilter([1 - keep], [1, -keep], values)


def _stretched(control: NDArray[np.float64], n_samples: int) -> NDArray[np.float32]:
    places = (np.arange(len(control)) + 0.5) * _CONTROL
    return np.interp(np.arange(n_samples), places, control).astype(np.float32)

"""What a hearing loss does to the cochlea, and the cochlea applied to a sound.

Kates (2013), "An auditory model for intelligibility and quality predictions", Proc. Meetings on Acoustics 19, 050184,
with the constants of pyclarity 0.9.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled
from cadenza_remix.metrics.auditory import filters
from cadenza_remix.metrics.auditory.filters import LANES, MODEL_RATE, Lanes

AUDIOGRAM_FREQUENCIES_HZ = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0])

N_CHANNELS = 32
N_GROUPS = N_CHANNELS // LANES
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 8000.0
_EAR_Q, _MIN_ERB_HZ = 9.26449, 24.7
_SPL_OF_LINEAR_LOW, _SPL_OF_LINEAR_HIGH = 30.0, 100.0
_CONTROL_LOSS_DB_HL = 100.0
_GAIN_SMOOTHING_HZ = 800.0


def _centre_frequencies() -> NDArray[np.float64]:
    """Return ``N_CHANNELS`` frequencies, equally spaced in equivalent rectangular bandwidths (Slaney 1993)."""
    corner = _EAR_Q * _MIN_ERB_HZ
    inner = np.geomspace(_LOWEST_HZ + corner, _HIGHEST_HZ + corner, N_CHANNELS) - corner
    inner[-1] = _HIGHEST_HZ
    return inner


CENTRE_FREQUENCIES_HZ = _centre_frequencies()
_ERB_HZ = _MIN_ERB_HZ + CENTRE_FREQUENCIES_HZ / _EAR_Q


@dataclass(frozen=True, eq=False)
class Cochlea:
    """One ear's parameters in each of the 32 channels.

    ``attenuation_ohc_db`` and ``attenuation_ihc_db``: the loss of outer and inner hair cells; ``bandwidth``: filter
    width at low levels, relative to a normal ear; ``knee_db_spl``: where compression begins; ``compression_ratio``.
    """

    attenuation_ohc_db: NDArray[np.float64]
    attenuation_ihc_db: NDArray[np.float64]
    bandwidth: NDArray[np.float64]
    knee_db_spl: NDArray[np.float64]
    compression_ratio: NDArray[np.float64]

    @classmethod
    def with_loss(cls, loss_db_hl: NDArray[np.float64]) -> Cochlea:
        """Share a loss at ``AUDIOGRAM_FREQUENCIES_HZ`` out between outer and inner hair cells.

        Outer hair cells take 80 % up to the loss that makes a channel linear (Moore et al. 1999); their loss lowers the
        compression ratio, which in a normal ear runs from 1.25 at 80 Hz to 3.5 at 8 kHz, and widens the filters.
        The loss is interpolated on linear frequency, its ends are held, and gains (negative losses) count as none.
        """
        loss = np.maximum(np.interp(CENTRE_FREQUENCIES_HZ, AUDIOGRAM_FREQUENCIES_HZ, loss_db_hl), 0.0)
        normal_ratio = 1.25 + 2.25 * np.arange(N_CHANNELS) / (N_CHANNELS - 1)
        compressed_range_db = _SPL_OF_LINEAR_HIGH - _SPL_OF_LINEAR_LOW
        shared = np.minimum(loss, 1.25 * compressed_range_db * (1.0 - 1.0 / normal_ratio))
        ohc = 0.8 * shared
        knee = _SPL_OF_LINEAR_LOW + ohc
        output_at_top = _SPL_OF_LINEAR_LOW + compressed_range_db / normal_ratio
        return cls(
            attenuation_ohc_db=ohc,
            attenuation_ihc_db=0.2 * shared + (loss - shared),
            bandwidth=1.0 + ohc / 50.0 + 2.0 * (ohc / 50.0) ** 6,
            knee_db_spl=knee,
            compression_ratio=(_SPL_OF_LINEAR_HIGH - knee) / (output_at_top + ohc - knee),
        )


_CONTROL_BANDWIDTH = Cochlea.with_loss(np.full(len(AUDIOGRAM_FREQUENCIES_HZ), _CONTROL_LOSS_DB_HL)).bandwidth


def middle_ear(sound: NDArray[np.floating]) -> NDArray[np.float64]:
    """Filter as the middle ear does: first-order low-pass at 5 kHz, second-order high-pass at 350 Hz."""
    filtered = np.empty(len(sound))
    _third_order(*_middle_ear_filter(), sound, filtered)
    return filtered


@compiled()
def _third_order(b, a, x, y):  # type: ignore[no-untyped-def]
    """Filter as ``scipy.signal.lfilter`` does, from rest."""
    b0, b1, b2, b3, a1, a2, a3 = b[0], b[1], b[2], b[3], a[1], a[2], a[3]
    s0 = s1 = s2 = 0.0
    for i in range(len(y)):
        value = b0 * x[i] + s0
        s0 = b1 * x[i] - a1 * value + s1
        s1 = b2 * x[i] - a2 * value + s2
        s2 = b3 * x[i] - a3 * value
        y[i] = value


@cache
def _middle_ear_filter() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nyquist = MODEL_RATE / 2
    low_b, low_a = scipy.signal.butter(1, 5000 / nyquist)
    high_b, high_a = scipy.signal.butter(2, 350 / nyquist, "high")
    return np.convolve(low_b, high_b), np.convolve(low_a, high_a)


@cache
def _gain_smoothing() -> tuple[float, float]:
    """Return what the smoothed gain takes of the present and last gain, and of itself."""
    b, a = scipy.signal.butter(1, _GAIN_SMOOTHING_HZ / (MODEL_RATE / 2))
    return float(b[0]), float(-a[1])


def _decay(bandwidth: NDArray[np.float64], erb_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-2 * np.pi * 1.019 * bandwidth * erb_hz / MODEL_RATE)


def group_delays(bandwidth: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the delay in samples that brings every channel level with the slowest one."""
    decay = _decay(bandwidth, _ERB_HZ)
    zeros = (4 * decay + 8 * decay**2) / (1 + 4 * decay + 4 * decay**2)
    delay = np.rint(zeros + 4 * decay / (1 - decay)).astype(np.int64)
    return delay.max() - delay


@dataclass(frozen=True, eq=False)
class Control:
    """What the control path of one group of channels says about a sound."""

    gains: NDArray[np.float32]
    rms: NDArray[np.float64]
    bandwidth: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vibration:
    """Compressed envelope and basilar membrane motion of one group of channels, and the RMS before compression."""

    envelope: Lanes
    motion: Lanes
    rms: NDArray[np.float64]


def padded_length(n_samples: int) -> int:
    """Return the number of samples rounded up to whole blocks of the filter loops."""
    return -(-n_samples // filters.BLOCK) * filters.BLOCK


def control_path(
    sound: NDArray[np.float64],
    n_samples: int,
    group: int,
    cochlea: Cochlea,
    level1_db_spl: float,
    gains: NDArray[np.float32],
) -> Control:
    """Run the wide control filters of one group: the gain at each sample and the widths that the level asks for.

    Parameters
    ----------
    sound : array of shape (n_padded,)
        After the middle ear, zero from ``n_samples`` on.
    gains : array of shape (n_padded * LANES,)
        Is overwritten.
    """
    channels = slice(group * LANES, (group + 1) * LANES)
    work, peak_gain = _filter_work(_CONTROL_BANDWIDTH[channels], channels)
    softening = 1.0 - 1.0 / cochlea.compression_ratio[channels]
    knee = cochlea.knee_db_spl[channels]
    filters.set_compression(
        work,
        power_re_knee=peak_gain * 10.0 ** ((level1_db_spl - knee) / 10.0),
        highest=10.0 ** ((_SPL_OF_LINEAR_HIGH - knee) / 10.0),
        slope=-0.5 * softening,
        offset=-cochlea.attenuation_ohc_db[channels] * np.log2(10.0) / 20.0,
    )
    filters.control_gains(sound, n_samples, *_gain_smoothing(), work, gains)
    rms = np.sqrt(filters.power_sum(work) * peak_gain / n_samples)
    bandwidth = _widened(cochlea.bandwidth[channels], _CONTROL_BANDWIDTH[channels], rms, level1_db_spl)
    return Control(gains, rms, bandwidth)


def signal_path(
    sound: NDArray[np.float64], n_samples: int, group: int, control: Control, out: NDArray[np.float32]
) -> Vibration:
    """Run the signal filters of one group and apply the control path's gains; ``out`` (envelope, motion) is filled."""
    channels = slice(group * LANES, (group + 1) * LANES)
    work, peak_gain = _filter_work(control.bandwidth, channels)
    envelope, motion = out
    filters.compressed_motion(sound, n_samples, work, control.gains, envelope, motion)
    rms = np.sqrt(filters.power_sum(work) * peak_gain / n_samples)
    total, energy, swing = filters.vibration_sums(work)
    # In single precision, because that is what is taken away from the samples.
    mean = (total / n_samples).astype(np.float32).astype(np.float64)
    return Vibration(
        envelope=Lanes(envelope, n_samples, mean, np.maximum(energy - n_samples * mean**2, 0.0)),
        motion=Lanes(motion, n_samples, np.zeros(LANES), swing),
        rms=rms,
    )


def loudness_spectrum_db(
    signal_rms: NDArray[np.float64], control_rms: NDArray[np.float64], cochlea: Cochlea, level1_db_spl: float
) -> NDArray[np.float64]:
    """Return the long-term level in dB above threshold in each channel, from RMS values of both paths."""
    control_db_spl = np.clip(_db_spl(control_rms, level1_db_spl), cochlea.knee_db_spl, _SPL_OF_LINEAR_HIGH)
    compression_db = (control_db_spl - cochlea.knee_db_spl) * (1.0 - 1.0 / cochlea.compression_ratio)
    level = np.maximum(_db_spl(signal_rms, level1_db_spl), 0.0)
    return np.maximum(level - cochlea.attenuation_ohc_db - compression_db - cochlea.attenuation_ihc_db, 0.0)


def _filter_work(bandwidth: NDArray[np.float64], channels: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    decay = _decay(bandwidth, _ERB_HZ[channels])
    peak_gain = 18.0 * (1.0 - decay) ** 4 / (1.0 + 2.0 * decay) ** 2
    radians = 2 * np.pi * CENTRE_FREQUENCIES_HZ[channels] / MODEL_RATE
    return filters.filter_work(decay, radians, peak_gain), peak_gain


def _widened(
    narrowest: NDArray[np.float64], widest: NDArray[np.float64], rms: NDArray[np.float64], level1_db_spl: float
) -> NDArray[np.float64]:
    """Widen filters with level: not below 50 dB SPL, all the way from 100 dB SPL on."""
    fraction = np.clip((_db_spl(rms, level1_db_spl) - 50.0) / 50.0, 0.0, 1.0)
    return narrowest + fraction * (widest - narrowest)


def _db_spl(rms: NDArray[np.float64], level1_db_spl: float) -> NDArray[np.float64]:
    return level1_db_spl + 20.0 * np.log10(np.maximum(rms, 1e-30))

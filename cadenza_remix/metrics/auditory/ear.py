"""Two signals through one ear: the whole auditory model, in groups of channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.metrics.auditory import alignment, covariance, hair_cells
from cadenza_remix.metrics.auditory.cochlea import (
    N_CHANNELS,
    N_GROUPS,
    Cochlea,
    Control,
    Vibration,
    control_path,
    group_delays,
    loudness_spectrum_db,
    padded_length,
    signal_path,
)
from cadenza_remix.metrics.auditory.filters import LANES
from cadenza_remix.metrics.auditory.noise import NormalStream

_NOISE_DB_RE_THRESHOLD = -10.0


@dataclass(frozen=True, eq=False)
class HeardPair:
    """What an ear makes of a reference and a processed signal.

    ``smooth_*`` (channels, segments): envelopes in dB above threshold; ``spectrum_*_db`` (channels,): long-term levels;
    ``vibration_covariance``: agreement of the fine structure.
    """

    smooth_reference: NDArray[np.float64]
    smooth_processed: NDArray[np.float64]
    spectrum_reference_db: NDArray[np.float64]
    spectrum_processed_db: NDArray[np.float64]
    vibration_covariance: float


class _Side:
    """One signal on its way through the ear.

    The rows of a group of channels hold its compression gains until they take its motion.
    """

    def __init__(self, sound: NDArray[np.float64], cochlea: Cochlea, level1_db_spl: float) -> None:
        self.n_samples = len(sound)
        self.sound = np.zeros(padded_length(len(sound)))
        self.sound[: len(sound)] = sound
        self.cochlea = cochlea
        self.level1_db_spl = level1_db_spl
        self._storage = np.empty((N_GROUPS, LANES * len(self.sound)), dtype=np.float32)
        self.rows = [group[: LANES * self.n_samples].reshape(LANES, -1) for group in self._storage]
        self.controls: list[Control] = []
        self._signal_rms: list[NDArray[np.float64]] = []
        self._sums: list[NDArray[np.float64]] = []

    def run_control(self, group: int) -> None:
        gains = self._storage[group]
        self.controls.append(
            control_path(self.sound, self.n_samples, group, self.cochlea, self.level1_db_spl, gains)
        )

    def vibrate(self, group: int, buffers: tuple[NDArray[np.float32], NDArray[np.float32]]) -> Vibration:
        vibration = signal_path(self.sound, self.n_samples, group, self.controls[group], buffers)
        self._signal_rms.append(vibration.rms)
        return vibration

    def adapt(
        self,
        group: int,
        vibration: Vibration,
        delays: tuple[NDArray[np.int64], NDArray[np.int64]],
        shift: NDArray[np.int64],
    ) -> None:
        channels = slice(group * LANES, (group + 1) * LANES)
        attenuation = self.cochlea.attenuation_ihc_db[channels]
        rows = self.rows[group]
        self._sums.append(
            hair_cells.adapt(vibration, delays, shift[channels], attenuation, self.level1_db_spl, rows)
        )

    def smoothed(self) -> NDArray[np.float64]:
        return hair_cells.smooth(np.concatenate(self._sums, axis=2), self.n_samples)

    def spectrum_db(self) -> NDArray[np.float64]:
        control_rms = np.concatenate([control.rms for control in self.controls])
        return loudness_spectrum_db(np.concatenate(self._signal_rms), control_rms, self.cochlea, self.level1_db_spl)

    def channel(self, k: int) -> NDArray[np.float32]:
        return self.rows[k // LANES][k % LANES]


def hear(
    reference: NDArray[np.float64],
    processed: NDArray[np.float64],
    reference_ear: Cochlea,
    processed_ear: Cochlea,
    level1_db_spl: float,
    noise: NormalStream,
) -> HeardPair:
    """Run both signals (at 24 kHz, of one length, after the middle ear) through the model.

    Parameters
    ----------
    reference, processed : arrays of shape (n_samples,)
    reference_ear, processed_ear : Cochlea
    level1_db_spl : float
        What an RMS of 1 stands for.
    noise : NormalStream
        Gives 32 rows of ``n_samples`` for the reference, then as many for the processed signal.
    """
    first, second = _Side(reference, reference_ear, level1_db_spl), _Side(processed, processed_ear, level1_db_spl)
    for group in range(N_GROUPS):
        first.run_control(group)
    shift = group_delays(np.concatenate([control.bandwidth for control in first.controls]))
    _vibrate_and_align(first, second, shift)
    covariance_value = _fine_structure(first, second, shift, noise)
    return HeardPair(
        smooth_reference=first.smoothed(),
        smooth_processed=second.smoothed(),
        spectrum_reference_db=first.spectrum_db(),
        spectrum_processed_db=second.spectrum_db(),
        vibration_covariance=covariance_value,
    )


def _vibrate_and_align(first: _Side, second: _Side, shift: NDArray[np.int64]) -> None:
    """Take both sides as far as the inner hair cells, the processed one aligned to the reference."""
    grid = alignment.Grid.for_length(first.n_samples)
    size = LANES * len(first.sound)
    buffers = [(np.empty(size, np.float32), np.empty(size, np.float32)) for _ in range(2)]
    in_place = np.zeros(LANES, dtype=np.int64)
    for group in range(N_GROUPS):
        one = first.vibrate(group, buffers[0])
        second.run_control(group)
        other = second.vibrate(group, buffers[1])
        late = (
            alignment.delays(one.envelope, alignment.block_spectra(one.envelope, grid), other.envelope, grid),
            alignment.delays(one.motion, alignment.block_spectra(one.motion, grid), other.motion, grid),
        )
        first.adapt(group, one, (in_place, in_place), shift)
        second.adapt(group, other, late, shift)


def _fine_structure(first: _Side, second: _Side, shift: NDArray[np.int64], noise: NormalStream) -> float:
    """Add the noise of the threshold to both sides and compare their motion tile by tile."""
    n_samples = first.n_samples
    gain = 10.0 ** ((_NOISE_DB_RE_THRESHOLD - first.level1_db_spl) / 20.0)
    for k in range(N_CHANNELS):
        noise.add_to(first.channel(k)[shift[k] :], n_samples, gain)
    audible = covariance.audible_tiles(first.rows)
    sums = np.zeros(N_CHANNELS)
    for k in range(N_CHANNELS):
        noise.add_to(second.channel(k)[shift[k] :], n_samples, gain)
        sums[k] = covariance.channel_covariances(first.channel(k), second.channel(k), audible[k]).sum()
    return covariance.mean_covariance(sums, audible)

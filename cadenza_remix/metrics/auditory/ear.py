"""Two signals through one ear: the whole auditory model, in groups of channels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.metrics.auditory import covariance, hair_cells
from cadenza_remix.metrics.auditory.alignment import AlignmentTarget
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
from cadenza_remix.metrics.auditory.noise import ThresholdNoise
from cadenza_remix.metrics.auditory.scratch import Scratch

_NOISE_DB_RE_THRESHOLD = -10.0
# How far envelope and motion of each group are thinned out to be aligned: high channels vary faster than low ones.
_THINNING = ((4, 4), (4, 4), (4, 2), (2, 1))
_IN_PLACE = np.zeros(LANES, dtype=np.int64)


class _Side:
    """One signal on its way through the ear.

    The rows of a group of channels hold its compression gains until they take its motion.
    """

    def __init__(
        self,
        sound: NDArray[np.float64],
        cochlea: Cochlea,
        level1_db_spl: float,
        scratch: Scratch | None,
        *,
        first_noise_row: int,
    ) -> None:
        self.n_samples = len(sound)
        self.level1_db_spl = level1_db_spl
        self._first_noise_row = first_noise_row
        self._scratch = scratch
        self._sound = np.zeros(padded_length(len(sound)))
        self._sound[: len(sound)] = sound
        self._cochlea = cochlea
        # One large array rather than several: the system then gives it in large pages, which it does much faster.
        self._storage = self._empty(N_GROUPS)
        self.rows = [group[: LANES * self.n_samples].reshape(LANES, -1) for group in self._storage]
        self._controls: list[Control] = []
        self._signal_rms: list[NDArray[np.float64]] = []
        self._sums: list[NDArray[np.float64]] = []

    def buffers(self) -> NDArray[np.float32]:
        """Return room for the envelope and the motion of one group."""
        return self._empty(2)

    def _empty(self, n_arrays: int) -> NDArray[np.float32]:
        size = LANES * len(self._sound)
        empty = Scratch().empty if self._scratch is None else self._scratch.empty
        return empty(n_arrays * size).reshape(n_arrays, size)

    def run_control(self, group: int) -> Control:
        gains = self._storage[group]
        control = control_path(self._sound, self.n_samples, group, self._cochlea, self.level1_db_spl, gains)
        self._controls.append(control)
        return control

    def vibrate(self, group: int, buffers: NDArray[np.float32]) -> Vibration:
        vibration = signal_path(self._sound, self.n_samples, group, self._controls[group], buffers)
        self._signal_rms.append(vibration.rms)
        return vibration

    def adapt(
        self,
        group: int,
        vibration: Vibration,
        delays: Sequence[NDArray[np.int64]],
        shift: NDArray[np.int64],
    ) -> None:
        channels = slice(group * LANES, (group + 1) * LANES)
        attenuation = self._cochlea.attenuation_ihc_db[channels]
        rows = self.rows[group]
        self._sums.append(hair_cells.adapt(vibration, delays, shift[channels], attenuation, self.level1_db_spl, rows))

    def smoothed(self) -> NDArray[np.float64]:
        """Return the envelopes in dB above threshold, (channels, segments)."""
        return hair_cells.smooth(np.concatenate(self._sums, axis=2), self.n_samples)

    def spectrum_db(self) -> NDArray[np.float64]:
        """Return the long-term level above threshold of each channel."""
        control_rms = np.concatenate([control.rms for control in self._controls])
        return loudness_spectrum_db(np.concatenate(self._signal_rms), control_rms, self._cochlea, self.level1_db_spl)

    def forget_what_was_used(self) -> None:
        """Let go of everything but the motion."""
        self._sound = self._sound[:0].copy()
        self._sums.clear()

    @property
    def n_bytes(self) -> int:
        return self._sound.nbytes + self._storage.nbytes + sum(sums.nbytes for sums in self._sums)

    def channel(self, k: int) -> NDArray[np.float32]:
        return self.rows[k // LANES][k % LANES]

    def add_noise(self, k: int, shift: int, noise: ThresholdNoise) -> None:
        """Add the threshold's noise to a channel's motion, which has been shifted already."""
        gain = 10.0 ** ((_NOISE_DB_RE_THRESHOLD - self.level1_db_spl) / 20.0)
        noise.add_row(self._first_noise_row + k, self.channel(k)[shift:], self.n_samples, gain)


class HeardReference:
    """The reference's side of the model, which depends on nothing but the reference and the ear.

    Parameters
    ----------
    sound : array of shape (n_samples,)
        At 24 kHz, after the middle ear.
    cochlea : Cochlea
    level1_db_spl : float
        What an RMS of 1 stands for.
    scratch : Scratch or None
        Where large arrays come from; None for a reference that is kept.

    Notes
    -----
    ``groups`` walks through the groups of channels once; then ``add_noise`` completes the reference. With ``keep``
    both happen at once and the reference can meet any number of processed signals.
    """

    def __init__(
        self, sound: NDArray[np.float64], cochlea: Cochlea, level1_db_spl: float, scratch: Scratch | None
    ) -> None:
        self.level1_db_spl = level1_db_spl
        self.n_samples = len(sound)
        self._side = _Side(sound, cochlea, level1_db_spl, scratch, first_noise_row=0)
        bandwidths = [self._side.run_control(group).bandwidth for group in range(N_GROUPS)]
        self.shift = group_delays(np.concatenate(bandwidths))
        self._kept: list[list[AlignmentTarget]] = []

    def groups(self) -> Iterable[Iterable[AlignmentTarget]]:
        """Give for each group of channels what envelope and motion are aligned to, in this order."""
        return self._kept or self._walk()

    def _walk(self, *, fresh: bool = False) -> Iterator[Iterator[AlignmentTarget]]:
        """Go through the groups; ``fresh``: what they give remains valid."""
        buffers = self._side.buffers()
        for group, factors in enumerate(_THINNING):
            buffers = self._side.buffers() if fresh else buffers
            vibration = self._side.vibrate(group, buffers)
            both = zip((vibration.envelope, vibration.motion), factors, strict=True)
            yield (AlignmentTarget.of(lanes, factor) for lanes, factor in both)
            self._side.adapt(group, vibration, (_IN_PLACE, _IN_PLACE), self.shift)

    def keep(self, noise: ThresholdNoise) -> None:
        self._kept = [[target.keep() for target in targets] for targets in self._walk(fresh=True)]
        self.add_noise(noise)
        self._side.forget_what_was_used()

    def add_noise(self, noise: ThresholdNoise) -> None:
        for k in range(N_CHANNELS):
            self._side.add_noise(k, int(self.shift[k]), noise)
        self.audible = covariance.audible_tiles(self._side.rows)
        self.smooth = self._side.smoothed()
        self.spectrum_db = self._side.spectrum_db()

    @property
    def n_bytes(self) -> int:
        targets = sum(target.n_bytes for group in self._kept for target in group)
        return self._side.n_bytes + targets + self.audible.nbytes + self.smooth.nbytes

    @property
    def is_kept(self) -> bool:
        return bool(self._kept)

    def channel(self, k: int) -> NDArray[np.float32]:
        return self._side.channel(k)


@dataclass(frozen=True, eq=False)
class HeardProcessed:
    """What an ear makes of the processed signal beside the reference.

    ``smooth`` (channels, segments): envelopes in dB above threshold; ``spectrum_db`` (channels,): long-term levels;
    ``vibration_covariance``: agreement of the fine structure with the reference's.
    """

    smooth: NDArray[np.float64]
    spectrum_db: NDArray[np.float64]
    vibration_covariance: float


def hear_processed(
    sound: NDArray[np.float64], cochlea: Cochlea, reference: HeardReference, noise: ThresholdNoise, scratch: Scratch
) -> HeardProcessed:
    """Run a processed signal through the model, aligned to the reference in every channel.

    Parameters
    ----------
    sound : array of shape (n_samples,)
        At 24 kHz, after the middle ear, as long as the reference.
    noise : NormalStream
        Gives 32 rows of ``n_samples``; before them as many for the reference, unless it has been kept.
    scratch : Scratch
        Where large arrays come from.
    """
    side = _Side(sound, cochlea, reference.level1_db_spl, scratch, first_noise_row=N_CHANNELS)
    buffers = side.buffers()
    for group, targets in enumerate(reference.groups()):
        side.run_control(group)
        vibration = side.vibrate(group, buffers)
        both = zip(targets, (vibration.envelope, vibration.motion), strict=True)
        late = [target.delays(lanes) for target, lanes in both]
        side.adapt(group, vibration, late, reference.shift)
    if not reference.is_kept:
        reference.add_noise(noise)
    sums = np.zeros(N_CHANNELS)
    for k in range(N_CHANNELS):
        side.add_noise(k, int(reference.shift[k]), noise)
        tiles = covariance.channel_covariances(reference.channel(k), side.channel(k), reference.audible[k])
        sums[k] = tiles.sum()
    return HeardProcessed(
        smooth=side.smoothed(),
        spectrum_db=side.spectrum_db(),
        vibration_covariance=covariance.mean_covariance(sums, reference.audible),
    )

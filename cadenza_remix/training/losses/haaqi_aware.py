"""A loss made after what HAAQI was found to punish: ``haaqi-aware``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.training.losses.magnitude import along_mixture
from cadenza_remix.training.losses.spectra import TINY, check_choice, check_range, given, magnitudes

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec

VOCALS = "vocals"
TARGETS = ("magnitude", "phase-sensitive")
# Where the metric's filter bank ends.
_HIGHEST_HZ = 8000.0


class HaaqiAware:
    """``haaqi-aware``: the distance of log magnitudes, weighted to 500-2000 Hz, with quiet bins counted.

    HAAQI compares the dB envelopes of auditory channels wherever the reference is audible, so that quiet bins count
    like loud ones; nearly all that separation loses is lost in that part, most of it from 500 to 2000 Hz. Vocals
    suffer from holes (where the estimate is below the true stem), everything else from leaks (where it is above). The
    default weights are as the gains in HAAQI that were measured when holes and leaks of Spleeter's stems were repaired
    one at a time: vocals +0.34 and +0.13, accompaniment +0.16 and +0.26; each pair has a mean of 1.

    What the loss cannot do is make a network hear quiet passages as it hears loud ones: that is done by level
    augmentation, the gains of `cadenza_remix.training.data.augmentation.Augmentation`; train with it on.

    The value is a mean of ``log10`` ratios of amplitudes: 1 is 20 dB.

    Parameters
    ----------
    spec : NetworkSpec
        Of the network that is trained; the stem named ``vocals`` gets the weights of vocals.
    low_hz, high_hz : float
        The band of full weight.
    octave_weight : float
        What the weight is multiplied by for each octave away from the band.
    least_weight : float
        No bin weighs less, so that masks are learnt everywhere; above 8 kHz, where HAAQI hears nothing, all bins do.
    floor_db : float
        Added to both magnitudes, against the root mean square of the excerpt's mixture magnitudes: what lies below
        hardly counts. Lower counts quieter bins.
    vocals_hole, vocals_leak, rest_hole, rest_leak : float
        How much holes and leaks count.
    target : {"magnitude", "phase-sensitive"}
        What the estimates shall equal: the stem's magnitude, or its part along the mixture's phase, 0 to the mixture's
        magnitude.
    """

    needs = frozenset({"masks"})

    def __init__(
        self,
        spec: NetworkSpec,
        *,
        low_hz: float = 500.0,
        high_hz: float = 2000.0,
        octave_weight: float = 0.5,
        least_weight: float = 0.1,
        floor_db: float = -50.0,
        vocals_hole: float = 1.45,
        vocals_leak: float = 0.55,
        rest_hole: float = 0.76,
        rest_leak: float = 1.24,
        target: str = "magnitude",
    ) -> None:
        name = "haaqi-aware"
        check_range("low_hz", low_hz, 0.0, np.inf, loss=name)
        check_range("high_hz", high_hz, 0.0, np.inf, loss=name)
        if not 0.0 < low_hz < high_hz:
            raise InputError("no band", where=f"the loss {name!r}", expected="0 < low_hz < high_hz", found=low_hz)
        check_range("octave_weight", octave_weight, 0.0, 1.0, loss=name)
        check_range("least_weight", least_weight, 0.0, 1.0, loss=name)
        weights = bin_weights(spec, low_hz, high_hz, octave_weight=octave_weight, least_weight=least_weight)
        self._bins = weights[:, None, None]
        self._floor = 10.0 ** (check_range("floor_db", floor_db, -120.0, 0.0, loss=name) / 20.0)
        pairs = {"vocals_hole": vocals_hole, "vocals_leak": vocals_leak, "rest_hole": rest_hole, "rest_leak": rest_leak}
        for setting, value in pairs.items():
            check_range(setting, value, 0.0, np.inf, loss=name)
        self._hole = np.array([vocals_hole if stem == VOCALS else rest_hole for stem in spec.stems], dtype=np.float32)
        self._leak = np.array([vocals_leak if stem == VOCALS else rest_leak for stem in spec.stems], dtype=np.float32)
        self._along = check_choice("target", target, TARGETS, loss=name) == "phase-sensitive"

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        ops = load_keras().ops
        heard = magnitudes(mixture)
        wanted = along_mixture(mixture, targets, truncate=True) if self._along else magnitudes(targets)
        level = ops.sqrt(ops.mean(ops.square(heard), axis=(1, 2, 3), keepdims=True))
        floor = ops.maximum(self._floor * level, TINY)[..., None]
        estimates = given(outputs, "masks", "haaqi-aware") * heard[..., None]
        ratio = (ops.log(estimates + floor) - ops.log(wanted + floor)) / float(np.log(10.0))
        leak, hole = ops.maximum(ratio, 0.0), ops.maximum(-ratio, 0.0)
        bins, holes, leaks = (ops.convert_to_tensor(weights) for weights in (self._bins, self._hole, self._leak))
        return ops.mean(bins * (leaks * leak + holes * hole))


def bin_weights(
    spec: NetworkSpec, low_hz: float, high_hz: float, *, octave_weight: float, least_weight: float
) -> NDArray[np.float32]:
    """Return the weight of each bin, (n_bins,), with a mean of 1."""
    hz = np.arange(spec.n_bins) * spec.sample_rate / spec.fft_length
    hz = np.maximum(hz, 1.0)
    octaves = np.maximum(0.0, np.maximum(np.log2(low_hz / hz), np.log2(hz / high_hz)))
    weights = np.where(hz > _HIGHEST_HZ, least_weight, np.maximum(octave_weight**octaves, least_weight))
    return (weights / max(weights.mean(), TINY)).astype(np.float32)

"""How near a separated signal comes to the true one, in dB: SNR, SDR, SI-SDR and BSS Eval v4.

Conventions
-----------
- ``reference`` is the true signal, ``estimate`` the separated one. Both have the shape (n_samples,) or (n_samples, 1 or
  2), the same length and, where they are `Audio`, the same sample rate; a difference is refused, never cut or
  resampled away. Nothing is aligned, normalised or freed from its mean. A score per ear is that of one channel.
- A perfect estimate scores plus infinity. Of what is compared through a projection (SDR, SI-SDR), perfect is what
  leaves less than -200 dB behind, which is below the rounding of float32 files and above that of the arithmetic.
- A silent reference has no score: NaN. A silent estimate of a sounding reference has an SNR of 0 dB, and NaN for SDR
  and SI-SDR, which ask for the shape of the estimate and find none.

Which one to read: SNR counts every deviation, of level too. SI-SDR forgives a wrong level, SDR whatever a short filter
does (level, equalisation, a delay of up to 511 samples), as listeners largely do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.metrics.bss import projection_filters, projections
from cadenza_remix.units import energy_ratio_db

_PERFECT = 1e-20
_BLOCK = 2**18
_MEASURES = ("sdr_db", "isr_db", "sir_db", "sar_db")


def snr_db(reference: Audio | ArrayLike, estimate: Audio | ArrayLike) -> float:
    """Return the signal-to-noise ratio: the energy of the reference over that of the difference, in dB.

    ``10 log10(sum r^2 / sum (r - e)^2)``, both sums over all samples and channels. This is the SDR of the Music
    Demixing Challenges (Mitsufuji et al. 2022, doi 10.3389/frsip.2021.808395) without their small constants.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)

    Raises
    ------
    InputError
        Shapes, lengths or sample rates that differ, NaN or infinity, no samples, integers.

    Examples
    --------
    >>> round(snr_db([1.0, -1.0], [0.5, -0.5]), 2)
    6.02
    """
    true, guess = _pair(reference, estimate)
    signal = noise = 0.0
    for r, e in _blocks(true, guess):
        signal += _energy(r)
        noise += _energy(r - e)
    return float("nan") if signal == 0 else energy_ratio_db(signal, noise)


def si_sdr_db(reference: Audio | ArrayLike, estimate: Audio | ArrayLike) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB.

    ``10 log10(|a r|^2 / |a r - e|^2)`` with ``a = <e, r> / <r, r>`` (Le Roux, Wisdom, Erdogan & Hershey 2019, "SDR -
    half-baked or well done?", equations 3 and 5). Stereo signals have one common scale. The mean is not removed.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)

    Raises
    ------
    InputError
        As for `snr_db`.

    Examples
    --------
    >>> si_sdr_db([1.0, -1.0, 0.0], [0.5, -0.5, 0.0])
    inf
    """
    true, guess = _pair(reference, estimate)
    energy = product = 0.0
    for r, e in _blocks(true, guess):
        energy += _energy(r)
        product += float(np.vdot(r, e))
    if energy == 0:
        return float("nan")
    scale = product / energy
    distortion = sum(_energy(scale * r - e) for r, e in _blocks(true, guess))
    return _projected_ratio_db(scale * product, distortion)


def sdr_db(reference: Audio | ArrayLike, estimate: Audio | ArrayLike, *, filter_length: int = 512) -> float:
    """Return BSS Eval's source-to-distortion ratio, which allows a short time-invariant filter, in dB.

    ``10 log10(|p|^2 / |p - e|^2)``, where p is what a filter of ``filter_length`` taps makes of the reference to come
    nearest to the estimate. For one channel this is the SDR of ``bss_eval_sources`` (Vincent, Gribonval & Févotte 2006,
    equations 14 to 17; BSS Eval 3.0), which depends on the source's own reference only: the other sources matter for
    SIR and SAR. Two channels are taken together: each channel of the estimate is projected on both channels of the
    reference, and the energies of both are summed (the sources version of BSS Eval 4). For a score per ear give one
    channel at a time. The SDR of ``bss_eval_images`` is another one: that is `snr_db`.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)
    filter_length : int
        Taps of the filter that is forgiven, delays from 0 on. With 1, one channel scores its SI-SDR.

    Raises
    ------
    InputError
        As for `snr_db`; a filter length that is not a positive whole number.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(4000)
    >>> delayed = np.concatenate([np.zeros(7), noise[:-7]])
    >>> round(snr_db(noise, delayed)), round(sdr_db(noise, delayed))
    (-3, 34)
    """
    _check_filter_length(filter_length)
    true, guess = _pair(reference, estimate)
    if not true.any():
        return float("nan")
    filters = projection_filters(true, guess, filter_length=filter_length)
    target = distortion = 0.0
    for start, projected in projections(true, filters):
        difference = projected.copy()
        heard = guess[start : start + len(projected)]
        difference[: len(heard)] -= heard
        target += _energy(projected)
        distortion += _energy(difference)
    return _projected_ratio_db(target, distortion)


@dataclass(frozen=True, eq=False)
class BssEvalResult:
    """What `bss_eval` found, in dB, as arrays of shape (n_sources, n_windows).

    Windows in which any source is silent, in reference or estimate, are NaN.

    Parameters
    ----------
    sources : tuple of str
        The names of the rows.
    sdr_db : array
        True source over everything that is wrong.
    isr_db : array
        True source over what a filter makes wrong with it (spatial distortion, equalisation, level).
    sir_db : array
        Filtered true source over what a filter makes of the other sources (interference).
    sar_db : array
        All filtered sources over the rest (artefacts).
    """

    sources: tuple[str, ...]
    sdr_db: NDArray[np.float64]
    isr_db: NDArray[np.float64]
    sir_db: NDArray[np.float64]
    sar_db: NDArray[np.float64]

    def medians(self) -> dict[str, dict[str, float]]:
        """Return the median over the windows by source and measure, as separation campaigns report a song."""
        return {
            name: {measure: _median(getattr(self, measure)[row]) for measure in _MEASURES}
            for row, name in enumerate(self.sources)
        }


def bss_eval(
    references: Mapping[str, Audio | ArrayLike],
    estimates: Mapping[str, Audio | ArrayLike],
    *,
    sample_rate: int | None = None,
    window_s: float = 1.0,
    hop_s: float = 1.0,
    filter_length: int = 512,
) -> BssEvalResult:
    """Return SDR, ISR, SIR and SAR by window: BSS Eval v4 for source images.

    The distortion filters are found once for the whole signals and applied window by window (Stöter, Liutkus & Ito
    2018, "The 2018 Signal Separation Evaluation Campaign"; the measures after Vincent et al. 2007, "First stereo audio
    source separation evaluation campaign"). Equal to ``museval.metrics.bss_eval`` 0.4.1 with the same window, but for
    silence: a window is left out where all samples of a source are zero, not also where its channels cancel. Sources
    are matched by name and not permuted. Where no reference has energy in a band (music above the limit of its codec),
    SIR and SAR hang on rounding in either implementation: they then agree to 0.01 dB only.

    Parameters
    ----------
    references, estimates : mapping of str to Audio or array of shape (n_samples,) or (n_samples, n_channels)
        The true and the separated signal of each source; all of one shape.
    sample_rate : int, optional
        In Hz; needed for arrays, and known from `Audio`.
    window_s, hop_s : float
        Length of a window and from one window to the next, in seconds. What is left at the end is not scored. A window
        longer than the signals is the whole signals.
    filter_length : int
        Taps of the distortion filters.

    Raises
    ------
    InputError
        As for `sdr_db`; sources that only one side has; no sample rate, or another one than that of the signals.

    Examples
    --------
    >>> drums, voice = np.random.default_rng(0).standard_normal((2, 4000))
    >>> stems = {"drums": drums, "vocals": voice}
    >>> leaky = {"drums": drums + 0.1 * voice, "vocals": voice}
    >>> scores = bss_eval(stems, leaky, sample_rate=1000, filter_length=8).medians()
    >>> round(scores["drums"]["sdr_db"]), scores["vocals"]["sdr_db"]
    (20, inf)
    """
    _check_filter_length(filter_length)
    true, guess, rate = _sources(references, estimates, sample_rate)
    n_sources, n_samples, n_channels = true.shape
    own = [projection_filters(true[i], guess[i], filter_length=filter_length) for i in range(n_sources)]
    every = projection_filters(_side_by_side(true), _side_by_side(guess), filter_length=filter_length)
    windows = _windows(n_samples, rate=rate, window_s=window_s, hop_s=hop_s)
    scores = np.full((len(_MEASURES), n_sources, len(windows)), np.nan)
    for number, window in enumerate(windows):
        here, heard = true[:, window], guess[:, window]
        if not (here.any(axis=(1, 2)).all() and heard.any(axis=(1, 2)).all()):
            continue
        mixed = _projected(_side_by_side(here), every)
        for i in range(n_sources):
            columns = slice(i * n_channels, (i + 1) * n_channels)
            scores[:, i, number] = _window_scores(here[i], heard[i], _projected(here[i], own[i]), mixed[:, columns])
    return BssEvalResult(tuple(references), *scores)


def _window_scores(
    true: NDArray[np.floating],
    guess: NDArray[np.floating],
    own: NDArray[np.float64],
    every: NDArray[np.float64],
) -> list[float]:
    """Return the four measures of one source in one window; the projections are longer by the filter's tail."""
    tail = ((0, len(own) - len(true)), (0, 0))
    r, e = np.pad(true.astype(np.float64), tail), np.pad(guess.astype(np.float64), tail)
    return [
        energy_ratio_db(_energy(r), _energy(e - r)),
        _projected_ratio_db(_energy(r), _energy(own - r)),
        _projected_ratio_db(_energy(own), _energy(every - own)),
        _projected_ratio_db(_energy(every), _energy(e - every)),
    ]


def _sources(
    references: Mapping[str, Audio | ArrayLike], estimates: Mapping[str, Audio | ArrayLike], sample_rate: int | None
) -> tuple[NDArray[np.floating], NDArray[np.floating], int]:
    """Return both sides as (n_sources, n_samples, n_channels), matched by name, and the sample rate."""
    if not references or set(references) != set(estimates):
        raise InputError(
            "references and estimates are not of the same sources",
            expected=", ".join(references) or "at least one source",
            found=", ".join(estimates) or "none",
        )
    pairs = [_pair(references[name], estimates[name]) for name in references]
    shapes = {str(true.shape) for true, _ in pairs}
    if len(shapes) > 1:
        raise InputError("sources differ in shape", expected="one shape", found=" and ".join(sorted(shapes)))
    rates = {signal.sample_rate for signal in references.values() if isinstance(signal, Audio)}
    if sample_rate is not None:
        rates.add(sample_rate)
    if len(rates) != 1:
        raise InputError(
            "the sample rate is not clear",
            expected="one, from Audio or as sample_rate",
            found=" and ".join(f"{rate} Hz" for rate in sorted(rates)) or "none",
        )
    true, guess = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
    return true, guess, rates.pop()


def _windows(n_samples: int, *, rate: int, window_s: float, hop_s: float) -> list[slice]:
    length, hop = round(window_s * rate), round(hop_s * rate)
    if length < 1 or hop < 1:
        raise InputError("window too short", expected="at least one sample", found=f"{window_s:g} s every {hop_s:g} s")
    if length >= n_samples:
        return [slice(0, n_samples)]
    return [slice(start, start + length) for start in range(0, n_samples - length + 1, hop)]


def _side_by_side(sources: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return (n_sources, n_samples, n_channels) as (n_samples, n_sources * n_channels)."""
    return np.moveaxis(sources, 0, 1).reshape(sources.shape[1], -1)


def _projected(references: NDArray[np.floating], filters: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([block for _, block in projections(references, filters)])


def _median(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if len(defined) else float("nan")


def _check_filter_length(filter_length: int) -> None:
    if isinstance(filter_length, bool) or not isinstance(filter_length, int | np.integer) or filter_length < 1:
        raise InputError("wrong filter_length", expected="a positive whole number of taps", found=repr(filter_length))


def _pair(
    reference: Audio | ArrayLike, estimate: Audio | ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return both as (n_samples, n_channels), or refuse them."""
    if isinstance(reference, Audio) != isinstance(estimate, Audio):
        known, bare = ("reference", "estimate") if isinstance(reference, Audio) else ("estimate", "reference")
        raise InputError(f"{known} has a sample rate, {bare} has none", expected="both as Audio or both as arrays")
    if isinstance(reference, Audio) and isinstance(estimate, Audio) and reference.sample_rate != estimate.sample_rate:
        raise InputError(
            "reference and estimate differ in sample rate",
            expected=f"{reference.sample_rate} Hz",
            found=f"{estimate.sample_rate} Hz",
        )
    true, guess = _samples(reference, "reference"), _samples(estimate, "estimate")
    for what, axis in (("length", 0), ("number of channels", 1)):
        if true.shape[axis] != guess.shape[axis]:
            raise InputError(
                f"reference and estimate differ in {what}",
                expected=f"{true.shape[axis]} as the reference",
                found=guess.shape[axis],
            )
    return true, guess


def _samples(signal: Audio | ArrayLike, name: str) -> NDArray[np.floating]:
    if isinstance(signal, Audio):
        return signal.samples
    array = np.asarray(signal)
    if array.dtype.kind != "f":
        raise InputError("wrong kind of samples", where=name, expected="floats", found=array.dtype)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] not in (1, 2):
        raise InputError(
            "wrong shape", where=name, expected="(n_samples,) or (n_samples, 1 or 2)", found=str(np.shape(signal))
        )
    if len(array) == 0:
        raise InputError("holds no samples", where=name, expected="at least one sample", found="length zero")
    if not np.isfinite(array).all():
        first = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InputError(
            "samples are not finite", where=name, expected="finite numbers", found=f"NaN or infinity at sample {first}"
        )
    return array


def _blocks(
    true: NDArray[np.floating], guess: NDArray[np.floating]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield both in float64, a few seconds at a time: long songs are not copied whole."""
    for start in range(0, len(true), _BLOCK):
        yield true[start : start + _BLOCK].astype(np.float64), guess[start : start + _BLOCK].astype(np.float64)


def _energy(samples: NDArray[np.float64]) -> float:
    return float(np.sum(np.square(samples)))


def _projected_ratio_db(target: float, distortion: float) -> float:
    return energy_ratio_db(target, 0.0 if distortion < _PERFECT * target else distortion)

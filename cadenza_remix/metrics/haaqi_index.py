"""HAAQI, the Hearing-Aid Audio Quality Index, version 1.

Kates & Arehart (2016), "The hearing-aid audio quality index (HAAQI)", IEEE/ACM Trans. Audio, Speech, Lang. Process.
24(2), doi:10.1109/TASLP.2015.2507858. The score is that of pyclarity 0.9.0 (``clarity.evaluator.haaqi``) for the same
noise, to about 1e-8; ``evaluation/parity/haaqi.py`` shows it.

Conventions
-----------
- One ear at a time: signals are one-dimensional; reference and processed may have different sample rates and lengths.
- ``level1_db_spl`` is the dB SPL of a signal whose RMS is 1.
- The model adds noise at the threshold of hearing. ``rng=None`` draws it from NumPy's global legacy generator, as
  pyclarity does, and leaves that generator as pyclarity would; a ``numpy.random.RandomState`` is used in the same way.
  The score varies with the noise by 1e-10 to 1e-4 (most where the processed signal falls silent and the reference does
  not).
- Sample rates count in whole kHz, as the metric defines it (44.1 kHz is resampled as 44 kHz).

Where we differ from pyclarity: a silent reference has an answer (see ``haaqi``); NaN, empty, too short or
two-dimensional signals are one clear error.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.signal
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.hearing.nalr import nalr_fir
from cadenza_remix.metrics.auditory import features
from cadenza_remix.metrics.auditory.cochlea import AUDIOGRAM_FREQUENCIES_HZ, N_CHANNELS, Cochlea, middle_ear
from cadenza_remix.metrics.auditory.covariance import TILE
from cadenza_remix.metrics.auditory.ear import HeardProcessed, HeardReference, hear_processed
from cadenza_remix.metrics.auditory.filters import MODEL_RATE
from cadenza_remix.metrics.auditory.front_end import BroadbandTarget, Span, take_early, to_model_rate
from cadenza_remix.metrics.auditory.noise import NormalStream
from cadenza_remix.metrics.auditory.scratch import Scratch, thread_scratch

EQUALISATIONS = {
    0: "the reference is heard by a normal ear, without NAL-R",
    1: "NAL-R for the audiogram is added to the reference",
    2: "the reference has its gain already",
}
_NALR_ORDER = 140

logger = logging.getLogger(__name__)


class ClarityAudiogram(Protocol):
    """What is needed of an audiogram of pyclarity."""

    frequencies: NDArray[np.floating]
    levels: NDArray[np.floating]


@dataclass(frozen=True)
class HaaqiFeatures:
    """What the index is made of, each from 0 (nothing in common) to 1 (the same).

    ``cepstral_correlation``: of envelope modulations from 20 to 125 Hz; ``vibration_coherence``: of the temporal fine
    structure; ``loudness_match`` and ``spectral_balance_match``: of long-term spectra.
    """

    cepstral_correlation: float
    vibration_coherence: float
    loudness_match: float
    spectral_balance_match: float


@dataclass(frozen=True)
class HaaqiResult:
    """A HAAQI score and its parts.

    ``nonlinear`` joins cepstral correlation and vibration coherence, ``linear`` the two spectral matches. ``features``
    is None where the reference is silent and there is nothing to compare.
    """

    score: float
    nonlinear: float
    linear: float
    features: HaaqiFeatures | None

    @classmethod
    def from_features(cls, parts: HaaqiFeatures) -> HaaqiResult:
        """Combine features by the polynomial that was fitted to listeners' ratings."""
        nonlinear = 0.754 * parts.cepstral_correlation**3 + 0.246 * parts.vibration_coherence
        linear = 0.329 * parts.loudness_match + 0.671 * parts.spectral_balance_match
        score = 0.336 * nonlinear + 0.001 * linear + 0.501 * nonlinear**2 + 0.161 * linear**2
        return cls(score, nonlinear, linear, parts)


def haaqi(
    reference: ArrayLike,
    processed: ArrayLike,
    *,
    audiogram: Audiogram | ClarityAudiogram,
    sample_rate: float | None = None,
    reference_sample_rate: float | None = None,
    processed_sample_rate: float | None = None,
    equalisation: int = 1,
    level1_db_spl: float = 65.0,
    rng: np.random.RandomState | None = None,
) -> HaaqiResult:
    """Score how good a processed signal sounds to one ear, compared with a reference.

    Parameters
    ----------
    reference, processed : arrays of shape (n_samples,)
        Compared over the shorter of the two, aligned, from the first to the last sample at which the reference is
        within 60 dB of its peak; that must be at least 384 samples (16 ms) at 24 kHz.
    audiogram : Audiogram
        Ours, or pyclarity's.
    sample_rate : float
        In Hz, of both; or give ``reference_sample_rate`` and ``processed_sample_rate``.
    equalisation : {1, 2, 0}
        1: NAL-R is added to the reference here, the processed signal carries its own. 2: it is in the reference
        already. 0: the reference is heard by a normal ear.
    level1_db_spl : float
        dB SPL of a signal whose RMS is 1. CAD1 takes 65 - 20 log10(rms(reference)).
    rng : numpy.random.RandomState, optional
        Where the noise comes from; None is NumPy's global legacy generator.

    Returns
    -------
    HaaqiResult
        A silent reference (all zeros) scores 1.0 when the processed signal is silent too and 0.0 otherwise, without
        drawing noise. A silent processed signal is scored like any other (about 0.06 to 0.08).

    Raises
    ------
    InputError
        Wrong shape, no samples, NaN or infinity, too short, wrong rate, audiogram, equalisation, level or generator.

    Examples
    --------
    >>> ear = Audiogram([250, 500, 1000, 2000, 4000, 6000], [10, 15, 20, 30, 45, 50])
    >>> music = np.random.RandomState(1).standard_normal(24000) * 0.05
    >>> result = haaqi(music, music, audiogram=ear, sample_rate=24000, equalisation=2, rng=np.random.RandomState(2))
    >>> round(result.score, 2)
    1.0
    """
    prepared = HaaqiReference(
        reference,
        _one_rate("reference", reference_sample_rate, sample_rate),
        audiogram=audiogram,
        equalisation=equalisation,
        level1_db_spl=level1_db_spl,
    )
    return prepared.score(processed, _one_rate("processed", processed_sample_rate, sample_rate), rng=rng)


def compute_haaqi(
    processed_signal: ArrayLike,
    reference_signal: ArrayLike,
    processed_sample_rate: float,
    reference_sample_rate: float,
    audiogram: Audiogram | ClarityAudiogram,
    equalisation: int = 1,
    level1: float = 65.0,
    *,
    rng: np.random.RandomState | None = None,
) -> float:
    """Score as ``clarity.evaluator.haaqi.compute_haaqi`` does: its name, its order of arguments, its answer.

    Two empty signals score 1.0; an empty reference with a processed signal scores 0.0 and is logged as an error, as
    there. Everything else as in ``haaqi``.
    """
    if np.size(reference_signal) == 0:
        if np.size(processed_signal) == 0:
            return 1.0
        logger.error("the reference is empty and the processed signal is not: HAAQI set to 0")
        return 0.0
    return haaqi(
        reference_signal,
        processed_signal,
        audiogram=audiogram,
        reference_sample_rate=reference_sample_rate,
        processed_sample_rate=processed_sample_rate,
        equalisation=equalisation,
        level1_db_spl=level1,
        rng=rng,
    ).score


class HaaqiReference:
    """A reference for one ear, against which several processed signals can be scored.

    Parameters
    ----------
    reference, sample_rate, audiogram, equalisation, level1_db_spl
        As in ``haaqi``.

    Examples
    --------
    ``HaaqiReference.prepare(...)`` keeps the reference's side of the model, about 12 MB per second of audio, so that
    each ``score`` costs about half. The noise of the reference is then drawn once, by ``prepare``: the first score is
    that of ``haaqi`` with the same generator; later ones see the reference with the same noise.

    >>> ear = Audiogram([250, 500, 1000, 2000, 4000, 6000], [10, 15, 20, 30, 45, 50])
    >>> rng = np.random.RandomState(1)
    >>> music = rng.standard_normal(24000) * 0.05
    >>> kept = HaaqiReference.prepare(music, 24000, audiogram=ear, equalisation=2, rng=rng)
    >>> kept.score(music, 24000, rng=rng).score > kept.score(np.roll(music, 50) ** 3, 24000, rng=rng).score
    True
    """

    def __init__(
        self,
        reference: ArrayLike,
        sample_rate: float,
        *,
        audiogram: Audiogram | ClarityAudiogram,
        equalisation: int = 1,
        level1_db_spl: float = 65.0,
    ) -> None:
        samples = _checked_signal(reference, sample_rate, "reference")
        if equalisation not in EQUALISATIONS:
            known = ", ".join(f"{key} ({meaning})" for key, meaning in EQUALISATIONS.items())
            raise InputError("unknown equalisation", expected=known, found=equalisation)
        self._loss_db_hl = _loss_at_model_frequencies(audiogram)
        self._equalisation = equalisation
        self._level1_db_spl = float(level1_db_spl)
        self._at_model_rate = to_model_rate(samples, sample_rate)
        self._silent = not self._at_model_rate.any()
        if not self._silent and not np.isfinite(level1_db_spl):
            raise InputError("level1 is not finite", expected="dB SPL of an RMS of 1", found=level1_db_spl)
        self._kept: _PreparedReference | None = None

    @classmethod
    def prepare(
        cls,
        reference: ArrayLike,
        sample_rate: float,
        *,
        audiogram: Audiogram | ClarityAudiogram,
        equalisation: int = 1,
        level1_db_spl: float = 65.0,
        rng: np.random.RandomState | None = None,
    ) -> HaaqiReference:
        """Return a reference whose side of the model has been computed and is kept."""
        prepared = cls(
            reference, sample_rate, audiogram=audiogram, equalisation=equalisation, level1_db_spl=level1_db_spl
        )
        if not prepared._silent:
            noise = NormalStream(rng)
            kept = prepared._run(prepared._at_model_rate, None)
            kept.heard.keep(noise)
            noise.finish()
            prepared._kept = kept
        return prepared

    def score(
        self, processed: ArrayLike, sample_rate: float, *, rng: np.random.RandomState | None = None
    ) -> HaaqiResult:
        """Score a processed signal; see ``haaqi``.

        A signal shorter than the reference cuts the reference, whose side then has to be computed for that length.
        """
        samples = to_model_rate(_checked_signal(processed, sample_rate, "processed"), sample_rate)
        n = min(len(samples), len(self._at_model_rate))
        samples, reference = samples[:n], self._at_model_rate[:n]
        if self._silent or not reference.any():
            score = 0.0 if samples.any() else 1.0
            return HaaqiResult(score=score, nonlinear=score, linear=score, features=None)
        whole = n == len(self._at_model_rate)
        ear = Cochlea.with_loss(self._loss_db_hl)
        with thread_scratch() as scratch:
            prepared = self._kept if whole and self._kept is not None else self._run(reference, scratch)
            aligned = take_early(samples, prepared.broadband.delay(samples), prepared.span)
            noise = NormalStream(rng)
            heard = hear_processed(middle_ear(aligned), ear, prepared.heard, noise, scratch)
            result = HaaqiResult.from_features(_features(prepared.heard, heard, noise))
        noise.finish()
        return result

    def _run(self, reference: NDArray[np.floating], scratch: Scratch | None) -> _PreparedReference:
        span = Span.of(reference)
        if len(span) < TILE:
            raise InputError(
                "too short for HAAQI",
                where="reference",
                expected=f"at least {TILE} audible samples at {MODEL_RATE} Hz",
                found=len(span),
            )
        sound = take_early(reference, 0, span)
        loss = self._loss_db_hl
        if self._equalisation == 1:
            fir = nalr_fir(Audiogram(AUDIOGRAM_FREQUENCIES_HZ, loss), sample_rate=MODEL_RATE, order=_NALR_ORDER)
            # The metric takes out twice the delay of this filter; bands are aligned later anyway.
            sound = scipy.signal.oaconvolve(sound, fir)[_NALR_ORDER : _NALR_ORDER + len(span)]
        ear = Cochlea.with_loss(np.zeros_like(loss) if self._equalisation == 0 else loss)
        heard = HeardReference(middle_ear(sound), ear, self._level1_db_spl, scratch)
        return _PreparedReference(BroadbandTarget(reference), span, heard)


@dataclass(frozen=True, eq=False)
class _PreparedReference:
    broadband: BroadbandTarget
    span: Span
    heard: HeardReference


def _features(reference: HeardReference, processed: HeardProcessed, noise: NormalStream) -> HaaqiFeatures:
    audible = features.audible_segments(reference.smooth)
    if len(audible) > 1:
        # The definition adds noise to both envelopes here, at an amplitude of zero.
        noise.skip(2 * N_CHANNELS * len(audible))
    match = features.spectrum_match(reference.spectrum_db, processed.spectrum_db)
    return HaaqiFeatures(
        cepstral_correlation=features.cepstral_correlation(reference.smooth, processed.smooth, audible),
        vibration_coherence=processed.vibration_covariance,
        loudness_match=match.loudness,
        spectral_balance_match=match.balance,
    )


def _checked_signal(signal: ArrayLike, sample_rate: float, where: str) -> NDArray[np.floating]:
    samples = np.asarray(signal)
    if samples.ndim != 1:
        raise InputError("wrong shape", where=where, expected="one channel, (n_samples,)", found=samples.shape)
    if samples.size == 0:
        raise InputError("holds no samples", where=where, expected="a signal", found="length zero")
    if samples.dtype.kind not in "fiu":
        raise InputError("wrong kind of samples", where=where, expected="real numbers", found=samples.dtype)
    if samples.dtype not in (np.float32, np.float64):
        samples = samples.astype(np.float64)
    if not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise InputError("NaN or infinity", where=where, expected="finite samples", found=f"sample {first}")
    if not np.isfinite(sample_rate) or np.round(sample_rate / 1000) < 1:
        raise InputError("wrong sample rate", where=where, expected="at least 1000 Hz", found=sample_rate)
    if samples.size * MODEL_RATE / sample_rate < TILE:
        raise InputError(
            "too short for HAAQI",
            where=where,
            expected=f"at least {TILE} samples at {MODEL_RATE} Hz",
            found=f"{samples.size} samples at {sample_rate:g} Hz",
        )
    return samples


def _loss_at_model_frequencies(audiogram: Audiogram | ClarityAudiogram) -> NDArray[np.float64]:
    if isinstance(audiogram, Audiogram):
        ours = audiogram
    elif hasattr(audiogram, "frequencies") and hasattr(audiogram, "levels"):
        ours = Audiogram(audiogram.frequencies, audiogram.levels)
    else:
        raise InputError("wrong audiogram", expected="an Audiogram", found=type(audiogram).__name__)
    missing = [f"{hz:g}" for hz in AUDIOGRAM_FREQUENCIES_HZ if hz not in ours.frequencies_hz]
    if missing:
        logger.warning("audiogram lacks %s Hz: HAAQI interpolates", ", ".join(missing))
    return ours.levels_at(AUDIOGRAM_FREQUENCIES_HZ)


def _one_rate(which: str, own: float | None, common: float | None) -> float:
    if (own is None) == (common is None):
        raise InputError(
            f"give sample_rate or {which}_sample_rate", expected="one of them", found="none" if own is None else "both"
        )
    return float(own if own is not None else common)  # type: ignore[arg-type]

"""A reference that one ear hears, prepared for processed signals to be scored against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
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
from cadenza_remix.metrics.auditory.noise import ThresholdNoise
from cadenza_remix.metrics.auditory.scratch import Scratch, thread_scratch
from cadenza_remix.metrics.haaqi_input import (
    ClarityAudiogram,
    Noise,
    check_equalisation,
    check_noise,
    checked_number,
    checked_signal,
    loss_at_model_frequencies,
    threshold_noise,
)
from cadenza_remix.metrics.haaqi_result import HaaqiFeatures, HaaqiResult

_NALR_ORDER = 140


class HaaqiReference:
    """A reference for one ear, against which several processed signals can be scored.

    Parameters
    ----------
    reference, sample_rate, audiogram, equalisation, level1_db_spl, noise
        As in ``haaqi``.

    Notes
    -----
    ``HaaqiReference.prepare(...)`` keeps the reference's side of the model, about 13 MB per second of audio, so that
    each ``score`` costs about half. Legacy noise of the reference is then drawn once, by ``prepare``: the first score
    is that of ``haaqi`` with the same generator; later ones see the reference with the same noise. With fixed noise
    every score is that of ``haaqi`` to the last bit, in any order and on any thread.

    Examples
    --------
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
        noise: Noise = "legacy",
    ) -> None:
        samples = checked_signal(reference, sample_rate, "reference")
        check_equalisation(equalisation)
        check_noise(noise)
        self._noise: Noise = noise
        self._loss_db_hl = loss_at_model_frequencies(audiogram)
        self._equalisation = equalisation
        self._level1_db_spl = checked_number(level1_db_spl, "level1", "dB SPL")
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
        noise: Noise = "legacy",
        rng: np.random.RandomState | None = None,
    ) -> HaaqiReference:
        """Return a reference whose side of the model has been computed and is kept."""
        draws = threshold_noise(noise, rng)
        prepared = cls(
            reference,
            sample_rate,
            audiogram=audiogram,
            equalisation=equalisation,
            level1_db_spl=level1_db_spl,
            noise=noise,
        )
        if np.may_share_memory(prepared._at_model_rate, reference):
            prepared._at_model_rate = prepared._at_model_rate.copy()
        if not prepared._silent:
            kept = prepared._run(prepared._at_model_rate, None)
            kept.heard.keep(draws)
            draws.finish()
            prepared._kept = kept
        return prepared

    @property
    def noise(self) -> Noise:
        """The kind of noise that the reference has met, and that processed signals will meet."""
        return self._noise

    @property
    def n_bytes(self) -> int:
        """Memory that is held for the reference's side, about 13 MB per second of audio once it is prepared."""
        return self._at_model_rate.nbytes + (0 if self._kept is None else self._kept.n_bytes)

    def score(
        self, processed: ArrayLike, sample_rate: float, *, rng: np.random.RandomState | None = None
    ) -> HaaqiResult:
        """Score a processed signal; see ``haaqi``. ``rng`` gives the noise of the processed signal, if it is legacy.

        A signal shorter than the reference cuts the reference, whose side then has to be computed for that length.
        """
        draws = threshold_noise(self._noise, rng)
        samples = to_model_rate(checked_signal(processed, sample_rate, "processed"), sample_rate)
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
            heard = hear_processed(middle_ear(aligned), ear, prepared.heard, draws, scratch)
            result = HaaqiResult.from_features(_features(prepared.heard, heard, draws))
        draws.finish()
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

    @property
    def n_bytes(self) -> int:
        return self.broadband.n_bytes + self.heard.n_bytes


def _features(reference: HeardReference, processed: HeardProcessed, noise: ThresholdNoise) -> HaaqiFeatures:
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

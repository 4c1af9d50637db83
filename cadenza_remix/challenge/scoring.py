"""The scores of one song made for one listener: eight HAAQI as the challenge computes them, beside them SNR and SDR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cadenza_remix.audio.resample import resample, resample_samples
from cadenza_remix.audio.signal import EARS, STEM_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.challenge.pairs import SCORING_CHANNELS
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.aid import aid_ear
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.nalr import NalrSettings
from cadenza_remix.units import db_spl_of_full_scale, rms

LENGTH_TOLERANCE_S = 0.05
"""By so much processed stems may differ in length from the reference (a filter's tail); both are cut to the shorter."""


@dataclass(frozen=True)
class PairMetrics:
    """Scores of one pair, each by channel (``left_vocals``, ...); NaN where a ratio has no value (silence)."""

    haaqi: Mapping[str, float]
    snr_db: Mapping[str, float]
    sdr_db: Mapping[str, float]


def score_pair(
    references: Mapping[str, Audio],
    processed: Mapping[str, Audio],
    listener: Listener,
    *,
    rng: np.random.RandomState,
) -> PairMetrics:
    """Score the eight processed stems of one song for one listener.

    HAAQI: reference = clean stem of the same ear at 24 kHz, NAL-R added inside the metric (``equalisation=1``), 65 dB
    SPL for the RMS of the clean stem at its own rate; in the challenge's order, all from one random generator.

    SNR and SDR: reference = clean stem with this listener's NAL-R, which is what a perfect separation followed by the
    prescription would have given. So the gain that was prescribed does not count as an error, and a perfect copy scores
    infinity. Both signals are at 24 kHz, in time, and nothing is normalised.

    Parameters
    ----------
    references : mapping of str to Audio
        vocals, drums, bass, other: the clean stems, stereo.
    processed : mapping of str to Audio
        ``<ear>_<stem>``: mono, 24 kHz, at its true level (scale file applied).
    listener : Listener
    rng : numpy.random.RandomState
        Drawn from as the challenge's evaluator draws from NumPy's generator; `song_rng` makes the official one.

    Raises
    ------
    InputError
        A stem is missing, is not mono at 24 kHz, or differs in length from its reference by more than 50 ms.
    """
    from cadenza_remix.metrics import compute_haaqi, sdr_db, snr_db

    haaqi: dict[str, float] = {}
    snr: dict[str, float] = {}
    sdr: dict[str, float] = {}
    for ear, stem in SCORING_CHANNELS:
        channel = channel_name(ear, stem)
        audiogram = listener.ear(ear)
        clean = references[stem].stereo().samples[:, EARS.index(ear)]
        sample_rate = references[stem].sample_rate
        reference = resample_samples(clean, sample_rate, STEM_SAMPLE_RATE)
        estimate = _mono_24k(processed, channel)
        _check_lengths(reference.size, estimate.size, processed[channel].name)
        haaqi[channel] = float(
            compute_haaqi(
                estimate,
                reference,
                STEM_SAMPLE_RATE,
                STEM_SAMPLE_RATE,
                audiogram,
                1,
                db_spl_of_full_scale(rms(clean)),
                rng=rng,
            )
        )
        prescribed = aid_ear(clean, audiogram, sample_rate=sample_rate, nalr=NalrSettings(), compressor=None)
        target = resample_samples(prescribed, sample_rate, STEM_SAMPLE_RATE)
        n_samples = min(target.size, estimate.size)
        snr[channel] = snr_db(target[:n_samples], estimate[:n_samples])
        sdr[channel] = sdr_db(target[:n_samples], estimate[:n_samples])
    return PairMetrics(haaqi, snr, sdr)


def mixture_as_stems(mixture: Audio) -> dict[str, Audio]:
    """Return the unprocessed mixture in place of each processed stem: what doing nothing scores."""
    at_24k = resample(mixture.stereo(), STEM_SAMPLE_RATE)
    return {
        channel_name(ear, stem): Audio(at_24k.samples[:, column], STEM_SAMPLE_RATE, mixture.name)
        for column, ear in enumerate(EARS)
        for stem in STEMS
    }


def _mono_24k(processed: Mapping[str, Audio], channel: str) -> np.ndarray:
    if channel not in processed:
        raise InputError("processed stem is missing", where=channel, found=", ".join(processed) or "none")
    audio = processed[channel]
    if audio.n_channels != 1 or audio.sample_rate != STEM_SAMPLE_RATE:
        raise InputError(
            "wrong form",
            where=audio.name,
            expected=f"mono at {STEM_SAMPLE_RATE} Hz",
            found=f"{audio.n_channels} channels at {audio.sample_rate} Hz",
        )
    return audio.samples[:, 0]


def _check_lengths(n_reference: int, n_estimate: int, name: str) -> None:
    if abs(n_reference - n_estimate) > LENGTH_TOLERANCE_S * STEM_SAMPLE_RATE:
        raise InputError(
            "reference and estimate differ in length",
            where=name,
            expected=f"{n_reference / STEM_SAMPLE_RATE:.3f} s (the reference)",
            found=f"{n_estimate / STEM_SAMPLE_RATE:.3f} s",
        )

"""The scores of one song made for one listener: eight HAAQI as the challenge computes them, beside them SNR and SDR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.resample import resample, resample_samples
from cadenza_remix.audio.signal import EARS, STEM_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.challenge.pairs import SCORING_CHANNELS
from cadenza_remix.challenge.scorers import EarScorer
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


@dataclass(frozen=True, eq=False)
class PairReferences:
    """What all listeners of a song share, each by channel (``left_vocals``, ...).

    ``clean``: the clean stem of that ear at ``sample_rate``, (n_samples,); ``at_stem_rate``: the same at 24 kHz;
    ``level1_db_spl``: the dB SPL of a signal whose RMS is 1 that puts the clean stem at 65 dB SPL.
    """

    sample_rate: int
    clean: Mapping[str, NDArray[np.float32]]
    at_stem_rate: Mapping[str, NDArray[np.float32]]
    level1_db_spl: Mapping[str, float]

    @classmethod
    def from_stems(cls, stems: Mapping[str, Audio]) -> PairReferences:
        """Take the clean stems vocals, drums, bass and other of one song, stereo or mono, at one rate."""
        sample_rate = stems[STEMS[0]].sample_rate
        clean = {
            channel_name(ear, stem): np.ascontiguousarray(stems[stem].stereo().samples[:, EARS.index(ear)])
            for ear, stem in SCORING_CHANNELS
        }
        return cls(
            sample_rate,
            clean,
            {name: resample_samples(samples, sample_rate, STEM_SAMPLE_RATE) for name, samples in clean.items()},
            {name: db_spl_of_full_scale(rms(samples)) for name, samples in clean.items()},
        )


def score_pair(
    references: PairReferences | Mapping[str, Audio],
    processed: Mapping[str, Audio],
    listener: Listener,
    *,
    haaqi_of: EarScorer,
) -> PairMetrics:
    """Score the eight processed stems of one song for one listener.

    HAAQI: reference = clean stem of the same ear at 24 kHz, NAL-R added inside the metric (``equalisation=1``), 65 dB
    SPL for the RMS of the clean stem at its own rate; in the challenge's order.

    SNR and SDR: reference = clean stem with this listener's NAL-R, which is what a perfect separation followed by the
    prescription would have given. So the gain that was prescribed does not count as an error, and a perfect copy scores
    infinity. Both signals are at 24 kHz, in time, and nothing is normalised.

    Parameters
    ----------
    references : PairReferences, or mapping of str to Audio
        The latter: vocals, drums, bass, other, the clean stems, stereo.
    processed : mapping of str to Audio
        ``<ear>_<stem>``: mono, 24 kHz, at its true level (scale file applied).
    listener : Listener
    haaqi_of : callable
        Scores one ear; a fresh one of `ear_scorer` for every pair, so that the noise is the challenge's.

    Raises
    ------
    InputError
        A stem is missing, is not mono at 24 kHz, or differs in length from its reference by more than 50 ms.
    """
    from cadenza_remix.metrics import sdr_db, snr_db

    shared = references if isinstance(references, PairReferences) else PairReferences.from_stems(references)
    haaqi: dict[str, float] = {}
    snr: dict[str, float] = {}
    sdr: dict[str, float] = {}
    for ear, stem in SCORING_CHANNELS:
        channel = channel_name(ear, stem)
        audiogram = listener.ear(ear)
        reference = shared.at_stem_rate[channel]
        estimate = _mono_24k(processed, channel)
        _check_lengths(reference.size, estimate.size, processed[channel].name)
        haaqi[channel] = haaqi_of(estimate, reference, audiogram, shared.level1_db_spl[channel])
        prescribed = aid_ear(
            shared.clean[channel], audiogram, sample_rate=shared.sample_rate, nalr=NalrSettings(), compressor=None
        )
        target = resample_samples(prescribed, shared.sample_rate, STEM_SAMPLE_RATE)
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

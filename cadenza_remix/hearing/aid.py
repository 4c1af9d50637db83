"""The hearing aid of one ear: NAL-R, then the compressor, each of which may be left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.hearing.compressor import CompressorSettings, compress
from cadenza_remix.hearing.nalr import NalrSettings, apply_fir, nalr_fir


def aid_ear(
    samples: NDArray[np.floating],
    audiogram: Audiogram,
    *,
    sample_rate: int,
    nalr: NalrSettings | None,
    compressor: CompressorSettings | None,
) -> NDArray[np.float64]:
    """Process one signal for one ear.

    Parameters
    ----------
    samples : array of shape (n_samples,)
    audiogram : Audiogram
        Of this ear.
    sample_rate : int
        In Hz.
    nalr, compressor : settings or None
        None leaves the part out.

    Returns
    -------
    array of shape (n_samples,), float64
        In time with the input: the delay of the filter is taken out.
    """
    processed = np.asarray(samples, dtype=np.float64)
    if nalr is not None:
        processed = apply_fir(processed, nalr_fir(audiogram, sample_rate=sample_rate, order=nalr.order))
    if compressor is not None:
        processed = compress(processed, sample_rate=sample_rate, settings=compressor)
    return processed

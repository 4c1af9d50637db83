"""Separation in two passes over the song: the first measures it, the second takes it apart by what was measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import BlockSource
from cadenza_remix.separation.frames import stitched
from cadenza_remix.separation.networks.masking import MaskEngine, tell_progress
from cadenza_remix.separation.networks.wiener import SpatialStatistics, WienerFilter
from cadenza_remix.separation.separator import Progress


def separate_by_wiener(
    source: BlockSource, engine: MaskEngine, *, progress: Progress | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yield the stems of a song piece by piece, filtered by a multichannel Wiener filter: (n_stems, 2, n_samples).

    The song is read twice and the network runs twice, so that nothing need be kept of the whole.
    """
    first = None if progress is None else lambda share: progress(0.5 * share)
    second = None if progress is None else lambda share: progress(0.5 + 0.5 * share)
    wiener = _measure(source, engine, first)
    reader = engine.reader(source)

    def pieces() -> Iterator[NDArray[np.float32]]:
        for piece in reader:
            spectra = engine.stft.analyse(piece.samples)
            masks = engine.masks(spectra)
            filtered = wiener.apply(spectra, np.stack(masks))
            engine.add_remainder(filtered, spectra)
            yield engine.synthesised(spectra, iter(filtered), masks)
            tell_progress(second, source, piece.last * engine.stft.hop_length)

    yield from stitched(pieces(), reader, engine.stft)
    if progress is not None:
        progress(1.0)


def _measure(source: BlockSource, engine: MaskEngine, progress: Progress | None) -> WienerFilter:
    card = engine.card
    statistics = SpatialStatistics(len(card.stems), card.n_bins, exponent=card.separation_exponent)
    for piece in engine.reader(source):
        spectra = engine.stft.analyse(piece.samples)
        statistics.add(spectra, np.stack(engine.masks(spectra)))
        tell_progress(progress, source, piece.last * engine.stft.hop_length)
    return statistics.fit()

"""From a piece of a song to its stems by masks, with the transforms on the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import BlockSource, checked_blocks
from cadenza_remix.errors import InputError
from cadenza_remix.separation.frames import FrameReader
from cadenza_remix.separation.models.registry import ModelCard
from cadenza_remix.separation.options import HighBand
from cadenza_remix.separation.separator import Progress
from cadenza_remix.separation.stft import Stft

#: From magnitudes (n_segments, n_frames, n_bins, 2) to a mask of that shape for each stem.
MaskFunction = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
#: Stems that take what no network separates, in this order of preference.
REST_STEMS = ("accompaniment", "other")


class MaskEngine:
    """Applies a network that gives masks to segments of a song.

    Parameters
    ----------
    card : ModelCard
        The network's input and output.
    masks : callable
        The network. It always gets one segment, so that its digits depend on nothing but that segment.
    high_band : str, optional
        What becomes of the bins above the network's band; the card's way by default.
    """

    def __init__(self, card: ModelCard, masks: MaskFunction, *, high_band: HighBand | None = None) -> None:
        self.card = card
        self.stft = Stft(card.frame_length, card.hop_length)
        self._network = masks
        self._high_band = high_band or card.mask_extension
        self._rest = rest_stem_index(card) if self._high_band == "residual" else None

    def reader(self, source: BlockSource) -> FrameReader:
        """Return what cuts a song into this network's segments, the last one filled up with zeros, as in Spleeter."""
        return FrameReader(checked_blocks(source), self.stft, n_frames=self.card.n_frames, whole_pieces=True)

    def masks(self, spectra: NDArray[np.complex64], *, gain_lin: float = 1.0) -> list[NDArray[np.float32]]:
        """Return a mask of shape (n_frames, n_bins, 2) for each stem.

        Parameters
        ----------
        spectra : array of shape (2, n_frames, n_fft_bins)
        gain_lin : float
            What the network gets to see is the song times this.
        """
        magnitudes = np.empty((1, spectra.shape[1], self.card.n_bins, 2), dtype=np.float32)
        np.abs(spectra[:, :, : self.card.n_bins].transpose(1, 2, 0), out=magnitudes[0])
        if gain_lin != 1.0:
            magnitudes *= np.float32(gain_lin)
        return [mask[0] for mask in self._network(magnitudes)]

    def synthesised(
        self,
        spectra: NDArray[np.complex64],
        inside: Iterator[NDArray[np.complex64]],
        masks: Sequence[NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """Return the samples of all stems (n_stems, 2, n) from their spectra in the band, extended above it."""
        stems = []
        for index, (stem, mask) in enumerate(zip(inside, masks, strict=True)):
            stems.append(self.stft.synthesise(self._extended(stem, spectra, mask, index)))
        return np.stack(stems)

    def masked(
        self, spectra: NDArray[np.complex64], masks: Sequence[NDArray[np.float32]]
    ) -> Iterator[NDArray[np.complex64]]:
        """Yield each stem's spectra in the network's band: (2, n_frames, n_bins)."""
        band = spectra[:, :, : self.card.n_bins]
        for mask in masks:
            yield band * mask.transpose(2, 0, 1)

    def add_remainder(self, stems: NDArray[np.complex64], spectra: NDArray[np.complex64]) -> None:
        """Give the stem of the rest what the others leave in the band, where stems are to sum to the song.

        Masks share the song out without a remainder; a filter that takes some noise for given does not.
        ``stems``: shape (n_stems, 2, n_frames, n_bins), changed in place.
        """
        if self._rest is not None:
            stems[self._rest] += spectra[:, :, : self.card.n_bins] - stems.sum(axis=0)

    def _extended(
        self, inside: NDArray[np.complex64], spectra: NDArray[np.complex64], mask: NDArray[np.float32], index: int
    ) -> NDArray[np.complex64]:
        above = spectra[:, :, self.card.n_bins :]
        if self._high_band == "average":
            # Channel by channel; what Spleeter calls so.
            above = above * mask.mean(axis=1).T[:, :, np.newaxis]
        elif index != self._rest:
            return inside
        return np.concatenate([inside, above], axis=2)


def tell_progress(progress: Progress | None, source: BlockSource, n_samples: int) -> None:
    """Tell what share of a song so many samples are, where its length is known."""
    if progress is not None and source.duration_s:
        progress(min(1.0, n_samples / (source.duration_s * source.sample_rate)))


def rest_stem_index(card: ModelCard) -> int:
    """Return which of a model's stems takes what is left of the song.

    Raises
    ------
    InputError
        None of them does.
    """
    for stem in REST_STEMS:
        if stem in card.stems:
            return card.stems.index(stem)
    raise InputError(
        "no stem can take the residual", where=card.name, expected=" or ".join(REST_STEMS), found=", ".join(card.stems)
    )


def vocals_index(card: ModelCard) -> int:
    """Return which of a model's stems are the vocals.

    Raises
    ------
    InputError
        None of them.
    """
    if "vocals" not in card.stems:
        raise InputError(
            "only vocals can be refined", where=card.name, expected="a stem named vocals", found=", ".join(card.stems)
        )
    return card.stems.index("vocals")

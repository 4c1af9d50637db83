"""Separation by Spleeter's pretrained networks, segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import Audio
from cadenza_remix.separation.checkpoint import checkpoint_fingerprint, load_weights
from cadenza_remix.separation.registry import ModelCard
from cadenza_remix.separation.separator import Progress, as_separator_input
from cadenza_remix.separation.stems import Stems
from cadenza_remix.separation.stft import Stft

#: From magnitudes (n_segments, n_frames, n_bins, 2) to a mask of that shape for each stem.
MaskFunction = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]


class SpleeterSeparator:
    """One pretrained model with its weights: magnitudes in, ratio masks out, phases of the mixture kept.

    Gives what Deezer's package gives (differences below 5e-5 of full scale), in memory that grows with the song only by
    the song itself and its stems. As there, nothing above the network's band (11 kHz, or 16 kHz) is separated: with
    the mask extension ``zeros`` it is in no stem, so that the stems add up to the mixture below the band's edge only.

    Parameters
    ----------
    card : ModelCard
        Which model it is.
    folder : Path
        Holds its checkpoint.
    segments_at_once : int, optional
        Segments of 512 frames (12 s) that go through the network together. On a CPU one is as fast as several.

    The network is built when the first song comes: until then neither Keras nor TensorFlow is loaded.

    Raises
    ------
    ModelError
        The checkpoint is not there; from `separate`: it is damaged or belongs to another model.
    """

    def __init__(self, card: ModelCard, folder: Path, *, segments_at_once: int = 1) -> None:
        self.name = card.name
        self.stems = card.stems
        self.sample_rate = card.sample_rate
        self.fingerprint = checkpoint_fingerprint(card, folder)
        self._card = card
        self._folder = folder
        self._segments_at_once = segments_at_once

    @cached_property
    def _masks(self) -> MaskFunction:
        from cadenza_remix.separation.unet import build_mask_network

        network = build_mask_network(self._card)
        load_weights(network, self._card, self._folder)
        # Measured on two cores: TensorFlow's own kernels take 0.18 s for a segment of 2stems, XLA's 0.26 s.
        network.compile(jit_compile=False)
        masks: MaskFunction = network.predict_on_batch
        return masks

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        song = as_separator_input(audio, self.sample_rate)
        estimates = separate_by_masks(
            song.samples, self._masks, self._card, segments_at_once=self._segments_at_once, progress=progress
        )
        return Stems(
            {
                stem: Audio(estimate, self.sample_rate, f"{audio.name} ({stem})")
                for stem, estimate in zip(self.stems, estimates, strict=True)
            }
        )


def separate_by_masks(
    samples: NDArray[np.float32],
    masks: MaskFunction,
    card: ModelCard,
    *,
    segments_at_once: int = 1,
    progress: Progress | None = None,
) -> list[NDArray[np.float32]]:
    """Apply a function that gives masks to the whole of a signal, a few segments at a time.

    The frames of the last segment that lie behind the end of the signal are zeros, as in Spleeter.

    Parameters
    ----------
    samples : array of shape (n_samples, 2)

    Returns
    -------
    list of arrays of shape (n_samples, 2)
        One for each stem of the card.
    """
    stft = Stft(card.frame_length, card.hop_length)
    mixture = stft.padded(samples)
    estimates = [np.zeros_like(mixture) for _ in card.stems]
    n_frames = stft.n_frames(len(samples))
    step = segments_at_once * card.n_frames
    for first in range(0, n_frames, step):
        last = min(first + step, n_frames)
        spectra = stft.analyse(mixture, first, last)
        stem_masks = masks(_segments(spectra, card))
        for estimate, mask in zip(estimates, stem_masks, strict=True):
            stft.synthesise_into(estimate, first, _masked(spectra, mask, card))
        if progress is not None:
            progress(last / n_frames)
    return [stft.cropped(estimate, len(samples)) for estimate in estimates]


def _segments(spectra: NDArray[np.complex64], card: ModelCard) -> NDArray[np.float32]:
    """Return the magnitudes in the network's band as (n_segments, n_frames, n_bins, 2), filled up with zeros."""
    n_channels, n_frames, _ = spectra.shape
    n_segments = -(-n_frames // card.n_frames)
    magnitudes = np.zeros((n_segments * card.n_frames, card.n_bins, n_channels), dtype=np.float32)
    np.abs(spectra[:, :, : card.n_bins].transpose(1, 2, 0), out=magnitudes[:n_frames])
    return magnitudes.reshape(n_segments, card.n_frames, card.n_bins, n_channels)


def _masked(spectra: NDArray[np.complex64], mask: NDArray[np.float32], card: ModelCard) -> NDArray[np.complex64]:
    """Return the spectra times the mask; above the band times nothing, or times the mask's mean over the band."""
    n_frames = spectra.shape[1]
    gains = mask.reshape(-1, card.n_bins, mask.shape[-1])[:n_frames].transpose(2, 0, 1)
    inside = spectra[:, :, : card.n_bins] * gains
    if card.mask_extension == "zeros":
        return inside
    above = spectra[:, :, card.n_bins :] * gains.mean(axis=2, keepdims=True)
    return np.concatenate([inside, above], axis=2)

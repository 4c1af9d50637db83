"""Separation by Spleeter's pretrained networks, segment by segment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import BlockSource, StemBlock
from cadenza_remix.audio.signal import Audio
from cadenza_remix.separation.checkpoint import checkpoint_fingerprint, load_weights
from cadenza_remix.separation.frames import stitched
from cadenza_remix.separation.masking import MaskEngine, tell_progress
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.registry import ModelCard
from cadenza_remix.separation.separator import Progress, check_source_rate, separate_whole
from cadenza_remix.separation.stems import Stems


class SpleeterSeparator:
    """One pretrained model with its weights: magnitudes in, ratio masks out, phases of the mixture kept.

    Gives what Deezer's package gives (differences below 5e-5 of full scale), in memory that does not grow with the
    song. As there, nothing above the network's band (11 kHz, or 16 kHz) is separated; what becomes of it is an option.

    Parameters
    ----------
    card : ModelCard
        Which model it is.
    folder : Path
        Holds its checkpoint.
    options : SeparationOptions, optional

    The network is built when the first song comes: until then neither Keras nor TensorFlow is loaded. It is kept, so
    that many songs cost one start.

    Raises
    ------
    ModelError
        The checkpoint is not there; from `separate`: it is damaged or belongs to another model.
    InputError
        ``high_band`` is ``residual`` and the model has no stem for the rest, or ``refine`` and it has no vocals; from
        `separate`: there is no such device.
    """

    def __init__(self, card: ModelCard, folder: Path, *, options: SeparationOptions | None = None) -> None:
        self.name = card.name
        self.stems = card.stems
        self.sample_rate = card.sample_rate
        self.options = options or SeparationOptions()
        self.fingerprint = _fingerprint(checkpoint_fingerprint(card, folder), card, self.options)
        self._card = card
        self._folder = folder

    @cached_property
    def _engine(self) -> MaskEngine:
        from cadenza_remix.separation.unet import build_mask_network

        network = build_mask_network(self._card)
        load_weights(network, self._card, self._folder)
        # Measured on two cores: TensorFlow's own kernels take 0.18 s for a segment of 2stems, XLA's 0.26 s.
        network.compile(jit_compile=False)
        return MaskEngine(self._card, network.predict_on_batch, high_band=self.options.high_band)

    @property
    def _method(self) -> Callable[..., Iterator[NDArray[np.float32]]]:
        if not self.options.wiener:
            return separate_by_masks
        from cadenza_remix.separation.wiener_pass import separate_by_wiener

        return separate_by_wiener

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate block by block; see `cadenza_remix.separation.separator.Separator.separate_blocks`."""
        check_source_rate(source, self.sample_rate)
        for stems in self._method(source, self._engine, progress=progress):
            yield {name: stem.T for name, stem in zip(self.stems, stems, strict=True)}


def separate_by_masks(
    source: BlockSource, engine: MaskEngine, *, progress: Progress | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yield the stems of a song piece by piece: (n_stems, 2, n_samples)."""
    reader = engine.reader(source)

    def pieces() -> Iterator[NDArray[np.float32]]:
        for piece in reader:
            spectra = engine.stft.analyse(piece.samples)
            masks = engine.masks(spectra)
            yield engine.synthesised(spectra, engine.masked(spectra, masks), masks)
            tell_progress(progress, source, piece.last * engine.stft.hop_length)

    yield from stitched(pieces(), reader, engine.stft)
    if progress is not None:
        progress(1.0)


def _fingerprint(weights: str, card: ModelCard, options: SeparationOptions) -> str:
    """Return the digits of the weights, changed by every option that changes the stems."""
    changed = {name: getattr(options, name) for name in options.changed() if name != "device"}
    if changed.get("high_band") == card.mask_extension:
        del changed["high_band"]
    if not changed:
        return weights
    return hashlib.sha256(f"{weights} {sorted(changed.items())}".encode()).hexdigest()[:16]

"""Separation by Spleeter's pretrained networks, segment by segment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import BlockSource, StemBlock, checked_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.separation.frames import FrameReader, stitched
from cadenza_remix.separation.models.checkpoint import checkpoint_fingerprint, load_weights
from cadenza_remix.separation.models.registry import ModelCard
from cadenza_remix.separation.networks.masking import MaskEngine, rest_stem_index, tell_progress, vocals_index
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.separator import Progress, check_source_rate, separate_whole
from cadenza_remix.separation.stems import Stems
from cadenza_remix.separation.stft import Stft

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.on_device import DeviceEngine


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

    Folder and options are kept as attributes. The network is built when the first song comes: until then neither Keras
    nor TensorFlow is loaded. It is kept, so that many songs cost one start.

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
        if self.options.high_band == "residual":
            rest_stem_index(card)
        if self.options.refine is not None:
            vocals_index(card)
        self.fingerprint = _fingerprint(checkpoint_fingerprint(card, folder), card, self.options)
        self._card = card
        self.folder = folder

    def __repr__(self) -> str:
        asked = "".join(f", {name}={getattr(self.options, name)!r}" for name in self.options.changed())
        return f"SpleeterSeparator({self.name!r}{asked})"

    @property
    def device(self) -> str:
        """What it runs on, ``tensorflow on CPU``."""
        from cadenza_remix.separation.networks.backend import find_device

        return str(find_device(self.options.device))

    @cached_property
    def _separated(self) -> Callable[..., Iterator[NDArray[np.float32]]]:
        """From a source and a progress to the stems piece by piece, with the network built and its weights loaded."""
        from cadenza_remix.separation.networks.backend import choose_device
        from cadenza_remix.separation.networks.unet import build_mask_network

        options = self.options
        device = choose_device(options.device)
        with device.scope():
            network = build_mask_network(self._card)
            load_weights(network, self._card, self.folder)
        in_two_passes = options.wiener or options.refine is not None
        if not in_two_passes and (device.kind == "gpu" or options.precision != "float32"):
            from cadenza_remix.separation.networks.on_device import DeviceEngine

            on_device = DeviceEngine(
                self._card, network, device=device, precision=options.precision, high_band=options.high_band
            )
            return partial(separate_on_device, engine=on_device)
        if options.precision != "float32":
            from cadenza_remix.separation.networks.on_device import in_precision

            with device.scope():
                network = in_precision(network, options.precision)
        # Measured on two cores: TensorFlow's own kernels take 0.18 s for a segment of 2stems, XLA's 0.26 s.
        network.compile(jit_compile=device.backend == "jax")
        masks = device.bound(network.predict_on_batch)
        return partial(self._method(), engine=MaskEngine(self._card, masks, high_band=options.high_band))

    def _method(self) -> Callable[..., Iterator[NDArray[np.float32]]]:
        if self.options.refine is not None:
            from cadenza_remix.separation.networks.refine import separate_refined

            return separate_refined
        if self.options.wiener:
            from cadenza_remix.separation.networks.wiener_pass import separate_by_wiener

            return separate_by_wiener
        return separate_by_masks

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate block by block; see `cadenza_remix.separation.separator.Separator.separate_blocks`."""
        check_source_rate(source, self.sample_rate)
        for stems in self._separated(source, progress=progress):
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


def separate_on_device(
    source: BlockSource, engine: DeviceEngine, *, progress: Progress | None = None
) -> Iterator[NDArray[np.float32]]:
    """As `separate_by_masks`, with the transforms on the device and some segments on their way there at a time."""
    stft = Stft(engine.card.frame_length, engine.card.hop_length)
    reader = FrameReader(checked_blocks(source), stft, n_frames=engine.card.n_frames, whole_pieces=True)

    def pieces() -> Iterator[NDArray[np.float32]]:
        n_frames = 0
        for stems in engine.stream(piece.samples for piece in reader):
            yield stems
            n_frames += engine.card.n_frames
            tell_progress(progress, source, n_frames * stft.hop_length)

    yield from stitched(pieces(), reader, stft)
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

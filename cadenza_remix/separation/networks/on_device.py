"""Separation with the transforms where the network is: samples go to the device, stems come back.

Of use on a GPU, where the magnitudes and masks of four stems would otherwise travel to and fro. On a processor it takes
as much processor time as the way by SciPy (`separation.networks.masking`), which can do more: the filters ask for
it. All of it is built on ``keras.ops``, so it runs on every back end and gives what the other way gives, within 1e-5 of
full scale.

Importing this module imports Keras and its back end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.registry import ModelCard
from cadenza_remix.separation.networks.backend import ComputeDevice, find_device, load_keras
from cadenza_remix.separation.networks.device_queue import Segment, StemSegments, device_queue
from cadenza_remix.separation.networks.masking import rest_stem_index
from cadenza_remix.separation.options import HighBand, Precision
from cadenza_remix.separation.stft import Stft

keras = load_keras()
ops = keras.ops
_Layer: Any = keras.layers.Layer

#: Layers that stay in single precision: powers of magnitudes and 1e-10 beside them do not fit into 16 bits.
_PRECISE_LAYERS = ("_mask", "_estimate", "stem_masks", "ratio_masks")


def segment_length(card: ModelCard) -> int:
    """Return how many samples the frames of one segment cover."""
    return (card.n_frames - 1) * card.hop_length + card.frame_length


class DeviceEngine:
    """Separates segments of a song on a device.

    Parameters
    ----------
    card : ModelCard
        The network's input and output.
    network : keras.Model
        From magnitudes to masks, with its weights: `cadenza_remix.separation.networks.unet.build_mask_network`.
    device : ComputeDevice, optional
        On which the network was built; what `find_device` says by default.
    precision : str
        What the network computes in; the transforms and masks are in single precision always.
    high_band : str, optional
        What becomes of the bins above the network's band; the card's way by default.
    segments_at_once : int, optional
        By default as many as the device's free memory holds twice, 16 at most; one on a processor, so that the
        result depends on nothing but the segment. When memory runs out it is halved.

    Raises
    ------
    InputError
        ``high_band`` is ``residual`` and the model has no stem for the rest.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Any,
        *,
        device: ComputeDevice | None = None,
        precision: Precision = "float32",
        high_band: HighBand | None = None,
        segments_at_once: int | None = None,
    ) -> None:
        self.card = card
        self.device = device or find_device()
        with self.device.scope():
            model = build_segment_model(card, in_precision(network, precision), high_band=high_band)
        self._precision = precision
        self._queue = device_queue(model, self.device, segment_bytes(card), segments_at_once)

    @property
    def segments_at_once(self) -> int:
        """How many segments go through the network together at present."""
        return self._queue.segments_at_once

    def peak_bytes(self) -> int | None:
        """Return the most memory that this process has taken on the device so far; None where nobody knows."""
        return self._queue.runner.peak_bytes()

    def compute_seconds(self, segments: NDArray[np.float32], *, repeats: int = 1) -> float:
        """Measure how long a batch of segments takes when neither it nor its result leaves the device."""
        with self.device.scope():
            return self._queue.runner.seconds(list(segments), repeats)

    def process(self, segments: NDArray[np.float32]) -> StemSegments:
        """Separate some segments, in as many calls as memory asks for.

        Parameters
        ----------
        segments : array of shape (n_segments, 2, segment_length)
            Frame ``k`` of a segment covers the samples from ``k * hop_length`` on; see `segment_length`.

        Returns
        -------
        array of shape (n_segments, n_stems, 2, segment_length)
            The frames overlapped and added. At both ends ``frame_length - hop_length`` samples lack what the
            neighbouring segments add.

        Raises
        ------
        ModelError
            The device has no memory for a single segment, or half precision overflowed.
        """
        if not len(segments):
            return np.empty((0, len(self.card.stems), *segments.shape[1:]), dtype=np.float32)
        return np.concatenate([batch.copy() for batch in self.batches(iter(segments))])

    def stream(self, segments: Iterable[Segment]) -> Iterator[NDArray[np.float32]]:
        """Separate segments (2, segment_length) one after another, some ahead: (n_stems, 2, segment_length) each.

        While a batch is on the device, the next is sent there and the one before is fetched. Segments must not be
        changed afterwards; the stems are the caller's. Raises as `process`.
        """
        for batch in self.batches(segments):
            for stems in batch:
                yield stems.copy()

    def batches(self, segments: Iterable[Segment]) -> Iterator[StemSegments]:
        """As `stream`, in batches (n, n_stems, 2, segment_length) that hold good until the next one is asked for."""
        for stems in self._queue.run(segments):
            # One bin that is no number makes its whole frame such, so one sample of each hop tells.
            if not np.isfinite(stems[..., :: self.card.hop_length]).all():
                advice = "; float32 and bfloat16 reach further" if self._precision == "float16" else ""
                raise ModelError(
                    f"{self.card.name} in {self._precision} on {self.device}: overflow: expected finite samples, found "
                    f"NaN or infinity{advice}"
                )
            yield stems


def build_segment_model(card: ModelCard, network: Any, *, high_band: HighBand | None = None) -> Any:
    """Return the model from samples (n_segments, 2, segment_length) to stems (n_segments, n_stems, 2, ...)."""
    samples = keras.Input(shape=(2, segment_length(card)), name="samples")
    real, imaginary, magnitudes = Analysis(card, name="analysis")(samples)
    masks = network(magnitudes)
    stems = Synthesis(card, high_band or card.mask_extension, name="synthesis")([real, imaginary, *masks])
    return keras.Model(samples, stems, name=f"{network.name}_segments")


def in_precision(network: Any, precision: Precision) -> Any:
    """Return the network with its convolutions in another precision, on the same device; itself for ``float32``.

    Weights are kept, and normalisation is computed, in single precision (Keras's mixed precision); so are the masks.
    """
    if precision == "float32":
        return network

    def converted(layer: Any) -> Any:
        precise = isinstance(layer, keras.layers.InputLayer) or layer.name.endswith(_PRECISE_LAYERS)
        settings = layer.get_config()
        settings["dtype"] = "float32" if precise else f"mixed_{precision}"
        return layer.__class__.from_config(settings)

    clone = keras.models.clone_model(network, clone_function=converted)
    clone.set_weights(network.get_weights())
    return clone


def segment_bytes(card: ModelCard) -> int:
    """Estimate what a segment takes on the device: its frames and spectra, and the network's activations."""
    frames = 4 * 2 * card.n_frames * card.frame_length
    # All stems' outputs and windows, and three such arrays (spectra, frames, sums) of the stem in work, and the song's.
    transforms = frames * (2 * len(card.stems) + 6)
    # A stem's activations: 20 channels or so at the full resolution with 16 filters; some are held several times over.
    network = 4 * card.n_frames * card.n_bins * 4 * card.filters[0] * len(card.stems)
    return transforms + network


class _Transform(_Layer):
    """What both transforms know: the card's frames and a window, kept with the network's weights on the device."""

    def __init__(self, card: ModelCard, window: NDArray[np.float32], **keras_options: Any) -> None:
        super().__init__(dtype="float32", **keras_options)
        self.card = card
        self.n_offsets = card.frame_length // card.hop_length
        self.window = self.add_weight(name="window", shape=window.shape, trainable=False)
        self.window.assign(window)


class Analysis(_Transform):
    """From samples (n, 2, segment_length) to spectra, real and imaginary part apart, and the network's input."""

    def __init__(self, card: ModelCard, **keras_options: Any) -> None:
        super().__init__(card, Stft(card.frame_length, card.hop_length).window, **keras_options)

    def call(self, samples: Any) -> tuple[Any, Any, Any]:
        card = self.card
        hops = ops.reshape(samples, (-1, 2, card.n_frames + self.n_offsets - 1, card.hop_length))
        shifted = [hops[:, :, offset : offset + card.n_frames] for offset in range(self.n_offsets)]
        real, imaginary = ops.rfft(ops.concatenate(shifted, axis=-1) * self.window)
        power = ops.square(real[..., : card.n_bins]) + ops.square(imaginary[..., : card.n_bins])
        return real, imaginary, ops.transpose(ops.sqrt(power), (0, 2, 3, 1))


class Synthesis(_Transform):
    """From the mixture's spectra and the stems' masks (n, n_frames, n_bins, 2) to samples of all stems."""

    def __init__(self, card: ModelCard, high_band: HighBand | str, **keras_options: Any) -> None:
        super().__init__(card, Stft(card.frame_length, card.hop_length).synthesis_window, **keras_options)
        self.high_band = high_band
        self.rest = rest_stem_index(card) if high_band == "residual" else None

    def call(self, inputs: list[Any]) -> Any:
        real, imaginary, *masks = inputs
        stems = []
        for index, mask in enumerate(masks):
            gains = ops.transpose(mask, (0, 3, 1, 2))
            parts = (self._masked(real, gains, index), self._masked(imaginary, gains, index))
            stems.append(self._overlapped(ops.irfft(parts, fft_length=self.card.frame_length)))
        return ops.stack(stems, axis=1)

    def _masked(self, spectra: Any, gains: Any, index: int) -> Any:
        inside = spectra[..., : self.card.n_bins] * gains
        above = spectra[..., self.card.n_bins :]
        if self.high_band == "average":
            above = above * ops.mean(gains, axis=3, keepdims=True)
        elif index != self.rest:
            # irfft puts zeros for what is not there.
            return inside
        return ops.concatenate([inside, above], axis=-1)

    def _overlapped(self, frames: Any) -> Any:
        card = self.card
        hops = ops.reshape(frames * self.window, (-1, 2, card.n_frames, self.n_offsets, card.hop_length))
        total = None
        for offset in range(self.n_offsets):
            around = (offset, self.n_offsets - 1 - offset)
            shifted = ops.pad(hops[:, :, :, offset], ((0, 0), (0, 0), around, (0, 0)))
            total = shifted if total is None else total + shifted
        return ops.reshape(total, (-1, 2, segment_length(card)))

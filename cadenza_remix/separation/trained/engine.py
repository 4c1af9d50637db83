"""From a song to its stems by a network that sees patches of frames, at whatever rate it was trained.

The song is resampled, cut into frames, masked and put together again as a stream: patches lie at fixed places from the
song's beginning and go through the network in batches of a fixed size, so that nothing depends on how the song arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import Block
from cadenza_remix.audio.resample import resample_blocks
from cadenza_remix.separation.frames import FramePiece, FrameReader, stitched
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.options import HighBand
from cadenza_remix.separation.stft import Stft
from cadenza_remix.separation.trained.masks import Inference, rest_index, stem_masks

SAMPLE_RATE = 44_100
#: Patches of fewer frames than this go through the network many at a time ...
_LONG_PATCH = 64
#: ... about so many frames, and at most so many bins of them.
_FRAMES_AT_ONCE, _BINS_AT_ONCE = 256, 2**19

#: From magnitudes (n_patches, n_frames, n_bins, 2) to the network's outputs by name.
NetworkFunction = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]
#: Several stereo signals side by side: (n_tracks, 2, n_samples).
Tracks = NDArray[np.float32]


class PatchEngine:
    """Applies a network to a song.

    Parameters
    ----------
    spec : NetworkSpec
        The network's input and output.
    inference : Inference
        What to do with its outputs.
    network : callable
        It always gets `patches_at_once` patches, so that its digits depend on nothing but these.
    high_band : str
        What becomes of what the network does not see: the bins above its band, and all above half its sample rate.

    Attributes
    ----------
    patches_at_once : int
        One, unless patches are short.
    """

    def __init__(
        self, spec: NetworkSpec, inference: Inference, network: NetworkFunction, *, high_band: HighBand
    ) -> None:
        self.spec = spec
        self.stft = Stft(spec.frame_length, spec.hop_length, spec.fft_length)
        self.step = spec.n_frames - 2 * spec.n_context
        self.patches_at_once = 1
        if spec.n_frames < _LONG_PATCH:
            most = min(_FRAMES_AT_ONCE // self.step, _BINS_AT_ONCE // (spec.n_frames * spec.n_bins))
            self.patches_at_once = max(1, most)
        self._inference = inference
        self._network = network
        self._high_band = high_band
        self._rest = rest_index(spec.stems) if high_band == "residual" else None

    def separate(
        self, blocks: Iterable[Block], *, tell: Callable[[float], None] = lambda _: None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield all stems piece by piece: (n_stems, 2, n_samples), together as long as the song.

        Parameters
        ----------
        blocks : iterable of array of shape (n_samples, 2)
            The song at `SAMPLE_RATE`.
        tell : callable
            Told how many seconds of the song are done.
        """
        song = _KeptSong(blocks, keep=self._high_band != "zeros")
        rate = self.spec.sample_rate
        low = resample_blocks(song, SAMPLE_RATE, rate, n_samples=lambda: -(-song.n_read * rate // SAMPLE_RATE))
        reader = FrameReader(low, self.stft, n_frames=self.step * self.patches_at_once, n_context=self.spec.n_context)

        def pieces() -> Iterator[Tracks]:
            for piece in reader:
                yield self.tracks(piece)
                tell(piece.last * self.stft.hop_length / rate)

        parts = (part.reshape(-1, part.shape[-1]).T for part in stitched(pieces(), reader, self.stft))
        for block in resample_blocks(parts, rate, SAMPLE_RATE, n_samples=lambda: song.n_read):
            tracks = np.ascontiguousarray(block.T).reshape(-1, 2, len(block))
            yield self._stems(tracks, song.take(len(block)))

    def masks(self, magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the masks of the frames of a piece.

        Parameters
        ----------
        magnitudes : array of shape (n_context + patches_at_once * step + n_context, n_bins, 2)

        Returns
        -------
        array of shape (patches_at_once * step, n_bins, 2, n_stems)
        """
        n_frames, n_context = self.spec.n_frames, self.spec.n_context
        windows = np.lib.stride_tricks.sliding_window_view(magnitudes, n_frames, axis=0)[:: self.step]
        patches = np.ascontiguousarray(np.moveaxis(windows, -1, 1))
        masks = stem_masks(self._network(patches), patches, self.spec, self._inference)
        return masks[:, n_context : n_context + self.step].reshape(-1, *masks.shape[2:])

    def tracks(self, piece: FramePiece) -> Tracks:
        """Return what is made of a piece of the song at the network's rate; see `_stems` for what becomes of it.

        That is the stems as far as the network sees them (without the rest where it is the residual), and for
        ``average`` the song as far as the network sees it and the stems' mean masks as signals.
        """
        spec, stft = self.spec, self.stft
        spectra = stft.analyse(piece.samples)
        n_frames = piece.last - piece.first
        magnitudes = np.zeros((self.patches_at_once * self.step + 2 * spec.n_context, spec.n_bins, 2), np.float32)
        begin = spec.n_context - piece.n_before
        inside = magnitudes[begin : begin + spectra.shape[1]]
        np.abs(spectra[:, :, : spec.n_bins].transpose(1, 2, 0), out=inside)
        masks = self.masks(magnitudes)[:n_frames].transpose(3, 2, 0, 1)
        band = spectra[:, piece.n_before : piece.n_before + n_frames, : spec.n_bins]
        tracks = [stft.synthesise(band * mask) for stem, mask in enumerate(masks) if stem != self._rest]
        if self._high_band == "average":
            tracks.append(stft.synthesise(band))
            shape = stft.window * stft.synthesis_window  # adds up to one
            tracks += [stft.overlapped(mask.mean(axis=-1)[..., np.newaxis] * shape) for mask in masks]
        return np.stack(tracks)

    def _stems(self, tracks: Tracks, song: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the stems of a piece at the song's rate: ``tracks`` resampled, and the song itself, (2, n)."""
        if self._rest is not None:
            return np.insert(tracks, self._rest, song - tracks.sum(axis=0), axis=0)
        if self._high_band != "average":
            return tracks
        n_stems = len(self.spec.stems)
        above = song - tracks[n_stems]
        return np.asarray(tracks[:n_stems] + tracks[n_stems + 1 :] * above)


class _KeptSong:
    """The song on its way to the network, kept until the stems of the same place come out."""

    def __init__(self, blocks: Iterable[Block], *, keep: bool) -> None:
        self.n_read = 0
        self._blocks = blocks
        self._keep = keep
        self._waiting: deque[Block] = deque()

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks:
            self.n_read += len(block)
            if self._keep:
                self._waiting.append(block)
            yield block

    def take(self, n_samples: int) -> NDArray[np.float32]:
        """Return the next samples (2, n_samples); nothing where none are kept."""
        taken: list[Block] = []
        while self._keep and n_samples:
            first = self._waiting.popleft()
            taken.append(first[:n_samples])
            if len(first) > n_samples:
                self._waiting.appendleft(first[n_samples:])
            n_samples -= len(taken[-1])
        return np.concatenate(taken).T if taken else np.zeros((2, 0), dtype=np.float32)

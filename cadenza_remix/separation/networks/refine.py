"""Stems that HAAQI rates higher: the song mixed back into the vocals where the network is unsure of them.

HAAQI follows the envelope wherever the clean stem can be heard, so that quiet parts count like loud ones: vocals lose
by the holes that masks tear, everything else by the vocals that leak into it. Three remedies, measured on five songs by
``evaluation/refine_gain.py``:

* vocals: a share ``a`` of the song is mixed back in. A network that is sure gives the same masks whatever the level of
  the song; so it is run on the song times 4 and times 1/4 as well. With the level of the difference of those two
  vocals over the vocals, ``d``, in dB, ``a = 0.25 clip((d + 6) / 3, 0, 1)``.
* the rest: the song less the vocals of the multichannel Wiener filter, which leak less. (Its own stems lack what it
  takes for noise, and lose by it. The vocals stay those of the masks, which have fewer holes.)
* bass and other of the median split (`cadenza_remix.separation.hpss`), whose masks tear the largest holes: a quarter
  of what was split is mixed back in.

A song is sure in one place and not in another, so ``d`` is taken over three segments of the network at a time (36 s,
the middle one counting twice as much as its neighbours) and ``a`` moves in straight lines from one segment's middle to
the next. Over the whole song it gave the same mean, and lost 0.01 where the network was sure.

What is mixed back can no longer be turned down by itself: stems for scoring, not for listening.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import BlockSource
from cadenza_remix.errors import InputError
from cadenza_remix.separation.frames import stitched
from cadenza_remix.separation.networks.masking import MaskEngine, tell_progress, vocals_index
from cadenza_remix.separation.networks.wiener import SpatialStatistics, WienerFilter
from cadenza_remix.separation.separator import Progress

#: What the song is multiplied by to see how sure the network is.
PROBE_GAINS_LIN = (4.0, 0.25)
#: The largest share of the song in the vocals (that of the rest in bass and other: `hpss.REFINED`).
LARGEST_SHARE = 0.25
# Up to the first level the network counts as sure, from the second on as unsure.
_SURE_DB, _UNSURE_DB = -6.0, -3.0


def share_of_song(doubt_db: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the share of the song to be mixed into the vocals.

    Parameters
    ----------
    doubt_db : array
        Level of what changes in the vocals with the level of the song, over the vocals; minus infinity for none.
    """
    rise = (np.asarray(doubt_db, dtype=np.float64) - _SURE_DB) / (_UNSURE_DB - _SURE_DB)
    return LARGEST_SHARE * np.clip(rise, 0.0, 1.0)


class VocalsDoubt:
    """What the first pass over a song collects: how much of the vocals depends on the song's level.

    Parameters
    ----------
    n_frames : int
        Frames of a segment.
    """

    def __init__(self, n_frames: int) -> None:
        self._n_frames = n_frames
        self._changes: list[float] = []
        self._energies: list[float] = []

    def add(
        self,
        spectra: NDArray[np.complex64],
        mask: NDArray[np.float32],
        louder: NDArray[np.float32],
        quieter: NDArray[np.float32],
    ) -> None:
        """Take in the next segment.

        Parameters
        ----------
        spectra : array of shape (2, n_frames, n bins of the network or more)
            Of the song.
        mask, louder, quieter : arrays of shape (n_frames, n_bins, 2)
            The masks of the vocals: for the song, and for the song times each of `PROBE_GAINS_LIN`.
        """
        n_frames, n_bins, _ = mask.shape
        band = spectra[:, :, :n_bins]
        if spectra.shape[1] != n_frames or n_frames != self._n_frames or band.shape[2] != n_bins:
            raise InputError(
                "segment of the wrong shape",
                where="doubt about the vocals",
                expected=f"{self._n_frames} frames",
                found=f"spectra {spectra.shape}, mask {mask.shape}",
            )
        power = (np.square(band.real) + np.square(band.imag)).transpose(1, 2, 0)
        self._changes.append(float(np.sum(power * np.square(louder - quieter), dtype=np.float64)))
        self._energies.append(float(np.sum(power * np.square(mask), dtype=np.float64)))

    def fit(self) -> VocalsBlend:
        """Return what to mix where in the song that was added."""
        changes, energies = _with_neighbours(self._changes), _with_neighbours(self._energies)
        with np.errstate(divide="ignore", invalid="ignore"):
            doubt_db = 10.0 * np.log10(changes / energies)
        # Silence: no vocals, and nothing that could be mixed back.
        doubt_db[np.isnan(doubt_db)] = -np.inf
        return VocalsBlend(share_of_song(doubt_db), self._n_frames)


@dataclass(frozen=True)
class VocalsBlend:
    """The share of the song in the vocals, along time.

    Parameters
    ----------
    shares : array of shape (n_segments,)
        At the middle of each segment.
    n_frames : int
        Frames of a segment.
    """

    shares: NDArray[np.float64]
    n_frames: int

    def at(self, first: int, last: int) -> NDArray[np.float32]:
        """Return the share in frames ``first`` to ``last`` (exclusive)."""
        middles = (np.arange(len(self.shares)) + 0.5) * self.n_frames
        return np.interp(np.arange(first, last) + 0.5, middles, self.shares).astype(np.float32)


def refined(
    spectra: NDArray[np.complex64],
    masks: Sequence[NDArray[np.float32]],
    filtered: NDArray[np.complex64],
    shares: NDArray[np.float32],
    *,
    vocals: int,
) -> NDArray[np.complex64]:
    """Return the refined stems' spectra in the network's band.

    The stems beside the vocals sum to the song less the filter's vocals: what the filter takes for noise goes to them,
    in the ratio of their masks.

    Parameters
    ----------
    spectra : array of shape (2, n_frames, n bins of the network or more)
        Of the song.
    masks : sequence of arrays of shape (n_frames, n_bins, 2)
        Ratio masks, one for each stem.
    filtered : array of shape (n_stems, 2, n_frames, n_bins)
        What `WienerFilter.apply` gives for them; is changed and returned.
    shares : array of shape (n_frames,)
        See `VocalsBlend.at`.
    vocals : int
        Which of the stems are the vocals.
    """
    n_bins = filtered.shape[3]
    band = spectra[:, :, :n_bins]
    others = [index for index in range(len(masks)) if index != vocals]
    left_out = band - filtered.sum(axis=0)
    if len(others) == 1:
        filtered[others[0]] += left_out
    else:
        total = sum((masks[index] for index in others[1:]), start=masks[others[0]])
        for index in others:
            part = masks[index] / np.maximum(total, np.finfo(np.float32).tiny)
            filtered[index] += left_out * part.transpose(2, 0, 1)
    gains = masks[vocals].transpose(2, 0, 1)
    weights = shares[np.newaxis, :, np.newaxis]
    filtered[vocals] = band * (gains + weights * (1.0 - gains))
    return filtered


def separate_refined(
    source: BlockSource, engine: MaskEngine, *, progress: Progress | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yield the refined stems of a song piece by piece: (n_stems, 2, n_samples).

    The song is read twice; the network runs three times over it in the first pass and once in the second.

    Raises
    ------
    InputError
        The model has no vocals; the source cannot be read.
    """
    vocals = vocals_index(engine.card)
    first = None if progress is None else lambda share: progress(0.75 * share)
    second = None if progress is None else lambda share: progress(0.75 + 0.25 * share)
    wiener, blend = _measure(source, engine, vocals, first)
    reader = engine.reader(source)

    def pieces() -> Iterator[NDArray[np.float32]]:
        for piece in reader:
            spectra = engine.stft.analyse(piece.samples)
            masks = engine.masks(spectra)
            filtered = wiener.apply(spectra, np.stack(masks))
            stems = refined(spectra, masks, filtered, blend.at(piece.first, piece.last), vocals=vocals)
            yield engine.synthesised(spectra, iter(stems), masks)
            tell_progress(second, source, piece.last * engine.stft.hop_length)

    yield from stitched(pieces(), reader, engine.stft)
    if progress is not None:
        progress(1.0)


def _measure(
    source: BlockSource, engine: MaskEngine, vocals: int, progress: Progress | None
) -> tuple[WienerFilter, VocalsBlend]:
    card = engine.card
    statistics = SpatialStatistics(len(card.stems), card.n_bins, exponent=card.separation_exponent)
    doubt = VocalsDoubt(card.n_frames)
    for piece in engine.reader(source):
        spectra = engine.stft.analyse(piece.samples)
        masks = engine.masks(spectra)
        louder, quieter = (engine.masks(spectra, gain_lin=gain)[vocals] for gain in PROBE_GAINS_LIN)
        statistics.add(spectra, np.stack(masks))
        doubt.add(spectra, masks[vocals], louder, quieter)
        tell_progress(progress, source, piece.last * engine.stft.hop_length)
    return statistics.fit(), doubt.fit()


def _with_neighbours(values: Sequence[float]) -> NDArray[np.float64]:
    """Return each value with half of the one before and of the one after it."""
    sums = np.asarray(values, dtype=np.float64).copy()
    sums[1:] += 0.5 * np.asarray(values[:-1])
    sums[:-1] += 0.5 * np.asarray(values[1:])
    return sums

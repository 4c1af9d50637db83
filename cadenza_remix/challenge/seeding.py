"""The challenge's noise: HAAQI adds random noise, and the organisers seed it from the song's name."""

from __future__ import annotations

import hashlib

import numpy as np


def song_seed(song: str) -> int:
    """Return the seed of a song: the MD5 sum of its name in UTF-8, read as a number, modulo 10**8.

    Examples
    --------
    >>> song_seed("Actions - One Minute Smile")
    87297760
    """
    return int(hashlib.md5(song.encode("utf-8"), usedforsecurity=False).hexdigest(), 16) % 10**8


def song_rng(song: str) -> np.random.RandomState:
    """Return a fresh generator in the state from which the challenge scores one pair of this song.

    It draws what NumPy's global generator draws after ``numpy.random.seed(song_seed(song))``. Make one for each pair of
    song and listener and hand it to the eight HAAQI calls in turn, in the order of
    :data:`cadenza_remix.challenge.pairs.SCORING_CHANNELS`.
    """
    return np.random.RandomState(song_seed(song))

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.pairs import SCORING_CHANNELS, SCORING_STEMS, Pair, batch_of, make_pairs
from cadenza_remix.challenge.seeding import song_rng, song_seed
from cadenza_remix.errors import InputError


def test_songs_are_outermost_and_keep_their_order() -> None:
    pairs = make_pairs([SongEntry("b", "test"), "a"], {"L2": None, "L1": None})
    assert pairs == [("b", "L2"), ("b", "L1"), ("a", "L2"), ("a", "L1")]
    assert pairs[0].song == "b"
    assert pairs[0].listener == "L2"


def test_a_small_test_takes_every_fifteenth_pair() -> None:
    songs, listeners = [f"s{n}" for n in range(7)], [f"L{n}" for n in range(5)]
    every = make_pairs(songs, listeners)
    assert make_pairs(songs, listeners, small_test=True) == [every[0], every[15], every[30]]


@pytest.mark.parametrize("n_batches", [1, 2, 3, 7, 40])
def test_batches_hold_every_pair_once(n_batches: int) -> None:
    pairs = make_pairs([f"s{n}" for n in range(5)], [f"L{n}" for n in range(7)])
    batches = [batch_of(pairs, batch, n_batches) for batch in range(n_batches)]
    assert batches[0][:2] == pairs[: 2 * n_batches : n_batches]
    assert sorted(pair for batch in batches for pair in batch) == sorted(pairs)


@pytest.mark.parametrize(
    ("batch", "batch_size", "message"),
    [
        (0, 0, "batch_size: no batches"),
        (2, 2, "batch: no such batch: expected 0 to 1, found 2"),
        (-1, 2, "batch: no such batch"),
        (0.0, 1, "batch: wrong type"),
        (0, True, "batch_size: wrong type"),
        ("0", 1, "batch: wrong type"),
    ],
)
def test_batches_that_do_not_exist_are_refused(batch: int, batch_size: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        batch_of([Pair("s", "L")], batch, batch_size)


def test_repeated_missing_and_impossible_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"song named twice.*'a'"):
        make_pairs(["a", "b", "a"], ["L1"])
    with pytest.raises(InputError, match="listener named twice"):
        make_pairs(["a"], ["L1", "L1"])
    with pytest.raises(InputError, match="no listener to work on"):
        make_pairs(["a"], [])
    with pytest.raises(InputError, match="would leave its folder"):
        make_pairs(["a/b"], ["L1"])


def test_scoring_order_is_the_challenges() -> None:
    assert SCORING_STEMS == ("drums", "bass", "other", "vocals")
    assert SCORING_CHANNELS[:3] == (("left", "drums"), ("right", "drums"), ("left", "bass"))
    assert SCORING_CHANNELS[-1] == ("right", "vocals")
    assert len(set(SCORING_CHANNELS)) == 8


@pytest.mark.parametrize("song", ["Actions - One Minute Smile", "Łona", ""])
def test_the_seed_is_the_last_digits_of_the_md5_sum(song: str) -> None:
    digits = str(int.from_bytes(hashlib.md5(song.encode()).digest(), "big"))
    assert song_seed(song) == int(digits[-8:])


def test_the_seed_of_known_md5_sums() -> None:
    # RFC 1321, section A.5: MD5("abc") = 900150983cd24fb0d6963f7d28e17f72
    assert song_seed("abc") == 0x900150983CD24FB0D6963F7D28E17F72 % 10**8


def test_the_generator_draws_what_numpys_global_one_would() -> None:
    before = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(song_seed("abc"))  # noqa: NPY002
        expected = np.random.standard_normal((2, 100))  # noqa: NPY002
    finally:
        np.random.set_state(before)  # noqa: NPY002
    rng = song_rng("abc")
    np.testing.assert_array_equal(rng.standard_normal((2, 100)), expected)


def test_generators_of_a_song_are_independent_and_leave_the_global_one_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = song_rng("abc"), song_rng("abc")
    first.standard_normal(10)
    np.testing.assert_array_equal(second.standard_normal(5), song_rng("abc").standard_normal(5))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002

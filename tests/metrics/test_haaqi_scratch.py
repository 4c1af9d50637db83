"""Large arrays are used again, and never by two at a time."""

import threading

import numpy as np

from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics import HaaqiReference, haaqi
from cadenza_remix.metrics.auditory.scratch import Scratch, thread_scratch

EAR = Audiogram([250, 500, 1000, 2000, 4000, 6000], [10, 15, 20, 30, 45, 50])


def test_arrays_are_used_again_where_they_are_large_enough():
    scratch = Scratch()
    first, second = scratch.empty(1000), scratch.empty(10)
    assert not np.shares_memory(first, second)
    scratch.close()
    assert np.shares_memory(scratch.empty(500), first)
    assert scratch.empty(20).shape == (20,)


def test_too_much_is_let_go():
    scratch = Scratch()
    first = scratch.empty(90_000_000)  # never written: takes no memory
    scratch.close()
    assert not np.shares_memory(scratch.empty(10), first)


def test_whoever_asks_inside_or_on_another_thread_gets_other_arrays():
    others = []

    def ask():
        with thread_scratch() as scratch:
            others.append(scratch.empty(100))

    with thread_scratch() as outer:
        mine = outer.empty(100)
        ask()
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(others) == 2
    assert not any(np.shares_memory(mine, other) for other in others)


def test_a_score_does_not_depend_on_those_before_it():
    rng = np.random.RandomState(0)
    music, longer = rng.standard_normal(12_000) * 0.05, rng.standard_normal(20_011) * 0.5

    def score(samples):
        return haaqi(samples, samples**3, audiogram=EAR, sample_rate=24_000, rng=np.random.RandomState(1))

    first = score(music)
    kept = HaaqiReference.prepare(music, 24_000, audiogram=EAR, rng=np.random.RandomState(1))
    score(longer)
    assert score(music) == first
    again = [kept.score(music**3, 24_000, rng=np.random.RandomState(2)) for _ in range(2)]
    assert again[0] == again[1]

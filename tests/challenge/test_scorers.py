"""Which function scores, with which noise."""

import importlib.util

import numpy as np
import pytest

from cadenza_remix.challenge.scorers import ear_scorer
from cadenza_remix.challenge.seeding import song_seed
from cadenza_remix.errors import InputError, MissingDependencyError
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.metrics import compute_haaqi

EAR = load_listeners("bisgaard")["N3"].left


@pytest.fixture(scope="module")
def sounds():
    rng = np.random.RandomState(5)
    reference = rng.standard_normal(24000) * np.linspace(0.01, 0.1, 24000)
    return reference + 0.01 * rng.standard_normal(24000), reference


def test_legacy_noise_goes_on_from_call_to_call_as_the_evaluators_does(sounds):
    score = ear_scorer("Falcon")
    ours = [score(*sounds, EAR, 85.0) for _ in range(3)]
    rng = np.random.RandomState(song_seed("Falcon"))
    assert ours == [compute_haaqi(*sounds, 24000, 24000, EAR, 1, 85.0, rng=rng) for _ in range(3)]
    assert len(set(ours)) == 3


def test_fixed_noise_is_the_same_for_every_call_and_song(sounds):
    scorers = [ear_scorer(song, noise="fixed") for song in ("Falcon", "Falcon", "Other")]
    ours = {score(*sounds, EAR, 85.0) for score in scorers for _ in range(2)}
    assert len(ours) == 1
    # The scores of 40 seeds of these short sounds have a standard deviation of 6.6e-5.
    assert ours.pop() == pytest.approx(ear_scorer("Falcon")(*sounds, EAR, 85.0), abs=4e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scorer": "mine"}, "unknown scorer 'mine': expected one of builtin, clarity"),
        ({"noise": "none"}, "unknown noise 'none': expected one of legacy, fixed"),
        ({"scorer": "clarity", "noise": "fixed"}, "not pyclarity's"),
    ],
)
def test_what_does_not_exist_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        ear_scorer("Falcon", **options)


@pytest.mark.skipif(importlib.util.find_spec("clarity") is not None, reason="pyclarity is installed")
def test_a_missing_pyclarity_is_one_line():
    with pytest.raises(MissingDependencyError, match=r"cadenza-remix\[clarity\]"):
        ear_scorer("Falcon", scorer="clarity")

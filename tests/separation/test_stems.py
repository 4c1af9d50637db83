"""Stems as a value, and the way to vocals, drums, bass and other."""

import numpy as np
import pytest

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.separation.stems import Stems, to_vdbo


def constant(level, n_samples=10, n_channels=2, sample_rate=44_100):
    return Audio(np.full((n_samples, n_channels), float(level)), sample_rate)


def test_stems_are_a_mapping_that_keeps_its_order():
    stems = Stems({"drums": constant(1), "bass": constant(2)})
    assert list(stems) == ["drums", "bass"]
    assert (stems.sample_rate, stems.n_samples, len(stems)) == (44_100, 10, 2)
    assert stems["bass"].samples[0, 0] == 2
    with pytest.raises(TypeError):
        stems["bass"] = constant(3)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (constant(1, n_samples=9), "b: stems differ in length: expected 10 samples as a, found 9"),
        (constant(1, sample_rate=48_000), "b: stems differ in sample rate: expected 44100 Hz as a, found 48000 Hz"),
        (constant(1, n_channels=1), "b: stem is not in stereo: expected 2 channels, found 1"),
    ],
)
def test_stems_that_do_not_go_together_are_refused(other, message):
    with pytest.raises(InputError) as caught:
        Stems({"a": constant(1), "b": other})
    assert str(caught.value) == message


def test_no_stems_are_refused():
    with pytest.raises(InputError, match="no stems"):
        Stems({})


def test_piano_goes_into_other():
    five = Stems({name: constant(level) for level, name in enumerate(["vocals", "piano", "drums", "bass", "other"])})
    four = to_vdbo(five)
    assert {name: audio.samples[0, 0] for name, audio in four.items()} == {
        "vocals": 0,
        "drums": 2,
        "bass": 3,
        "other": 4 + 1,
    }
    assert five["other"].samples[0, 0] == 4


def test_four_stems_come_in_the_order_of_the_challenge():
    mixed = Stems({name: constant(0) for name in ["other", "bass", "vocals", "drums"]})
    assert list(to_vdbo(mixed)) == ["vocals", "drums", "bass", "other"]


@pytest.mark.parametrize("names", [["vocals", "accompaniment"], ["vocals", "drums", "bass", "other", "guitar"]])
def test_other_sets_of_stems_are_refused(names):
    with pytest.raises(InputError, match=r"four stems that a remix needs.*found " + ", ".join(names)):
        to_vdbo(Stems({name: constant(0) for name in names}))

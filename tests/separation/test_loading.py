"""One door to all separators: what auto takes, what it says, what is refused, and that nothing heavy loads early."""

import subprocess
import sys

import pytest
from random_weights import random_variables, write_checkpoint

from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.loading import choose_separator, load_separator, separator_names
from cadenza_remix.separation.registry import model_card
from cadenza_remix.separation.store import ModelStore


class Shelf:
    """A store that holds some models in one folder."""

    def __init__(self, *weights, folder=None):
        self.weights, self.folder = weights, folder

    def is_installed(self, card):
        return card.weights in self.weights

    def path(self, card):
        if not self.is_installed(card):
            raise ModelError(f"{card.name}: not installed")
        return self.folder


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = write_checkpoint(tmp_path_factory.mktemp("2stems"), random_variables(model_card("spleeter:2stems")))
    return Shelf("2stems", folder=folder)


def test_auto_takes_four_stems_where_they_are():
    choice = choose_separator(Shelf("2stems", "4stems"))
    assert (choice.name, choice.advice) == ("spleeter:4stems", "")
    assert "installed" in choice.reason


def test_auto_falls_back_aloud():
    choice = choose_separator(Shelf("2stems"))
    assert choice.name == "spleeter:2stems+hpss"
    assert "spleeter:4stems is not installed" in choice.reason
    assert choice.advice.endswith("cadenza-remix models fetch spleeter:4stems")


@pytest.mark.parametrize("ask", [choose_separator, lambda store: load_separator(store=store)])
def test_auto_without_any_model_names_the_command(ask, tmp_path):
    with pytest.raises(ModelError, match=r"get one with: cadenza-remix models fetch spleeter:2stems$") as caught:
        ask(ModelStore(tmp_path))
    assert "\n" not in str(caught.value)


def test_unknown_separator_is_refused_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"unknown separator 'spleeter:4stem'.*did you mean 'spleeter:4stems'"
    ) as caught:
        load_separator("spleeter:4stem", store=Shelf())
    assert all(name in str(caught.value) for name in separator_names())


def test_a_model_that_is_not_there_is_never_replaced_by_another():
    with pytest.raises(ModelError, match="spleeter:4stems: not installed"):
        load_separator("spleeter:4stems", store=Shelf("2stems"))


@pytest.mark.parametrize(
    ("asked", "name", "stems"),
    [
        ("spleeter:2stems", "spleeter:2stems", ("vocals", "accompaniment")),
        ("spleeter:2stems-16kHz", "spleeter:2stems-16kHz", ("vocals", "accompaniment")),
        ("spleeter:2stems+hpss", "spleeter:2stems+hpss", ("vocals", "drums", "bass", "other")),
        ("auto", "spleeter:2stems+hpss", ("vocals", "drums", "bass", "other")),
    ],
)
def test_names_give_their_separators(shelf, asked, name, stems):
    separator = load_separator(asked, store=shelf)
    assert (separator.name, separator.stems, separator.sample_rate) == (name, stems, 44_100)
    assert len(separator.fingerprint) == 16


def test_looking_around_loads_no_network_library():
    code = (
        "import sys; from cadenza_remix.separation import loading, stems, hpss, spleeter, registry, checkpoint;"
        "loading.separator_names(); registry.model_card('spleeter:4stems');"
        "print([name for name in ('tensorflow', 'keras', 'torch', 'jax') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_building_a_network_says_nothing(shelf):
    # Also in a process of its own, where TensorFlow starts and would log.
    code = (
        "import sys, dataclasses; from pathlib import Path; import numpy as np;"
        "from cadenza_remix.audio.signal import Audio; from cadenza_remix.separation.registry import model_card;"
        "from cadenza_remix.separation.spleeter import SpleeterSeparator;"
        "card = dataclasses.replace(model_card('spleeter:2stems'), n_frames=64, n_bins=128);"
        "SpleeterSeparator(card, Path(sys.argv[1])).separate(Audio(np.zeros(5000), 44100))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(shelf.folder)], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")

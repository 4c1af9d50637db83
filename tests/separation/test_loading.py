"""One door to all separators: what auto takes, what it says, what is refused, and that nothing heavy loads early."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from random_weights import random_variables, write_checkpoint

from cadenza_remix.errors import InputError, MissingDependencyError, ModelError
from cadenza_remix.separation.loading import choose_separator, load_separator, separator_names
from cadenza_remix.separation.models.registry import model_card, model_names, separator_card_names
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.options import SeparationOptions

OWN_NAMES = (*model_names(), "spleeter:2stems+hpss", *separator_card_names())
SAFE = "cadenza:mini or torchaudio:hdemucs_high or openunmix:umxhq"


class Shelf:
    """A store that holds some models in one folder, and others damaged."""

    home = Path("nowhere")

    def __init__(self, *weights, folder=None, damaged=()):
        self.weights, self.folder, self.damaged = weights, folder, damaged

    def is_installed(self, card):
        return card.weights in self.weights

    def problem(self, card):
        return "model.index: 3 bytes missing" if card.weights in self.damaged else None

    def path(self, card, *, form=None):
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
    assert choice.name == "spleeter:2stems+cadenza:mini"
    assert "spleeter:4stems is not installed" in choice.reason
    assert choice.advice.endswith("cadenza-remix models fetch spleeter:4stems")


def test_auto_without_any_model_takes_what_the_package_brings(tmp_path):
    choice = choose_separator(ModelStore(tmp_path))
    assert choice.name == "cadenza:mini"
    assert choice.reason.startswith("neither spleeter:4stems nor spleeter:2stems is installed")
    assert choice.advice.endswith("models fetch spleeter:4stems or cadenza-remix models fetch spleeter:2stems")
    assert load_separator(store=ModelStore(tmp_path)).name == "cadenza:mini"


def test_auto_says_that_a_model_is_damaged():
    choice = choose_separator(Shelf("2stems", damaged=["4stems"]))
    assert choice.name == "spleeter:2stems+cadenza:mini"
    assert choice.reason.startswith("spleeter:4stems is damaged (model.index: 3 bytes missing); vocals come from")
    for damaged in (["2stems"], ["2stems", "4stems"]):
        choice = choose_separator(Shelf(damaged=damaged))
        assert choice.name == "cadenza:mini"
        assert "spleeter:2stems is damaged (model.index: 3 bytes missing)" in choice.reason
        assert choice.advice.startswith("get it anew with: cadenza-remix models fetch spleeter:")


def test_a_damaged_model_in_the_real_store_is_damaged_for_auto(tmp_path):
    store = ModelStore(tmp_path)
    folder = store.folder(model_card("spleeter:4stems"))
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": ')
    choice = choose_separator(store)
    assert choice.reason.startswith("spleeter:4stems is damaged (")
    assert choice.advice == "get it anew with: cadenza-remix models fetch spleeter:4stems"


def test_auto_keeps_the_rules(tmp_path):
    assert choose_separator(Shelf("2stems", "4stems"), rules="cad1").name == "spleeter:4stems"
    assert choose_separator(Shelf("2stems", "4stems"), rules="icassp2024").name == "cadenza:mini"
    assert load_separator(store=Shelf("4stems"), rules="cad2").name == "cadenza:mini"
    assert load_separator("cadenza:mini", rules="cad2").private_data is False
    with pytest.raises(InputError, match=r"unknown rules 'icassp24'.*did you mean 'icassp2024'"):
        choose_separator(Shelf("4stems"), rules="icassp24")


def test_unknown_separator_is_refused_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"unknown separator 'spleeter:4stem'.*did you mean 'spleeter:4stems'"
    ) as caught:
        load_separator("spleeter:4stem", store=Shelf())
    assert all(name in str(caught.value) for name in separator_names())
    assert set(OWN_NAMES) <= set(separator_names())


def test_a_model_that_is_not_there_is_never_replaced_by_another():
    with pytest.raises(ModelError, match="spleeter:4stems: not installed"):
        load_separator("spleeter:4stems", store=Shelf("2stems"))


@pytest.mark.parametrize(
    ("asked", "name", "stems"),
    [
        ("spleeter:2stems", "spleeter:2stems", ("vocals", "accompaniment")),
        ("spleeter:2stems-16kHz", "spleeter:2stems-16kHz", ("vocals", "accompaniment")),
        ("spleeter:2stems+hpss", "spleeter:2stems+hpss", ("vocals", "drums", "bass", "other")),
        ("spleeter:2stems+cadenza:mini", "spleeter:2stems+cadenza:mini", ("vocals", "drums", "bass", "other")),
        ("cadenza:mini", "cadenza:mini", ("vocals", "drums", "bass", "other")),
        ("auto", "spleeter:2stems+cadenza:mini", ("vocals", "drums", "bass", "other")),
    ],
)
def test_names_give_their_separators(shelf, asked, name, stems):
    separator = load_separator(asked, store=shelf)
    assert (separator.name, separator.stems, separator.sample_rate) == (name, stems, 44_100)
    assert len(separator.fingerprint) == 16


def test_options_reach_the_separator(shelf):
    plain = load_separator("spleeter:2stems", store=shelf)
    other = load_separator("spleeter:2stems", store=shelf, options=SeparationOptions(high_band="average"))
    assert other.fingerprint != plain.fingerprint


@pytest.mark.parametrize("name", ["demucs:htdemucs", "torchaudio:hdemucs_high", "openunmix:umxhq", "deezer:2stems"])
@pytest.mark.parametrize("option", [{"wiener": True}, {"high_band": "residual"}, {"refine": "haaqi"}])
def test_options_that_a_separator_does_not_know_are_refused(name, option, shelf):
    flag = "--" + next(iter(option)).replace("_", "-")
    with pytest.raises(InputError, match=f"{name}: option is not known to this separator.*found {flag}"):
        load_separator(name, store=shelf, options=SeparationOptions(**option))


@pytest.mark.parametrize(
    "name", ["demucs:htdemucs", "demucs:hdemucs_mmi", "torchaudio:hdemucs_high", "openunmix:umxhq"]
)
def test_a_package_that_is_not_there_is_named_with_what_installs_it(name, monkeypatch):
    package = name.partition(":")[0]
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed, where it is
    with pytest.raises(
        MissingDependencyError, match=rf'^{name} .*install it with: pip install "cadenza-remix\[{package}\]"$'
    ):
        load_separator(name)


@pytest.mark.parametrize("name", [name for name in OWN_NAMES if name.startswith(("spleeter", "demucs", "deezer"))])
def test_rules_refuse_what_was_trained_on_private_data(name, shelf):
    with pytest.raises(InputError, match=f"barred by the rules of icassp2024.*{SAFE}"):
        load_separator(name, store=shelf, rules="icassp2024")


def test_rules_refuse_a_pair_of_which_one_is_barred(shelf):
    with pytest.raises(InputError, match=r"^spleeter:2stems: barred by the rules of cad2"):
        load_separator("spleeter:2stems+cadenza:mini", store=shelf, rules="cad2")


def test_rules_let_others_pass(shelf):
    assert load_separator("spleeter:2stems", store=shelf, rules="cad1").name == "spleeter:2stems"
    if importlib.util.find_spec("openunmix") is None:
        # Not barred: what it fails for is the package.
        with pytest.raises(MissingDependencyError):
            load_separator("openunmix:umxhq", rules="icassp2024")


def test_unknown_rules_are_refused(shelf):
    with pytest.raises(InputError, match=r"unknown rules 'icassp24'.*did you mean 'icassp2024'"):
        load_separator("spleeter:2stems", store=shelf, rules="icassp24")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"options": {}}, r"wrong options: expected SeparationOptions\(\.\.\.\), found {}"),
        ({"options": {"wiener": True}}, "wrong options"),
        ({"options": "wiener"}, "wrong options"),
        ({"rules": []}, r"wrong rules: expected the name of a challenge, found \[\]"),
        ({"rules": 3}, "wrong rules"),
        ({"store": "somewhere"}, r"wrong store: expected ModelStore\(folder\), found 'somewhere'"),
        ({"store": Path("somewhere")}, "wrong store"),
    ],
)
def test_arguments_of_another_kind_are_refused(arguments, says, shelf):
    with pytest.raises(InputError, match=f"^load_separator: {says}") as caught:
        load_separator("spleeter:2stems", **{"store": shelf} | arguments)
    assert "\n" not in str(caught.value)


def test_looking_around_loads_no_network_library():
    code = (
        "import sys; from cadenza_remix.separation import loading, stems, hpss, spleeter;"
        "from cadenza_remix.separation.models import registry, checkpoint;"
        "loading.separator_names(); registry.model_card('spleeter:4stems');"
        "print([name for name in ('tensorflow', 'keras', 'torch', 'jax') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_building_a_network_says_nothing(shelf):
    # Also in a process of its own, where TensorFlow starts and would log.
    code = (
        "import sys, dataclasses; from pathlib import Path; import numpy as np;"
        "from cadenza_remix.audio.signal import Audio; from cadenza_remix.separation.models.registry import model_card;"
        "from cadenza_remix.separation.spleeter import SpleeterSeparator;"
        "card = dataclasses.replace(model_card('spleeter:2stems'), n_frames=64, n_bins=128);"
        "SpleeterSeparator(card, Path(sys.argv[1])).separate(Audio(np.zeros(5000), 44100))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(shelf.folder)], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")

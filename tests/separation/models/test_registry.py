"""The model registry: complete, consistent, and clear about what it does not know."""

import re

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.separation.models.registry import (
    check_rules,
    model_card,
    model_names,
    rules_allowing,
    rules_names,
    separator_card,
    separator_card_names,
    training_facts,
)


def test_all_of_spleeters_presets_are_there():
    sizes = [f"spleeter:{n}stems{suffix}" for n in (2, 4, 5) for suffix in ("", "-16kHz")]
    assert sorted(model_names()) == sorted(sizes)


@pytest.mark.parametrize("name", model_names())
def test_cards_are_complete(name):
    card = model_card(name)
    assert card.name == name
    assert card.weights == name.removeprefix("spleeter:").removesuffix("-16kHz")
    assert len(card.stems) == int(card.weights[0])
    assert card.n_bins == (1536 if name.endswith("16kHz") else 1024)
    # Six halvings: the network needs sizes that go through them without a remainder.
    assert card.n_frames % 64 == 0
    assert card.n_bins % 64 == 0
    # The bins that the network sees, times the width of one; the 16 kHz models end a little above their name.
    assert card.band_hz == (16537.5 if name.endswith("16kHz") else 11025.0)
    assert re.fullmatch(r"[0-9a-f]{64}", card.archive_sha256)
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in card.files.values())
    assert card.licence
    assert card.training_data
    assert card.archive_url.endswith(f"/{card.weights}.tar.gz")
    assert (card.pip_requirement is None) == (card.pip_folder is None)
    assert set(card.sdr_db) <= set(card.stems)


def test_only_two_stems_travel_by_pip():
    by_pip = {model_card(name).weights for name in model_names() if model_card(name).pip_requirement}
    assert by_pip == {"2stems"}


def test_activations_and_outputs_are_those_of_the_presets():
    described = {
        name: (card.encoder_activation, card.decoder_activation, card.output)
        for name, card in ((name, model_card(f"spleeter:{name}")) for name in ("2stems", "4stems", "5stems"))
    }
    assert described == {
        "2stems": ("leaky_relu", "relu", "sigmoid"),
        "4stems": ("elu", "elu", "sigmoid"),
        "5stems": ("elu", "elu", "softmax"),
    }


def test_a_wide_model_shares_its_weights_with_the_plain_one():
    plain, wide = model_card("spleeter:4stems"), model_card("spleeter:4stems-16kHz")
    assert (plain.weights, plain.archive_sha256) == (wide.weights, wide.archive_sha256)


def test_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown model 'spleeter:3stems'.*spleeter:2stems.*did you mean"):
        model_card("spleeter:3stems")


def test_a_card_cannot_be_changed():
    card = model_card("spleeter:4stems")
    with pytest.raises(AttributeError):
        card.n_bins = 1
    with pytest.raises(TypeError):
        card.sdr_db["vocals"] = 20.0


# --- Separators that other packages run ---


def test_separators_of_other_packages_are_described():
    names = set(separator_card_names())
    assert names >= {"demucs:htdemucs", "demucs:hdemucs_mmi", "torchaudio:hdemucs_high", "openunmix:umxhq"}
    assert {name for name in names if name.startswith("deezer:")} == {
        name.replace("spleeter:", "deezer:") for name in model_names()
    }
    for name in names:
        card = separator_card(name)
        assert card.name == name
        assert card.sample_rate == 44_100
        assert 0 < card.band_hz <= card.sample_rate / 2
        assert set(card.stems) >= ({"vocals", "drums", "bass", "other"} if "2stems" not in name else {"vocals"})
        assert all((card.licence, card.training_data, card.needs, card.weights_from))
    assert separator_card("deezer:5stems").stems == model_card("spleeter:5stems").stems


def test_an_unknown_separator_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown separator 'demucs:htdemucs_ft'.*did you mean 'demucs:htdemucs'"):
        separator_card("demucs:htdemucs_ft")


# --- Rules ---

PUBLIC = {"cadenza:mini", "torchaudio:hdemucs_high", "openunmix:umxhq"}


@pytest.mark.parametrize("name", [*model_names(), *separator_card_names(), "spleeter:2stems+hpss"])
def test_rules_allow_what_they_allow(name):
    facts = training_facts(name)
    allowed = {"cad1", "icassp2024", "cad2"} if name in PUBLIC else {"cad1"}
    assert set(rules_allowing(facts)) == allowed
    for rules in rules_names():
        if rules in allowed:
            check_rules(facts, rules)
            continue
        with pytest.raises(InputError) as caught:
            check_rules(facts, rules)
        line = str(caught.value)
        assert line.startswith(f"{facts.name}: barred by the rules of {rules} (")
        assert "such as cadenza:mini or torchaudio:hdemucs_high or openunmix:umxhq" in line
        assert facts.training_data in line


def test_what_nobody_knows_the_training_of_is_barred_where_that_matters():
    class Plugin:
        name, training_data, private_data = "mine:net", "", None

    check_rules(Plugin(), "cad1")
    with pytest.raises(InputError, match=r"mine:net: barred .* found no word on its training data"):
        check_rules(Plugin(), "cad2")


def test_unknown_rules_and_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown rules 'icassp2025': expected one of cad1, icassp2024, cad2"):
        check_rules(model_card("spleeter:4stems"), "icassp2025")
    with pytest.raises(InputError, match=r"unknown model 'spleeter:3stems'.*openunmix:umxhq"):
        training_facts("spleeter:3stems")

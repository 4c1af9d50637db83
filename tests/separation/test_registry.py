"""The model registry: complete, consistent, and clear about what it does not know."""

import re

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.separation.registry import model_card, model_names


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
    assert re.fullmatch(r"[0-9a-f]{64}", card.archive_sha256)
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

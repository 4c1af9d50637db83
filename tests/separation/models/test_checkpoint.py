"""Checkpoints: the table from variables to layers refuses whatever does not fit, and damage is told in one line."""

import shutil

import numpy as np
import pytest
from random_weights import random_variables, write_checkpoint

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.checkpoint import match_variables, read_checkpoint, weight_table
from cadenza_remix.separation.models.registry import model_card, model_names
from cadenza_remix.separation.spleeter import SpleeterSeparator

CARD = model_card("spleeter:2stems")
DATA = "model.data-00000-of-00001"


@pytest.fixture(scope="module")
def variables():
    return random_variables(CARD)


@pytest.fixture(scope="module")
def checkpoint(variables, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("2stems"), variables)


@pytest.fixture
def copy(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "2stems")


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_was_written_is_read(checkpoint, variables):
    read = read_checkpoint(checkpoint)
    assert sorted(read) == sorted(variables)
    assert all(np.array_equal(read[name], variables[name]) for name in variables)


def test_table_of_two_stems_has_the_variables_of_the_released_checkpoint():
    table = {slot.variable: slot for slot in weight_table(CARD)}
    assert len(table) == 149
    assert table["conv2d/kernel"].layer == "vocals_down1_conv"
    assert table["conv2d_6/kernel"].layer == "vocals_mask_conv"
    assert table["conv2d_7/kernel"].layer == "accompaniment_down1_conv"
    assert table["conv2d_transpose_6/kernel"].shape == (5, 5, 256, 512)
    assert table["batch_normalization_23/gamma"].layer == "accompaniment_up6_norm"


@pytest.mark.parametrize("name", model_names())
def test_numbers_run_on_through_the_instruments(name):
    card = model_card(name)
    table = weight_table(card)
    n_stems = len(card.stems)
    # Per instrument 13 convolutions of two variables and 12 normalisations of four, and the step counter.
    assert len(table) == len({slot.variable for slot in table}) == n_stems * (13 * 2 + 12 * 4) + 1
    layers = {slot.variable: slot.layer for slot in table}
    for index, stem in enumerate(card.stems[1:], start=1):
        assert layers[f"conv2d_{7 * index}/bias"] == f"{stem}_down1_conv"
        assert layers[f"conv2d_transpose_{6 * index + 5}/bias"] == f"{stem}_up6_conv"
        assert layers[f"batch_normalization_{12 * index + 6}/beta"] == f"{stem}_up1_norm"


def test_only_the_sixth_normalisation_and_the_counter_go_nowhere():
    unused = {slot.variable.partition("/")[0] for slot in weight_table(CARD) if slot.layer is None}
    assert unused == {"batch_normalization_5", "batch_normalization_17", "global_step"}


def test_unknown_variable_is_refused(variables):
    with pytest.raises(ModelError) as caught:
        match_variables(weight_table(CARD), variables | {"dense/kernel": np.zeros((3, 4))}, where="song")
    assert one_line(caught) == "song: unknown variable 'dense/kernel': expected none of this name, found shape (3, 4)"


def test_missing_variable_is_refused(variables):
    fewer = {name: value for name, value in variables.items() if name != "conv2d_3/bias"}
    with pytest.raises(ModelError) as caught:
        match_variables(weight_table(CARD), fewer, where="song")
    assert one_line(caught) == "song: missing variable 'conv2d_3/bias': expected shape (128,), found none"


def test_unused_variable_must_be_there_all_the_same(variables):
    fewer = {name: value for name, value in variables.items() if name != "batch_normalization_5/beta"}
    with pytest.raises(ModelError, match="missing variable 'batch_normalization_5/beta'"):
        match_variables(weight_table(CARD), fewer, where="song")


def test_misshapen_variable_is_refused(variables):
    turned = variables | {"conv2d_transpose/kernel": np.swapaxes(variables["conv2d_transpose/kernel"], 2, 3)}
    with pytest.raises(ModelError) as caught:
        match_variables(weight_table(CARD), turned, where="song")
    expected = "song: misshapen variable 'conv2d_transpose/kernel': expected (5, 5, 256, 512), found (5, 5, 512, 256)"
    assert one_line(caught) == expected


def test_weights_that_are_not_numbers_are_refused(variables):
    with pytest.raises(ModelError, match=r"damaged variable 'conv2d/bias': expected finite numbers"):
        match_variables(weight_table(CARD), variables | {"conv2d/bias": np.full(16, np.nan)}, where="song")


def test_optimiser_state_of_training_checkpoints_is_passed_over(variables):
    state = {"conv2d/kernel/Adam": np.zeros((5, 5, 2, 16)), "beta1_power": np.float32(0.9)}
    plain = match_variables(weight_table(CARD), variables, where="plain")
    trained = match_variables(weight_table(CARD), variables | state, where="finetune")
    assert plain.keys() == trained.keys()
    with pytest.raises(ModelError, match="unknown variable 'dense/kernel/Adam'"):
        match_variables(weight_table(CARD), variables | {"dense/kernel/Adam": np.zeros(1)}, where="finetune")


def test_checkpoint_of_another_model_is_refused(checkpoint):
    with pytest.raises(ModelError) as caught:
        SpleeterSeparator(model_card("spleeter:4stems"), checkpoint).separate(Audio(np.zeros(5000), 44100))
    expected = f"{checkpoint}: holds another model: expected spleeter:4stems, found spleeter:2stems: "
    assert one_line(caught).startswith(expected + "missing variable 'conv2d_14/kernel'")


def test_truncated_data_is_refused(copy):
    data = (copy / DATA).read_bytes()
    (copy / DATA).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="damaged or truncated checkpoint") as caught:
        read_checkpoint(copy)
    assert str(copy) in one_line(caught)


def test_one_changed_byte_in_the_data_is_refused(copy):
    data = bytearray((copy / DATA).read_bytes())
    data[len(data) // 3] ^= 0x40
    (copy / DATA).write_bytes(bytes(data))
    with pytest.raises(ModelError, match="damaged or truncated checkpoint"):
        read_checkpoint(copy)


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_truncated_index_is_refused(copy, keep):
    index = (copy / "model.index").read_bytes()
    (copy / "model.index").write_bytes(index[: int(keep * len(index))])
    with pytest.raises(ModelError, match="damaged or truncated checkpoint") as caught:
        read_checkpoint(copy)
    one_line(caught)


def test_missing_files_are_refused(copy):
    (copy / DATA).unlink()
    with pytest.raises(ModelError, match="incomplete checkpoint"):
        read_checkpoint(copy)
    (copy / "model.index").unlink()
    with pytest.raises(ModelError, match=r"expected one \.index file, found none"):
        read_checkpoint(copy)


def test_two_checkpoints_in_one_folder_are_refused(copy):
    shutil.copy(copy / "model.index", copy / "older.index")
    with pytest.raises(ModelError, match=r"found model\.index, older\.index"):
        read_checkpoint(copy)


def test_fingerprint_tells_weights_and_settings_apart(checkpoint, variables, tmp_path):
    first = SpleeterSeparator(CARD, checkpoint).fingerprint
    assert first == SpleeterSeparator(CARD, checkpoint).fingerprint
    assert first != SpleeterSeparator(model_card("spleeter:2stems-16kHz"), checkpoint).fingerprint
    bias = variables["conv2d_13/bias"] + np.float32(1e-3)
    changed = write_checkpoint(tmp_path / "changed", variables | {"conv2d_13/bias": bias})
    assert first != SpleeterSeparator(CARD, changed).fingerprint

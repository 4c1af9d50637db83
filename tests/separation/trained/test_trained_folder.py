"""The folder of a trained model: what is written is read again, and what is damaged or a stranger's does no harm."""

import errno
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_models import SMALL, small_model, small_network, small_spec, with_note

from cadenza_remix.errors import InputError, ModelError, OutputError
from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.separation.trained.folder import (
    load_network,
    read_model_folder,
    weights_digest,
    write_model_folder,
)
from cadenza_remix.separation.trained.masks import Inference


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "unet"
    small_model(folder, facts={"private_data": False, "scores": {"vocals": 3.5}, "data": "noise"})
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "copy"))


def noise(spec, n_patches=1):
    shape = (n_patches, spec.n_frames, spec.n_bins, 2)
    return np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_a_network_comes_back_as_it_was(architecture, tmp_path):
    spec = small_spec(architecture)
    network = small_network(spec, seed=3)
    write_model_folder(tmp_path, network, spec, name="it", facts={})
    model = read_model_folder(tmp_path)
    assert model.spec == spec
    given, found = network.weights, load_network(model).weights
    assert [weight.path for weight in found] == [weight.path for weight in given]
    for there, here in zip(given, found, strict=True):
        np.testing.assert_array_equal(np.asarray(here), np.asarray(there))


def test_a_network_gives_what_it_gave(made):
    spec = small_spec()
    given, found = (
        each.predict_on_batch(noise(spec))["masks"]
        for each in (small_network(spec), load_network(read_model_folder(made)))
    )
    np.testing.assert_array_equal(found, given)


def test_what_is_said_of_a_model_is_read_again(made):
    model = read_model_folder(str(made))
    assert (model.name, model.path, model.inference) == ("small", made, Inference())
    assert dict(model.facts) == {"private_data": False, "scores": {"vocals": 3.5}, "data": "noise"}
    assert sorted(path.name for path in made.iterdir()) == ["model.json", "network.keras"]


def test_keras_opens_the_file_with_the_layers_imported(made):
    code = (
        "import sys, numpy as np; from cadenza_remix.separation.networks import network_layers;"
        "keras = network_layers.keras; network = keras.saving.load_model(sys.argv[1]);"
        "network.summary(print_fn=lambda text: None); masks = network(np.ones((1, 16, 64, 2), np.float32))['masks'];"
        "print(float(keras.ops.sum(masks)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(made / "network.keras")], capture_output=True, text=True, check=True
    )
    spec = small_spec()
    ones = np.ones((1, spec.n_frames, spec.n_bins, 2), dtype=np.float32)
    expected = load_network(read_model_folder(made)).predict_on_batch(ones)["masks"].sum()
    assert float(result.stdout) == pytest.approx(float(expected), rel=1e-5)


def test_an_optimiser_is_not_kept(tmp_path):
    spec = small_spec()
    network = small_network(spec)
    plain = write_model_folder(tmp_path / "plain", network, spec, name="it", facts={})
    network.compile(optimizer="adam", loss="mse")
    network.optimizer.build(network.trainable_variables)
    compiled = write_model_folder(tmp_path / "compiled", network, spec, name="it", facts={})
    sizes = [(model.path / "network.keras").stat().st_size for model in (plain, compiled)]
    assert abs(sizes[1] - sizes[0]) < 500
    assert weights_digest(load_network(compiled)) == plain.weights_sha256


def test_equal_weights_have_equal_digests_whenever_they_were_saved(made, tmp_path):
    again = small_model(tmp_path / "again")
    other = small_model(tmp_path / "other", seed=2)
    digests = [model.weights_sha256 for model in (read_model_folder(made), again, other)]
    assert digests[0] == digests[1] != digests[2]


class FullDisk:
    """A network whose saving breaks off, as on a full disk."""

    optimizer = None

    def get_weights(self):
        return [np.zeros(3)]

    def save(self, path):
        Path(path).write_bytes(b"the begin")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_what_cannot_be_written_leaves_the_last_model_whole(copy):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(OutputError, match=r"network\.keras: cannot be written: No space left on device$"):
        write_model_folder(copy, FullDisk(), small_spec(), name="new", facts={})
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "a/b"}, "wrong name of a model: expected a few plain words, no path, found 'a/b'"),
        ({"name": ""}, "wrong name of a model"),
        ({"facts": {"sdr_db": float("nan")}}, "facts of it: cannot be kept as JSON"),
        ({"facts": {"path": Path("x")}}, "facts of it: cannot be kept as JSON"),
        ({"inference": {"kind": "cluster"}}, "unknown kind of inference 'cluster'"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_written(changes, says, tmp_path):
    spec = small_spec()
    with pytest.raises(InputError, match=says):
        write_model_folder(tmp_path / "new", small_network(spec), spec, **{"name": "it", "facts": {}, **changes})
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_none_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, found in (("nowhere", "no such folder"), ("", r"no model\.json in it"), ("file", "no such folder")):
        with pytest.raises(InputError, match=rf"no trained model: expected a folder with model\.json .*found {found}$"):
            read_model_folder(tmp_path / path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format_version": 2}, r"format_version: expected 1, found 2$"),
        ({"spec": {"architecture": "unet"}}, "InputError: setting is missing"),
        ({"spec": "unet"}, r"model\.json: not the note of a trained model: "),
        ({"inference": {"kind": "masks", "hidden": 1}}, "InputError: inference: unknown setting 'hidden'"),
        ({"inference": [1]}, r"model\.json: not the note of a trained model: "),
        ({"facts": 3}, r"model\.json: not the note of a trained model: "),
        ({"name": "../../x"}, "is not the plain name of a file"),
        ({"sha256": "short"}, "expected a sha256, found 'short'"),
        ({"sha256": "0" * 64}, r"network\.keras: damaged, or of another model: expected sha256 0{12}\.\.\., found"),
    ],
)  # fmt: skip
def test_a_note_of_another_make_is_refused_in_one_line(copy, changes, says):
    with_note(copy, **changes)
    with pytest.raises(ModelError, match=says) as caught:
        read_model_folder(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 1}', "\0" * 40])
def test_a_broken_note_is_refused_in_one_line(copy, text):
    (copy / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json: not the note of a trained model") as caught:
        read_model_folder(copy)
    assert "\n" not in str(caught.value)


def test_a_missing_or_cut_network_is_refused(copy):
    network = copy / "network.keras"
    network.write_bytes(network.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"network\.keras: damaged, or of another model"):
        read_model_folder(copy)
    network.unlink()
    with pytest.raises(ModelError, match=r"network\.keras: no such file"):
        read_model_folder(copy)


@pytest.mark.parametrize("content", [b"", b"no archive at all", bytes(9000), "cut"])
def test_a_network_that_cannot_be_read_is_refused_though_its_checksum_fits(copy, content):
    network = copy / "network.keras"
    whole = network.read_bytes()
    network.write_bytes(whole[: len(whole) - 500] if content == "cut" else content)
    with_note(copy, sha256=True)
    with pytest.raises(ModelError, match=r"network\.keras: weights do not fit unet: ") as caught:
        load_network(read_model_folder(copy))
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(copy, tmp_path):
    for settings in ({"filters": [4, 6]}, {"filters": [4, 8, 8]}):
        other = small_model(tmp_path / "other", settings=settings)
        shutil.copy(other.path / "network.keras", copy / "network.keras")
        with_note(copy, sha256=True)
        with pytest.raises(ModelError, match=r"network\.keras: (weights do not fit unet|other weights than)") as caught:
            load_network(read_model_folder(copy))
        assert "\n" not in str(caught.value)
    shutil.copy(small_model(tmp_path / "third", seed=9).path / "network.keras", copy / "network.keras")
    with_note(copy, sha256=True)
    with pytest.raises(ModelError, match=r"network\.keras: other weights than those that model\.json tells of"):
        load_network(read_model_folder(copy))


def test_a_specification_that_builds_nothing_is_refused(copy):
    spec = json.loads((copy / "model.json").read_text())["spec"]
    with_note(copy, spec=spec | {"settings": {"filters": "many"}})
    with pytest.raises(ModelError, match=r"model\.json: specification of no network of ours: InputError"):
        load_network(read_model_folder(copy))


@pytest.mark.parametrize("settings", [{"filters": [10**6]}, {"filters": [3000, 3000]}, {"filters": [10**30, 4]}])
def test_a_network_larger_than_its_file_is_refused_before_it_is_built(copy, settings):
    spec = json.loads((copy / "model.json").read_text())["spec"]
    with_note(copy, spec=spec | {"settings": settings})
    with pytest.raises(ModelError, match=r"specification of no network of ours: .* weights or more, which is more"):
        load_network(read_model_folder(copy))


def test_a_packed_network_is_refused(copy):
    network = copy / "network.keras"
    with zipfile.ZipFile(network) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(network, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        archive.writestr("zeros", bytes(10**6))
    with_note(copy, sha256=True)
    with pytest.raises(ModelError, match=r"specification of no network of ours: .*network\.keras is packed"):
        load_network(read_model_folder(copy))


def test_the_folder_of_a_training_is_told_from_that_of_its_model(made, tmp_path):
    run = tmp_path / "my run"
    shutil.copytree(made, run / "model")
    with pytest.raises(InputError, match=r"my run: no trained model: expected the model in it, .*my run/model, found"):
        read_model_folder(run)
    assert read_model_folder(f"{run}/model/").name == "small"


def test_code_in_a_keras_file_is_never_run(copy, tmp_path):
    keras, mark = load_keras(), tmp_path / "was_here"
    leave_a_mark = eval(f"lambda values: open({str(mark)!r}, 'w') and values")  # Keras keeps the code of a lambda
    evil = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(leave_a_mark)])
    evil.save(tmp_path / "evil.keras")
    mark.unlink()
    keras.saving.load_model(tmp_path / "evil.keras", safe_mode=False)
    assert mark.exists()  # it bites where it is trusted
    mark.unlink()

    network = copy / "network.keras"
    with zipfile.ZipFile(network) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "evil.keras") as archive:
        parts["config.json"] = archive.read("config.json")
    with zipfile.ZipFile(network, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with_note(copy, sha256=True)
    load_network(read_model_folder(copy))  # our weights with a stranger's configuration: that is not looked at
    shutil.copy(tmp_path / "evil.keras", network)
    with_note(copy, sha256=True)
    with pytest.raises(ModelError, match=r"network\.keras: "):
        load_network(read_model_folder(copy))
    assert not mark.exists()

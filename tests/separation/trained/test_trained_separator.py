"""A trained model as a separator: by its path, at 44.1 kHz, with what it says of itself; and on small real networks."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import SMALL, small_model, with_note

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.loading import is_model_path, load_separator, separator_names
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.trained.folder import read_model_folder
from cadenza_remix.separation.trained.separator import TrainedSeparator, load_trained

RATE = 44_100
PUBLIC = {"private_data": False, "data": "the synthetic band"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "unet"
    small_model(path, facts=PUBLIC)
    return path


@pytest.fixture(scope="module")
def separator(folder):
    return load_trained(folder)


def noise(n_samples, n_channels=2):
    return np.random.default_rng(0).uniform(-0.5, 0.5, (n_samples, n_channels)).astype(np.float32)


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_every_architecture_separates(architecture, tmp_path):
    small_model(tmp_path, architecture)
    song = Audio(noise(9001), RATE)
    stems = load_trained(tmp_path).separate(song)
    assert tuple(stems) == ("vocals", "accompaniment")
    total = sum(stem.samples for stem in stems.values())
    np.testing.assert_allclose(total, song.samples, rtol=0, atol=1e-6)  # rounded once for each stem
    assert 0.01 < np.abs(stems["vocals"].samples).max() < 1


def test_masks_that_share_a_bin_out_sum_to_the_song_without_a_residual(tmp_path):
    # Every bin of the frame, the song's own rate, a softmax: nothing is left over.
    settings = {"filters": [4, 8], "output": "softmax"}
    small_model(tmp_path, settings=settings, sample_rate=RATE, n_bins=64, fft_length=128)
    separator = load_trained(tmp_path, options=SeparationOptions(high_band="average"))
    samples = noise(9000)
    stems = separator.separate(Audio(samples, RATE))
    total = sum(stem.samples for stem in stems.values())
    np.testing.assert_allclose(total, samples, rtol=0, atol=5e-6)


def test_a_stream_gives_what_the_whole_gives_to_the_bit(separator):
    song = Audio(noise(30_011), RATE)
    whole = separator.separate(song)
    shares = []
    blocks = list(separator.separate_blocks(AudioBlocks(song, block_length=777), progress=shares.append))
    for stem, audio in whole.items():
        np.testing.assert_array_equal(np.concatenate([block[stem] for block in blocks]), audio.samples)
    assert shares == sorted(shares)
    assert (shares[-1], shares[0] < 1) == (1.0, True)


@pytest.mark.parametrize("n_samples", [1, 30, 1000])
def test_short_and_mono_songs(separator, n_samples):
    mono = noise(n_samples, 1)
    stems = separator.separate(Audio(mono, RATE))
    both = separator.separate(Audio(np.repeat(mono, 2, axis=1), RATE))
    for stem, audio in stems.items():
        assert audio.samples.shape == (n_samples, 2)
        np.testing.assert_array_equal(audio.samples, both[stem].samples)


def test_silence_is_silent(separator):
    stems = separator.separate(Audio(np.zeros((5000, 2)), RATE))
    assert not any(stem.samples.any() for stem in stems.values())


def test_other_rates_are_refused(separator):
    with pytest.raises(InputError, match="wrong sample rate for this separator"):
        separator.separate(Audio(noise(100), 48_000))
    with pytest.raises(InputError, match="wrong sample rate for this separator"):
        next(separator.separate_blocks(AudioBlocks(Audio(noise(100), 16_000))))


def test_a_separator_says_what_it_is(separator, folder):
    assert (separator.name, separator.stems, separator.sample_rate) == ("small", ("vocals", "accompaniment"), RATE)
    assert separator.device.endswith("on CPU")
    assert (separator.private_data, separator.training_data) == (False, "the synthetic band")
    assert load_trained(folder, name="cadenza:mini").name == "cadenza:mini"
    assert repr(separator) == f"TrainedSeparator('small', {str(folder)!r})"


def test_the_fingerprint_tells_what_changes_the_stems_and_nothing_else(folder, tmp_path):
    plain = load_trained(folder)
    moved = shutil.copytree(folder, tmp_path / "moved")
    with_note(moved, facts={"scores": 1}, name="other")
    same = [load_trained(moved), load_trained(folder, options=SeparationOptions(high_band="residual", device="cpu"))]
    assert {separator.fingerprint for separator in same} == {plain.fingerprint}
    with_note(moved, inference={"kind": "masks", "hard": True})
    others = [
        load_trained(moved),
        load_trained(folder, options=SeparationOptions(high_band="zeros")),
        TrainedSeparator(small_model(tmp_path / "seed", seed=2)),
        TrainedSeparator(small_model(tmp_path / "context", n_context=2)),
    ]
    fingerprints = {separator.fingerprint for separator in others} | {plain.fingerprint}
    assert len(fingerprints) == 5
    assert all(len(fingerprint) == 16 for fingerprint in fingerprints)


@pytest.mark.parametrize("option", [{"wiener": True}, {"refine": "haaqi"}, {"precision": "bfloat16"}])
def test_options_that_it_does_not_know_are_refused(folder, option):
    flag = "--" + next(iter(option))
    with pytest.raises(InputError, match=f"small: option is not known to this separator.*found {flag}"):
        load_trained(folder, options=SeparationOptions(**option))


def test_the_residual_needs_a_stem_and_is_the_way_where_there_is_one(tmp_path, folder):
    model = small_model(tmp_path, stems=("vocals", "drums"))
    assert TrainedSeparator(model).high_band == "zeros"
    assert load_trained(folder).high_band == "residual"
    with pytest.raises(
        InputError, match="small: no stem can take the residual: expected accompaniment or other, found"
    ):
        TrainedSeparator(model, options=SeparationOptions(high_band="residual"))


def test_a_path_is_a_separator(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in (folder, str(folder), "./unet", "unet", Path("unet")):
        separator = load_separator(name, rules="icassp2024")
        assert (separator.name, separator.model.spec.architecture) == ("small", "unet")
    shutil.copytree(folder, tmp_path / "my run" / "model")
    monkeypatch.chdir(tmp_path)
    assert load_separator("my run/model/").fingerprint == separator.fingerprint
    with pytest.raises(InputError, match=r"^my run: no trained model: expected the model in it, my run/model, found"):
        load_separator("my run")
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert load_separator("~/unet").fingerprint == separator.fingerprint


def test_names_are_no_paths(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in separator_names():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").touch()
        assert not is_model_path(name)
    assert not any(map(is_model_path, ("spleeter:9stems", "", "x" * 5000, "a\0b")))
    assert all(map(is_model_path, (".", "~x", "a/b", "../x", Path("auto"))))


@pytest.mark.parametrize("name", ["./nowhere", "no/model", "~nobody-here/x"])
def test_a_path_without_a_model_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{name}: no trained model: expected a folder") as caught:
        load_separator(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, "no word on its training data"),
        ({"private_data": None}, "no word on its training data"),
        ({"private_data": "no"}, "no word on its training data"),
        ({"private_data": True, "data": "my own songs"}, "trained on my own songs"),
        ({"private_data": True, "data": {"train": ["a", "b"]}}, r'trained on {"train": \["a", "b"\]}'),
    ],
)
def test_rules_ask_what_a_model_says_of_its_data(folder, facts, found, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    with_note(copy, facts=facts)
    with pytest.raises(InputError, match=f"small: barred by the rules of icassp2024.*found {found}$"):
        load_separator(copy, rules="icassp2024")
    assert load_separator(copy, rules="cad1").name == "small"


def test_weights_that_do_not_fit_are_told_when_the_first_song_comes(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "network.keras").write_bytes(b"something else")
    with_note(copy, sha256=True)
    separator = load_separator(copy)
    with pytest.raises(ModelError, match=r"network\.keras: weights do not fit unet"):
        separator.separate(Audio(noise(100), RATE))


def test_choosing_a_model_loads_no_network_library(folder):
    code = (
        "import sys; from cadenza_remix.separation.loading import load_separator;"
        "load_separator(sys.argv[1], rules='cad1').fingerprint;"
        "print([name for name in ('tensorflow', 'keras', 'torch', 'jax', 'h5py') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_inference_of_the_folder_is_used(folder, tmp_path):
    song = Audio(noise(6000), RATE)
    copy = shutil.copytree(folder, tmp_path / "copy")
    found = []
    for threshold in (0.0, 1.0):  # sigmoids are above the one and not above the other
        with_note(copy, inference={"kind": "masks", "hard": True, "threshold": threshold})
        found.append(load_trained(copy).separate(song)["vocals"].samples)
    assert np.abs(found[0]).max() > 0.1
    assert not found[1].any()
    assert read_model_folder(copy).inference.threshold == 1.0

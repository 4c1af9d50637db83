"""Separators that other packages run, as far as they need none of them: levels of songs, and what is said of weights.

The networks themselves are compared with their packages by ``make parity`` (evaluation/parity/borrowed_separators.py).
"""

import socket
from dataclasses import replace

import numpy as np
import pytest

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, MissingDependencyError, ModelError
from cadenza_remix.separation.borrowed.normalised import FLOOR, NormalisedSeparator, song_level
from cadenza_remix.separation.borrowed.torch_window import TIMEOUT_S, fetching, import_module
from cadenza_remix.separation.models.registry import separator_card
from cadenza_remix.separation.windows import WindowedSeparator, Windows

RATE = 44_100
CARD = separator_card("openunmix:umxhq")


def music(n_samples, mean=0.1, level=0.2):
    samples = np.random.default_rng(0).normal(mean, level, (n_samples, 2))
    return Audio(samples.astype(np.float32), RATE, "noise")


def normalised(function, windows=None):
    return NormalisedSeparator(
        WindowedSeparator(
            "test",
            function,
            stems=("vocals",),
            sample_rate=RATE,
            windows=windows or Windows(1000, 300, least=1),
            fingerprint="1",
        )
    )


@pytest.mark.parametrize("n_samples", [2, 1000, 65_536, 65_537, 200_000])
def test_a_songs_level_is_that_of_its_mono_mix(n_samples):
    audio = music(n_samples)
    mono = audio.samples.astype(np.float64).mean(axis=1)
    level = song_level(AudioBlocks(audio))
    # float64 on both sides; the order of the sums differs.
    assert level.mean == pytest.approx(mono.mean(), rel=1e-12)
    assert level.deviation == pytest.approx(mono.std(ddof=1), rel=1e-12)


def test_a_level_loses_nothing_beside_a_large_mean():
    # By sums of squares, 1e-4 beside 1 would keep half of its digits.
    level = song_level(AudioBlocks(music(100_000, mean=1.0, level=1e-4)))
    mono = music(100_000, mean=1.0, level=1e-4).samples.astype(np.float64).mean(axis=1)
    assert level.deviation == pytest.approx(mono.std(ddof=1), rel=1e-11)


def test_blocks_make_no_difference_to_the_level():
    audio = music(150_000)
    levels = {song_level(AudioBlocks(audio, length)) for length in (None, 1000, 65_536, 149_999)}
    assert len(levels) == 1


def test_silence_and_a_single_sample_have_no_deviation():
    assert song_level(AudioBlocks(Audio(np.zeros(100), RATE))).deviation == 0.0
    assert song_level(AudioBlocks(Audio(np.full(1, 0.5), RATE))).deviation == 0.0
    stems = normalised(lambda samples: {"vocals": samples}).separate(Audio(np.zeros(100), RATE))
    assert not stems["vocals"].samples.any()


def test_networks_see_songs_of_zero_mean_and_unit_variance():
    audio, seen = music(5000), []

    def look(samples):
        seen.append(samples.copy())
        return {"vocals": samples}

    stems = normalised(look, Windows(1000, 0)).separate(audio)
    mono = np.concatenate(seen).astype(np.float64).mean(axis=1)
    # float32 samples of about 1: their rounding, averaged.
    assert mono.mean() == pytest.approx(0.0, abs=1e-7)
    assert mono.std(ddof=1) == pytest.approx(1.0, abs=1e-6)
    # Three roundings to float32 below 1.
    np.testing.assert_allclose(stems["vocals"].samples, audio.samples, rtol=0, atol=3e-7)


def test_stems_get_the_songs_level_back():
    audio = music(3000)
    level = song_level(AudioBlocks(audio))
    stems = normalised(lambda samples: {"vocals": np.full_like(samples, 2.0)}).separate(audio)
    expected = 2.0 * (level.deviation + FLOOR) + level.mean
    np.testing.assert_allclose(stems["vocals"].samples, expected, rtol=3e-7)


def test_blocks_make_no_difference_to_stems():
    audio = music(5000)
    separator = normalised(lambda samples: {"vocals": samples - samples.mean(axis=0)})
    whole = separator.separate(audio)["vocals"].samples
    for length in (7, 1000, 4999):
        blocks = [block["vocals"] for block in separator.separate_blocks(AudioBlocks(audio, length))]
        assert np.array_equal(np.concatenate(blocks), whole)


def test_another_rate_is_refused_before_anything_is_measured():
    with pytest.raises(InputError, match="wrong sample rate"):
        list(normalised(lambda samples: {"vocals": samples}).separate_blocks(AudioBlocks(Audio(np.ones(9), 48_000))))


def test_weights_that_cannot_be_fetched_are_told_with_file_and_address(tmp_path):
    files = {tmp_path / name: f"https://weights.example/{name}" for name in ("a.pth", "b.pth")}
    (tmp_path / "a.pth").write_bytes(b"there")
    with pytest.raises(ModelError) as caught, fetching(CARD, files, otherwise="; or ask them"):
        assert socket.getdefaulttimeout() == TIMEOUT_S
        raise OSError("no route\nto host")
    assert socket.getdefaulttimeout() is None
    assert str(caught.value) == (
        "openunmix:umxhq: its weights are not on this machine and cannot be fetched (OSError: no route to host); "
        "without internet, download on another machine and put in place: "
        f"https://weights.example/b.pth as {tmp_path / 'b.pth'}"
        "; or ask them"
    )


def test_weights_that_are_there_and_cannot_be_read_are_damaged(tmp_path):
    file = tmp_path / "a.pth"
    file.write_bytes(b"half")
    says = r"^openunmix:umxhq: damaged weights: remove them to get them anew: .*a\.pth \(EOFError: short\)$"
    with pytest.raises(ModelError, match=says), fetching(CARD, {file: "https://weights.example/a.pth"}):
        raise EOFError("short")


def test_a_package_that_is_missing_or_does_not_fit_is_told_with_what_installs_it(tmp_path, monkeypatch):
    with pytest.raises(MissingDependencyError, match=r'No module named .*pip install "cadenza-remix\[openunmix\]"$'):
        import_module("no_such_package_at_all", CARD)
    (tmp_path / "built_for_another.py").write_text("raise OSError('libc10_cuda.so: no such file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"does not go with the installed torch .*libc10_cuda") as caught:
        import_module("built_for_another", replace(CARD, name="test"))
    assert "\n" not in str(caught.value)

"""The ``models`` commands as a user meets them: what they show, where they write, one line per error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cadenza_remix.separation.models.registry import model_names, separator_card_names
from cadenza_remix.separation.models.store import ModelStore


def call(*arguments: object, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    # Without the width of the terminal that runs the tests, output is made for 80 columns.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    if home is not None:
        environment["CADENZA_REMIX_HOME"] = str(home)
    command = [sys.executable, "-m", "cadenza_remix", "models", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def rows(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the lines of the list by the model that each begins with."""
    assert result.returncode == 0, result.stderr
    return {line.split()[0]: line for line in result.stdout.splitlines() if ":" in line.split()[0]}


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose 2stems model is the user's own, imported by the command."""
    real = call("path", "spleeter:2stems").stdout.strip()
    folder = tmp_path_factory.mktemp("home")
    result = call("import", "spleeter:2stems", real, home=folder)
    assert result.stdout == f"spleeter:2stems is installed: {folder}/models/2stems\n"
    return folder


def test_list_tells_every_model_on_one_line_of_80_columns(tmp_path: Path) -> None:
    result = call("list", home=tmp_path)
    listed = rows(result)
    assert set(listed) >= {*model_names(), *separator_card_names()}
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert listed["spleeter:4stems"].split() == ["spleeter:4stems", "VDBO", "11", "kHz", "(147", "MB)", "no", "cad1"]
    assert listed["openunmix:umxhq"].rstrip().endswith("all")
    assert " ".join(listed["cadenza:mini"].split()).endswith("MB in this package all")
    assert not list(tmp_path.iterdir())


def test_list_shows_what_is_there_verified_converted_and_damaged(home: Path) -> None:
    assert "79 MB  verified " in rows(call("list", home=home))["spleeter:2stems"]
    assert call("convert", "spleeter:2stems", home=home).returncode == 0
    for arguments in (["list"], ["list", "--verify"]):
        assert "157 MB  verified, neutral " in rows(call(*arguments, home=home))["spleeter:2stems-16kHz"]
    path = home / "models" / "2stems" / "weights.safetensors"
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\x80\x7f")  # infinity, which no weight is
    assert "DAMAGED" not in call("list", home=home).stdout  # by size, as at every use
    shown = call("list", "--verify", home=home)
    assert "(73 MB)  DAMAGED " in rows(shown)["spleeter:2stems"]
    assert shown.stdout.count(f"damaged: {path}: wrong sha256: expected") == 1
    assert "wrong sha256" in " ".join(call("show", "spleeter:2stems", home=home).stdout.split())
    assert call("convert", "spleeter:2stems", home=home).returncode == 0
    assert "verified, neutral" in rows(call("list", "--verify", home=home))["spleeter:2stems"]


def test_converted_weights_are_carried_to_another_machine(home: Path, tmp_path: Path) -> None:
    result = call("convert", "spleeter:2stems", "--out", tmp_path / "carried", home=home)
    assert result.returncode == 0
    assert sorted(path.name for path in (tmp_path / "carried").iterdir()) == ["weights.json", "weights.safetensors"]
    assert "models import spleeter:2stems" in result.stdout
    other = tmp_path / "other"
    assert call("import", "spleeter:2stems", tmp_path / "carried", home=other).returncode == 0
    assert "79 MB  verified, neutral " in rows(call("list", "--verify", home=other))["spleeter:2stems"]
    assert call("path", "spleeter:2stems-16kHz", home=other).stdout.strip() == str(other / "models" / "2stems")


def test_fetch_looks_into_the_files_before_it_calls_a_model_installed(tmp_path: Path) -> None:
    copied = tmp_path / "home"
    real = ModelStore().home / "models" / "2stems"
    assert call("import", "spleeter:2stems", real, home=copied).returncode == 0
    assert "is installed" in call("fetch", "spleeter:2stems", "--offline", home=copied).stdout
    data = copied / "models" / "2stems" / "model.data-00000-of-00001"
    with data.open("r+b") as file:
        file.write(b"\0\0\x80\x7f")
    result = call("fetch", "spleeter:2stems", "--offline", home=copied)
    assert result.returncode == 2
    assert f"spleeter:2stems: damaged: {data}: wrong sha256" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("spleeter:2stems", ["Deezer's private catalogue", "icassp2024 BARS it", "cad1 allows it", "MIT", "f3a90b39"]),
        ("spleeter:4stems", ["vocals 6.55 dB", "not installed", "models fetch spleeter:4stems", "up to 11025 Hz"]),
        ("openunmix:umxhq", ["icassp2024 allows it", "cadenza-remix[openunmix]", "MUSDB18-HQ", "Zenodo"]),
        ("cadenza:mini", ["spleeter-unet, 44100 Hz", "cad2 allows it", "MIT", "source", "CC0", "in", "mini"]),
        ("deezer:4stems", ["cad2 BARS it", "cadenza-remix models engine deezer", "spleeter:4stems"]),
    ],
)
def test_show_tells_all_about_one(name: str, words: list[str], tmp_path: Path) -> None:
    result = call("show", name, home=tmp_path)
    assert result.returncode == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    for word in words:
        assert word in " ".join(result.stdout.split())


def test_the_model_in_the_package_needs_no_fetching(tmp_path: Path) -> None:
    told = call("fetch", "cadenza:mini", home=tmp_path)
    assert (told.returncode, told.stdout.count("\n")) == (0, 1)
    assert "cadenza:mini is part of this package" in told.stdout
    folder = Path(call("path", "cadenza:mini", home=tmp_path).stdout.strip())
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "network.keras"]
    assert "not kept in the store" in error_of(call("convert", "cadenza:mini", home=tmp_path))
    assert "fetched by the package demucs" in error_of(call("fetch", "demucs:htdemucs", home=tmp_path))
    assert not list(tmp_path.iterdir())


def test_errors_are_one_line(tmp_path: Path) -> None:
    assert "unknown model 'spleeter:3stems'" in error_of(call("show", "spleeter:3stems"))
    assert "not installed in" in error_of(call("convert", "spleeter:4stems", home=tmp_path))
    page = tmp_path / "4stems.tar.gz"
    page.write_text("<html>Please log in</html>")
    assert "not the published archive" in error_of(call("import", "spleeter:4stems", page, home=tmp_path / "home"))
    page = page.rename(tmp_path / "mine.tar.gz")
    assert "found a web page" in error_of(call("import", "spleeter:4stems", page, home=tmp_path / "home"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "cannot be written" in error_of(call("convert", "spleeter:2stems", "--out", blocked / "below"))

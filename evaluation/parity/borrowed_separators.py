"""The separators that other packages run, against those packages' own functions, with the real network classes.

Run in an environment that has demucs 4.1, torchaudio 2.11 and openunmix 1.3, this package on the path:
    python evaluation/parity/borrowed_separators.py --music build/music.npz
The published weights cannot be had everywhere, and the comparison needs none that make sense: the networks are drawn
at random (`torch.manual_seed`). Those for one window are the published architectures in full size; those for long songs
are smaller ones of the same classes with shorter windows, so that all of it takes about a minute.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import demucs.api
import numpy as np
import openunmix
import openunmix.model
import torch
import torchaudio
from checks import Check, report
from demucs.apply import apply_model
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import save_with_checksum
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, Audio
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.borrowed import demucs_models, openunmix_models, torchaudio_models
from cadenza_remix.separation.borrowed.demucs_models import load_demucs
from cadenza_remix.separation.borrowed.normalised import song_level
from cadenza_remix.separation.borrowed.openunmix_models import load_openunmix
from cadenza_remix.separation.borrowed.torchaudio_models import load_torchaudio
from cadenza_remix.separation.loading import load_separator
from cadenza_remix.separation.separator import Separator
from cadenza_remix.separation.windows import WindowedSeparator, Windows

RATE = MUSIC_SAMPLE_RATE
LIMIT = 1e-6  # of full scale
DEMUCS_SOURCES = ["drums", "bass", "other", "vocals"]

Signals = NDArray[np.float32]
Stems = dict[str, Signals]


class TheirDemucs(demucs.api.Separator):
    """The package's own interface around a given network, without its random shifts."""

    def __init__(self, network: torch.nn.Module, *, split: bool = True) -> None:
        self._network = network
        super().__init__(device="cpu", shifts=0, split=split)

    def _load_model(self) -> None:
        self._model = self._network
        self._audio_channels, self._samplerate = self._network.audio_channels, self._network.samplerate

    def stems(self, samples: Signals) -> Stems:
        _, found = self.separate_tensor(torch.from_numpy(samples.T.copy()))
        return {stem: part.numpy().T for stem, part in found.items()}


def their_torchaudio(network: torch.nn.Module) -> Callable[[Signals], Stems]:
    """Return what torchaudio's tutorial does with one excerpt: normalise, separate, bring back."""

    def stems(samples: Signals) -> Stems:
        music = torch.from_numpy(samples.T.copy())
        mono = music.mean(0)
        with torch.no_grad():
            found = network(((music - mono.mean()) / mono.std())[None])[0] * mono.std() + mono.mean()
        return {stem: part.numpy().T for stem, part in zip(network.sources, found, strict=True)}

    return stems


def their_openunmix(network: torch.nn.Module) -> Callable[[Signals], Stems]:
    """Return the package's separator, the song as a whole."""

    def stems(samples: Signals) -> Stems:
        with torch.no_grad():
            found = network.to_dict(network(torch.from_numpy(samples.T.copy())[None]))
        return {stem: part[0].numpy().T for stem, part in found.items()}

    return stems


def ours(separator: Separator, samples: Signals) -> Stems:
    found = separator.separate(Audio(samples, RATE, "music"))
    return {stem: found[stem].samples for stem in separator.stems}


def largest_difference(left: Mapping[str, Signals], right: Mapping[str, Signals], where: Any = slice(None)) -> float:
    if set(left) != set(right):
        return float("inf")
    return max(float(np.abs(left[stem][where] - right[stem][where]).max()) for stem in left)


def one_window(separator: Separator, theirs: Callable[[Signals], Stems], samples: Signals, what: str) -> Check:
    """Compare a song that fits into one window."""
    start = time.perf_counter()
    found = ours(separator, samples)
    seconds = time.perf_counter() - start
    expected = theirs(samples)
    levels = ", ".join(f"{np.sqrt(np.mean(expected[stem] ** 2)):.1e}" for stem in separator.stems)
    note = f"{len(samples) / RATE:.1f} s of music in {seconds:.1f} s; rms {levels}"
    return Check(f"{separator.name}, {what}", largest_difference(found, expected), LIMIT, note)


def long_song(separator: Any, run: Callable[[Signals], Stems], samples: Signals, *, normalised: bool) -> list[Check]:
    """Compare a song of several windows with the windows' own results, faded by gains that sum to one."""
    windows: Windows = separator.windows
    found = ours(separator, samples)
    level = song_level(AudioBlocks(Audio(samples, RATE)))
    mean, deviation = (level.mean, level.deviation) if normalised else (0.0, 1.0)
    song = ((samples - mean) / deviation).astype(np.float32)
    n, hop, overlap = len(song), windows.hop, windows.overlap
    expected = {stem: np.zeros((n + windows.length, 2)) for stem in separator.stems}
    alone = np.ones(n + windows.length, dtype=bool)
    firsts = range(0, n - overlap, hop)
    for first in firsts:
        part = song[first : first + windows.length]
        if len(part) < windows.length and windows.least is None:
            part = np.pad(part, ((0, windows.length - len(part)), (0, 0)))
        gain = np.ones(len(part))
        if first > 0:
            gain[:overlap] = (np.arange(overlap) + 0.5) / overlap
            alone[first : first + overlap] = False
        if first != firsts[-1]:
            gain[hop:] = 1 - (np.arange(overlap) + 0.5) / overlap
        for stem, estimate in run(part).items():
            expected[stem][first : first + len(part)] += gain[:, None] * (estimate * deviation + mean)
    expected = {stem: samples[:n] for stem, samples in expected.items()}
    inside, fades = np.flatnonzero(alone[:n]), np.flatnonzero(~alone[:n])
    checks = [
        Check(f"{separator.name}, long: inside windows", largest_difference(found, expected, inside), LIMIT,
              f"{n / RATE:.1f} s in {len(firsts)} windows of {windows.length / RATE:.2f} s"),
        Check(f"{separator.name}, long: in the fades", largest_difference(found, expected, fades), LIMIT,
              f"{len(fades) / n:.0%} of the song"),
        Check(f"{separator.name}, long: the gains sum to one", _lost_by_fades(separator, samples), 0.0,
              "a network that changes nothing gives the song bit for bit"),
    ]  # fmt: skip
    different = 0.0
    for block_length in (1000, hop + 1, 10**9):
        blocks = list(separator.separate_blocks(AudioBlocks(Audio(samples, RATE), block_length)))
        together = {stem: np.concatenate([block[stem] for block in blocks]) for stem in separator.stems}
        different = max(different, largest_difference(together, found))
    checks.append(Check(f"{separator.name}, long: blocks of three lengths", different, 0.0, "bit for bit"))
    return checks


def _lost_by_fades(separator: Any, samples: Signals) -> float:
    copying = WindowedSeparator(
        "copy", lambda part: {"all": part}, stems=("all",), sample_rate=RATE, windows=separator.windows, fingerprint="0"
    )
    return largest_difference(ours(copying, samples), {"all": samples})


def demucs_checks(music: Signals) -> list[Check]:
    """Compare both of Demucs's separators with the package's interface and its `apply_model`."""
    torch.manual_seed(1)
    # As published: the settings of the release's training, from its paper and its weights' own note of them.
    hybrid_transformer = HTDemucs(DEMUCS_SOURCES, bottom_channels=512, segment=Fraction(39, 5)).eval()
    hybrid = HDemucs(DEMUCS_SOURCES, channels=48, segment=44).eval()
    checks = []
    separator = load_demucs("demucs:htdemucs", network=hybrid_transformer)
    # Not split: the package begins another window in the middle of the last one, even of an only one.
    theirs = TheirDemucs(hybrid_transformer, split=False).stems
    checks.append(one_window(separator, theirs, music[: separator.windows.length], "one full window"))
    separator = load_demucs("demucs:hdemucs_mmi", network=hybrid)
    checks.append(one_window(separator, TheirDemucs(hybrid).stems, music[: 5 * RATE], "shorter than a window"))

    small = HTDemucs(DEMUCS_SOURCES, channels=16, bottom_channels=64, t_layers=3, segment=Fraction(3, 2)).eval()
    separator = load_demucs("demucs:htdemucs", network=small)
    song = music[: 5 * RATE]
    checks.append(one_window(separator, TheirDemucs(small).stems, music[:40_001], "shorter than a window"))
    checks.append(_place_shows(separator, small, music[:40_001]))
    checks += long_song(separator, lambda part: _applied(small, part), song, normalised=True)
    # Where one window is alone, its weight in the package's sum cancels out; the package fills its last window with
    # what lies before it, where ours has silence.
    windows = separator.windows
    n_before_last = (len(song) - windows.overlap - 1) // windows.hop * windows.hop
    alone = np.arange(n_before_last) % windows.hop >= windows.overlap
    alone[: windows.overlap] = True
    whole, own = TheirDemucs(small).stems(song), ours(separator, song)
    what = "demucs:htdemucs, long: the package's windows, where alone"
    checks.append(Check(what, largest_difference(own, whole, np.flatnonzero(alone)), LIMIT, f"{alone.mean():.0%}"))
    return checks


def _applied(network: torch.nn.Module, part: Signals) -> Stems:
    found = apply_model(network, torch.from_numpy(part.T.copy())[None], shifts=0, split=False)[0]
    return {stem: estimate.numpy().T for stem, estimate in zip(network.sources, found, strict=True)}


def _place_shows(separator: Separator, network: torch.nn.Module, samples: Signals) -> Check:
    """Check that the comparison is able to fail: music at the beginning of its window must miss by far."""
    middle = ours(separator, samples)
    beginning = TheirDemucs(network, split=False).stems(np.pad(samples, ((0, 66_150 - len(samples)), (0, 0))))
    difference = largest_difference(middle, {stem: part[: len(samples)] for stem, part in beginning.items()})
    note = f"differs by {difference:.1e} where it lies elsewhere in its window; limit / difference is shown"
    return Check(f"{separator.name}: a wrong place in the window shows", LIMIT / difference, 0.1, note)


def torchaudio_checks(music: Signals) -> list[Check]:
    torch.manual_seed(2)
    network = torchaudio.models.hdemucs_high(sources=DEMUCS_SOURCES).eval()
    separator = load_torchaudio("torchaudio:hdemucs_high", network=network)
    checks = [one_window(separator, their_torchaudio(network), music[: 5 * RATE], "shorter than a window")]
    small = torchaudio.models.hdemucs_low(sources=DEMUCS_SOURCES).eval()
    windows = Windows(length=2 * RATE, overlap=RATE // 2, least=1)
    separator = load_torchaudio("torchaudio:hdemucs_high", network=small, windows=windows)

    def run(part: Signals) -> Stems:
        with torch.no_grad():
            found = small(torch.from_numpy(part.T.copy())[None])[0]
        return {stem: estimate.numpy().T for stem, estimate in zip(DEMUCS_SOURCES, found, strict=True)}

    return checks + long_song(separator, run, music[: 6 * RATE], normalised=True)


def openunmix_checks(music: Signals) -> list[Check]:
    torch.manual_seed(3)
    network = openunmix.umxhq(targets=["vocals", "drums", "bass", "other"], pretrained=False, device="cpu").eval()
    separator = load_openunmix("openunmix:umxhq", network=network)
    theirs = their_openunmix(network)
    checks = [one_window(separator, theirs, music, "shorter than a window")]
    checks.append(one_window(separator, theirs, music[:5000], "0.1 s"))
    windows = Windows(length=120 * 1024, overlap=30 * 1024, least=4096)
    separator = load_openunmix("openunmix:umxhq", network=network, windows=windows)
    return checks + long_song(separator, theirs, music, normalised=False)


def loading_checks(folder: Path) -> list[Check]:
    """Load weights by name, from files where the packages keep what they have fetched, whole and damaged."""
    os.environ["TORCH_HOME"] = str(folder / "torch")
    downloads = folder / "torch" / "hub"
    (downloads / "torchaudio" / "models").mkdir(parents=True)
    (downloads / "checkpoints").mkdir()
    torch.manual_seed(4)
    checks = []

    network = torchaudio.models.hdemucs_high(sources=DEMUCS_SOURCES).eval()
    file = downloads / "torchaudio" / torchaudio_models.ASSET
    torch.save(network.state_dict(), file)
    checks += _loaded("torchaudio:hdemucs_high", load_torchaudio("torchaudio:hdemucs_high", network=network), file)

    network = openunmix.umxhq(targets=["vocals", "drums", "bass", "other"], pretrained=False, device="cpu")
    for name in openunmix_models.FILES:
        file = downloads / "checkpoints" / name
        torch.save(network.target_models[name.partition("-")[0]].state_dict(), file)
    checks += _loaded("openunmix:umxhq", load_openunmix("openunmix:umxhq", network=network), file)

    settings = {"sources": DEMUCS_SOURCES, "channels": 16, "t_layers": 1, "segment": Fraction(3, 2)}
    small = HTDemucs(**settings).eval()
    content = {"klass": HTDemucs, "args": [], "kwargs": settings, "state": small.state_dict()}
    save_with_checksum(content, downloads / "checkpoints" / "955717e8.th")
    (file,) = downloads.glob("checkpoints/955717e8-*.th")
    # The published file's checksum is part of its name; this is another file.
    published = demucs_models._RELEASES["demucs:htdemucs"]
    forged = replace(published, checksum=file.stem.partition("-")[2])
    demucs_models._RELEASES["demucs:htdemucs"] = forged
    checks += _loaded("demucs:htdemucs", load_demucs("demucs:htdemucs", network=small), file)
    demucs_models._RELEASES["demucs:htdemucs"] = published
    return checks


def _loaded(name: str, expected: Any, file: Path) -> list[Check]:
    """Check what a name loads, and that a file cut short is called damaged."""
    same = load_separator(name).fingerprint == expected.fingerprint
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    try:
        load_separator(name)
        said = "nothing"
    except ModelError as error:
        said = str(error)
    refused = "damaged weights" in said and str(file) in said
    file.write_bytes(content)
    return [
        Check(f"{name}: its files are loaded", float(not same), 0.0, "by fingerprint"),
        Check(f"{name}: half a file is refused", float(not refused), 0.0, said[:60] + " ..."),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True, help="what evaluation/music.py writes")
    options = parser.parse_args()
    # One thread is the faster way here: the small networks' threads wait for each other most of the time.
    torch.set_num_threads(1)
    with np.load(options.music) as archive:
        mixture = archive["mixture"].astype(np.float32)
    # Longer than the longest window for one, and of changing level: the level of the whole song counts.
    music = np.ascontiguousarray(np.concatenate([mixture, 0.3 * mixture[::-1]])[: 10 * RATE])
    checks = [*demucs_checks(music), *torchaudio_checks(music), *openunmix_checks(music)]
    with tempfile.TemporaryDirectory() as folder:
        checks += loading_checks(Path(folder))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("demucs", "torchaudio", "openunmix"))
    return report(f"Separators of other packages ({versions}), random weights, differences of full scale", checks)


if __name__ == "__main__":
    sys.exit(main())

"""BSS Eval v4, SDR and SNR against museval 0.4.1, both in this process, on real music and on made-up signals.

Run in an environment that has museval, this package on the path:
    python evaluation/parity/separation_metrics.py --music build/parity/music.npz
``--music`` holds ``mixture, vocals, drums, bass, other``: float32, (n_samples, 2), 44.1 kHz.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
from checks import Check, report
from numpy.typing import NDArray

from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.metrics import bss_eval, sdr_db, snr_db
from cadenza_remix.separation.hpss import split_accompaniment

LIMIT_DB = 0.01
MEASURES = ("SDR", "ISR", "SIR", "SAR")
# Better than this counts as perfect, plus infinity, here; museval prints its rounding.
PERFECT_DB = 190.0
RATE = 44_100
LOW_RATE = 2_000  # of the made-up signals: many windows at little cost

Signals = NDArray[np.floating]


def museval_metrics() -> types.ModuleType:
    """Load museval's module of metrics as it is installed: its package's own import asks for the ffmpeg program."""
    found = importlib.util.find_spec("museval")
    if found is None or found.origin is None:
        sys.exit("museval is not installed in this environment: pip install museval==0.4.1")
    spec = importlib.util.spec_from_file_location("museval_metrics", Path(found.origin).with_name("metrics.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Comparison:
    """Scores signals (n_sources, n_samples, n_channels) with both and keeps the checks."""

    def __init__(self) -> None:
        self.museval = museval_metrics()
        self.checks: list[Check] = []

    def theirs(
        self,
        references: Signals,
        estimates: Signals,
        *,
        rate: int = RATE,
        version: str = "images",
        window_s: float = 1.0,
        hop_s: float = 1.0,
    ) -> NDArray[np.float64]:
        """Return museval's measures (4, n_sources, n_windows)."""
        scores = self.museval.bss_eval(
            references.astype(np.float64),
            estimates.astype(np.float64),
            window=window_s * rate,
            hop=hop_s * rate,
            bsseval_sources_version=version == "sources",
        )
        return np.stack(scores[:4])

    def add(self, what: str, references: Signals, estimates: Signals, **settings: Any) -> None:
        """Compare; ``settings`` are those of `theirs`."""
        version = settings.get("version", "images")
        theirs = self.theirs(references, estimates, **settings)
        self.checks.append(compare(f"{what}, {version}", ours(references, estimates, **settings), theirs))

    def add_with_empty_band(self, what: str, references: Signals, estimates: Signals) -> None:
        """Compare where the filters hang on rounding.

        museval differs from itself when its stems change places, which should change nothing: by so much more it may
        differ from us.
        """
        order = np.arange(len(references))[::-1]
        theirs = self.theirs(references, estimates)
        itself = np.abs(self.theirs(references[order], estimates[order])[:, order] - theirs).max()
        check = compare(what, ours(references, estimates), theirs)
        limit = LIMIT_DB + float(itself)
        note = (
            f"{check.note}; museval from itself, stems in another order: {itself:.4f} dB, so the limit is {limit:.4f}"
        )
        self.checks.append(replace(check, limit=limit, note=note))


def ours(references: Signals, estimates: Signals, *, rate: int = RATE, **settings: Any) -> NDArray[np.float64]:
    """Return our measures (4, n_sources, n_windows)."""
    sides = ({f"source {i}": signal for i, signal in enumerate(side)} for side in (references, estimates))
    result = bss_eval(*sides, sample_rate=rate, **settings)
    return np.stack([result.sdr_db, result.isr_db, result.sir_db, result.sar_db])


def compare(what: str, found: NDArray[np.float64], theirs: NDArray[np.float64]) -> Check:
    """Compare arrays (4, n_sources, n_windows): NaN and infinity in the same places, all else within the limit."""
    perfect = np.isposinf(found) & (theirs > PERFECT_DB)
    finite = np.isfinite(found) & np.isfinite(theirs)
    if not (found.shape == theirs.shape and (finite | perfect | (np.isnan(found) & np.isnan(theirs))).all()):
        return Check(what, float("inf"), LIMIT_DB, "NaN or infinity in other places")
    apart = np.where(finite, np.abs(np.where(finite, found, 0) - np.where(finite, theirs, 0)), 0).max(axis=(1, 2))
    note = f"{finite.sum()} values" + "".join(
        f"; {name} {value:.0e}" for name, value in zip(MEASURES, apart, strict=True)
    )
    empty = int(np.isnan(found[0]).all(axis=0).sum())
    note += f"; {empty} of {found.shape[2]} windows silent" if empty else ""
    note += f"; {perfect.sum()} perfect" if perfect.any() else ""
    return Check(what, float(apart.max()), LIMIT_DB, note)


def leaky(stems: Signals, mixture: Signals) -> Signals:
    return np.float32(0.8) * stems + np.float32(0.1) * mixture


def equalised(stems: Signals, mixture: Signals) -> Signals:
    """Each stem through another filter, with leakage and noise, in 16 bit steps as in a file."""
    noise = np.random.default_rng(1).standard_normal(stems.shape)
    taps = [[0.7, 0.2, -0.1], [1, -0.4], [0.5, 0.3, 0.1, 0.1], [0.9, 0, 0.2]]
    filtered = np.stack([scipy.signal.lfilter(b, [1], stem, axis=0) for b, stem in zip(taps, stems, strict=True)])
    return np.round((filtered + 0.05 * mixture + 0.002 * noise) * 32768) / 32768


def masked(stems: Signals, mixture: Signals) -> Signals:
    """Soft masks of the true powers on the mixture: the best that a spectral mask can do."""

    def spectrum(signal: Signals) -> NDArray[np.complexfloating]:
        return scipy.signal.stft(signal.T, nperseg=4096, noverlap=3072)[2]

    powers = np.abs(np.stack([spectrum(stem) for stem in stems])) ** 2
    masks = powers / (powers.sum(axis=0) + 1e-10)
    parts = [scipy.signal.istft(mask * spectrum(mixture), nperseg=4096, noverlap=3072)[1] for mask in masks]
    return np.stack([part.T[: len(mixture)] for part in parts])


def split_by_hpss(stems: Signals, mixture: Signals) -> Signals:
    """A separation that knows nothing of the stems: the mixture's middle as the vocals, HPSS of what is left."""
    middle = np.repeat(mixture.mean(axis=1, keepdims=True), 2, axis=1)
    found = split_accompaniment(Audio(mixture - middle, RATE))
    return np.stack([found[name].samples if name in found else middle for name in STEMS])


def everywhere(stems: Signals, mixture: Signals) -> Signals:
    return np.repeat(mixture[np.newaxis], len(stems), axis=0)


REAL: dict[str, Callable[[Signals, Signals], Signals]] = {
    "leaky stems": leaky,
    "equalised, noisy": equalised,
    "spectral masks": masked,
    "HPSS": split_by_hpss,
    "the mixture as each stem": everywhere,
}


def real_music(comparison: Comparison, path: Path) -> None:
    with np.load(path) as archive:
        stems, mixture = np.stack([archive[name] for name in STEMS]), archive["mixture"]
    files = np.round(stems * 32768) / 32768
    for name, make in REAL.items():
        comparison.add(f"4 stereo stems, 16 bit: {name}", files, make(files, mixture))
    comparison.add("4 stereo stems, 16 bit: spectral masks", files, masked(files, mixture), version="sources")
    for name in ("equalised, noisy", "spectral masks"):
        comparison.add_with_empty_band(f"4 stereo stems as decoded: {name}", stems, REAL[name](stems, mixture))
    estimates = masked(stems, mixture)
    pair = [np.stack([signals[0], signals[1:].sum(axis=0)]) for signals in (stems, estimates)]
    for version in ("images", "sources"):
        comparison.add("vocals, accompaniment", *pair, version=version)
        comparison.add("4 mono stems (left)", stems[:, :, :1], estimates[:, :, :1], version=version)
    comparison.add("vocals, accompaniment, window 2 s, hop 1.5 s", *pair, window_s=2, hop_s=1.5)
    comparison.add("vocals, accompaniment, one window", *pair, window_s=np.inf, hop_s=np.inf)
    whole = comparison.museval.bss_eval(*(signals.astype(np.float64) for signals in pair), window=np.inf, hop=np.inf)
    apart = max(abs(snr_db(pair[0][i], pair[1][i]) - whole[0][i, 0]) for i in range(2))
    comparison.checks.append(Check("snr_db: SDR of images, one window", apart, 1e-9))
    apart = 0.0
    for i in range(2):
        alone = (signals[[i]].astype(np.float64) for signals in pair)
        theirs = comparison.museval.bss_eval(*alone, window=np.inf, hop=np.inf, bsseval_sources_version=True)
        apart = max(apart, abs(sdr_db(pair[0][i], pair[1][i]) - theirs[0].item()))
    comparison.checks.append(Check("sdr_db: SDR of sources, one source", apart, LIMIT_DB))


def made_up(comparison: Comparison) -> None:
    rng = np.random.default_rng(20240301)
    for n_sources in (1, 2, 4):
        for n_channels in (1, 2):
            noise = rng.standard_normal((n_sources, 4 * LOW_RATE + 700, n_channels))
            coloured = scipy.signal.lfilter([1], [1, -0.8], noise, axis=1)
            mixed = 0.9 * coloured + 0.1 * coloured.sum(axis=0) + 0.05 * rng.standard_normal(coloured.shape)
            for version in ("images", "sources"):
                what = f"noise, {n_sources} x {n_channels} channels"
                comparison.add(what, coloured, mixed, rate=LOW_RATE, version=version)
    references, estimates = coloured[:2], mixed[:2]
    for what, change in SPECIAL.items():
        r, e = references.copy(), estimates.copy()
        change(r, e)
        comparison.add(what, r, e, rate=LOW_RATE)


def _silence(side: int, source: int, start: int, stop: int) -> Callable[[Signals, Signals], None]:
    def change(*signals: Signals) -> None:
        signals[side][source, start:stop] = 0

    return change


def _equal(references: Signals, estimates: Signals) -> None:
    estimates[:] = references


def _delayed(references: Signals, estimates: Signals) -> None:
    estimates[:] = np.roll(references, 100, axis=1)


def _constant(references: Signals, estimates: Signals) -> None:
    references += 0.5
    estimates += 0.3


def _one_channel_silent(references: Signals, estimates: Signals) -> None:
    references[0, :, 1] = 0


def _mono_in_two_channels(references: Signals, estimates: Signals) -> None:
    references[0, :, 1] = references[0, :, 0]


def _flipped(references: Signals, estimates: Signals) -> None:
    estimates *= -1


def _quiet(references: Signals, estimates: Signals) -> None:
    references *= 1e-3
    estimates *= 1e-3


SPECIAL: dict[str, Callable[[Signals, Signals], None]] = {
    "a reference silent for one window": _silence(0, 0, LOW_RATE, 2 * LOW_RATE),
    "an estimate silent for one window": _silence(1, 1, 2 * LOW_RATE, 3 * LOW_RATE),
    "a reference silent for part of a window": _silence(0, 0, LOW_RATE + 10, 2 * LOW_RATE),
    "a reference that sounds in one window only": _silence(0, 1, LOW_RATE, 5 * LOW_RATE),
    "estimates equal to the references": _equal,
    "estimates 100 samples late": _delayed,
    "a constant added": _constant,
    "a reference with one silent channel": _one_channel_silent,
    "a reference with two equal channels": _mono_in_two_channels,
    "wrong polarity": _flipped,
    "-60 dB": _quiet,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True)
    options = parser.parse_args()
    comparison = Comparison()
    real_music(comparison, options.music)
    made_up(comparison)
    version = importlib.metadata.version("museval")
    return report(f"BSS Eval v4 against museval {version}, 1 s windows, differences in dB", comparison.checks)


if __name__ == "__main__":
    sys.exit(main())

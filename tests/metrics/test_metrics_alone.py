"""The metrics serve people who want nothing else of this package: plain arrays in, a score out, nothing heavy needed.

The scores are computed in an interpreter that cannot import what the rest of the package uses, and in this one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

NOT_INSTALLED = (
    "tensorflow", "keras", "torch", "pandas", "hydra", "omegaconf", "typer", "rich", "matplotlib", "av", "stempeg",
    "pooch", "soundfile", "clarity", "museval",
)  # fmt: skip

PROGRAM = """
import json, sys

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

assert not set({blocked!r}) & set(sys.modules)
sys.meta_path.insert(0, Missing)
sys.path.insert(0, {folder!r})
{body}
"""


def scores() -> dict[str, float]:
    """Score half a second of a tone in noise, by every metric, from plain arrays and an audiogram of any class."""
    from cadenza_remix.metrics import HaaqiReference, bss_eval, compute_haaqi, haaqi, sdr_db, si_sdr_db, snr_db

    rng = np.random.RandomState(0)
    n, rate = 12_000, 24_000
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(n) / rate) * np.hanning(n) + 0.001 * rng.standard_normal(n)
    other = 0.01 * rng.standard_normal(n)
    mixed = tone + other
    ear = SimpleNamespace(frequencies=np.array([250, 500, 1000, 2000, 4000, 6000]), levels=np.full(6, 20.0))
    settings = {"audiogram": ear, "equalisation": 2, "level1_db_spl": 80.0}
    draws = np.random.RandomState(1)
    kept = HaaqiReference.prepare(tone, rate, rng=draws, **settings)
    windows = bss_eval(
        {"tone": tone, "other": other}, {"tone": mixed, "other": other}, sample_rate=rate, window_s=0.5, hop_s=0.5
    )
    return {
        "haaqi": haaqi(tone, mixed, sample_rate=rate, rng=np.random.RandomState(1), **settings).score,
        "kept": kept.score(mixed, rate, rng=draws).score,
        "compute_haaqi": compute_haaqi(mixed, tone, rate, rate, ear, 2, 80.0, rng=np.random.RandomState(1)),
        "snr": snr_db(tone, mixed),
        "si_sdr": si_sdr_db(tone, mixed),
        "sdr": sdr_db(tone, mixed),
        "bss_eval": windows.medians()["tone"]["sdr_db"],
        "expected_snr": float(10 * np.log10(np.sum(tone**2) / np.sum(other**2))),
    }


def run(body: str) -> str:
    """Run Python without the packages that count as not installed and return what it prints."""
    program = PROGRAM.format(blocked=NOT_INSTALLED, folder=str(Path(__file__).parent), body=body)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scores_without_the_rest_are_the_scores_with_it():
    alone = json.loads(run("from test_metrics_alone import scores; print(json.dumps(scores()))"))
    here = scores()
    # The same machine code on the same numbers; linear algebra may take other threads and round otherwise.
    assert alone == pytest.approx(here, rel=1e-9)
    assert here["haaqi"] == here["kept"] == here["compute_haaqi"]
    assert 0.1 < here["haaqi"] < 0.95
    for name in ("snr", "bss_eval"):  # of one channel in one window the same ratio
        assert here[name] == pytest.approx(here["expected_snr"], abs=1e-6)
    # Independent noise: rescaling gains 4 cos^2 of a small angle, 512 taps out of 12,000 samples a little more.
    assert here["si_sdr"] == pytest.approx(here["snr"], abs=0.1)
    assert here["snr"] < here["sdr"] < here["snr"] + 1.0


def test_the_interpreter_really_lacks_them():
    loaded = run(
        f"""
missing = []
for name in {NOT_INSTALLED!r}:
    try:
        __import__(name)
    except ModuleNotFoundError:
        missing.append(name)
print(json.dumps(missing))
"""
    )
    assert tuple(json.loads(loaded)) == NOT_INSTALLED


def test_public_names():
    """Also where nothing has been asked for yet."""
    printed = run(
        """
import cadenza_remix.metrics as metrics
names = ["haaqi", "HaaqiReference", "HaaqiResult", "HaaqiFeatures", "compute_haaqi", "bss_eval", "snr_db", "sdr_db",
         "si_sdr_db"]
assert set(names) <= set(dir(metrics))
print(json.dumps([getattr(metrics, name).__name__ for name in names]))
"""
    )
    assert json.loads(printed)[:2] == ["haaqi", "HaaqiReference"]

"""Make ``separation_metrics.npz``: what museval 0.4.1 and mir_eval 0.8.2 say of two coloured stereo sources.

Run in an environment of its own that has both: ``python make_separation_metrics.py``. The signals are stored as 16 bit
integers, so that the tests need not draw the same random numbers.
"""

import importlib.metadata
import importlib.util
import types
from pathlib import Path

import mir_eval.separation
import numpy as np
import scipy.signal

WINDOW, HOP, SILENCE = 2000, 1500, slice(3000, 5000)


def museval_metrics() -> types.ModuleType:
    """Load museval's module of metrics alone: the whole package asks for the ffmpeg program."""
    package = Path(importlib.util.find_spec("museval").origin).parent
    spec = importlib.util.spec_from_file_location("museval_metrics", package / "metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_signals() -> tuple[np.ndarray, np.ndarray]:
    """Return references and estimates (2, 7000, 2): one low, one bright; bleed, a wrong filter and noise."""
    rng = np.random.default_rng(20240229)
    noise = rng.standard_normal((2, 7000, 2))
    noise[:, :, 1] = 0.6 * noise[:, :, 0] + 0.4 * noise[:, :, 1]
    coloured = [
        scipy.signal.lfilter([1], [1, -0.9], noise[0], axis=0),
        scipy.signal.lfilter([1, -0.7], [1], noise[1], axis=0),
    ]
    references = np.stack([signal / np.abs(signal).max() * 0.5 for signal in coloured])
    references[0, SILENCE] = 0
    estimates = np.stack([0.8 * references[0] + 0.1 * references[1], 0.2 * references[0] + references[1]])
    estimates[1] = scipy.signal.lfilter([0.7, 0.2, -0.1], [1], estimates[1], axis=0)
    estimates += 0.01 * rng.standard_normal(estimates.shape)
    return tuple(np.round(32767 * signals).astype(np.int16) for signals in (references, estimates))


def main() -> None:
    stored = make_signals()
    references, estimates = (signals / 32768 for signals in stored)
    metrics = museval_metrics()
    windowed = metrics.bss_eval(references, estimates, window=WINDOW, hop=HOP)
    sources = metrics.bss_eval(references, estimates, window=WINDOW, hop=HOP, bsseval_sources_version=True)
    left = metrics.bss_eval(references[:, :, :1], estimates[:, :, :1], window=WINDOW, hop=HOP)
    whole = metrics.bss_eval(references, estimates, window=np.inf, hop=np.inf)
    stereo = [
        metrics.bss_eval(references[[i]], estimates[[i]], window=np.inf, hop=np.inf, bsseval_sources_version=True)[
            0
        ].item()
        for i in range(2)
    ]
    ears = [
        mir_eval.separation.bss_eval_sources(references[:, :, ear], estimates[:, :, ear], compute_permutation=False)[0]
        for ear in range(2)
    ]
    np.savez_compressed(
        Path(__file__).with_name("separation_metrics.npz"),
        versions=[f"{name} {importlib.metadata.version(name)}" for name in ("museval", "mir_eval", "numpy", "scipy")],
        references=stored[0],
        estimates=stored[1],
        window=WINDOW,
        hop=HOP,
        bss_eval=np.stack(windowed[:4]),
        bss_eval_sources=np.stack(sources[:4]),
        bss_eval_left=np.stack(left[:4]),
        bss_eval_whole=np.stack(whole[:4]),
        image_sdr_db=whole[0][:, 0],
        stereo_sdr_db=stereo,
        ear_sdr_db=np.stack(ears, axis=1),
    )


if __name__ == "__main__":
    main()

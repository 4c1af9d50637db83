"""Do TensorFlow, JAX and PyTorch give the same stems from the same weights, and both ways of separating on each?

    PYTHONPATH=. python evaluation/parity/backends.py --music build/music.npz --python .venv-references/bin/python

``--python`` is that of an environment with JAX, PyTorch, Keras, NumPy, SciPy, SoundFile and SoXR, and needs no
TensorFlow: the weights travel in the neutral form (the trained 2stems, converted from the installed checkpoint; random
ones for 4stems). ``--music`` holds ``mixture``: float32, (n_samples, 2), 44.1 kHz. Each back end runs in a process of
its own and separates by the way of processors (transforms by SciPy) and by that of GPUs (all on the device); on the
machine's GPU where the back end sees one. Half precision has no limit to keep: what it costs with the trained weights
is shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from checks import Check, report
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.separation.models.checkpoint import convert_weights, load_weights, weight_table
from cadenza_remix.separation.models.neutral import write_neutral
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.networks.backend import choose_device
from cadenza_remix.separation.networks.masking import MaskEngine
from cadenza_remix.separation.spleeter import separate_by_masks, separate_on_device
from evaluation.random_network import random_weights

ROOT = Path(__file__).resolve().parents[2]
RATE = 44_100
SECONDS = 15
"""Two segments, the second of them filled up with zeros."""
TRAINED, RANDOM = "spleeter:2stems", "spleeter:4stems"
HIGH_BAND = {TRAINED: None, RANDOM: "residual"}
BACKENDS = ("tensorflow", "jax", "torch")
HALVES = ("bfloat16", "float16")
BACKEND_LIMIT = 1e-4
WAY_LIMIT = 1e-5


def weights_folder(work: Path, model: str) -> Path:
    return work / model.partition(":")[2]


def write_weights(work: Path, checkpoint: Path) -> None:
    """Write the weights of both models in the neutral form."""
    convert_weights(model_card(TRAINED), checkpoint, weights_folder(work, TRAINED))
    card = model_card(RANDOM)
    tensors = {f"{layer}/{weight}": values for (layer, weight), values in random_weights(card, seed=1).items()}
    names = {f"{slot.layer}/{slot.weight}": slot.variable for slot in weight_table(card) if slot.layer is not None}
    # They come from no file; the form asks for the checksum of one.
    sources = {"random.index": f"{1:064x}"}
    write_neutral(weights_folder(work, RANDOM), card, tensors, variables=names, sources=sources)


def separate(work: Path, music: Path, out: Path) -> None:
    """Separate by every way and precision with the back end of this process, and write the stems."""
    from cadenza_remix.separation.networks.on_device import DeviceEngine
    from cadenza_remix.separation.networks.unet import build_mask_network

    with np.load(music) as archive:
        mixture = np.resize(archive["mixture"], (SECONDS * RATE, 2))
    source = AudioBlocks(Audio(mixture, RATE, "music"))
    device = choose_device()
    results: dict[str, NDArray[np.float32]] = {}
    for model, high_band in HIGH_BAND.items():
        card = model_card(model)
        with device.scope():
            network = build_mask_network(card)
            load_weights(network, card, weights_folder(work, model))
        network.compile(jit_compile=device.backend == "jax")
        host = MaskEngine(card, device.bound(network.predict_on_batch), high_band=high_band)
        start = time.perf_counter()
        results[f"{model} host"] = np.concatenate(list(separate_by_masks(source, host)), axis=2)
        # On processors half precision is slow, and of random weights it says nothing.
        for precision in ("float32", *(HALVES if model == TRAINED else ())):
            engine = DeviceEngine(card, network, device=device, high_band=high_band, precision=precision)
            stems = np.concatenate(list(separate_on_device(source, engine)), axis=2)
            results[f"{model} {precision}"] = stems
        print(f"  {device}: {model} in {time.perf_counter() - start:.0f} s", flush=True)
    np.savez(out, device=np.array(str(device)), **results)


def run(backend: str, python: Path, work: Path, music: Path) -> dict[str, NDArray[np.float32]]:
    out = work / f"{backend}.npz"
    out.unlink(missing_ok=True)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [str(python), __file__, "--separate", str(out), "--work", str(work), "--music", str(music)]
    subprocess.run(command, env=environment, check=True)
    with np.load(out) as archive:
        return dict(archive)


def compare(found: dict[str, dict[str, NDArray[np.float32]]]) -> list[Check]:
    """Hold the back ends against TensorFlow, the two ways against each other, and half precision against single."""
    checks = []
    for model in HIGH_BAND:
        reference = found["tensorflow"][f"{model} host"]
        levels = ", ".join(f"{level:.3f}" for level in np.sqrt(np.mean(reference**2, axis=(1, 2))))
        for backend in BACKENDS[1:]:
            difference = _largest(found[backend][f"{model} host"], reference)
            checks.append(
                Check(f"{model}: {backend} against tensorflow", difference, BACKEND_LIMIT, f"rms of stems {levels}")
            )
        for backend in BACKENDS:
            device = str(found[backend]["device"])
            difference = _largest(found[backend][f"{model} float32"], found[backend][f"{model} host"])
            checks.append(Check(f"{model}: both ways, {backend}", difference, WAY_LIMIT, device))
    return checks


def _largest(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.abs(first - second).max())


def print_halves(found: dict[str, dict[str, NDArray[np.float32]]]) -> None:
    print(f"\n{TRAINED} in half precision against single on the same back end (full scale is 1)")
    print(f"  {'precision':<9}  {'back end':<11}  {'largest':>8}  {'rms':>8}  below the stems")
    for precision in HALVES:
        for backend, results in found.items():
            exact = results[f"{TRAINED} float32"]
            difference = results[f"{TRAINED} {precision}"] - exact
            rms = float(np.sqrt(np.mean(difference**2)))
            below_db = 20 * np.log10(np.sqrt(np.mean(exact**2)) / rms)
            print(f"  {precision:<9}  {backend:<11}  {np.abs(difference).max():>8.1e}  {rms:>8.1e}  {below_db:.0f} dB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", required=True, type=Path, help="what evaluation/music.py writes")
    parser.add_argument("--python", type=Path, help="of the environment with JAX and PyTorch")
    parser.add_argument("--weights", type=Path, help="folder of the 2stems checkpoint; by default the installed one")
    parser.add_argument("--work", type=Path, default=Path("build/parity/backends"))
    parser.add_argument("--separate", type=Path, metavar="NPZ", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work, music = options.work.absolute(), options.music.absolute()
    if options.separate is not None:
        separate(work, music, options.separate)
        return 0
    if options.python is None:
        parser.error("--python is needed")
    from cadenza_remix.separation.models.store import ModelStore

    work.mkdir(parents=True, exist_ok=True)
    write_weights(work, options.weights or ModelStore().path(model_card(TRAINED)))
    # absolute(), not resolve(): the interpreter of an environment is a link whose place decides what it imports.
    pythons = {"tensorflow": Path(sys.executable)} | dict.fromkeys(BACKENDS[1:], options.python.absolute())
    found = {backend: run(backend, python, work, music) for backend, python in pythons.items()}
    print_halves(found)
    return report("Back ends and ways of separation (largest difference, full scale is 1)", compare(found))


if __name__ == "__main__":
    sys.exit(main())

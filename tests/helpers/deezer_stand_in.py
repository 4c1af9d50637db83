"""An environment that stands in for the one with Deezer's package: a real one, with a tiny package of the same names.

Our own side and the worker are the real ones. The tiny package gives a quarter of the music as vocals, and does what a
file in the model's folder orders.
"""

from __future__ import annotations

import os
import textwrap
import venv
from pathlib import Path

import numpy as np

from cadenza_remix.separation.models.manifest import CHECKPOINT_FILES

ORDER = "order.txt"

FILES = {
    "spleeter-2.4.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: spleeter\nVersion: 2.4.2\n",
    "tensorflow-2.12.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.12.1\n",
    "tensorflow/__init__.py": """
        float32 = string = None

        def TensorSpec(shape, dtype):
            return None

        class data:
            class Dataset:
                @staticmethod
                def from_generator(songs, output_signature):
                    return songs()
        """,
    "spleeter/__init__.py": "",
    "spleeter/utils/__init__.py": "",
    "spleeter/utils/configuration.py": """
        def load_configuration(name):
            if name not in ("spleeter:2stems", "spleeter:4stems", "spleeter:5stems"):
                raise ValueError(name)
            return {"model_dir": "to be downloaded"}
        """,
    "spleeter/separator.py": """
        import os, socket, sys, time
        import numpy as np

        def create_estimator(params, MWF):
            folder = params["model_dir"]
            with open(os.path.join(folder, "built.txt"), "a") as file:
                file.write("once ")
            return Estimator(os.path.join(folder, "order.txt"))

        class Estimator:
            def __init__(self, order):
                self.order = order

            def predict(self, input_fn, yield_single_examples):
                for item in input_fn():
                    samples = item["waveform"]
                    stems = {"accompaniment": 0.75 * samples, "vocals": 0.25 * samples, "audio_id": b""}
                    if os.path.exists(self.order):
                        with open(self.order) as file:
                            exec(file.read(), {**globals(), "stems": stems})
                    yield stems
        """,
}


def make_environment(folder: Path) -> Path:
    """Make the environment; return its interpreter."""
    venv.EnvBuilder(symlinks=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name, text in FILES.items():
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    (packages / "numpy.pth").write_text(str(Path(np.__file__).parents[1]), encoding="utf-8")
    return folder / "bin" / "python"


def make_model(folder: Path) -> Path:
    """Make a folder with the names of a checkpoint's files."""
    folder.mkdir(parents=True)
    for name in CHECKPOINT_FILES:
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def make_python(path: Path, *, version: str = "3.11.7", venv: str = "exit 3") -> Path:
    """Write a program that answers as a Python of a version, and makes environments by a line of the shell.

    The line finds the environment's folder in ``$3``.
    """
    return _script(
        path,
        f'if [ "$1" = -I ]; then echo "python {version}" | tr . " "; exit; fi',
        f'if [ "$1 $2" = "-m venv" ]; then {venv}; exit; fi',
    )


def make_maker(path: Path, environment: Path, *, pip: str) -> Path:
    """Write a Python whose environments do a line of the shell for pip, and run as a given environment's otherwise."""
    template = path.with_name(f"{path.name}.template")
    (template / "bin").mkdir(parents=True)
    _script(template / "bin" / "python", f'if [ "$2" = pip ]; then {pip}; exit; fi', f'exec {environment} "$@"')
    return make_python(path, venv=f'mkdir -p "$3" && cp -R {template}/bin "$3"')


def _script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, "exit 3", ""]), encoding="utf-8")
    path.chmod(0o755)
    return path


def is_running(process_id: int) -> bool:
    """Tell whether a process is there, and no zombie (not every container has somebody who reaps orphans)."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process_id}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"

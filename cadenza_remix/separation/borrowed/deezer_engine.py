"""Deezer's own package in an environment of its own: made, found, and proved to work.

The package (spleeter 2.4.2) needs TensorFlow 2.12, NumPy 1 and a Python below 3.12, so it cannot live where this one
does. An environment cannot be moved once it is made, so it is made in a folder of a new name,
``<home>/engines/deezer-<digits>/``, and ``<home>/engines/deezer.json``, written last, says which folder counts. Others
are what killed installations have left, where an orphaned pip may even still be writing; the next one removes them.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cadenza_remix.atomic import make_folder, write_json
from cadenza_remix.errors import InputError, ModelError, OutputError
from cadenza_remix.separation.borrowed.deezer_process import run_check
from cadenza_remix.separation.models.pip_process import file_sizes, run_pip
from cadenza_remix.separation.models.staging import working_alone
from cadenza_remix.separation.models.untrusted import count, plain_name, read_json, refusing, shown

VERSION = "2.4.2"
REQUIREMENT = f"spleeter=={VERSION}"
#: The package says 3.8 to 3.11; by now what it brings (jaxlib) cannot be had for 3.8. All others were tried.
PYTHONS = ((3, 9), (3, 11))
COMMAND = "cadenza-remix models engine deezer"
#: What the environment takes on a disk and, by a fast connection, in time; measured on Linux with Python 3.11.
ABOUT = "about 2.4 GB, some minutes"
#: Seconds without a new byte after which pip is stopped: it resolves and unpacks for a while without writing.
PATIENCE_S = 300.0
_FORMAT = 1
_FOLDER = "deezer-"
_ANSWER_S = 60.0
_VENV_S = 300.0


@dataclass(frozen=True)
class DeezerEngine:
    """An environment that has the package.

    Parameters
    ----------
    python : Path
        Its interpreter.
    versions : mapping of str to str
        Of ``python``, ``spleeter``, ``tensorflow`` and ``numpy`` there.
    size_bytes : int
        Of all its files; 0 where nobody has counted.
    """

    python: Path
    versions: Mapping[str, str]
    size_bytes: int = 0


def marker_path(home: Path) -> Path:
    """Return the file that says which environment counts, there or not."""
    return home / "engines" / "deezer.json"


def find_engine(home: Path) -> DeezerEngine:
    """Return the environment of a store's home. It is only looked at; whether it works shows when it is started.

    Raises
    ------
    ModelError
        It is not there, or not whole; the line has the command that makes it.
    """
    path = marker_path(home)
    try:
        engine = _described(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{path}: Deezer's package has no environment here: make it with `{COMMAND}`") from error
    except ModelError as error:
        raise _broken(path, str(error).removeprefix(f"{path}: ")) from error
    if not engine.python.exists():
        raise _broken(path, f"{engine.python}: no such file")
    return engine


def _described(path: Path) -> DeezerEngine:
    """Return the environment that a marker describes."""
    marker = read_json(path, "not a description of it")
    with refusing(path, "not a description of it"):
        versions = {shown(str(name)): shown(str(version)) for name, version in marker["versions"].items()}
        if marker["format"] != _FORMAT or versions["spleeter"] != VERSION:
            raise ValueError(f"expected format {_FORMAT} and spleeter {VERSION}")
        folder = path.parent / plain_name(marker["folder"])
        return DeezerEngine(folder / "bin" / "python", versions, count(marker["size_bytes"]))


def _broken(where: Path, problem: str) -> ModelError:
    line = f"{where}: the environment of Deezer's package is broken: {problem}: make it again with `{COMMAND}`"
    return ModelError(" ".join(line.split()))


def make_engine(
    home: Path,
    *,
    python: Path | None = None,
    notify: Callable[[str], None] | None = None,
    patience_s: float = PATIENCE_S,
) -> DeezerEngine:
    """Make the environment, unless it is there and works.

    One process at a time; another one waits. What killed ones have left is removed. An environment that is broken stays
    until a new one is there.

    Parameters
    ----------
    home : Path
        The home of a model store.
    python : Path, optional
        A Python 3.9 to 3.11 to make it from; the running one by default.
    notify : callable, optional
        Called with each line that a user should see.
    patience_s : float
        Seconds without a new byte after which pip is stopped.

    Raises
    ------
    InputError
        ``python`` is no Python, or none that the package runs on; the line says how to give another.
    ModelError
        Pip cannot bring the package, or it does not work. Nothing new is left then.
    OutputError
        The folder cannot be written.
    """
    say = notify or (lambda line: None)
    marker = marker_path(home)
    with working_alone(marker, on_wait=lambda: say(f"{marker}: another process is making it; waiting")):
        found = _working(home, say)
        if found is None:
            chosen = Path(sys.executable) if python is None else python
            version = _suitable_version(chosen)
            folder = marker.with_name(f"{_FOLDER}{secrets.token_hex(4)}")
            say(f"Making an environment for {REQUIREMENT} in {folder} with Python {version} ({chosen}): {ABOUT}")
            start = time.monotonic()
            try:
                found = _make(folder, chosen, patience_s)
                _count(marker, folder, found)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            versions = ", ".join(f"{name} {number}" for name, number in found.versions.items())
            say(f"Made and tried: {versions}; {found.size_bytes / 1e9:.1f} GB, {time.monotonic() - start:.0f} s")
        for other in marker.parent.glob(f"{_FOLDER}*"):
            if other not in found.python.parents:
                shutil.rmtree(other, ignore_errors=True)
    return found


def _working(home: Path, say: Callable[[str], None]) -> DeezerEngine | None:
    """Return the environment that is there if it works; say so where it does not."""
    if not marker_path(home).exists():
        return None
    try:
        engine = find_engine(home)
        run_check(engine.python)
    except ModelError as error:
        say(f"{error}; it is made again")
        return None
    return engine


def _make(folder: Path, python: Path, patience_s: float) -> DeezerEngine:
    """Make an environment in a new folder, and try it."""
    make_folder(folder)
    _make_venv(folder, python)
    inside = folder / "bin" / "python"
    temporary = make_folder(folder / "temporary")
    # Wheels only: pip would run the set-up code of source distributions.
    run_pip(
        ["install", "--only-binary=:all:", "--no-cache-dir", REQUIREMENT],
        what=f"pip install {REQUIREMENT}",
        folder=folder,
        temporary=temporary,
        python=str(inside),
        patience_s=patience_s,
        poll_s=1.0,  # a look goes over 30 000 files in the end
    )
    shutil.rmtree(temporary, ignore_errors=True)
    versions = run_check(inside)
    if versions["spleeter"] != VERSION:
        raise ModelError(f"{folder}: wrong version of spleeter: expected {VERSION}, found {versions['spleeter']}")
    return DeezerEngine(inside, versions, sum(file_sizes(folder)))


def _count(marker: Path, folder: Path, engine: DeezerEngine) -> None:
    """Write down that this is the environment that counts."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"folder": folder.name, "versions": dict(engine.versions), "size_bytes": engine.size_bytes, "date": date}
    write_json(marker, {"format": _FORMAT} | facts)


def _make_venv(folder: Path, python: Path) -> None:
    command = [str(python), "-m", "venv", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_VENV_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{python} -m venv: stopped after {_VENV_S:g} s") from error
    if done.returncode != 0:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        if any("No space left" in line for line in said):
            raise OutputError(f"{folder}: cannot be written: no space left on device")
        raise ModelError(" ".join(f"{python} -m venv: {(said or ['failed without a word'])[-1]}".split()))


def _suitable_version(python: Path) -> str:
    """Return the version of an interpreter, or refuse it."""
    version = _version(python)
    lowest, highest = PYTHONS
    if not lowest <= version[:2] <= highest:
        raise InputError(
            f"not a Python that {REQUIREMENT} runs on",
            where=python,
            expected=f"{lowest[0]}.{lowest[1]} to {highest[0]}.{highest[1]}",
            found=f"{'.'.join(map(str, version))}; give another with `{COMMAND} --python {_suggestion()}`",
        )
    return ".".join(map(str, version))


def _suggestion() -> str:
    """Return a Python of this machine that would do, where one is easily found."""
    for name in ("python3.11", "python3.10", "python3.9"):
        path = shutil.which(name)
        with contextlib.suppress(InputError):
            if path is not None and PYTHONS[0] <= _version(Path(path))[:2] <= PYTHONS[1]:
                return path
    return "PATH"


def _version(python: Path) -> tuple[int, int, int]:
    code = "import sys; print('python', *sys.version_info[:3])"
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", code], capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError("cannot be run as a Python", where=python, found=str(error)) from error
    answer = re.fullmatch(r"python (\d+) (\d+) (\d+)\s*", done.stdout)
    if answer is None:
        said = (done.stderr.strip() or "another answer").splitlines()[0]
        raise InputError("no Python", where=python, expected="a path such as /usr/bin/python3.11", found=said)
    major, minor, patch = (int(number) for number in answer.groups())
    return major, minor, patch

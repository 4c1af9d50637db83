"""The environment of Deezer's package: made whole or not at all, found, and told in one line where it is not."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from deezer_stand_in import make_environment, make_maker, make_python
from typer.testing import CliRunner

from cadenza_remix.cli.engines import models_engine  # noqa: F401 (registers the command)
from cadenza_remix.cli.models import models
from cadenza_remix.errors import CadenzaError, InputError, ModelError, OutputError
from cadenza_remix.separation.borrowed.deezer_engine import find_engine, make_engine, marker_path
from cadenza_remix.separation.borrowed.deezer_process import run_check

COMMAND = "cadenza-remix models engine deezer"
GETS_ON = "head -c 1000000 /dev/zero > $(dirname $0)/package"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture
def python(tmp_path, environment):
    """A Python whose pip brings the package at once."""
    return make_maker(tmp_path / "python", environment, pip=GETS_ON)


def folders(home):
    return sorted(path.name for path in (home / "engines").iterdir() if path.is_dir())


# --- Made ---


def test_made_tried_and_found(tmp_path, python):
    lines = []
    made = make_engine(tmp_path / "home", python=python, notify=lines.append)
    assert made.versions["spleeter"] == "2.4.2"
    assert made.size_bytes > 1_000_000
    assert run_check(made.python) == made.versions
    assert find_engine(tmp_path / "home") == made
    assert folders(tmp_path / "home") == [made.python.parents[1].name]
    assert not (made.python.parents[1] / "temporary").exists()
    assert "spleeter==2.4.2" in lines[0]
    assert "2.4 GB" in lines[0]
    assert "spleeter 2.4.2, tensorflow 2.12.1" in lines[1]
    assert len(lines) == 2


def test_one_that_works_is_left_alone(tmp_path, python):
    made = make_engine(tmp_path / "home", python=python)
    assert make_engine(tmp_path / "home", python=tmp_path / "no such python") == made


def test_a_broken_one_is_made_again(tmp_path, python):
    made = make_engine(tmp_path / "home", python=python)
    made.python.write_text("#!/bin/sh\necho 'error: disk of yesterday' >&2; exit 1\n")
    lines = []
    again = make_engine(tmp_path / "home", python=python, notify=lines.append)
    assert "disk of yesterday; it is made again" in lines[0]
    assert folders(tmp_path / "home") == [again.python.parents[1].name]
    assert again.python.parent != made.python.parent


def test_what_killed_installations_left_is_removed(tmp_path, python, environment):
    slow = make_maker(tmp_path / "slow", environment, pip=f"{GETS_ON}; touch {tmp_path}/begun; exec sleep 30")
    code = (
        "import pathlib, sys; from cadenza_remix.separation.borrowed.deezer_engine import make_engine\n"
        "make_engine(pathlib.Path(sys.argv[1]), python=pathlib.Path(sys.argv[2]))"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, tmp_path / "home", slow])
    _wait_for(tmp_path / "begun")
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    (left,) = folders(tmp_path / "home")
    with pytest.raises(ModelError, match=f"make it with `{COMMAND}`"):
        find_engine(tmp_path / "home")
    made = make_engine(tmp_path / "home", python=python)
    assert folders(tmp_path / "home") == [made.python.parents[1].name] != [left]


def test_a_second_process_waits_for_the_first(tmp_path, environment):
    wait = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    slow = make_maker(tmp_path / "slow", environment, pip=f"{GETS_ON}; {wait}")
    code = (
        "import pathlib, sys; from cadenza_remix.separation.borrowed.deezer_engine import make_engine\n"
        "made = make_engine(pathlib.Path(sys.argv[1]), python=pathlib.Path(sys.argv[2]), notify=print)\n"
        "print(made.python)"
    )
    start = [sys.executable, "-u", "-c", code, tmp_path / "home", slow]
    first = subprocess.Popen(start, stdout=subprocess.PIPE, text=True)
    _wait_for(tmp_path / "begun")
    second = subprocess.Popen(start, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert "another process is making it; waiting" in second.stdout.readline()
    (tmp_path / "go").touch()
    said = first.communicate(timeout=30)[0].splitlines(), second.communicate(timeout=30)[0].splitlines()
    assert said[0][-1] == said[1][-1] == str(find_engine(tmp_path / "home").python)
    assert len(said[1]) == 1  # the second made nothing


def _wait_for(path):
    until = time.monotonic() + 20
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert path.exists()


# --- Not made ---


@pytest.mark.parametrize(
    ("pip", "line"),
    [
        ("echo 'Collecting'; echo 'ERROR: No matching distribution found for spleeter' >&2; exit 1",
         r"pip install spleeter==2\.4\.2: No matching distribution found for spleeter$"),
        ("echo 'ERROR: a conflicts with b'; echo 'ERROR: ResolutionImpossible: for help visit a page'; exit 1",
         "a conflicts with b$"),
        ("echo \"/python: No module named pip\" >&2; exit 1", "has no pip"),
        ("exit 1", "failed without a word"),
        (f"{GETS_ON}; sleep 60", r"stopped: no new byte within 2 s$"),
    ],
)  # fmt: skip
def test_a_failing_pip_is_one_line_and_leaves_nothing(tmp_path, environment, pip, line):
    python = make_maker(tmp_path / "python", environment, pip=pip)
    with pytest.raises(ModelError, match=line) as caught:
        make_engine(tmp_path / "home", python=python, patience_s=2.0)
    assert "\n" not in str(caught.value)
    assert folders(tmp_path / "home") == []


def test_a_full_disk_is_told_as_such(tmp_path, environment):
    pip = "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device' >&2; exit 1"
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        make_engine(tmp_path / "home", python=make_maker(tmp_path / "python", environment, pip=pip))


def test_a_failed_attempt_leaves_the_broken_one_that_was_there(tmp_path, python, environment):
    made = make_engine(tmp_path / "home", python=python)
    made.python.write_text("#!/bin/sh\nexit 1\n")
    failing = make_maker(tmp_path / "failing", environment, pip="exit 1")
    with pytest.raises(ModelError, match="failed without a word"):
        make_engine(tmp_path / "home", python=failing)
    assert folders(tmp_path / "home") == [made.python.parents[1].name]


def test_a_package_that_cannot_be_imported_does_not_count(tmp_path):
    broken = make_environment(tmp_path / "environment")
    (packages,) = broken.parents[1].glob("lib/python*/site-packages")
    (packages / "spleeter" / "separator.py").write_text("import nothing_of_that_name")
    with pytest.raises(ModelError, match="ModuleNotFoundError: No module named 'nothing_of_that_name'"):
        make_engine(tmp_path / "home", python=make_maker(tmp_path / "python", broken, pip=GETS_ON))
    assert folders(tmp_path / "home") == []


@pytest.mark.parametrize("version", ["3.12.0", "3.13.1", "3.8.18", "2.7.18"])
def test_a_python_that_the_package_does_not_run_on(tmp_path, version):
    python = make_python(tmp_path / "python", version=version)
    with pytest.raises(InputError, match=rf"expected 3\.9 to 3\.11, found {version}; give .*{COMMAND} --python "):
        make_engine(tmp_path / "home", python=python)


def test_what_is_no_python(tmp_path):
    for program, line in (("/bin/echo", "no Python"), (tmp_path / "nothing", "cannot be run as a Python")):
        with pytest.raises(InputError, match=line):
            make_engine(tmp_path / "home", python=program)


def test_a_python_that_makes_no_environments(tmp_path):
    python = make_python(tmp_path / "python", venv="echo 'ensurepip is not available'; exit 1")
    with pytest.raises(ModelError, match="-m venv: ensurepip is not available"):
        make_engine(tmp_path / "home", python=python)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the running Python is too new for the package")
def test_real_pip_without_a_network(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody answers there
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(ModelError, match=r"^pip install spleeter==2\.4\.2: .*Connection refused") as caught:
        make_engine(tmp_path / "home")
    assert "\n" not in str(caught.value)
    assert folders(tmp_path / "home") == []


# --- Found ---


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, None),
        ({"format": 2}, "expected format 1 and spleeter 2.4.2"),
        ({"versions": {"spleeter": "2.3.0"}}, "expected format 1 and spleeter 2.4.2"),
        ({"versions": None}, "AttributeError"),
        ({"folder": "deezer-gone"}, "deezer-gone/bin/python: no such file"),
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
    ],
)
def test_a_damaged_one_names_the_command(tmp_path, python, change, line):
    make_engine(tmp_path, python=python)
    marker = marker_path(tmp_path)
    marker.write_text(change if isinstance(change, str) else json.dumps(json.loads(marker.read_text()) | change))
    if line is None:
        find_engine(tmp_path)
        return
    with pytest.raises(ModelError, match=f"is broken: .*{line}.*: make it again with `{COMMAND}`"):
        find_engine(tmp_path)


# --- At the command line ---


def test_the_command(tmp_path, python, monkeypatch):
    monkeypatch.setenv("CADENZA_REMIX_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(models, ["engine", "deezer", "--python", str(python)], catch_exceptions=False)
    assert done.exit_code == 0
    words = " ".join(done.output.split())
    assert "spleeter==2.4.2" in words
    assert "deezer is installed" in words
    assert find_engine(tmp_path / "home")


def test_an_unknown_engine(tmp_path):
    with pytest.raises(CadenzaError, match="unknown engine 'deeser': expected one of deezer"):
        CliRunner().invoke(models, ["engine", "deeser"], catch_exceptions=False)

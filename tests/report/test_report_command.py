"""The command report: names of runs, what it refuses with one line, and that nothing half-written is left."""

import json
import subprocess
import sys

import pytest
from tiny_run import make_tiny_run

from cadenza_remix.cli import main


@pytest.fixture(scope="module")
def folder(song, tmp_path_factory):
    place = tmp_path_factory.mktemp("command")
    make_tiny_run(place, song, duration_s=1.0, listeners=("L5040",))
    return place


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    return left.value.code or 0, captured.out, captured.err


def test_report_of_a_folder_of_runs(folder, tmp_path, capsys):
    out = tmp_path / "made" / "now" / "report.html"
    status, told, _ = run(capsys, folder, "--out", out)
    assert status == 0
    text = out.read_text(encoding="utf-8")
    assert "baseline, e016" in told
    assert f"{out.stat().st_size / 1e6:.2f} MB" in told
    assert text.startswith("<!DOCTYPE html>")
    assert text.endswith("</html>\n")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_runs_are_named_genres_told_and_compared_as_wished(folder, tmp_path, capsys):
    songs = tmp_path / "songs.json"
    songs.write_text(json.dumps([{"Track Name": "Falcon - part 0", "Split": "test", "Genre": "Electro-rock"}]))
    out = tmp_path / "report.html"
    status, told, _ = run(capsys, f"A={folder / 'baseline'}", f"B={folder / 'e016'}", "--out", out, "--against", "B",
                          "--songs", songs, "--references", folder / "references", "--measured", 1)  # fmt: skip
    text = out.read_text(encoding="utf-8")
    assert status == 0
    assert "A, B" in told
    assert "A against B" in text
    assert "Electro-rock" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere: not found"),
        (["{folder}", "--out", "{tmp}"], "is a folder"),
        (["{folder}", "--out", "{tmp}/report.pdf"], "a name that ends in .html"),
        (["{folder}", "--against", "e15", "--out", "{tmp}/r.html"], "--against: unknown run 'e15'"),
        (["{folder}", "{folder}", "--out", "{tmp}/r.html"], "two runs of one name"),
        (["{folder}/baseline", "{folder}", "--scores", "x.csv", "--out", "{tmp}/r.html"], "several runs, one table"),
        (["{folder}", "--references", "{tmp}/none", "--out", "{tmp}/r.html"], "folder of references is missing"),
        (["{folder}", "--songs", "{tmp}/none.json", "--out", "{tmp}/r.html"], "none.json"),
        (["{folder}/references", "--out", "{tmp}/r.html"], "holds no results"),
        (["={folder}", "--out", "{tmp}/r.html"], "NAME=PATH"),
        (["{folder}", "--out", "/proc/none/r.html"], "/proc/none"),
        (["x" * 5000 + "={folder}/none", "--out", "{tmp}/r.html"], "none: not found"),
        ([], "Missing argument"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(folder, tmp_path, capsys, arguments, told):
    filled = [argument.format(folder=folder, tmp=tmp_path) for argument in arguments]
    status, _, error = run(capsys, *filled)
    assert status == 2
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom cadenza_remix.cli import main\ntry:\n    main(['report', '--help'])\nexcept SystemExit:\n"
        "    print([m for m in ('numpy', 'pandas', 'scipy', 'matplotlib', 'numba') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "[]"

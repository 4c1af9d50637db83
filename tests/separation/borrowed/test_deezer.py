"""`deezer:*`: windows that do not show, and a process that fails in clear words, whatever happens to it."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from deezer_stand_in import ORDER, is_running, make_environment, make_model

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.borrowed.deezer import DeezerSeparator, cut, deezer_names, load_deezer
from cadenza_remix.separation.borrowed.deezer_engine import DeezerEngine
from cadenza_remix.separation.borrowed.deezer_process import WorkerProcess, run_check
from cadenza_remix.separation.loading import separator_names
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.options import SeparationOptions

CARD = model_card("spleeter:2stems")
RATE = 44_100
GONE_S = 20.0  # until a worker has gone: it looks every 5 s whether its parent is there


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    python = make_environment(tmp_path_factory.mktemp("environment"))
    return DeezerEngine(python, run_check(python))


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "2stems")


@pytest.fixture
def separator(engine, model):
    separator = DeezerSeparator(CARD, model, engine, segments_kept=1)
    yield separator
    separator.close()


# --- Windows ---

HOP, FRAME, FRAMES = 4, 16, 16
SEGMENT = HOP * FRAMES
REACH = 5  # frames that the stand-in of a network looks at on both sides, within a segment


def package(samples):
    """Do to mono what the package does to music: frames, in segments, each with a gain by its neighbours, added up."""
    n_frames = -(-(len(samples) + FRAME) // HOP)
    padded = np.zeros((-(-n_frames // FRAMES) * FRAMES + FRAME // HOP) * HOP)
    padded[FRAME : FRAME + len(samples)] = samples
    frames = np.stack([padded[k * HOP : k * HOP + FRAME] for k in range(n_frames)])
    levels = np.zeros(-(-n_frames // FRAMES) * FRAMES)
    levels[:n_frames] = np.abs(frames).sum(axis=1)
    around = np.ones(2 * REACH + 1)
    gains = np.concatenate([np.convolve(segment, around, "same") for segment in levels.reshape(-1, FRAMES)])
    out = np.zeros(len(padded) + FRAME)
    for k in range(n_frames):
        out[k * HOP : k * HOP + FRAME] += gains[k] * frames[k]
    return out[FRAME : FRAME + len(samples)]


@pytest.mark.parametrize("n_segments", [1, 3])
@pytest.mark.parametrize("n_samples", [1, SEGMENT - HOP, SEGMENT, SEGMENT + 1, 5 * SEGMENT, 5 * SEGMENT + 1, 431])
@pytest.mark.parametrize("block", [7, 50, 1000])
def test_windows_give_what_the_whole_gives(n_segments, n_samples, block):
    song = noise(n_samples)
    blocks = (song[first : first + block] for first in range(0, n_samples, block))
    parts, lasts = [], []
    for window, kept, last in cut(blocks, segment=SEGMENT, n_segments=n_segments, hop=HOP, overhang=FRAME):
        assert len(window) <= (n_segments + 1) * SEGMENT
        parts.append(package(window[:, 0])[kept])
        lasts.append(last)
    assert lasts == [False] * (len(lasts) - 1) + [True]
    whole = package(song[:, 0])
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-12 * np.abs(whole).max())  # float64


def test_nothing_is_cut_of_nothing():
    assert list(cut([], segment=SEGMENT, n_segments=1, hop=HOP, overhang=FRAME)) == []


# --- Songs ---


def test_songs_go_through_one_process_that_builds_the_model_once(separator, model):
    assert separator.process_id is None
    process_ids = set()
    for n_samples in (1, 1000, 3 * 512 * 1024 + 17):
        samples = noise(n_samples)
        shares = []
        stems = separator.separate(Audio(samples, RATE), progress=shares.append)
        assert list(stems) == ["vocals", "accompaniment"]
        np.testing.assert_array_equal(stems["vocals"].samples, 0.25 * samples)
        np.testing.assert_array_equal(stems["accompaniment"].samples, 0.75 * samples)
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        process_ids.add(separator.process_id)
    assert len(process_ids) == 1
    assert (model / "built.txt").read_text() == "once "


def test_blocks_of_any_length_give_the_same(separator):
    song = Audio(noise(600_000), RATE)
    for length in (100_000, None):
        blocks = list(separator.separate_blocks(AudioBlocks(song, length)))
        np.testing.assert_array_equal(np.concatenate([block["vocals"] for block in blocks]), 0.25 * song.samples)


def test_a_song_left_in_the_middle_does_no_harm(separator):
    blocks = separator.separate_blocks(AudioBlocks(Audio(noise(600_000), RATE)))
    next(blocks)
    blocks.close()
    samples = noise(1000, seed=1)
    np.testing.assert_array_equal(separator.separate(Audio(samples, RATE))["vocals"].samples, 0.25 * samples)


def test_a_song_at_another_rate_is_refused(separator):
    with pytest.raises(InputError, match=r"expected 44100 Hz, found 48000 Hz"):
        separator.separate(Audio(noise(1000), 48_000))


def test_fingerprint_changes_with_weights_and_versions_only(engine, model):
    first = DeezerSeparator(CARD, model, engine).fingerprint
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert DeezerSeparator(CARD, model, engine, segments_kept=1).fingerprint == first  # the output is the same
    other = DeezerEngine(engine.python, {**engine.versions, "tensorflow": "2.12.0"})
    assert DeezerSeparator(CARD, model, other).fingerprint != first
    (model / "model.index").write_text("other weights")
    assert DeezerSeparator(CARD, model, engine).fingerprint != first


# --- What may go wrong with the process ---

SONG = Audio(noise(1000), RATE, "song.wav")


@pytest.mark.parametrize(
    ("order", "line"),
    [
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("raise MemoryError", "MemoryError"),
        ("raise ValueError(1000 * 'long ')", r"ValueError: long .* \.\.\.$"),
        ("os.kill(os.getpid(), 9)", r"ended by SIGKILL \(most often the system's answer to a lack of memory\)"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("print('last words', file=sys.stderr); os._exit(7)", "ended with status 7: last words"),
        ("socket.create_connection(('127.0.0.1', 9), 5)", "PermissionError: socket.getaddrinfo: the network is not"),
        ("socket.socket().connect(('127.0.0.1', 9))", "PermissionError: socket.connect: the network is not used here"),
        ("stems['vocals'][5] = np.nan", "vocals is not finite"),
        ("stems['piano'] = stems.pop('vocals')", "expected vocals, accompaniment, found accompaniment, piano"),
        ("stems['vocals'] = stems['vocals'][1:]", "an answer that makes no sense"),
    ],
)
def test_an_error_is_one_line_and_the_next_song_is_as_ever(separator, model, order, line):
    (model / ORDER).write_text(order)
    with pytest.raises(ModelError, match=line) as caught:
        separator.separate(SONG)
    assert str(caught.value).startswith("deezer:2stems: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    (model / ORDER).unlink()
    np.testing.assert_array_equal(separator.separate(SONG)["vocals"].samples, 0.25 * SONG.samples)


def test_a_kill_from_outside_between_songs(separator):
    separator.separate(SONG)
    first = separator.process_id
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ModelError, match="ended by SIGKILL"):
        separator.separate(SONG)
    separator.separate(SONG)
    assert separator.process_id not in (None, first)


def test_what_the_package_prints_does_not_come_between(separator, model):
    (model / ORDER).write_text("print('Hello'); os.system('echo from a child'); sys.stdout.flush()")
    np.testing.assert_array_equal(separator.separate(SONG)["vocals"].samples, 0.25 * SONG.samples)


def test_one_that_does_not_answer_is_stopped(engine, model):
    (model / ORDER).write_text("time.sleep(60)")
    worker = WorkerProcess(engine.python, "serve", "2stems", str(model), what="deezer:2stems", answer_patience_s=0.5)
    with pytest.raises(ModelError, match=r"stopped: no answer within 0\.5 s"):
        worker.separate(SONG.samples)
    assert not worker.usable
    assert not is_running(worker.process_id)


def test_one_that_does_not_listen_is_stopped(engine, model):
    worker = WorkerProcess(engine.python, "serve", "2stems", str(model), what="deezer:2stems", answer_patience_s=0.5)
    os.kill(worker.process_id, signal.SIGSTOP)
    with pytest.raises(ModelError, match=r"no answer within 0\.5 s"):
        worker.separate(noise(1_000_000))
    assert not is_running(worker.process_id)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("echo no messages at all", "an answer that makes no sense: a header of"),
        (r"printf '\0\0\0\0\0\0\0\003\0\0\0\0\0\0\0\0abc'", "an answer that makes no sense"),
        (r"printf '\0\0\0\0\0\0\0\003\0\0\0\0\0\0\0\0[1]'", "an answer that makes no sense"),
        ("exec >&-; sleep 60", "closed its output"),
        ("exit 0", "ended with status 0: without a word"),
    ],
)
def test_one_that_talks_nonsense_is_refused(tmp_path, said, line):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{said}\n")
    python.chmod(0o755)
    with pytest.raises(ModelError, match=line):
        WorkerProcess(python, "check", what="deezer:2stems", start_patience_s=10.0)


def test_the_process_goes_with_the_separator(engine, model):
    separator = DeezerSeparator(CARD, model, engine)
    separator.separate(SONG)
    process_id = separator.process_id
    del separator
    assert not is_running(process_id)


def test_the_process_goes_when_its_parent_is_killed(engine, model):
    code = (
        "import os, pathlib, numpy as np\n"
        "from cadenza_remix.audio.signal import Audio\n"
        "from cadenza_remix.separation.borrowed.deezer import DeezerSeparator\n"
        "from cadenza_remix.separation.borrowed.deezer_engine import DeezerEngine\n"
        "from cadenza_remix.separation.models.registry import model_card\n"
        f"engine = DeezerEngine(pathlib.Path({str(engine.python)!r}), {dict(engine.versions)!r})\n"
        f"separator = DeezerSeparator(model_card('spleeter:2stems'), pathlib.Path({str(model)!r}), engine)\n"
        "separator.separate(Audio(np.zeros((1000, 2), np.float32), 44_100))\n"
        # A forked child keeps the pipe open: its end alone would not tell the worker.
        "if os.fork() == 0: import time; time.sleep(8); os._exit(0)\n"
        "print(separator.process_id, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    process_id = int(parent.stdout.readline())
    assert parent.wait(20) == -signal.SIGKILL
    parent.stdout.close()
    until = time.monotonic() + GONE_S
    while is_running(process_id) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_running(process_id)


def _in_a_child(separator, answers):
    vocals = separator.separate(SONG)["vocals"].samples
    answers.put((separator.process_id, bool((vocals == 0.25 * SONG.samples).all())))
    separator.close()


def test_a_forked_process_starts_its_own(separator):
    separator.separate(SONG)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_a_child, args=(separator, answers))
    child.start()
    process_id, right = answers.get(timeout=30)
    child.join(30)
    assert right
    assert process_id != separator.process_id
    np.testing.assert_array_equal(separator.separate(SONG)["vocals"].samples, 0.25 * SONG.samples)


# --- By name ---


def test_names_are_known_at_the_door():
    assert deezer_names()[0] == "deezer:2stems"
    assert {"deezer:2stems", "deezer:4stems", "deezer:5stems"} <= set(deezer_names()) <= set(separator_names())


def test_options_are_refused(tmp_path):
    for options in (SeparationOptions(wiener=True), SeparationOptions(device="gpu")):
        with pytest.raises(InputError, match="deezer:2stems: option is not known to this separator"):
            load_deezer("deezer:2stems", store=ModelStore(tmp_path), options=options)


def test_a_model_or_a_package_that_is_not_there(tmp_path, monkeypatch):
    store = ModelStore(tmp_path)
    with pytest.raises(ModelError, match="cadenza-remix models fetch spleeter:4stems"):
        load_deezer("deezer:4stems", store=store, options=SeparationOptions())
    monkeypatch.setattr(store, "path", lambda card, *, form: Path("the model"))
    with pytest.raises(ModelError, match="make it with `cadenza-remix models engine deezer`"):
        load_deezer("deezer:4stems", store=store, options=SeparationOptions())


@pytest.mark.parametrize("damage", ["import", "versions", "model"])
def test_a_package_that_does_not_start(tmp_path, model, damage):
    python = make_environment(tmp_path / "environment")
    engine = DeezerEngine(python, run_check(python))
    separator = DeezerSeparator(CARD, model, engine)
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    if damage == "import":
        (packages / "spleeter" / "separator.py").write_text("import nothing_of_that_name")
        line = "ModuleNotFoundError: No module named 'nothing_of_that_name' .*make it again with `cadenza-remix models"
    elif damage == "versions":
        (packages / "tensorflow-2.12.1.dist-info" / "METADATA").write_text("Name: tensorflow\nVersion: 2.99\n")
        line = "expected spleeter 2.4.2, tensorflow 2.12.1, .*found .*tensorflow 2.99.*make it again with"
    else:
        (model / "checkpoint").unlink()
        line = "FileNotFoundError: .*checkpoint: no such file"
    with pytest.raises(ModelError, match=line):
        separator.separate(SONG)

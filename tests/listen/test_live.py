"""Chains at work while somebody waits: one pass serves the remix, its stems and a simulator, and no stale one does."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio, load_stems, write_stems
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.listen import live
from cadenza_remix.listen.live import SIMULATION_REACH, LiveChains, StemFile
from cadenza_remix.remix import enhance_stems, load_chain

RATE = 44_100
LISTENERS = load_listeners("bisgaard", only=("N2", "N4"))
CHAIN = load_chain("e016")


@pytest.fixture
def folder(tmp_path, song):
    stems = {stem: audio.excerpt(0.0, 3.0) for stem, audio in load_stems(song.path).items()}
    write_stems(tmp_path / "stems", stems)
    return tmp_path / "stems"


@pytest.fixture
def passes(monkeypatch):
    """Return a list that grows with each pass through a chain."""
    made = []

    def counted(*arguments):
        made.append(arguments)
        return enhance_stems(*arguments)

    monkeypatch.setattr(live, "enhance_stems", counted)
    return made


def stems_in(folder):
    return {stem: StemFile(folder / stem) for stem in STEMS}


def test_remix_stems_and_what_a_simulator_needs_are_one_pass(folder, passes):
    chains, listener, stems = LiveChains(), LISTENERS["N2"], stems_in(folder)
    remix = chains.remix(stems, listener, CHAIN, RATE, RATE)
    vocals = chains.stem(stems, listener, CHAIN, "left_vocals", RATE, RATE)
    wide = chains.remix(stems, listener, CHAIN, RATE - SIMULATION_REACH, RATE + 2 * SIMULATION_REACH)
    assert len(passes) == 1
    np.testing.assert_allclose(wide[SIMULATION_REACH:][:RATE], remix, atol=1e-12)
    alone = LiveChains().stem(stems, listener, CHAIN, "left_vocals", RATE, RATE)
    np.testing.assert_array_equal(vocals, alone)
    assert vocals[:, 0].any()
    assert not vocals[:, 1].any()


def test_who_ask_at_once_share_a_pass(folder, passes):
    chains, stems = LiveChains(), stems_in(folder)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(chains.remix, stems, LISTENERS["N2"], CHAIN, 0, RATE) for _ in range(4)]
        first, *others = [job.result() for job in asked]
    assert len(passes) == 1
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_other_listeners_chains_and_passages_have_their_own(folder, passes):
    chains, stems = LiveChains(), stems_in(folder)
    chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE)
    chains.remix(stems, LISTENERS["N4"], CHAIN, 0, RATE)
    chains.remix(stems, LISTENERS["N2"], load_chain("baseline"), 0, RATE)
    chains.remix(stems, LISTENERS["N2"], CHAIN, 2 * RATE, RATE)
    assert len(passes) == 4


def test_only_a_few_are_kept(folder, passes, monkeypatch):
    monkeypatch.setattr(live, "_MOST_KEPT", 1)
    chains, stems = LiveChains(), stems_in(folder)
    for name in ("N2", "N4", "N2"):
        chains.remix(stems, LISTENERS[name], CHAIN, 0, RATE)
    assert len(passes) == 3


def test_a_replaced_file_is_heard(folder):
    chains, stems = LiveChains(), stems_in(folder)
    before = chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE)
    vocals = load_audio(folder / "vocals.wav")
    write_stems(folder, {"vocals": Audio(vocals.samples * np.float32(0.1), RATE)})
    after = chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE)
    assert np.abs(after - before).max() > 0.01


def test_a_file_of_the_same_length_and_time_is_another_one_where_it_was_renamed(folder, passes):
    chains, stems = LiveChains(), stems_in(folder)
    chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE)
    status = (folder / "vocals.wav").stat()
    shutil.copy2(folder / "bass.wav", folder / "new.wav")
    (folder / "new.wav").replace(folder / "vocals.wav")
    os.utime(folder / "vocals.wav", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (folder / "vocals.wav").stat().st_size == status.st_size
    chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE)
    assert len(passes) == 2


def test_a_file_that_went_is_an_input_error_and_nobody_waits_for_it(folder, tmp_path):
    chains, stems = LiveChains(), stems_in(folder)
    (folder / "bass.wav").rename(tmp_path / "bass.wav")
    with pytest.raises(InputError, match="bass is missing"):
        chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE)
    (folder / "bass.wav").write_bytes(b"RIFF" + bytes(100))
    for _ in range(2):
        with pytest.raises(InputError, match=r"bass\.wav: cannot be read as audio"):
            chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE)
    shutil.move(tmp_path / "bass.wav", folder / "bass.wav")
    assert chains.remix(stems, LISTENERS["N2"], CHAIN, 0, RATE).any()

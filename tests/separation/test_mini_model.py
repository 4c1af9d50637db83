"""The model in the package: real weights on real music, offline."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.signal import STEMS
from cadenza_remix.metrics.separation import snr_db
from cadenza_remix.separation.loading import load_separator
from cadenza_remix.separation.models.store import ModelStore

#: dB that each stem gains over the mixture on a song that no training saw; evaluation/mini_model.py measures more.
LEAST_GAIN_DB = {"vocals": 6.0, "drums": 5.0, "bass": 4.0, "other": 5.0}


@pytest.fixture(scope="module")
def stems(song):
    return load_separator("cadenza:mini").separate(load_audio(song.path))


def test_it_is_small_and_says_where_it_comes_from():
    folder = Path(str(resources.files("cadenza_remix.resources").joinpath("mini")))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6
    facts = load_separator("cadenza:mini").model.facts
    assert facts["licence"] == "MIT"
    assert facts["private_data"] is False
    assert any("CC BY 4.0" in source for source in facts["sources"])
    assert not any("/" in source["path"] for part in ("train", "valid") for source in facts["config"]["data"][part])


@pytest.mark.parametrize("stem", STEMS)
def test_it_takes_real_music_apart(stem, song, stems):
    mixture, reference = load_audio(song.path).samples, load_stems(song.path)[stem].samples
    before, after = (snr_db(reference.ravel(), samples.ravel()) for samples in (mixture, stems[stem].samples))
    assert after - before > LEAST_GAIN_DB[stem]


def test_the_stems_sum_to_the_song(song, stems):
    total = sum(stems[stem].samples for stem in STEMS)
    assert np.abs(total - load_audio(song.path).samples).max() < 1e-5


def test_nothing_but_the_package_is_needed(song, tmp_path):
    from cadenza_remix.audio.signal import Audio

    separator = load_separator(store=ModelStore(tmp_path))
    assert separator.name == "cadenza:mini"
    separated = separator.separate(Audio(load_audio(song.path).samples[:30_000], 44_100))
    assert set(separated) == set(STEMS)

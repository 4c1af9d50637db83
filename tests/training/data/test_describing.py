"""What a data set holds and what is wrong with it: known levels are measured, every fault is told, none is fatal."""

import base64
import csv
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from tiny_songs import (
    STEMS,
    tiny_stems,
    write_dsd100,
    write_musdb18hq,
    write_song,
    write_sound,
    write_spleeter_csv,
)

from cadenza_remix.demo import demo_song
from cadenza_remix.errors import InputError
from cadenza_remix.training.data.describing import FAULT_KINDS, describe
from cadenza_remix.training.data.description_page import description_page, write_description_page
from cadenza_remix.training.data.description_tables import (
    CSV_COLUMNS,
    description_lines,
    fault_table,
    song_table,
    split_table,
    stem_table,
    write_description_csv,
)
from cadenza_remix.training.data.measuring import BAND_CENTRES_HZ, Meter, block_length
from cadenza_remix.units import energy_ratio_db


class Told:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.lines = []

    def start(self, stage, total):
        self.lines.append((stage, total))

    def advance(self, stage, amount=1.0):
        self.lines.append((stage, amount))

    def say(self, message):
        self.lines.append(message)


def measured(samples: np.ndarray, sample_rate: int):
    meter = Meter(sample_rate)
    length = block_length(sample_rate)
    for begin in range(0, len(samples), length):
        meter.add(samples[begin : begin + length].astype(np.float32))
    return meter.result()


def tone(frequency_hz: float, n_samples: int, sample_rate: int, amplitude: float = 1.0) -> np.ndarray:
    wave = amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(n_samples) / sample_rate)
    return np.stack([wave, wave], axis=1)


def test_levels_of_a_tone_are_those_of_the_book():
    result = measured(tone(1000.0, 7 * 8000, 8000, 0.5), 8000)
    assert result.rms_dbfs == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=1e-3)
    assert result.peak_dbfs == pytest.approx(-6.0206, abs=1e-3)
    assert (result.n_clipped, result.silence_share) == (0, 0.0)
    assert len(result.activity_dbfs) == 7
    np.testing.assert_allclose(result.activity_dbfs, result.rms_dbfs, atol=1e-2)
    # All of a tone lies in its own third octave; above half the rate nothing is known.
    band = BAND_CENTRES_HZ.index(1000.0)
    assert result.bands_dbfs[band] == pytest.approx(result.rms_dbfs, abs=0.1)
    assert np.nanmax(np.delete(result.bands_dbfs, band)) < result.rms_dbfs - 40
    assert [bool(np.isnan(level)) for level in result.bands_dbfs] == [
        centre * 2 ** (1 / 6) > 4000 for centre in BAND_CENTRES_HZ
    ]


def test_the_bands_of_noise_add_up_to_its_level():
    noise = 0.1 * np.random.default_rng(3).standard_normal((10 * 44100, 2))
    result = measured(noise, 44100)
    inside = (16000 * 2 ** (1 / 6) - 40 * 2 ** (-1 / 6)) / 22050
    bands = 10 * np.log10(np.sum(10 ** (result.bands_dbfs / 10)))
    assert bands == pytest.approx(result.rms_dbfs + 10 * np.log10(inside), abs=0.1)


def test_silence_and_clipping_are_counted():
    samples = np.zeros((20 * 8000, 2))
    samples[: 5 * 8000] = tone(440.0, 5 * 8000, 8000, 0.2)
    samples[[10, 11, 12], [0, 1, 0]] = [1.0, -1.0, 32767 / 32768]
    result = measured(samples, 8000)
    assert result.silence_share == pytest.approx(0.75)
    assert result.n_clipped == 3
    assert np.isneginf(result.activity_dbfs[5:]).all()
    nothing = measured(np.zeros((100, 2)), 8000)
    assert (nothing.rms_dbfs, nothing.peak_dbfs, nothing.silence_share) == (-np.inf, -np.inf, 1.0)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 44100])
def test_measurements_do_not_depend_on_where_blocks_end(sample_rate):
    noise = np.random.default_rng(4).standard_normal((13 * sample_rate + 77, 2)).astype(np.float32) * 0.1
    result = measured(noise, sample_rate)
    assert result.n_samples == len(noise)
    assert result.energy == pytest.approx(float(np.sum(np.square(noise, dtype=np.float64))))
    assert len(result.activity_dbfs) == 14
    np.testing.assert_allclose(result.activity_dbfs, result.rms_dbfs, atol=1.5)


def test_a_whole_set_is_described(tmp_path):
    told = Told()
    description = describe(write_musdb18hq(tmp_path), progress=told)
    assert told.lines == [("describe", 3)] + [("describe", 1.0)] * 3
    assert (description.layout, description.stem_names, description.splits) == (
        "musdb18hq",
        STEMS,
        ("train", "valid", "test"),
    )
    assert description.faults == ()
    assert description.duration_s == 3.0
    song = description.songs[0]
    assert song.residual_db == -np.inf
    expected = tiny_stems(1)
    mixture = sum(expected.values())
    for stem, samples in expected.items():
        facts = song.stems[stem]
        energy = float(np.sum(np.square(samples, dtype=np.float64)))
        assert facts.measured.energy == pytest.approx(energy)
        assert facts.relative_db == pytest.approx(energy_ratio_db(energy, np.sum(np.square(mixture))), abs=1e-3)
        assert facts.files == (f"train/A - Été/{stem}.wav",)
        assert (facts.n_channels, facts.sample_rate) == (2, 8000)


def test_without_a_mixture_the_sum_stands_for_it(tmp_path):
    write_musdb18hq(tmp_path)
    whole = describe(tmp_path, layout="folder").songs
    for file in tmp_path.rglob("mixture.wav"):
        file.unlink()
    alone = describe(tmp_path, layout="folder").songs
    for with_file, without in zip(whole, alone, strict=True):
        assert without.mixture.files == ()
        assert without.mixture.measured.rms_dbfs == pytest.approx(with_file.mixture.measured.rms_dbfs, abs=1e-4)
        assert np.isnan(without.residual_db)
        assert without.faults == ()


@pytest.mark.parametrize("n_workers", [1, 4])
def test_songs_keep_their_order_with_many_threads(tmp_path, n_workers):
    for number in range(6):
        write_song(tmp_path / f"{number}", tiny_stems(number, n_samples=400))
    description = describe(tmp_path, n_workers=n_workers)
    assert [song.name for song in description.songs] == list("012345")


def faults_of(path, **settings) -> set[tuple[str, str, str]]:
    return {(fault.song, fault.stem, fault.kind) for fault in describe(path, **settings).faults}


def test_stems_that_do_not_add_up_are_told(tmp_path):
    stems = tiny_stems(1)
    for name, mixture in (("less", sum(stems.values()) - stems["drums"]), ("quiet", 0.5 * sum(stems.values()))):
        write_song(tmp_path / "train" / name, stems)
        write_sound(tmp_path / "train" / name / "mixture.wav", mixture)
    less, quiet = describe(tmp_path).songs
    expected = energy_ratio_db(np.sum(stems["drums"] ** 2.0), less.mixture.measured.energy)
    assert less.residual_db == pytest.approx(expected, abs=0.01)
    assert [fault.kind for fault in less.faults] == ["sum"]
    assert "gain" not in less.faults[0].text
    assert quiet.residual_db == pytest.approx(0.0, abs=0.01)
    assert "with a gain of -6.02 dB" in quiet.faults[0].text


def test_broken_missing_and_odd_files_are_told_and_the_others_measured(tmp_path):
    names = ("broken", "cut", "lacking", "mono", "rates", "short", "silent")
    for seed, name in enumerate(names):
        write_song(tmp_path / "train" / name, tiny_stems(seed))
    folder = tmp_path / "train"
    (folder / "broken" / "drums.wav").write_bytes(b"no music" * 20)
    (folder / "cut" / "bass.wav").write_bytes((folder / "cut" / "bass.wav").read_bytes()[:9000])
    (folder / "lacking" / "other.wav").unlink()
    (folder / "lacking" / "mixture.wav").unlink()
    write_song(folder / "mono", tiny_stems(3, n_channels=1))
    write_sound(folder / "rates" / "bass.wav", tiny_stems(4)["bass"], 16000)
    write_sound(folder / "short" / "vocals.wav", tiny_stems(5)["vocals"][:6000])
    write_sound(folder / "silent" / "vocals.wav", np.zeros((8000, 2)))
    (folder / "empty").mkdir()
    description = describe(tmp_path)
    assert {(fault.song, fault.stem, fault.kind) for fault in description.faults} == {
        ("broken", "drums", "broken"),
        ("cut", "bass", "broken"),
        *(("empty", stem, "missing") for stem in (*STEMS, "mixture")),
        ("lacking", "other", "missing"),
        ("lacking", "mixture", "missing"),
        ("rates", "", "rate"),
        ("rates", "", "length"),
        ("short", "", "length"),
        ("short", "mixture", "sum"),
        ("silent", "vocals", "silent"),
        ("silent", "mixture", "sum"),
    }
    assert {fault.kind for fault in description.faults} <= set(FAULT_KINDS)
    songs = {song.name: song for song in description.songs}
    assert set(songs["broken"].stems) == {"vocals", "bass", "other"}
    assert np.isnan(songs["broken"].residual_db)
    assert songs["mono"].stems["vocals"].n_channels == 1
    assert songs["mono"].residual_db == -np.inf
    assert songs["empty"].stems == {}


def test_a_cut_off_mp4_is_told(tmp_path):
    (tmp_path / "train").mkdir()
    whole = demo_song().path.read_bytes()
    (tmp_path / "train" / "half.stem.mp4").write_bytes(whole[: len(whole) // 2])
    (song,) = describe(tmp_path).songs
    assert {fault.kind for fault in song.faults} == {"broken"}
    assert {fault.stem for fault in song.faults} == {*STEMS, "mixture"}


def test_real_music_of_five_streams_is_described(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / demo_song().path.name).write_bytes(demo_song().path.read_bytes())
    (song,) = describe(tmp_path).songs
    # What SDR the mixture has as an estimate of each stem: -7.1, -4.1, -3.0, -5.4 dB; the level is about it.
    levels = {stem: facts.relative_db for stem, facts in song.stems.items()}
    assert min(levels, key=levels.get) == "vocals"
    assert max(levels, key=levels.get) == "bass"
    assert song.stems["drums"].files[0].endswith(".stem.mp4 (stream 1)")


def test_a_stem_that_most_songs_have_is_missed(tmp_path):
    for number in range(3):
        write_song(tmp_path / f"song {number}", tiny_stems(number))
    (tmp_path / "song 2" / "vocals.wav").unlink()
    (tmp_path / "song 2" / "mixture.wav").unlink()
    assert faults_of(tmp_path) == {("song 2", "vocals", "missing")}


def test_a_list_with_a_wrong_duration_is_told(tmp_path):
    right = write_spleeter_csv(tmp_path / "right.csv")
    assert faults_of(right) == set()
    wrong = write_spleeter_csv(tmp_path / "wrong.csv", duration_s=2.5)
    assert faults_of(wrong) == {("Song, one", "", "length"), ("Two", "", "length")}


def test_no_data_set_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no data set found"):
        describe(tmp_path)


def test_the_csv_has_a_row_for_each_stem(tmp_path):
    write_musdb18hq(tmp_path / "set")
    (tmp_path / "set" / "train" / "A - Été" / "bass.wav").write_bytes(b"x" * 100)
    write_sound(tmp_path / "set" / "test" / "C - Č" / "vocals.wav", np.zeros((8000, 2)))
    description = describe(tmp_path / "set")
    write_description_csv(description, tmp_path / "set.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "set.csv").read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["song"], row["stem"]) for row in rows] == [
        (name, stem) for name in ("A - Été", "Leaf - Summerghost", "C - Č") for stem in (*STEMS, "mixture")
    ]
    table = {(row["song"], row["stem"]): row for row in rows}
    assert "cannot be read" in table["A - Été", "bass"]["faults"]
    assert table["A - Été", "bass"]["rms_dbfs"] == ""
    assert table["C - Č", "vocals"]["rms_dbfs"] == "-inf"
    assert float(table["C - Č", "mixture"]["residual_db"]) > -20
    assert table["Leaf - Summerghost", "mixture"]["residual_db"] == "-inf"
    assert float(table["Leaf - Summerghost", "drums"]["duration_s"]) == 1.0


def test_tables_tell_songs_splits_and_stems(tmp_path):
    write_dsd100(tmp_path)
    (tmp_path / "Sources" / "Test" / "001 - ANiMAL" / "bass.wav").unlink()
    description = describe(tmp_path)
    for table in (split_table(description), stem_table(description), song_table(description), fault_table(description)):
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert [row[:2] for row in split_table(description).rows] == [("train", "1"), ("test", "1"), ("all", "2")]
    assert [row[:2] for row in stem_table(description).rows][2] == ("bass", "1")
    assert song_table(description).rows[1][:3] == ("001 - ANiMAL", "test", "0:01")
    assert fault_table(description).rows[0][:3] == ("001 - ANiMAL", "bass", "missing")
    lines = description_lines(description)
    assert lines[0].endswith("layout dsd100, 2 songs, 0.00 hours")
    assert "split  songs  hours  shortest  median  longest  rates (Hz)  songs with faults" in lines
    assert "train      1   0.00      0:01    0:01     0:01        8000                  0" in lines
    assert lines[-1].startswith("001 - ANiMAL (bass): no such file")
    assert "Songs: RMS of the stems in dBFS" in lines
    assert "Songs: RMS of the stems in dBFS" not in description_lines(description, max_songs=1)


def images_of(page: str) -> list[tuple[str, ET.Element]]:
    found = re.findall(r'<img alt="([^"]+)" src="data:image/svg\+xml;base64,([^"]+)">', page)
    return [(alt, ET.fromstring(base64.b64decode(data))) for alt, data in found]


def test_the_page_needs_no_other_file_and_says_all_figures_in_words(tmp_path):
    root = tmp_path / "set <b> & $x"
    write_musdb18hq(root, {"train": ["A <script>alert(1)< $_{ - Été", "B"], "test": ["C"]})
    (root / "test" / "C" / "drums.wav").write_bytes(b"x" * 100)
    description = describe(root)
    write_description_page(description, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page == description_page(describe(root, n_workers=1))  # equal data, equal bytes
    assert "<script" not in page
    assert "set &lt;b&gt; &amp; $x" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert not re.search(r"@import|url\(", page)
    images = images_of(page)
    assert len(images) == 4
    assert re.findall(r"<h2>(\w+)</h2>\n<figure>", page) == ["Durations", "Levels", "Activity", "Spectra"]
    assert all(len(alt) > 40 and image.tag.endswith("svg") for alt, image in images)
    assert "2 songs" in images[0][0]
    assert "cannot be read as audio" in page
    assert "Faults in 1 of 3 songs" in page


def test_many_songs_and_stems_are_drawn_small(tmp_path):
    for number in range(45):
        write_song(tmp_path / f"song {number:02d}", tiny_stems(number % 3, n_samples=100))
    for number in range(4):
        write_sound(tmp_path / "song 00" / f"extra {number}.wav", tiny_stems(1, n_samples=100)["bass"])
    description = describe(tmp_path)
    assert description.stem_names == (*STEMS, "extra 0", "extra 1", "extra 2", "extra 3")
    page = description_page(description)
    assert len(images_of(page)) == 4
    assert len(page) < 600_000
    assert "The figures show 6 of 8 stems" in page


def test_a_set_of_which_nothing_can_be_read_has_a_page_too(tmp_path):
    for stem in STEMS:
        (tmp_path / "song").mkdir(exist_ok=True)
        (tmp_path / "song" / f"{stem}.wav").write_bytes(b"nothing" * 9)
    page = description_page(describe(tmp_path))
    assert images_of(page) == []
    assert page.count("cannot be read as audio") == 4


def test_silent_and_very_short_songs_are_drawn(tmp_path):
    write_song(tmp_path / "silent", {stem: np.zeros((50, 2), dtype=np.float32) for stem in STEMS})
    write_song(tmp_path / "short", tiny_stems(1, n_samples=3))
    assert len(images_of(description_page(describe(tmp_path)))) == 4

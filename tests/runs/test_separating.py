import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from quarter_separator import QuarterSeparator

from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.errors import InputError, ModelError, OutputError
from cadenza_remix.runs.outputs import RECORDS_FOLDER, OutputSettings
from cadenza_remix.runs.separating import separate_songs
from cadenza_remix.runs.songs import SongFile

RATE = 44100
FLOATS = OutputSettings(bits="32f")

HELPERS = Path(__file__).parents[1] / "helpers"


def noise(n_samples=60_000, n_channels=2, seed=0, peak=0.5):
    return np.random.default_rng(seed).uniform(-peak, peak, (n_samples, n_channels)).astype(np.float32)


def make_song(folder, name="a", samples=None, *, rate=RATE):
    path = folder / "songs" / f"{name}.wav"
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, noise() if samples is None else samples, rate, subtype="FLOAT")
    return SongFile(name, path)


def files_of(out):
    """Return all files but the records, by their path."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and RECORDS_FOLDER not in path.parts
    }


def samples_of(path):
    return load_audio(path, sample_rate=None).samples


class Told:
    """A progress that remembers."""

    def __init__(self):
        self.total = self.done = 0.0
        self.lines = []

    def start(self, stage, total):
        assert stage == "separate"
        self.total += total

    def advance(self, stage, amount=1.0):
        assert stage == "separate"
        self.done += amount

    def say(self, message):
        self.lines.append(message)


def test_stems_lie_where_spleeter_puts_them(tmp_path):
    report = separate_songs([make_song(tmp_path)], QuarterSeparator(), out=tmp_path / "out", settings=FLOATS)
    assert (report.n_made, report.n_found, report.failures) == (1, 0, ())
    assert report.duration_s == 60_000 / RATE
    assert list(files_of(tmp_path / "out")) == ["a/accompaniment.wav", "a/vocals.wav"]
    np.testing.assert_array_equal(samples_of(tmp_path / "out/a/vocals.wav"), noise() * np.float32(0.25))
    np.testing.assert_array_equal(samples_of(tmp_path / "out/a/accompaniment.wav"), noise() * np.float32(0.75))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_the_same_bytes_whatever_the_blocks(tmp_path, suffix):
    song = make_song(tmp_path, samples=noise(150_000), rate=48000)
    settings = OutputSettings(format_name=suffix, keep_rate=True)
    for number, lengths in enumerate([(100_000,), (1, 4096, 33_333), (1024,)]):
        separate_songs([song], QuarterSeparator(lengths=lengths), out=tmp_path / str(number), settings=settings)
    first, *others = [files_of(tmp_path / str(number)) for number in range(3)]
    assert len(first) == 2
    assert all(other == first for other in others)


def test_a_mono_song_stays_mono(tmp_path):
    mono = make_song(tmp_path, "mono", noise(n_channels=1))
    dual = make_song(tmp_path, "dual", np.repeat(noise(n_channels=1), 2, axis=1))
    separate_songs([mono, dual], QuarterSeparator(), out=tmp_path / "out", settings=FLOATS)
    for stem in ("vocals", "accompaniment"):
        of_mono = samples_of(tmp_path / f"out/mono/{stem}.wav")
        of_dual = samples_of(tmp_path / f"out/dual/{stem}.wav")
        assert of_mono.shape == (60_000, 1)
        np.testing.assert_array_equal(of_dual, np.repeat(of_mono, 2, axis=1))


class LeftOnly(QuarterSeparator):
    """Gives the channels different levels, as a network may whose weights differ between them."""

    def _split(self, block):
        return {stem: part * np.float32([1.0, 0.5]) for stem, part in super()._split(block).items()}


def test_of_channels_that_differ_mono_is_the_mean(tmp_path):
    separate_songs([make_song(tmp_path, "mono", noise(n_channels=1))], LeftOnly(), out=tmp_path, settings=FLOATS)
    # 0.25 and 0.75 are powers of two and a sum of two: exact to the last bit but one.
    np.testing.assert_allclose(samples_of(tmp_path / "mono/vocals.wav"), 0.1875 * noise(n_channels=1), rtol=2e-7)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_samples", [48_000, 48_001, 100_003])
def test_48_khz(tmp_path, n_samples, n_channels):
    song = make_song(tmp_path, "a", noise(n_samples, n_channels), rate=48000)
    separate_songs([song], QuarterSeparator(), out=tmp_path / "kept", settings=replace(FLOATS, keep_rate=True))
    separate_songs([song], QuarterSeparator(), out=tmp_path / "out", settings=FLOATS)
    there = resample_samples(noise(n_samples, n_channels), 48000, RATE)
    out, kept = tmp_path / "out/a/vocals.wav", tmp_path / "kept/a/vocals.wav"
    assert soundfile.info(out).samplerate == RATE
    np.testing.assert_array_equal(samples_of(out), there * np.float32(0.25))
    assert (soundfile.info(kept).samplerate, soundfile.info(kept).frames) == (48000, n_samples)
    back = resample_samples(there * np.float32(0.25), RATE, 48000)
    shorter = min(len(back), n_samples)
    np.testing.assert_array_equal(samples_of(kept)[:shorter], back[:shorter])


def test_what_is_done_is_left(tmp_path):
    songs = [make_song(tmp_path, "a"), make_song(tmp_path, "b", noise(seed=1))]
    out = tmp_path / "out"
    separate_songs(songs[:1], QuarterSeparator(), out=out)
    before = {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()}
    separator = QuarterSeparator()
    report = separate_songs(songs, separator, out=out)
    assert (report.n_made, report.n_found, separator.n_songs) == (1, 1, 1)
    assert {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()} == before


CHANGES = {
    "other audio": lambda: ({}, {}, 7),
    "other weights": lambda: ({"fingerprint": "2"}, {}, 0),
    "other bits": lambda: ({}, {"bits": "24"}, 0),
    "other rate": lambda: ({}, {"keep_rate": True}, 0),
    "other clipping": lambda: ({}, {"on_clip": "scale"}, 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_made_otherwise_is_made_anew(tmp_path, change):
    of_separator, of_settings, seed = CHANGES[change]()
    out = tmp_path / "out"
    separate_songs([make_song(tmp_path)], QuarterSeparator(), out=out)
    song = make_song(tmp_path, samples=noise(seed=seed))
    settings = replace(OutputSettings(), **of_settings)
    report = separate_songs([song], QuarterSeparator(**of_separator), out=out, settings=settings)
    assert (report.n_made, report.n_found) == (1, 0)
    fresh = tmp_path / "fresh"
    separate_songs([song], QuarterSeparator(**of_separator), out=fresh, settings=settings)
    assert files_of(out) == files_of(fresh)


def test_a_missing_or_shortened_file_is_made_again(tmp_path):
    song, out = make_song(tmp_path), tmp_path / "out"
    separate_songs([song], QuarterSeparator(), out=out)
    whole = files_of(out)
    (out / "a/vocals.wav").unlink()
    assert separate_songs([song], QuarterSeparator(), out=out).n_made == 1
    (out / "a/vocals.wav").write_bytes(whole["a/vocals.wav"][:-10])
    assert separate_songs([song], QuarterSeparator(), out=out).n_made == 1
    assert files_of(out) == whole


def test_files_that_a_run_for_some_stems_replaced_are_not_taken_for_the_old_ones(tmp_path):
    # Of equal sizes, and the record of the first run would still speak of them.
    song, out = make_song(tmp_path), tmp_path / "out"
    separate_songs([song], QuarterSeparator(), out=out)
    whole = files_of(out)
    loud = QuarterSeparator(gains={"vocals": 0.5, "accompaniment": 0.5}, fingerprint="2")
    separate_songs([song], loud, out=out, settings=OutputSettings(stems=("vocals",)))
    assert files_of(out)["a/vocals.wav"] != whole["a/vocals.wav"]
    assert separate_songs([song], QuarterSeparator(), out=out).n_made == 1
    assert files_of(out) == whole


def test_formats_lie_side_by_side(tmp_path):
    song, out = make_song(tmp_path), tmp_path / "out"
    for _ in range(2):
        separate_songs([song], QuarterSeparator(), out=out)
        report = separate_songs([song], QuarterSeparator(), out=out, settings=OutputSettings(format_name="flac"))
    assert report.n_found == 1
    assert len(files_of(out)) == 4


def test_chosen_stems_and_the_instrumental(tmp_path):
    four = QuarterSeparator(gains={"vocals": 0.5, "drums": 0.25, "bass": 0.125, "other": 0.0625})
    out = tmp_path / "out"
    separate_songs([make_song(tmp_path)], four, out=out, settings=replace(FLOATS, stems=("bass", "vocals")))
    assert list(files_of(out)) == ["a/bass.wav", "a/vocals.wav"]
    separate_songs([make_song(tmp_path)], four, out=tmp_path / "i", settings=replace(FLOATS, instrumental=True))
    assert list(files_of(tmp_path / "i")) == ["a/instrumental.wav"]
    np.testing.assert_allclose(samples_of(tmp_path / "i/a/instrumental.wav"), 0.4375 * noise(), rtol=1e-6)


def loud_song(folder):
    samples = noise(100_000)
    samples[70_000] = [3.0, -1.0]  # three quarters of it lie beyond full scale
    return make_song(folder, samples=samples), samples


def test_clipping_is_counted_and_told(tmp_path):
    song, samples = loud_song(tmp_path)
    told = Told()
    report = separate_songs([song], QuarterSeparator(), out=tmp_path / "out", progress=told)
    assert report.n_over_full_scale == 1
    assert told.lines[0].startswith("Separating by test:quarter")
    (line,) = told.lines[1:]
    assert "separate a: 1 sample beyond full scale (highest +7.04 dB): clipped" in line
    accompaniment = samples_of(tmp_path / "out/a/accompaniment.wav")
    assert accompaniment[70_000, 0] == 32767 / 32768
    # All others stay, rounded to 16 bits.
    others = np.delete(accompaniment, 70_000, axis=0)
    assert np.abs(others - 0.75 * np.delete(samples, 70_000, axis=0)).max() <= 0.5 / 32768
    record = json.loads((tmp_path / "out" / RECORDS_FOLDER / "a/vocals.wav.json").read_text())
    assert record["results"]["n_over_full_scale"] == 1
    assert record["results"]["peak_lin"] == 2.25


@pytest.mark.parametrize("bits", ["16", "24", "32f"])
def test_scaling_keeps_the_balance_of_the_stems(tmp_path, bits):
    song, samples = loud_song(tmp_path)
    told = Told()
    settings = OutputSettings(bits=bits, on_clip="scale")
    separate_songs([song], QuarterSeparator(), out=tmp_path / "out", settings=settings, progress=told)
    assert "quieter by 7.04 dB" in told.lines[1]
    tolerance = {"16": 1 / 32768, "24": 1 / 2**23, "32f": 1e-7}[bits]  # the peak itself has no code of its own
    for stem, gain in (("vocals", 0.25), ("accompaniment", 0.75)):
        written = samples_of(tmp_path / f"out/a/{stem}.wav")
        assert np.abs(written - samples * gain / 2.25).max() <= tolerance
    assert set(os.listdir(tmp_path / "out/a")) == {"vocals.wav", "accompaniment.wav"}


def test_a_song_that_is_not_too_loud_is_not_scaled(tmp_path):
    song = make_song(tmp_path)
    separate_songs([song], QuarterSeparator(), out=tmp_path / "clip", settings=OutputSettings(on_clip="clip"))
    separate_songs([song], QuarterSeparator(), out=tmp_path / "scale", settings=OutputSettings(on_clip="scale"))
    assert files_of(tmp_path / "clip") == files_of(tmp_path / "scale")


def test_floats_are_kept_unless_they_shall_be_clipped(tmp_path):
    song, _ = loud_song(tmp_path)
    separate_songs([song], QuarterSeparator(), out=tmp_path / "kept", settings=FLOATS)
    separate_songs([song], QuarterSeparator(), out=tmp_path / "cut", settings=replace(FLOATS, on_clip="clip"))
    assert samples_of(tmp_path / "kept/a/accompaniment.wav").max() == 2.25
    assert samples_of(tmp_path / "cut/a/accompaniment.wav").max() == 1.0


def test_a_damaged_song_does_not_hold_up_the_others(tmp_path):
    songs = [make_song(tmp_path, name, noise(seed=ord(name))) for name in "abcd"]
    songs[0].path.write_text("hello")
    songs[1].path.write_bytes(songs[1].path.read_bytes()[:-1000])  # fails only at its end
    told, out = Told(), tmp_path / "out"
    report = separate_songs(songs, QuarterSeparator(), out=out, progress=told)
    assert report.n_made == 2
    assert [failure.unit for failure in report.failures] == ["separate a", "separate b"]
    assert "a.wav: cannot be read as audio" in str(report.failures[0].error)
    assert "b.wav: file is cut off" in str(report.failures[1].error)
    assert {name.split("/")[0] for name in files_of(out)} == {"c", "d"}
    assert told.done == pytest.approx(told.total)


def test_a_rate_that_the_format_lacks_is_the_songs_failure(tmp_path):
    songs = [make_song(tmp_path, "a", rate=96000), make_song(tmp_path, "b")]
    settings = OutputSettings(format_name="mp3", keep_rate=True)
    report = separate_songs(songs, QuarterSeparator(), out=tmp_path / "out", settings=settings)
    assert report.n_made == 1
    assert "mp3 does not have this sample rate" in str(report.failures[0].error)


class Broken(QuarterSeparator):
    def _split(self, block):
        return {stem: part * np.float32(np.nan) for stem, part in super()._split(block).items()}


def test_a_separator_that_gives_nonsense_leaves_nothing(tmp_path):
    report = separate_songs([make_song(tmp_path)], Broken(), out=tmp_path / "out")
    assert "stems are not finite" in str(report.failures[0].error)
    assert files_of(tmp_path / "out") == {}


def test_a_failed_run_keeps_what_was_there(tmp_path):
    song, out = make_song(tmp_path), tmp_path / "out"
    separate_songs([song], QuarterSeparator(), out=out)
    before = files_of(out)
    separate_songs([song], Broken(fingerprint="2"), out=out)
    assert files_of(out) == before
    assert separate_songs([song], QuarterSeparator(), out=out).n_found == 1


def test_a_folder_that_cannot_be_written_stops_before_work(tmp_path):
    (tmp_path / "file").write_text("I am a file")
    separator = QuarterSeparator()
    with pytest.raises(OutputError, match="cannot be written"):
        separate_songs([make_song(tmp_path)], separator, out=tmp_path / "file" / "out")
    assert separator.n_songs == 0


@pytest.mark.parametrize("settings", [[], ["--format", "flac"], ["--on-clip", "scale"]])
def test_a_full_disk_stops_everything_and_leaves_what_was_done(tmp_path, settings):
    # A limit on the size of files makes the kernel refuse the write, as it does on a full disk.
    short, long = make_song(tmp_path, "a", noise(5000)), make_song(tmp_path, "b", noise(200_000))
    out = tmp_path / "out"
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from quarter_separator import QuarterSeparator\n"
        "from cadenza_remix.runs.outputs import OutputSettings\n"
        "from cadenza_remix.runs.separating import separate_songs\n"
        "from cadenza_remix.runs.songs import SongFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "songs = [SongFile(name, Path(path)) for name, path in zip('ab', sys.argv[2:4])]\n"
        "keys = {'--format': 'format_name', '--on-clip': 'on_clip'}\n"
        "given = {keys[sys.argv[4]]: sys.argv[5]} if len(sys.argv) > 4 else {}\n"
        "separate_songs(songs, QuarterSeparator(), out=Path(sys.argv[1]), settings=OutputSettings(**given))\n"
    )
    command = [sys.executable, "-c", code, out, short.path, long.path, *settings]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HELPERS)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("cadenza_remix.errors.OutputError")
    assert "out/b/" in last
    assert "File too large" in last
    assert len(files_of(out)) == 2
    assert all(name.startswith("a/") for name in files_of(out))


def test_a_killed_run_leaves_no_half_file_and_goes_on(tmp_path):
    songs = [make_song(tmp_path, name, noise(seed=ord(name))) for name in "abc"]
    out = tmp_path / "out"
    command = [sys.executable, str(HELPERS / "quarter_separator.py")]
    paths = [str(song.path) for song in songs]
    process = subprocess.Popen([*command, str(out), "2", *paths], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    process.stdout.close()
    whole = [name for name in files_of(out) if not Path(name).name.startswith(".")]
    assert whole == ["a/accompaniment.wav", "a/vocals.wav"]
    assert any(name.startswith("b/.vocals.wav.") for name in files_of(out))
    done = (out / "a/vocals.wav").stat().st_mtime_ns
    again = subprocess.run([*command, str(out), "0", *paths], capture_output=True, text=True, check=True)
    assert again.stdout == "2 1\n"
    assert (out / "a/vocals.wav").stat().st_mtime_ns == done
    separate_songs(songs, QuarterSeparator(), out=tmp_path / "fresh")
    assert files_of(out) == files_of(tmp_path / "fresh")


def test_an_interruption_ends_at_once_and_leaves_nothing_half(tmp_path):
    song, out = make_song(tmp_path), tmp_path / "out"
    command = [sys.executable, str(HELPERS / "quarter_separator.py"), str(out), "1", str(song.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in complaint
    assert files_of(out) == {}


def test_progress_is_told_in_seconds_of_music(tmp_path):
    told = Told()
    songs = [make_song(tmp_path, "a", noise(RATE)), make_song(tmp_path, "b", noise(2 * RATE))]
    separate_songs(songs, QuarterSeparator(), out=tmp_path / "out", progress=told)
    assert told.total == told.done == pytest.approx(3.0)


def test_stems_that_are_not_there(tmp_path):
    song = make_song(tmp_path)
    with pytest.raises(InputError, match="test:quarter: unknown stem 'drums': expected one of vocals, accompaniment"):
        separate_songs([song], QuarterSeparator(), out=tmp_path, settings=OutputSettings(stems=("drums",)))
    two = QuarterSeparator(gains={"drums": 0.5, "rest": 0.5})
    with pytest.raises(InputError, match="expected a stem named vocals, found drums, rest"):
        separate_songs([song], two, out=tmp_path, settings=OutputSettings(instrumental=True))


class Half(QuarterSeparator):
    def separate_blocks(self, source, *, progress=None):
        blocks = list(super().separate_blocks(source, progress=progress))
        yield from blocks[: len(blocks) // 2]


class More(QuarterSeparator):
    def separate_blocks(self, source, *, progress=None):
        yield from super().separate_blocks(source, progress=progress)
        yield self._split(np.zeros((10, 2), dtype=np.float32))


class Unread(QuarterSeparator):
    def separate_blocks(self, source, *, progress=None):
        yield self._split(next(source.blocks()))


@pytest.mark.parametrize("keep_rate", [False, True])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Half, "expected 55125 samples, found 2"),
        (More, "expected 55125 samples, found 55135 samples"),
        (Unread, "stems are not as long as the song"),  # the thread that reads ahead may know the length or not
    ],
)
def test_stems_that_are_not_as_long_as_the_song(tmp_path, kind, words, keep_rate):
    song = make_song(tmp_path, rate=48000)  # 60,000 samples, 55,125 at the separator's rate
    settings = OutputSettings(keep_rate=keep_rate)
    with pytest.raises(ModelError, match=words):
        separate_songs([song], kind(), out=tmp_path / "out", settings=settings)
    assert files_of(tmp_path / "out") == {}


def test_what_a_killed_run_left_of_a_finished_song_is_removed(tmp_path):
    song, out = make_song(tmp_path), tmp_path / "out"
    separate_songs([song], QuarterSeparator(), out=out)
    before = files_of(out)
    # A process id beyond those that a system gives; our own runs.
    (out / "a" / ".vocals.wav.99999999-01234567.part.wav").write_bytes(b"half")
    assert separate_songs([song], QuarterSeparator(), out=out).n_found == 1
    assert files_of(out) == before
    running = out / "a" / f".vocals.wav.{os.getpid()}-01234567.part.wav"
    running.write_bytes(b"half")
    separate_songs([song], QuarterSeparator(), out=out)
    assert running.exists()


def test_a_pipe_in_the_place_of_a_finished_song_is_refused(tmp_path):
    song, out = make_song(tmp_path), tmp_path / "out"
    separate_songs([song], QuarterSeparator(), out=out)
    song.path.unlink()
    os.mkfifo(song.path)
    report = separate_songs([song], QuarterSeparator(), out=out)
    assert "a.wav: is no plain file" in str(report.failures[0].error)


def test_a_results_folder_without_a_name(tmp_path):
    with pytest.raises(InputError, match="folder of results has no name"):
        separate_songs([make_song(tmp_path)], QuarterSeparator(), out="")

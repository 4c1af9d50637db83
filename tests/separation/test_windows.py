"""Windows: where they lie, how they fade, what their edges do, and that the source's blocks make no difference."""

import sys
import tracemalloc

import numpy as np
import pytest

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.windows import WindowedSeparator, Windows, cut

RATE = 8_000
STEMS = ("vocals", "accompaniment")


def music(n_samples, seed=0):
    samples = np.random.default_rng(seed).uniform(-1, 1, (n_samples, 2))
    return Audio(samples.astype(np.float32), RATE, "noise")


def separator(windows, function, stems=STEMS, **facts):
    return WindowedSeparator("test", function, stems=stems, sample_rate=RATE, windows=windows, fingerprint="1", **facts)


def centred(samples):
    """A model that looks at its window as a whole: what it gives depends on where the window begins."""
    mean = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
    return {"vocals": samples - mean, "accompaniment": np.cumsum(samples, axis=0) * np.float32(1e-3)}


def by_formula(audio, windows, function):
    """The same by the definition: every window padded, weighted by its gains in float64, and summed."""
    song = audio.samples.astype(np.float32)
    n = len(song)
    padded = np.pad(song, ((windows.context, windows.n_seen + windows.hop), (0, 0)))
    n_windows = 1 if n <= windows.length else 1 + -(-(n - windows.length) // windows.hop)
    total = {stem: np.zeros((n + windows.n_seen, 2)) for stem in STEMS}
    weights = np.zeros(n + windows.n_seen)
    ramp = (np.arange(windows.overlap) + 0.5) / max(windows.overlap, 1)
    for index in range(n_windows):
        first = index * windows.hop
        n_left = n - first
        length = windows.length
        if index == n_windows - 1 and windows.least is not None:
            length = max(n_left, windows.least)
        gain = np.ones(length)
        if index > 0:
            gain[: windows.overlap] = ramp
        if index < n_windows - 1:
            gain[windows.hop :] = ramp[::-1]
        found = function(padded[first : first + length + 2 * windows.context])
        weights[first : first + length] += gain
        for stem in STEMS:
            part = found[stem][windows.context : windows.context + length]
            total[stem][first : first + length] += gain[:, None] * part
    assert np.abs(weights[:n] - 1).max() < 1e-12  # the gains sum to one: float64 rounding only
    return {stem: samples[:n] for stem, samples in total.items()}


WINDOWS = {
    "overlapping": Windows(length=100, overlap=30),
    "half overlapping": Windows(length=100, overlap=50),
    "side by side": Windows(length=100, overlap=0),
    "with context": Windows(length=100, overlap=20, context=17),
    "more context than window": Windows(length=40, overlap=10, context=100),
    "last one short": Windows(length=100, overlap=30, least=50),
    "last one short with context": Windows(length=100, overlap=30, context=25, least=1),
}
LENGTHS = (1, 29, 99, 100, 101, 130, 170, 171, 240, 1000)


@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_stems_are_the_faded_sum_of_the_windows(windows, n_samples):
    audio = music(n_samples)
    stems = separator(windows, centred).separate(audio)
    expected = by_formula(audio, windows, centred)
    for stem in STEMS:
        assert stems[stem].samples.shape == (n_samples, 2)
        # Of full scale 1: two roundings to float32 in each fade.
        np.testing.assert_allclose(stems[stem].samples, expected[stem], rtol=0, atol=3e-7)


@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_blocks_of_the_source_make_no_difference(windows):
    audio = music(777)
    whole = separator(windows, centred).separate(audio)
    for block_length in (1, 7, 100, 101, 776):
        blocks = list(separator(windows, centred).separate_blocks(AudioBlocks(audio, block_length)))
        for stem in STEMS:
            together = np.concatenate([block[stem] for block in blocks])
            assert np.array_equal(together, whole[stem].samples)  # bit for bit


@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_a_model_that_changes_nothing_gives_the_song_bit_for_bit(windows):
    audio = music(1234)
    stems = separator(windows, lambda samples: {"vocals": samples}, stems=("vocals",)).separate(audio)
    assert np.array_equal(stems["vocals"].samples, audio.samples)


def test_one_window_is_the_direct_result():
    audio, windows = music(60), Windows(length=100, overlap=30)
    stems = separator(windows, centred).separate(audio)
    direct = centred(np.pad(audio.samples, ((0, 40), (0, 0))))
    assert np.array_equal(stems["vocals"].samples, direct["vocals"][:60])


def test_windows_see_the_song_around_them_and_silence_outside():
    audio, windows = music(230), Windows(length=100, overlap=20, context=10)
    seen = list(cut(AudioBlocks(audio, 50).blocks(), windows))
    assert [n_left for _, n_left in seen] == [None, None, 70]
    assert [samples.shape for samples, _ in seen] == [(120, 2)] * 3
    assert not seen[0][0][:10].any()
    assert np.array_equal(seen[0][0][10:], audio.samples[:110])
    assert np.array_equal(seen[1][0], audio.samples[70:190])
    assert np.array_equal(seen[2][0][:80], audio.samples[150:])
    assert not seen[2][0][80:].any()


def test_a_function_may_work_in_place():
    def careless(samples):
        samples *= 2
        return {"vocals": samples}

    audio = music(3000)
    before = audio.samples.copy()
    # One block and several: what a window shares with the next one is read again.
    for windows in (Windows(100, 30, context=20), Windows(5000, 0)):
        stems = separator(windows, careless, stems=("vocals",)).separate(audio)
        assert np.array_equal(stems["vocals"].samples, 2 * before)  # exact: a power of two
    assert np.array_equal(audio.samples, before)


def test_progress_rises_to_one():
    for audio in (music(1000), music(30)):
        shares = []
        separator(Windows(100, 30), centred).separate(audio, progress=shares.append)
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert all(0 < share <= 1 for share in shares)


class EndlessNoise:
    """A source of a given length that is nowhere as a whole."""

    name, sample_rate, duration_s = "noise", RATE, None

    def __init__(self, n_blocks):
        self.n_blocks = n_blocks

    def blocks(self):
        block = music(10_000).samples
        for _ in range(self.n_blocks):
            yield block


def test_memory_does_not_grow_with_the_song():
    def peak(n_blocks):
        tracemalloc.start()
        shares = []
        n_samples = sum(
            len(block["vocals"])
            for block in separator(Windows(4000, 1000, context=500), centred).separate_blocks(
                EndlessNoise(n_blocks), progress=shares.append
            )
        )
        assert n_samples == 10_000 * n_blocks
        assert shares == [1.0]  # nobody knows how long it is before the end
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # The long one is twenty times as long; a tenth more is for Python's own small change.
    assert peak(200) < 1.1 * peak(10)


def test_silence_of_no_length_gives_nothing():
    assert list(separator(Windows(100, 30), centred).separate_blocks(EndlessNoise(0))) == []


def test_another_rate_is_refused():
    with pytest.raises(InputError, match=r"wrong sample rate.*expected 8000 Hz, found 44100 Hz"):
        separator(Windows(100, 30), centred).separate(Audio(np.zeros(50), 44_100))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda samples: {"vocals": samples}, "wrong stems of a window: expected vocals, accompaniment, found vocals"),
        (lambda samples: samples, "wrong stems of a window: .*found ndarray"),
        (lambda samples: dict.fromkeys(STEMS, samples[:-1]), r"wrong shape of vocals.*\(100, 2\), found \(99, 2\)"),
        (lambda samples: dict.fromkeys(STEMS, samples.T), r"wrong shape of vocals.*found \(2, 100\)"),
        (lambda samples: dict.fromkeys(STEMS, samples * np.nan), "vocals is not finite"),
        (lambda samples: dict.fromkeys(STEMS, samples.astype(float) + 1e300), "vocals is not finite"),
        (lambda samples: dict.fromkeys(STEMS, samples + 1j), r"wrong kind of vocals.*floats.*found complex64"),
        (lambda samples: dict.fromkeys(STEMS, samples.astype(np.int16)), r"wrong kind of vocals.*floats.*found int16"),
        (lambda samples: dict.fromkeys(STEMS, "abc"), r"wrong kind of vocals.*found <U3"),
        (lambda samples: {stem: [[1.0, 2.0], [3.0]] for stem in STEMS}, "vocals in a window is no array.*found list"),
        (lambda samples: None, "wrong stems of a window: .*found NoneType"),
        (lambda samples: {"vocals": samples}["x"], "^test: its function failed on a window: KeyError: 'x'$"),
        (lambda samples: sys.exit(5), "^test: its function failed on a window: SystemExit: 5$"),
        (lambda samples: int("1\n2"), "failed on a window: ValueError: "),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_model_that_gives_something_else_is_refused(function, says):
    with pytest.raises(ModelError, match=says) as caught:
        separator(Windows(100, 30), function).separate(music(200))
    assert "\n" not in str(caught.value)


def test_what_a_function_raises_on_purpose_is_passed_on():
    def choosy(samples):
        raise InputError("too loud", where="my model")

    with pytest.raises(InputError, match=r"^my model: too loud$"):
        separator(Windows(100, 30), choosy).separate(music(200))


def test_a_source_of_something_else_is_refused():
    source = EndlessNoise(1)
    source.blocks = lambda: iter([np.zeros((10, 3), np.float32)])
    with pytest.raises(InputError, match=r"^noise: a block .* expected .*\(n_samples, 2\), found shape \(10, 3\)$"):
        list(separator(Windows(100, 30), centred).separate_blocks(source))


@pytest.mark.parametrize("song", [None, "song.wav", np.zeros((100, 2))])
def test_what_is_no_audio_is_refused(song):
    with pytest.raises(
        InputError, match=r"^no audio: expected an Audio, from load_audio, found (NoneType|str|ndarray)$"
    ):
        separator(Windows(100, 30), centred).separate(song)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"stems": "va"}, "stems: expected a tuple of names, found 'va'"),
        ({"stems": ("v", 1)}, "stems: expected a tuple of names"),
        ({"stems": None}, "stems: expected a tuple of names"),
        ({"sample_rate": 0}, "wrong sample_rate: expected a whole number of Hz, found 0"),
        ({"sample_rate": "44100"}, "wrong sample_rate.*found '44100'"),
        ({"sample_rate": 44100.0}, r"wrong sample_rate.*found 44100\.0"),
        ({"fingerprint": None}, "wrong fingerprint: expected some text, found None"),
        ({"windows": None}, "wrong windows: expected Windows"),
        ({"windows": (1000, 100)}, "wrong windows: expected Windows"),
        ({"separate_window": 3}, "wrong separate_window: expected a function, found int"),
        ({"name": None}, "wrong name of a separator"),
    ],
)
def test_facts_of_another_kind_are_refused(facts, says):
    right = {
        "name": "test",
        "separate_window": centred,
        "stems": STEMS,
        "sample_rate": RATE,
        "windows": Windows(100, 30),
        "fingerprint": "1",
    }
    assert WindowedSeparator(**right).stems == STEMS
    with pytest.raises(InputError, match=says) as caught:
        WindowedSeparator(**right | facts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"length": 0, "overlap": 0}, "length out of range"),
        ({"length": 10, "overlap": 6}, "overlap too long: expected at most half of 10, found 6"),
        ({"length": 10, "overlap": -1}, "overlap out of range"),
        ({"length": 10, "overlap": 2.5}, "wrong overlap: expected a whole number, found 2.5"),
        ({"length": 10.0, "overlap": 2}, "wrong length: expected a whole number, found 10.0"),
        ({"length": "a", "overlap": 0}, "wrong length"),
        ({"length": None, "overlap": 0}, "wrong length"),
        ({"length": True, "overlap": 0}, "wrong length"),
        ({"length": np.nan, "overlap": 0}, "wrong length"),
        ({"length": np.inf, "overlap": 0}, "wrong length"),
        ({"length": 10, "overlap": 5, "context": 1e18}, "wrong context"),
        ({"length": 10, "overlap": 5, "context": 10**18}, "context out of range"),
        ({"length": 10, "overlap": 2, "context": -1}, "context out of range"),
        ({"length": 10, "overlap": 2, "least": 11}, "least out of range: expected 1 to 10, found 11"),
    ],
)
def test_windows_that_make_no_sense_are_refused(numbers, says):
    with pytest.raises(InputError, match=says):
        Windows(**numbers)


def test_stems_of_one_name_are_refused():
    with pytest.raises(InputError, match="different names, found vocals, vocals"):
        separator(Windows(10, 2), centred, stems=("vocals", "vocals"))


def test_the_fingerprint_tells_whatever_changes_the_stems():
    def digits(windows, fingerprint="1", name="test"):
        return WindowedSeparator(
            name, centred, stems=STEMS, sample_rate=RATE, windows=windows, fingerprint=fingerprint
        ).fingerprint

    made = [digits(Windows(100, 30)), digits(Windows(100, 31)), digits(Windows(100, 30), "2")]
    assert len(set(made)) == 3
    assert made[0] == digits(Windows(100, 30)) == digits(Windows(np.int64(100), np.int64(30)))
    assert len(made[0]) == 16

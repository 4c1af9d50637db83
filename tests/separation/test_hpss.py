"""The split without training: hits, notes and low notes go where they belong, and nothing is lost."""

import numpy as np
import pytest

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.separation.hpss import HpssSeparator, HpssSettings, split_accompaniment, split_blocks

RATE = 44_100
# Three float32 signals through a transform and added up.
ROUNDING = 2e-6


def tone(frequency_hz, seconds=3.0, level=0.2):
    time = np.arange(int(seconds * RATE)) / RATE
    return level * np.sin(2 * np.pi * frequency_hz * time)


def clicks(seconds=3.0, level=0.9):
    signal = np.zeros(int(seconds * RATE))
    signal[RATE // 4 :: RATE // 2] = level
    return signal


def stereo(*parts, right=1.0):
    left = np.sum(parts, axis=0)
    return Audio(np.stack([left, right * left], axis=1), RATE)


def energy(audio):
    return float(np.square(audio.samples, dtype=np.float64).sum())


def share(stems, name):
    return energy(stems[name]) / sum(energy(audio) for audio in stems.values())


@pytest.mark.parametrize(
    ("signal", "stem"), [(clicks(), "drums"), (tone(55.0), "bass"), (tone(1000.0), "other"), (tone(9000.0), "other")]
)
def test_each_sound_goes_to_its_stem(signal, stem):
    # Clicks keep 98 %, tones more; the rest is in the frames where the sound begins and ends.
    assert share(split_accompaniment(stereo(signal)), stem) > 0.95


def test_sounds_are_told_apart_when_they_play_together():
    sources = {"bass": tone(55.0), "other": tone(1000.0), "drums": clicks()}
    mixture = stereo(*sources.values())
    stems = split_accompaniment(mixture)
    for name, source in sources.items():
        before = np.sum((mixture.samples[:, 0] - source) ** 2)
        after = np.sum((stems[name].samples[:, 0] - source) ** 2)
        # 30 dB are reached for each; 25 dB leave room for other sensible settings.
        assert after < before / 10**2.5, (name, 10 * np.log10(before / after))


@pytest.mark.parametrize("n_samples", [1, 500, 4096, 200_000])
def test_the_stems_sum_to_what_was_split(n_samples):
    noise = np.random.default_rng(0).normal(0, 0.2, (n_samples, 2))
    audio = Audio(noise, RATE)
    stems = split_accompaniment(audio)
    assert (tuple(stems), stems.n_samples) == (("drums", "bass", "other"), n_samples)
    np.testing.assert_allclose(sum(stem.samples for stem in stems.values()), audio.samples, rtol=0, atol=ROUNDING)


def test_no_seams_between_blocks():
    # 128 frames are 3 s: with another length in front, every block border lies elsewhere in the music.
    music = np.random.default_rng(1).normal(0, 0.1, (10 * RATE, 2)) + tone(300.0, 10.0)[:, np.newaxis]
    shift = 40 * 1024
    late = np.concatenate([np.zeros((shift, 2)), music])
    first, second = split_accompaniment(Audio(music, RATE)), split_accompaniment(Audio(late, RATE))
    # Away from the beginning, where the silence in front is seen.
    inside = slice(RATE, 9 * RATE)
    for stem in first:
        shifted = second[stem].samples[shift:]
        np.testing.assert_allclose(shifted[inside], first[stem].samples[inside], rtol=0, atol=ROUNDING)


def test_stems_keep_their_place_between_the_ears():
    stems = split_accompaniment(stereo(tone(1000.0), clicks(), right=0.25))
    for audio in stems.values():
        np.testing.assert_allclose(audio.samples[:, 1], 0.25 * audio.samples[:, 0], rtol=0, atol=ROUNDING)


def test_silence_stays_silent():
    stems = split_accompaniment(Audio(np.zeros((10_000, 2)), RATE))
    assert all(energy(audio) == 0 for audio in stems.values())


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="crossover_hz: setting out of range: expected more than 0, found 0"):
        HpssSettings(crossover_hz=0)


class HalfIsVocals:
    """A separator that takes half of the song for the vocals."""

    name, stems, sample_rate, fingerprint = "half", ("vocals", "accompaniment"), RATE, "0" * 16

    def separate(self, audio, *, progress=None):
        progress(1.0)
        raise AssertionError("a composite separates block by block")

    def separate_blocks(self, source, *, progress=None):
        for block in source.blocks():
            for part in (block[:1000], block[1000:]):
                yield {"vocals": np.float32(0.5) * part, "accompaniment": np.float32(0.5) * part}
        progress(1.0)


def test_composite_gives_four_stems_that_sum_to_the_song():
    song = stereo(tone(100.0), tone(3000.0), clicks())
    done = []
    separator = HpssSeparator(HalfIsVocals())
    stems = separator.separate(song, progress=done.append)
    assert separator.name == "half+hpss"
    assert tuple(stems) == separator.stems == ("vocals", "drums", "bass", "other")
    np.testing.assert_array_equal(stems["vocals"].samples, 0.5 * song.samples)
    np.testing.assert_allclose(sum(stem.samples for stem in stems.values()), song.samples, rtol=0, atol=ROUNDING)
    assert done == sorted(done)
    assert done[-1] == 1.0


@pytest.mark.parametrize("block_length", [1, 5_000, 200_000])
def test_block_lengths_change_no_bit(block_length):
    samples = stereo(tone(100.0, 0.3), clicks(0.3)).samples if block_length == 1 else stereo(tone(300.0, 6.0)).samples
    blocks = [samples[first : first + block_length] for first in range(0, len(samples), block_length)]
    pieces = list(split_blocks(blocks, HpssSettings(), RATE))
    for stem, whole in split_accompaniment(Audio(samples, RATE)).items():
        np.testing.assert_array_equal(np.concatenate([piece[stem] for piece in pieces]), whole.samples)


def test_settings_change_the_fingerprint():
    plain, other = HpssSeparator(HalfIsVocals()), HpssSeparator(HalfIsVocals(), HpssSettings(crossover_hz=200.0))
    assert plain.fingerprint == HpssSeparator(HalfIsVocals()).fingerprint != other.fingerprint


def test_a_separator_without_vocals_is_refused():
    class NoVocals(HalfIsVocals):
        stems = ("drums", "rest")

    with pytest.raises(InputError, match="half: separator gives no vocals"):
        HpssSeparator(NoVocals())


def test_a_share_of_the_whole_goes_back_into_bass_and_other():
    mixture = stereo(tone(55.0), tone(1000.0), clicks())
    plain = split_accompaniment(mixture)
    refined = split_accompaniment(mixture, HpssSettings(share_of_whole=0.25))
    np.testing.assert_array_equal(refined["drums"].samples, plain["drums"].samples)
    for stem in ("bass", "other"):
        expected = 0.25 * mixture.samples + 0.75 * plain[stem].samples
        np.testing.assert_allclose(refined[stem].samples, expected, rtol=0, atol=ROUNDING)

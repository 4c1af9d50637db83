"""Vocals by one separator, the rest of the song by another."""

import numpy as np
import pytest
from quarter_separator import QuarterSeparator

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.separation.pairing import PairedSeparator

RATE = 44_100
# A few float32 sums of full-scale noise.
ROUNDING = 1e-6


def song(n_samples=30_000):
    return Audio(np.random.default_rng(3).normal(0, 0.2, (n_samples, 2)), RATE)


def paired(**options):
    parts = {"vocals": 0.1, "drums": 0.5, "bass": 0.25, "other": 0.15}
    return PairedSeparator(QuarterSeparator(), QuarterSeparator(gains=parts, lengths=(1234, 9000), **options))


@pytest.mark.parametrize("n_samples", [1, 5001, 30_000])
def test_each_stem_comes_from_its_separator_and_all_sum_to_the_song(n_samples):
    audio = song(n_samples)
    stems = paired().separate(audio)
    # A tenth of the rest, 0.075 of the song, is vocals to the second one: half of it goes to each.
    for stem, gain in {"vocals": 0.2875, "drums": 0.375, "bass": 0.1875, "other": 0.15}.items():
        assert np.allclose(stems[stem].samples, gain * audio.samples, atol=ROUNDING), stem
    total = sum(stems[stem].samples for stem in stems)
    assert np.allclose(total, audio.samples, atol=ROUNDING)


class TwoPasses(QuarterSeparator):
    """Reads its source twice, as a filter that has to know the whole song does."""

    def separate_blocks(self, source, *, progress=None):
        assert sum(len(block) for block in source.blocks()) == round(source.duration_s * source.sample_rate)
        yield from super().separate_blocks(source, progress=progress)


def test_a_rest_separator_may_read_the_rest_twice():
    audio = song()
    parts = {"drums": 0.5, "bass": 0.25, "other": 0.25}
    stems = PairedSeparator(QuarterSeparator(), TwoPasses(gains=parts)).separate(audio)
    assert np.allclose(stems["drums"].samples, 0.375 * audio.samples, atol=ROUNDING)
    assert np.allclose(stems["vocals"].samples, 0.25 * audio.samples, atol=ROUNDING)


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(InputError, match="lacks stems: expected drums and bass, found vocals, accompaniment"):
        PairedSeparator(QuarterSeparator(), QuarterSeparator())
    with pytest.raises(InputError, match="expected vocals"):
        PairedSeparator(QuarterSeparator(gains={"drums": 1.0, "bass": 0.0}), QuarterSeparator())
    with pytest.raises(InputError, match=r"differ in sample rate.*expected 44100 Hz, found 48000 Hz"):
        paired(rate=48_000)


def test_the_fingerprint_covers_both():
    assert paired().fingerprint == paired().fingerprint
    assert paired().fingerprint != paired(fingerprint="2").fingerprint

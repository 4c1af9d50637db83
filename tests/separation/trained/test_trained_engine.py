"""The way through the patches with networks that are functions: closed forms, streaming, lengths, rates, bands."""

import numpy as np
import pytest

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.trained.engine import SAMPLE_RATE, PatchEngine
from cadenza_remix.separation.trained.masks import Inference

TWO = ("vocals", "accompaniment")
FOUR = ("vocals", "drums", "bass", "other")
ROUNDING = 5e-6  # float32 through a transform and back


def spec_of(stems=TWO, *, rate=SAMPLE_RATE, frame=256, hop=64, fft=None, n_frames=16, n_bins=None, n_context=0):
    n_bins = (fft or frame) // 2 + 1 if n_bins is None else n_bins
    return NetworkSpec("unet", stems, rate, frame, hop, fft or frame, n_frames, n_bins, n_context)


JANSSON = spec_of(rate=8192, frame=1024, hop=768, n_frames=32, n_bins=512)
SHORT = spec_of(rate=22_050, frame=256, hop=64, fft=512, n_frames=9, n_context=4)


def constant(*values):
    return lambda magnitudes: {"masks": np.broadcast_to(np.float32(values), (*magnitudes.shape, len(values)))}


def by_level(magnitudes):
    """Masks that are different for every bin, and know of the patch's other bins."""
    share = magnitudes / (magnitudes + magnitudes.mean(axis=(1, 2, 3), keepdims=True) + np.float32(1e-3))
    return {"masks": np.stack([share, 1 - share], axis=-1)}


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, 2)).astype(np.float32)


def separated(samples, spec, network, *, high_band="zeros", block_length=None, **inference):
    engine = PatchEngine(spec, Inference(**inference), network, high_band=high_band)
    step = block_length or max(1, len(samples))
    blocks = (samples[at : at + step] for at in range(0, len(samples), step))
    return np.concatenate(list(engine.separate(blocks)), axis=2).transpose(0, 2, 1)


def test_constant_masks_give_the_song_without_seams():
    samples = noise(30_000)
    for n_context in (0, 3):
        vocals, rest = separated(samples, spec_of(n_context=n_context), constant(0.25, 0.75))
        np.testing.assert_allclose(vocals, 0.25 * samples, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(rest, 0.75 * samples, rtol=0, atol=ROUNDING)


def test_masks_of_context_are_not_used():
    def one_inside(magnitudes):
        masks = np.zeros((*magnitudes.shape, 2), dtype=np.float32)
        masks[:, 3:-3, ..., 0] = 1.0
        return {"masks": masks}

    samples = noise(30_000)
    vocals, _ = separated(samples, spec_of(n_context=3), one_inside)
    np.testing.assert_allclose(vocals, samples, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("high_band", ["zeros", "average", "residual"])
@pytest.mark.parametrize("spec", [spec_of(n_bins=100, n_context=2), JANSSON, SHORT], ids=["part", "jansson", "short"])
def test_a_stream_gives_what_the_whole_gives_to_the_bit(spec, high_band):
    samples = noise(50_021)
    whole = separated(samples, spec, by_level, high_band=high_band)
    assert whole.shape == (2, *samples.shape)
    for block_length in (1013, 30_000):
        parts = separated(samples, spec, by_level, high_band=high_band, block_length=block_length)
        np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("n_samples", [0, 1, 5, 63, 255, 1024, 4097])
@pytest.mark.parametrize("high_band", ["zeros", "average", "residual"])
@pytest.mark.parametrize("spec", [spec_of(), JANSSON, SHORT], ids=["plain", "jansson", "short"])
def test_stems_are_as_long_as_the_song(spec, high_band, n_samples):
    engine = PatchEngine(spec, Inference(), constant(0.5, 0.5), high_band=high_band)
    blocks = list(engine.separate([noise(n_samples)] if n_samples else []))
    assert sum(block.shape[2] for block in blocks) == n_samples
    assert all(block.shape[:2] == (2, 2) and np.isfinite(block).all() for block in blocks)


@pytest.mark.parametrize(("rest", "stems"), [(1, TWO), (0, ("accompaniment", "vocals")), (3, FOUR)])
@pytest.mark.parametrize("rate", [SAMPLE_RATE, 16_000])
def test_with_the_residual_the_stems_sum_to_the_song(rest, stems, rate):
    samples = noise(20_000)
    spec = spec_of(stems, rate=rate, n_bins=90)
    found = separated(samples, spec, constant(*([0.1] * len(stems))), high_band="residual")
    # Each stem is rounded once, the sum as often as there are stems.
    np.testing.assert_allclose(found.sum(axis=0), samples, rtol=0, atol=1e-6)
    others = [stem for index, stem in enumerate(found) if index != rest]
    plain = separated(samples, spec, constant(*([0.1] * len(stems))), high_band="zeros")
    np.testing.assert_array_equal(others, [stem for index, stem in enumerate(plain) if index != rest])


def tones(frequencies_hz, n_samples):
    times = np.arange(n_samples)[:, np.newaxis] / SAMPLE_RATE
    return [np.float32(0.3) * np.sin(2 * np.pi * hz * times + [0, 1]).astype(np.float32) for hz in frequencies_hz]


@pytest.mark.parametrize(
    "spec", [spec_of(n_bins=25), spec_of(rate=8192, frame=512, hop=384, n_frames=24)], ids=["bins", "rate"]
)
def test_what_the_network_does_not_see_goes_nowhere_or_to_all_or_to_the_rest(spec):
    # Bins 0 to 24 of 172 Hz each end at 4.2 kHz; 8192 Hz hold 4.1 kHz. 1 kHz is inside, 12 kHz is not.
    low, high = tones([1000, 12_000], 40_000)
    inside = slice(4000, -4000)
    # Leakage of the tone across the band's edge, or of the resampler's filter: 60 dB below the tones.
    expected = {"zeros": (0.0, 0.0), "average": (0.4, 0.6), "residual": (0.0, 1.0)}
    for high_band, shares in expected.items():
        found = separated(low + high, spec, constant(0.4, 0.6), high_band=high_band)
        for stem, mask, share in zip(found, (0.4, 0.6), shares, strict=True):
            np.testing.assert_allclose(stem[inside], (mask * low + share * high)[inside], rtol=0, atol=3e-4)


def test_average_follows_the_masks_in_time_and_channel():
    def second_half_left(magnitudes):
        masks = np.zeros((*magnitudes.shape, 2), dtype=np.float32)
        masks[magnitudes[..., 0].max(axis=2) > 0.5, :, 0, 0] = 1.0  # frames in which the low tone is there
        return {"masks": masks}

    low, high = tones([1000, 15_000], 60_000)
    low[:30_000] = 0.0
    vocals, rest = separated(low + high, spec_of(rate=16_000, n_frames=8), second_half_left, high_band="average")
    expected = np.zeros_like(high)
    expected[30_000:, 0] = (low + high)[30_000:, 0]
    # Around 30000 the frames overlap; at the ends the resampler rings.
    for part in (slice(4000, 28_000), slice(32_000, 56_000)):
        np.testing.assert_allclose(vocals[part], expected[part], rtol=0, atol=2e-3)
        assert not rest[part].any()


@pytest.mark.parametrize(
    # Long patches go alone; short ones by 256 frames over the step, but by no more than 2 ** 19 bins.
    ("spec", "n_patches"),
    [(spec_of(n_frames=64), 1), (spec_of(n_context=2), 256 // 12), (JANSSON, 8), (SHORT, 2**19 // (9 * 257))],
)
def test_the_network_always_gets_equally_many_patches(spec, n_patches):
    given = set()

    def watched(magnitudes):
        given.add((magnitudes.shape, magnitudes.dtype.name, magnitudes.flags.c_contiguous))
        return constant(1.0, 0.0)(magnitudes)

    separated(noise(60_000), spec, watched)
    assert given == {((n_patches, spec.n_frames, spec.n_bins, 2), "float32", True)}


def test_short_patches_see_the_frames_around_each_frame():
    # The mask of a frame is what share its nine frames' mean has: computed here frame by frame.
    def by_mean(magnitudes):
        share = 1 / (1 + magnitudes.mean(axis=(1, 2, 3), keepdims=True))
        return {"masks": np.broadcast_to(np.stack([share, 1 - share], axis=-1), (*magnitudes.shape, 2))}

    samples = noise(9000)
    vocals, _ = separated(samples, spec_of(n_frames=9, n_context=4), by_mean)
    stft = PatchEngine(spec_of(), Inference(), by_mean, high_band="zeros").stft
    n_frames = stft.n_frames(len(samples))
    padded = np.pad(samples.T, ((0, 0), (256, (n_frames - 1) * 64 - len(samples))))
    spectra = stft.analyse(padded)
    magnitudes = np.pad(np.abs(spectra), ((0, 0), (4, 4), (0, 0)))
    for frame in range(n_frames):
        spectra[:, frame] /= 1 + magnitudes[:, frame : frame + 9].mean()
    expected = stft.synthesise(spectra)[:, 256 : 256 + len(samples)].T
    np.testing.assert_allclose(vocals, expected, rtol=0, atol=ROUNDING)


def test_memory_holds_a_few_patches_of_the_song_and_no_more():
    spec = spec_of(rate=22_050, n_bins=100, n_context=2)
    engine = PatchEngine(spec, Inference(), constant(0.5, 0.5), high_band="residual")
    n_read, furthest = 0, 0

    def blocks():
        nonlocal n_read
        for number in range(200):
            n_read += 2205
            yield noise(2205, seed=number % 3)

    n_given = 0
    for stems in engine.separate(blocks()):
        n_given += stems.shape[2]
        furthest = max(furthest, n_read - n_given)
    assert n_given == 441_000
    # A piece, its context, a frame, what the resamplers hold back (about 0.1 s), and a block: less than two seconds.
    assert furthest < engine.patches_at_once * engine.step * 64 * 2 + 0.5 * SAMPLE_RATE


def test_hard_masks_and_clusters_go_the_same_way():
    samples = noise(12_000)
    soft = constant(0.7, 0.2)
    vocals, _ = separated(samples, spec_of(), soft, hard=True, threshold=0.6)
    np.testing.assert_allclose(vocals, samples, rtol=0, atol=ROUNDING)
    vocals, rest = separated(samples, spec_of(), soft, hard=True, threshold=0.8)
    assert not vocals.any()
    np.testing.assert_allclose(rest, samples, rtol=0, atol=ROUNDING)

    def low_bins_are_the_first(magnitudes):
        embeddings = np.zeros((*magnitudes.shape[:-1], 2), dtype=np.float32)
        embeddings[:, :, :25, 0] = embeddings[:, :, 25:, 1] = 1.0
        return {"embeddings": embeddings}

    low, high = tones([1000, 12_000], 20_000)
    found = separated(
        low + high, spec_of(), low_bins_are_the_first, kind="clusters", hard=True, centroids=((0.9, 0.1), (0.1, 0.8))
    )
    np.testing.assert_allclose(found[0][2000:-2000], low[2000:-2000], rtol=0, atol=3e-4)
    np.testing.assert_allclose(found[1][2000:-2000], high[2000:-2000], rtol=0, atol=3e-4)


def test_a_network_that_gives_nan_is_an_error_and_no_silence():
    with pytest.raises(ModelError, match="unet: masks are not finite: expected numbers, found NaN or infinity"):
        separated(noise(1000), spec_of(), constant(np.nan, 0.0))

"""Transforms where the network is, against the way by SciPy; batches, their order, and memory that runs out."""

import dataclasses
import functools

import numpy as np
import pytest
from random_weights import random_variables

from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.models.checkpoint import fill_network, match_variables, weight_table
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.networks.backend import choose_device
from cadenza_remix.separation.networks.device_queue import DeviceQueue
from cadenza_remix.separation.networks.masking import MaskEngine

# The smallest input that six halvings leave something of, in frames short enough for half of them to lie above it.
SMALL = {"n_frames": 64, "n_bins": 64, "frame_length": 256, "hop_length": 64}
# Float32 through a transform and back; masks of random weights turn a rounding error into a few times as much.
CLOSE = 1e-5


@functools.cache
def small_model(name):
    from cadenza_remix.separation.networks.unet import build_mask_network

    card = dataclasses.replace(model_card(name), **SMALL)
    network = build_mask_network(card)
    fill_network(network, card, match_variables(weight_table(card), random_variables(card), where="random"))
    return card, network


@functools.cache
def engine(name="spleeter:2stems", **options):
    from cadenza_remix.separation.networks.on_device import DeviceEngine

    return DeviceEngine(*small_model(name), device=choose_device("cpu"), **options)


@pytest.fixture(autouse=True, scope="module")
def _let_go():
    yield
    engine.cache_clear()
    small_model.cache_clear()


def noise(n_segments=1, seed=0):
    from cadenza_remix.separation.networks.on_device import segment_length

    shape = (n_segments, 2, segment_length(small_model("spleeter:2stems")[0]))
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def by_scipy(name, segment, high_band):
    card, network = small_model(name)
    host = MaskEngine(card, network.predict_on_batch, high_band=high_band)
    spectra = host.stft.analyse(segment)
    masks = host.masks(spectra)
    return host.synthesised(spectra, host.masked(spectra, masks), masks)


@pytest.mark.parametrize(
    ("name", "high_band"),
    [("spleeter:2stems", None), ("spleeter:4stems", "residual"), ("spleeter:5stems", "average")],
)
def test_both_ways_give_the_same(name, high_band):
    segments = noise()
    stems = engine(name, high_band=high_band).process(segments)
    expected = by_scipy(name, segments[0], high_band)
    assert stems.dtype == np.float32
    np.testing.assert_allclose(stems[0], expected, rtol=0, atol=CLOSE)
    # The comparison is worth something only if the stems differ from each other and from nothing.
    assert np.std(expected - expected.mean(axis=0)) > 0.01


@pytest.mark.parametrize("high_band", ["zeros", "average", "residual"])
def test_what_becomes_of_the_bins_above_the_band(high_band):
    segments = noise()
    # A plain account of the highest bin, which masks of zeros, of shares and of the rest treat differently.
    stft = MaskEngine(small_model("spleeter:2stems")[0], lambda magnitudes: []).stft
    top = np.abs(stft.analyse(engine(high_band=high_band).process(segments)[0, :, 0]))[:, 4:-4, 100:].mean(axis=(1, 2))
    song = np.abs(stft.analyse(segments[0, :1]))[0, 4:-4, 100:].mean()
    least = {"zeros": (0, 0), "average": (0.05, 0.05), "residual": (0, 0.99)}[high_band]
    most = {"zeros": (0.01, 0.01), "average": (0.95, 0.95), "residual": (0.01, 1.01)}[high_band]
    assert all(low * song <= level <= high * song for level, low, high in zip(top, least, most, strict=True))


def test_stems_with_the_residual_sum_to_the_song():
    segments = noise()
    total = engine("spleeter:4stems", high_band="residual").process(segments).sum(axis=1)
    overlap = SMALL["frame_length"] - SMALL["hop_length"]
    # Rounding of four stems.
    np.testing.assert_allclose(total[..., overlap:-overlap], segments[..., overlap:-overlap], rtol=0, atol=2e-6)


def test_silence_stays_silent():
    assert not engine().process(0 * noise()).any()


def test_a_model_without_a_stem_for_the_rest_is_refused():
    from cadenza_remix.separation.networks.on_device import DeviceEngine

    card, network = small_model("spleeter:2stems")
    with pytest.raises(InputError, match="no stem can take the residual"):
        DeviceEngine(dataclasses.replace(card, stems=("vocals", "drums")), network, high_band="residual")


def test_on_a_processor_a_segment_does_not_depend_on_its_company():
    segments = noise(5)
    whole = engine()
    assert whole.segments_at_once == 1
    together = whole.process(segments)
    for index in (4, 0, 2):
        np.testing.assert_array_equal(whole.process(segments[index : index + 1])[0], together[index])


def test_batches_of_any_size_give_the_same_in_order():
    segments = noise(7)
    alone = engine().process(segments)
    for n_together in (3, 16):
        together = engine(segments_at_once=n_together).process(segments)
        np.testing.assert_allclose(together, alone, rtol=0, atol=CLOSE)


def test_a_stream_gives_arrays_of_the_callers_own():
    segments = noise(4)
    whole = engine(segments_at_once=3)
    expected = whole.process(segments)
    kept = []
    for stems in whole.stream(iter(segments)):
        kept.append(stems.copy())
        stems += 1  # as the addition of overlaps does
    np.testing.assert_array_equal(kept, expected)


def test_nothing_in_nothing_out():
    assert engine().process(noise(0)).shape[:3] == (0, 2, 2)
    assert not list(engine().stream(iter([])))


@pytest.mark.parametrize(("precision", "largest"), [("bfloat16", 0.2), ("float16", 0.02)])
def test_half_precision_comes_near(precision, largest):
    segments = noise()
    half = engine(precision=precision).process(segments)
    difference = np.abs(half - engine().process(segments)).max()
    # Eight and eleven bits of mantissa through 14 convolutions of random weights, which swing more than trained ones.
    assert 1e-5 < difference < largest


def test_only_the_networks_arithmetic_is_shortened():
    from cadenza_remix.separation.networks.on_device import in_precision

    network = in_precision(small_model("spleeter:2stems")[1], "bfloat16")
    assert {str(weight.dtype) for weight in network.weights if "seed" not in weight.path} == {"float32"}
    assert network.get_layer("vocals_down1_conv").compute_dtype == "bfloat16"
    assert network.get_layer("ratio_masks").compute_dtype == "float32"
    masks = network.predict_on_batch(np.ones((1, 64, 64, 2), dtype=np.float32))
    np.testing.assert_allclose(np.sum(masks, axis=0), 1, rtol=0, atol=1e-6)
    assert in_precision(small_model("spleeter:2stems")[1], "float32") is small_model("spleeter:2stems")[1]


def test_overflow_of_half_precision_is_an_error():
    loud = noise() * np.float32(1e5)
    with pytest.raises(
        ModelError, match=r"in float16 on .*: overflow: expected finite samples, .*; float32 and bfloat16 reach"
    ):
        engine(precision="float16").process(loud)
    assert np.isfinite(engine().process(loud)).all()


class SmallMemory:
    """A runner that adds one and has memory for a few segments: what a processor does not run out of."""

    def __init__(self, most, *, tells_when):
        self.most, self.tells_when = most, tells_when
        self.log = []

    def way(self):
        return self

    def send(self, batch):
        self.log.append(("send", len(batch)))
        if self.tells_when == "sent":
            self.check(batch)
        return [segment.copy() for segment in batch]

    def fetch(self, ticket):
        self.log.append(("fetch", len(ticket)))
        self.check(ticket)
        # Room for whole powers of two is filled up, as the real ones do.
        return np.stack([*ticket, 0 * ticket[0]])[:, np.newaxis] + 1

    def check(self, batch):
        if len(batch) > self.most:
            raise MemoryError

    def is_out_of_memory(self, error):
        return isinstance(error, MemoryError)


def numbered(n_segments):
    return [np.full((2, 8), number, dtype=np.float32) for number in range(n_segments)]


@pytest.mark.parametrize("tells_when", ["sent", "fetched"])
@pytest.mark.parametrize(("most", "n_segments"), [(1, 9), (3, 20), (8, 8)])
def test_batches_shrink_when_memory_runs_out(most, n_segments, tells_when):
    queue = DeviceQueue(SmallMemory(most, tells_when=tells_when), choose_device("cpu"), 8)
    done = np.concatenate(list(queue.run(iter(numbered(n_segments)))))
    np.testing.assert_array_equal(done[:, 0, 0, 0], np.arange(1, n_segments + 1))
    assert queue.segments_at_once == 1 << (most.bit_length() - 1)


def test_no_memory_for_one_segment_is_an_error():
    queue = DeviceQueue(SmallMemory(0, tells_when="sent"), choose_device("cpu"), 4)
    with pytest.raises(ModelError, match=r"on CPU: out of memory: expected room for one segment of 8 samples"):
        list(queue.run(iter(numbered(3))))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    class Broken(SmallMemory):
        def send(self, batch):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(DeviceQueue(Broken(1, tells_when="sent"), choose_device("cpu"), 4).run(iter(numbered(3))))


def test_a_batch_is_sent_before_the_one_ahead_is_fetched():
    runner = SmallMemory(2, tells_when="sent")
    list(DeviceQueue(runner, choose_device("cpu"), 2).run(iter(numbered(6))))
    assert [verb for verb, _ in runner.log] == ["send", "send", "fetch", "send", "fetch", "fetch"]


def test_memory_decides_how_many_segments_go_together():
    from cadenza_remix.separation.networks.device_queue import _fitting
    from cadenza_remix.separation.networks.on_device import segment_bytes

    size = segment_bytes(model_card("spleeter:4stems"))
    assert 2 * segment_bytes(model_card("spleeter:2stems")) > size > 500e6
    assert [_fitting(int(gigabytes * 1e9), size) for gigabytes in (0.5, 4, 8, 24, 140)] == [1, 2, 4, 8, 16]

"""How long 50 tracks of 250 s, the size of MUSDB18's test set, take from host arrays to four stems in host arrays.

    PYTHONPATH=. KERAS_BACKEND=jax python evaluation/benchmarks/separation_gpu.py --device gpu \
        --precision float32 --precision bfloat16

Needs Keras, one of its back ends, NumPy and SciPy; neither TensorFlow nor trained weights: the network is
spleeter:4stems with random ones, which take as long. Every track goes the whole way: its samples from a float32 array
(2, n_samples) to the device, transform, networks, masks and inverse there, and back into a float32 array (4, 2,
n_samples) of the whole track, segments overlapped and added. To need 1 GB of the host's memory and not 22 GB, a few
arrays are used in turn: the tracks read from ``--distinct`` different inputs, and a track's output is written over
that of an earlier one.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_report import Report
from numpy.typing import NDArray

from cadenza_remix.separation.models.registry import ModelCard, model_card
from cadenza_remix.separation.networks.backend import ComputeDevice, choose_device
from cadenza_remix.separation.networks.on_device import DeviceEngine, segment_length
from cadenza_remix.separation.networks.unet import build_mask_network
from cadenza_remix.separation.stft import Stft
from evaluation.random_network import fill_randomly

MODEL = "spleeter:4stems"
TARGET_S = 10.0
COMPARED_SEGMENTS = 4

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Where the segments of a track lie; the track begins a frame behind the first one's beginning."""

    card: ModelCard
    n_samples: int

    @property
    def step(self) -> int:
        """Samples from a segment's beginning to the next one's."""
        return self.card.n_frames * self.card.hop_length

    @property
    def overlap(self) -> int:
        return self.card.frame_length - self.card.hop_length

    @property
    def n_segments(self) -> int:
        n_frames = Stft(self.card.frame_length, self.card.hop_length).n_frames(self.n_samples)
        return -(-n_frames // self.card.n_frames)

    def segments(self, track: Signal) -> Iterator[Signal]:
        """Cut a track (2, n_samples): views where a segment lies wholly inside it."""
        length = segment_length(self.card)
        for index in range(self.n_segments):
            begin = index * self.step - self.card.frame_length
            end = begin + length
            if begin >= 0 and end <= self.n_samples:
                yield track[:, begin:end]
            else:
                inside = track[:, max(begin, 0) : end]
                yield np.pad(inside, ((0, 0), (max(-begin, 0), max(end - self.n_samples, 0))))

    def place(self, index: int) -> slice:
        """Return where in the track the first `step` samples of a segment belong."""
        begin = index * self.step - self.card.frame_length
        # A last segment may hold nothing but what the one before runs out into behind the end.
        return slice(min(max(begin, 0), self.n_samples), min(begin + self.step, self.n_samples))


class Landing:
    """Puts segments of stems into the tracks' arrays, by several threads, their overlaps added.

    Parameters
    ----------
    layout : Layout
    outputs : list of arrays of shape (n_stems, 2, n_samples)
        Taken in turn by the tracks; more of them than one batch touches.
    """

    def __init__(self, layout: Layout, outputs: list[Signal], pool: ThreadPoolExecutor) -> None:
        self._layout = layout
        self._outputs = outputs
        self._pool = pool
        self._position = 0
        self._tail: Signal | None = None

    def take(self, batch: Signal) -> None:
        """Place the next segments (n, n_stems, 2, segment_length) of the row of all tracks."""
        step, jobs = self._layout.step, []
        for stems in batch:
            track, index = divmod(self._position, self._layout.n_segments)
            output = self._outputs[track % len(self._outputs)]
            tail = self._tail if index else None
            for stem in range(len(stems)):
                jobs.append(self._pool.submit(self._place, output[stem], index, stems[stem], tail, stem))
            self._tail = stems[..., step:]
            self._position += 1
        wait(jobs)
        for job in jobs:
            job.result()
        if self._tail is not None:
            # The batch will be overwritten.
            self._tail = self._tail.copy()

    def _place(self, output: Signal, index: int, stem: Signal, tail: Signal | None, number: int) -> None:
        place, before = self._layout.place(index), self._layout.card.frame_length if index == 0 else 0
        output[:, place] = stem[:, before : before + place.stop - place.start]
        if tail is not None:
            end = min(place.start + self._layout.overlap, place.stop)
            output[:, place.start : end] += tail[number, :, : end - place.start]


def music(n_samples: int, seed: int) -> Signal:
    """Return noise that falls off towards high frequencies, in beats: nothing that could be left out."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, n_samples), dtype=np.float32)
    noise[:, 1:] += np.float32(0.9) * noise[:, :-1]
    noise *= np.float32(0.05) * (1 + np.sin(np.arange(n_samples, dtype=np.float32) * np.float32(2e-4)))
    return noise


@dataclass(frozen=True)
class Times:
    """In seconds, for all tracks."""

    warm_up: float
    whole: float
    without_landing: float
    landing: float
    compute: float


def measure(engine: DeviceEngine, layout: Layout, inputs: list[Signal], n_tracks: int) -> tuple[Times, float]:
    """Return the times, and the largest difference between the outputs of the first and last track of one input."""
    outputs = [np.full((len(layout.card.stems), 2, layout.n_samples), np.nan, dtype=np.float32)]
    n_outputs = 2 + engine.segments_at_once // layout.n_segments
    outputs += [outputs[0].copy() for _ in range(n_outputs - 1)]
    row = [inputs[track % len(inputs)] for track in range(n_tracks)]

    def segments() -> Iterator[Signal]:
        for track in row:
            yield from layout.segments(track)

    start = time.perf_counter()
    first = np.stack(list(layout.segments(inputs[0]))[: engine.segments_at_once])
    sample = engine.process(first)
    warm_up = time.perf_counter() - start

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        landing = Landing(layout, outputs, pool)
        start = time.perf_counter()
        for batch in engine.batches(segments()):
            landing.take(batch)
        whole = time.perf_counter() - start
        again = _first_again(engine, layout, inputs[(n_tracks - 1) % len(inputs)])
        difference = float(np.abs(outputs[(n_tracks - 1) % n_outputs][:, :, : again.shape[2]] - again).max())

        start = time.perf_counter()
        for _ in engine.batches(segments()):
            pass
        without_landing = time.perf_counter() - start

        landing = Landing(layout, outputs, pool)
        start = time.perf_counter()
        n_all = n_tracks * layout.n_segments
        for position in range(0, n_all, len(sample)):
            landing.take(sample[: n_all - position])
        landed = time.perf_counter() - start
    # The batch is as large as in the run, so that nothing is compiled for it.
    compute = engine.compute_seconds(first, repeats=3 if engine.device.kind == "gpu" else 1) * n_all / len(first)
    return Times(warm_up, whole, without_landing, landed, compute), difference


def _first_again(engine: DeviceEngine, layout: Layout, track: Signal) -> Signal:
    """Return the first segment of a track again, alone: the part of it that no other segment adds to."""
    alone = engine.process(next(layout.segments(track))[np.newaxis])[0]
    return alone[:, :, layout.card.frame_length : min(layout.step, layout.card.frame_length + layout.n_samples)]


def difference_row(name: str, engine: DeviceEngine, exact: Signal, segments: Signal) -> list[str]:
    difference = engine.process(segments) - exact
    return [name, f"{np.abs(difference).max():.1e}", f"{np.sqrt(np.mean(difference**2)):.1e}"]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=250.0, help="length of a track")
    parser.add_argument("--precision", action="append", choices=("float32", "bfloat16", "float16"), help="repeatable")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--segments", type=int, help="segments of 12 s at once; by default what memory holds")
    parser.add_argument("--distinct", type=int, default=2, help="how many different tracks there are")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    device = choose_device(options.device)
    card = model_card(MODEL)
    layout = Layout(card, round(options.seconds * card.sample_rate))
    inputs = [music(layout.n_samples, seed) for seed in range(min(options.distinct, options.tracks))]
    # TensorFlow goes by several names.
    package = importlib.metadata.packages_distributions().get(device.backend, [device.backend])[0]
    report = Report("Separation of many tracks on one device", packages=["keras", package, "numpy"])
    report.add(_introduction(options, device, layout, len(inputs)))
    with device.scope():
        network = build_mask_network(card)
        fill_randomly(network, card)
    compared = np.stack(list(layout.segments(inputs[0]))[:COMPARED_SEGMENTS])
    exact = DeviceEngine(card, network, device=device, segments_at_once=options.segments).process(compared)
    rows, differences = [], []
    for precision in options.precision or ["float32"]:
        engine = DeviceEngine(card, network, device=device, precision=precision, segments_at_once=options.segments)
        times, repeated = measure(engine, layout, inputs, options.tracks)
        rows.append(_row(precision, engine, times, options))
        differences.append([*difference_row(precision, engine, exact, compared), f"{repeated:.1e}"])
        del engine
    report.table("Times", _COLUMNS, rows)
    report.add(_EXPLANATION)
    columns = ["precision", "largest difference to float32", "root mean square", "a track twice, in other batches"]
    report.table(f"Differences over {len(compared)} segments, full scale is 1", columns, differences)
    report.finish(options.out)


_COLUMNS = [
    *("precision", "segments at once", "first batch", "in all", "times real time", "per track"),
    *("without landing", "computation alone", "landing alone", "peak device memory"),
]
_EXPLANATION = """\
*First batch*: with what is compiled or searched for then; not part of *in all*, which is from the first sample sent to
the last one landed. *Without landing*: the same with the results fetched to the host and left there. *Computation
alone*: batches that stay on the device; what *without landing* takes longer is transfers that nothing hides. *Landing
alone*: overlap, addition and copying into the tracks' arrays.
"""


def _introduction(options: argparse.Namespace, device: ComputeDevice, layout: Layout, n_inputs: int) -> str:
    warning = "**No GPU was at hand: these are a processor's times, which show that it runs and no more.** "
    return (warning if device.kind == "cpu" else "") + (
        f"{device} (`KERAS_BACKEND={device.backend}`); {options.tracks} tracks of {options.seconds:g} s, {MODEL} with "
        f"random weights, {layout.n_segments} segments per track. The tracks are read from {n_inputs} different "
        "arrays in turn and their stems written to a few arrays of a track's size in turn.\n"
    )


def _row(precision: str, engine: DeviceEngine, times: Times, options: argparse.Namespace) -> list[str]:
    peak = engine.peak_bytes()
    verdict = ""
    if (options.tracks, options.seconds, engine.device.kind) == (50, 250.0, "gpu"):
        verdict = f" ({'within' if times.whole <= TARGET_S else 'above'} {TARGET_S:.0f} s)"
    return [
        precision,
        str(engine.segments_at_once),
        f"{times.warm_up:.1f} s",
        f"{times.whole:.2f} s{verdict}",
        f"{options.tracks * options.seconds / times.whole:.0f}",
        f"{1000 * times.whole / options.tracks:.0f} ms",
        f"{times.without_landing:.2f} s",
        f"{times.compute:.2f} s",
        f"{times.landing:.2f} s",
        "not known" if peak is None else f"{peak / 1e9:.1f} GB",
    ]


if __name__ == "__main__":
    main()

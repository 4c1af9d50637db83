"""Batches on their way to a device and back: while one is computed, the next is sent and the last is fetched.

One class for each back end knows how to send a batch without waiting and how to wait for its result; `DeviceQueue`
makes up the batches, keeps one in flight ahead, and makes them smaller when memory runs out.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.networks.backend import ComputeDevice

#: float32 of shape (2, segment_length).
Segment = NDArray[np.float32]
#: float32 of shape (n_segments, n_stems, 2, segment_length).
StemSegments = NDArray[np.float32]

#: More segments at once keep no GPU busier, and each takes 20 MB of locked host memory on its way.
MOST_SEGMENTS = 16
#: Where a back end does not tell how much memory is free.
SEGMENTS_UNKNOWN = 8
#: Two batches are on the device at a time, so one may take less than half.
SHARE_OF_MEMORY = 0.4


class Way(Protocol):
    """The way of one stream of batches to the device and back, two of them at a time."""

    def send(self, batch: Sequence[Segment]) -> Any:
        """Start the computation of a batch and return a ticket."""
        ...

    def fetch(self, ticket: Any) -> StemSegments:
        """Wait for the result of a batch, which may have segments of zeros behind it.

        The result may be overwritten by the second batch that is sent after its own.
        """
        ...


class Runner(Protocol):
    """What a back end needs for a model on a device."""

    def way(self) -> Way: ...
    def free_bytes(self) -> int | None: ...
    def peak_bytes(self) -> int | None: ...
    def is_out_of_memory(self, error: Exception) -> bool: ...
    def seconds(self, batch: Sequence[Segment], repeats: int) -> float:
        """Measure how long a batch takes, after a first one, when neither it nor its result leaves the device."""
        ...


def device_queue(
    model: Any, device: ComputeDevice, segment_bytes: int, segments_at_once: int | None = None
) -> DeviceQueue:
    """Return the queue for a Keras model on a device; see `separation.networks.on_device.DeviceEngine`."""
    with device.scope():
        runner = _RUNNERS[device.backend](model, device)
    if segments_at_once is None:
        segments_at_once = 1 if device.kind == "cpu" else _fitting(runner.free_bytes(), segment_bytes)
    return DeviceQueue(runner, device, segments_at_once)


class DeviceQueue:
    """Takes segments in batches through a model.

    Attributes
    ----------
    runner : Runner
    segments_at_once : int
        Becomes smaller when memory runs out.
    """

    def __init__(self, runner: Runner, device: ComputeDevice, segments_at_once: int) -> None:
        self.runner = runner
        self.segments_at_once = segments_at_once
        self._device = device

    def run(self, segments: Iterable[Segment]) -> Iterator[StemSegments]:
        """Yield the results in batches, each good until the next is asked for.

        Raises
        ------
        ModelError
            There is no memory for a single segment.
        """
        remaining = iter(segments)
        with self._device.scope():
            way = self.runner.way()
        ahead: tuple[list[Segment], Any] | None = None
        while batch := list(islice(remaining, self.segments_at_once)):
            sent = batch, self._send(way, batch)
            if ahead is not None:
                yield from self._fetched(way, *ahead)
            ahead = sent
        if ahead is not None:
            yield from self._fetched(way, *ahead)

    def _send(self, way: Way, batch: list[Segment]) -> Any:
        """Return a ticket, or None where there is no memory: the batch is then tried again when its turn comes."""
        try:
            with self._device.scope():
                return way.send(batch)
        except Exception as error:
            if not self.runner.is_out_of_memory(error):
                raise
            return None

    def _fetched(self, way: Way, batch: list[Segment], ticket: Any) -> Iterator[StemSegments]:
        if ticket is not None:
            try:
                with self._device.scope():
                    stems = way.fetch(ticket)
            except Exception as error:
                if not self.runner.is_out_of_memory(error):
                    raise
            else:
                yield stems[: len(batch)]
                return
        yield from self._in_halves(batch)

    def _in_halves(self, batch: list[Segment]) -> Iterator[StemSegments]:
        if len(batch) == 1:
            raise ModelError(
                f"{self._device}: out of memory: expected room for one segment of {batch[0].shape[-1]} samples, found "
                "less; close what else uses the device, or take --device cpu"
            )
        half = -(-len(batch) // 2)
        self.segments_at_once = min(self.segments_at_once, half)
        for part in (batch[:half], batch[half:]):
            # On a way of its own: the batch after this one may be in flight on the other.
            with self._device.scope():
                way = self.runner.way()
            yield from self._fetched(way, part, self._send(way, part))


class TensorFlowRunner:
    """Runs a model as one graph. TensorFlow copies results as they are fetched."""

    def __init__(self, model: Any, device: ComputeDevice) -> None:
        self._tensorflow = importlib.import_module("tensorflow")
        self._device = device
        shape = self._tensorflow.TensorSpec((None, *model.input_shape[1:]), self._tensorflow.float32)
        # Not by XLA: on two cores its kernels take 0.26 s where TensorFlow's own take 0.18 s.
        self._function = self._tensorflow.function(lambda batch: model(batch, training=False), input_signature=[shape])

    def way(self) -> Way:
        return self

    def send(self, batch: Sequence[Segment]) -> Any:
        return self._function(self._tensorflow.convert_to_tensor(_stacked(batch)))

    def fetch(self, ticket: Any) -> StemSegments:
        stems: StemSegments = ticket.numpy()
        return stems

    def free_bytes(self) -> int | None:
        return None

    def peak_bytes(self) -> int | None:
        if self._device.kind == "cpu":
            return None
        return int(self._tensorflow.config.experimental.get_memory_info("GPU:0")["peak"])

    def is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, self._tensorflow.errors.ResourceExhaustedError)

    def seconds(self, batch: Sequence[Segment], repeats: int) -> float:
        samples = self._tensorflow.identity(_stacked(batch))
        self._function(samples)[0, 0, 0, 0].numpy()
        start = time.perf_counter()
        for _ in range(repeats):
            stems = self._function(samples)
        # Fetching one number waits for all that was started before.
        stems[0, 0, 0, 0].numpy()
        return (time.perf_counter() - start) / repeats


class JaxRunner:
    """Runs a model compiled as a whole. Transfers to the host start as soon as the results are there."""

    def __init__(self, model: Any, device: ComputeDevice) -> None:
        self._jax = importlib.import_module("jax")
        self._target = self._jax.devices(device.kind)[0]
        weights = ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])
        self._weights = self._jax.device_put(weights, self._target)

        def stems(weights: Any, batch: Any) -> Any:
            return model.stateless_call(*weights, batch, training=False)[0]

        self._function = self._jax.jit(stems)

    def way(self) -> Way:
        return self

    def send(self, batch: Sequence[Segment]) -> Any:
        stems = self._function(self._weights, self._jax.device_put(_stacked(batch), self._target))
        stems.copy_to_host_async()
        return stems

    def fetch(self, ticket: Any) -> StemSegments:
        return np.asarray(ticket)

    def free_bytes(self) -> int | None:
        memory = self._memory()
        return memory["bytes_limit"] - memory["bytes_in_use"] if "bytes_limit" in memory else None

    def peak_bytes(self) -> int | None:
        return self._memory().get("peak_bytes_in_use")

    def is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)

    def seconds(self, batch: Sequence[Segment], repeats: int) -> float:
        samples = self._jax.device_put(_stacked(batch), self._target)
        self._function(self._weights, samples).block_until_ready()
        start = time.perf_counter()
        for _ in range(repeats):
            stems = self._function(self._weights, samples)
        stems.block_until_ready()
        return (time.perf_counter() - start) / repeats

    def _memory(self) -> dict[str, int]:
        return self._target.memory_stats() or {}


class TorchRunner:
    """Runs a model operation by operation, each started without waiting for the one before where there is a GPU."""

    def __init__(self, model: Any, device: ComputeDevice) -> None:
        self._torch = importlib.import_module("torch")
        self._model = model
        self._on_gpu = device.kind == "gpu"
        self._target = "cuda:0" if self._on_gpu else "cpu"

    def way(self) -> Way:
        return _CudaWay(self._torch, self.stems, self._target) if self._on_gpu else self

    def stems(self, batch: Any) -> Any:
        with self._torch.inference_mode():
            return self._model(batch, training=False)

    def send(self, batch: Sequence[Segment]) -> Any:
        return self.stems(self._torch.from_numpy(_stacked(batch)))

    def fetch(self, ticket: Any) -> StemSegments:
        stems: StemSegments = ticket.numpy()
        return stems

    def free_bytes(self) -> int | None:
        return int(self._torch.cuda.mem_get_info()[0]) if self._on_gpu else None

    def peak_bytes(self) -> int | None:
        return int(self._torch.cuda.max_memory_allocated()) if self._on_gpu else None

    def is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, self._torch.OutOfMemoryError)

    def seconds(self, batch: Sequence[Segment], repeats: int) -> float:
        samples = self._torch.from_numpy(_stacked(batch)).to(self._target)
        self.stems(samples)[0, 0, 0, 0].item()
        start = time.perf_counter()
        for _ in range(repeats):
            stems = self.stems(samples)
        stems[0, 0, 0, 0].item()
        return (time.perf_counter() - start) / repeats


class _CudaWay:
    """Two slots of locked host memory and three streams: to the device, computation, back.

    A slot is written again only two batches later, when what it held has been fetched.
    """

    def __init__(self, torch: Any, stems: Callable[[Any], Any], target: str) -> None:
        self._torch = torch
        self._target = target
        self._stems = stems
        self._upload, self._compute, self._download = (torch.cuda.Stream() for _ in range(3))
        self._compute.wait_stream(torch.cuda.current_stream())  # the weights may still be on their way
        self._slots: list[tuple[Any, Any] | None] = [None, None]
        self._n_sent = 0

    def send(self, batch: Sequence[Segment]) -> Any:
        torch = self._torch
        position, self._n_sent = self._n_sent % 2, self._n_sent + 1
        slot, shape = self._slots[position], (_round_size(len(batch)), *batch[0].shape)
        if slot is None or slot[0].shape != shape:
            slot = torch.zeros(shape, dtype=torch.float32, pin_memory=True), None
        outgoing, incoming = slot
        _stacked(batch, into=outgoing.numpy())
        with torch.cuda.stream(self._upload):
            samples = outgoing.to(self._target, non_blocking=True)
        self._compute.wait_stream(self._upload)
        with torch.cuda.stream(self._compute):
            stems = self._stems(samples)
        samples.record_stream(self._compute)
        if incoming is None:
            incoming = torch.empty(stems.shape, dtype=torch.float32, pin_memory=True)
        self._slots[position] = outgoing, incoming
        self._download.wait_stream(self._compute)
        done = torch.cuda.Event()
        with torch.cuda.stream(self._download):
            incoming.copy_(stems, non_blocking=True)
            done.record()
        stems.record_stream(self._download)
        return done, incoming

    def fetch(self, ticket: Any) -> StemSegments:
        done, incoming = ticket
        done.synchronize()
        stems: StemSegments = incoming.numpy()
        return stems


_RUNNERS: dict[str, Callable[[Any, ComputeDevice], Runner]] = {
    "tensorflow": TensorFlowRunner,
    "jax": JaxRunner,
    "torch": TorchRunner,
}


def _fitting(free_bytes: int | None, segment_bytes: int) -> int:
    """Return a power of two, so that few sizes of batches have to be compiled and results seldom change with memory."""
    if free_bytes is None:
        return SEGMENTS_UNKNOWN
    n_segments = min(MOST_SEGMENTS, int(SHARE_OF_MEMORY * free_bytes) // segment_bytes)
    return 1 << (max(1, n_segments).bit_length() - 1)


def _round_size(n_segments: int) -> int:
    """Return the next power of two: the back ends compile, or search for the best way, for each size."""
    return 1 << (n_segments - 1).bit_length()


def _stacked(batch: Sequence[Segment], *, into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return the segments as one array (n, 2, segment_length), filled up with segments of zeros to a round size."""
    if into is None:
        into = np.empty((_round_size(len(batch)), *batch[0].shape), dtype=np.float32)
    for index, segment in enumerate(batch):
        into[index] = segment
    into[len(batch) :] = 0
    return into

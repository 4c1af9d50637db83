"""What a training works with: network, optimiser, trainee, and how they are set up on a back end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.backend import ComputeDevice, choose_device, load_keras
from cadenza_remix.training.fit.checkpoints import Checkpoint, set_values, values_of
from cadenza_remix.training.fit.config import TrainConfig, TrainingConfig
from cadenza_remix.training.fit.initial_weights import TakenWeights, begin_weights

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec

#: Of Python and NumPy, TensorFlow, PyTorch; JAX says RESOURCE_EXHAUSTED.
_OUT_OF_MEMORY = {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"}


@dataclass(frozen=True)
class Session:
    """A network on its way through a training.

    Parameters
    ----------
    spec : NetworkSpec
    model : keras.Model
        See `training.fit.trainee`; its ``network`` is what is trained.
    device : ComputeDevice
    n_devices : int
        On which each batch is shared out.
    taken : TakenWeights or None
        What it got of another model.
    """

    spec: NetworkSpec
    model: Any
    device: ComputeDevice
    n_devices: int
    taken: TakenWeights | None = None

    @classmethod
    def begin(cls, config: TrainConfig) -> Session:
        """Build network, loss and optimiser; everything drawn comes from the configuration's seed.

        Raises
        ------
        InputError
            A setting of the network or the loss cannot be used, or the loss needs another network.
        """
        from cadenza_remix.separation.networks.architectures import build_network
        from cadenza_remix.training.fit.trainee import build_optimiser, build_trainee
        from cadenza_remix.training.losses import build_losses

        device = choose_device(config.training.device)
        keras = load_keras()
        n_devices = _share_out(config.training, device)
        spec = config.model.spec()
        with _scope(device, n_devices):
            keras.utils.set_random_seed(config.training.seed)
            with _policy(config.training.precision):
                network = build_network(spec)
            # Whole-song validation runs a few times only: compiling for it would take longer than it saves.
            network.jit_compile = device.backend == "jax"
            loss = build_losses([(part.name, part.weight, dict(part.settings)) for part in config.loss], spec)
            check_outputs(network, loss.needs, spec)
            model = build_trainee(network, spec, loss)
            optimiser = build_optimiser(config.optimiser, config.training.precision)
            model.compile(optimizer=optimiser, jit_compile=_is_compiled(config.training.jit, device))
            optimiser.build(network.trainable_variables)
            taken = begin_weights(network, config.initial_weights)
        return cls(spec, model, device, n_devices, taken)

    @property
    def network(self) -> Any:
        return self.model.network

    def scope(self) -> AbstractContextManager[Any]:
        """Return the block within which everything runs on the session's device."""
        return _scope(self.device, self.n_devices)

    def step(self, batch: Any, learning_rate: float) -> float:
        """Do one step and return its loss."""
        self.model.optimizer.learning_rate = learning_rate
        self.model.reset_metrics()
        return float(self.model.train_on_batch(batch, return_dict=True)["loss"])

    def snapshot(self, state: dict[str, Any]) -> Checkpoint:
        """Return everything that a resumed training needs."""
        return Checkpoint(values_of(self.network.variables), values_of(self.model.optimizer.variables), state)

    def restore(self, checkpoint: Checkpoint, *, where: Path) -> None:
        """Take everything back."""
        set_values(self.network.variables, checkpoint.model, where=where)
        set_values(self.model.optimizer.variables, checkpoint.optimiser, where=where)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages of the weights in their place while the block runs, where averages are kept."""
        from cadenza_remix.training.fit.trainee import moving_averages

        averages = moving_averages(self.model.optimizer)
        if averages is None or not int(load_keras().ops.convert_to_numpy(self.model.optimizer.iterations)):
            yield
            return
        weights = self.network.trainable_variables
        kept = values_of(weights)
        set_values(weights, values_of(averages), where="averages")
        try:
            yield
        finally:
            set_values(weights, kept, where="weights")


def check_outputs(network: Any, needs: frozenset[str], spec: NetworkSpec) -> None:
    """Refuse a loss of an output that the network has not."""
    has = set(network.output)
    if missing := needs - has:
        found = f"{spec.architecture} with {', '.join(sorted(has))}"
        raise InputError("loss of another network", where="loss", expected=", ".join(sorted(missing)), found=found)


@contextmanager
def memory_told(config: TrainConfig) -> Iterator[None]:
    """Turn what NumPy and the back ends raise when memory is short into one line."""
    try:
        yield
    except Exception as error:
        names = {kind.__name__ for kind in type(error).__mro__}
        if not names & _OUT_OF_MEMORY and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(
            "not enough memory for a step",
            where="training.batch_size",
            expected=f"less than {config.training.batch_size}, or a smaller model.n_frames or network",
            found=(str(error).strip().splitlines() or ["nothing left"])[0],
        ) from error


def _share_out(training: TrainingConfig, device: ComputeDevice) -> int:
    """Have batches shared out over all devices where there are several (JAX); return how many there are."""
    distribution = load_keras().distribution
    if training.devices != "auto" or device.backend != "jax":
        return 1
    names = distribution.list_devices(device.kind)
    if len(names) < 2:
        return 1
    if training.batch_size % len(names):
        expected = f"a multiple of {len(names)} devices, or training.devices=1"
        raise InputError(
            "batch cannot be shared out", where="training.batch_size", expected=expected, found=training.batch_size
        )
    distribution.set_distribution(distribution.DataParallel(devices=names, auto_shard_dataset=False))
    return len(names)


def _scope(device: ComputeDevice, n_devices: int) -> AbstractContextManager[Any]:
    return device.scope() if n_devices == 1 else nullcontext()


@contextmanager
def _policy(precision: str) -> Iterator[None]:
    config = load_keras().config
    before = config.dtype_policy()
    config.set_dtype_policy(precision)
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def _is_compiled(jit: str, device: ComputeDevice) -> bool:
    """Tell whether XLA compiles the step.

    JAX knows nothing else. With TensorFlow on two cores it took 2.8 s of processor time for a step of a U-Net with a
    shared encoder (batch of 8 patches, 2.6 million weights) that takes 1.8 s without, and 10 s more for the first.
    """
    return jit == "true" or (jit == "auto" and device.backend == "jax")

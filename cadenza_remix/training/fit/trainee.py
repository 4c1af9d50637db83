"""The Keras model that is trained: the network between the transform in front of it and the loss behind it.

The transform is part of the graph: it is a tenth of a step's work there, runs on a GPU where there is one, and takes no
thread and no memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.separation.stft import Stft

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec
    from cadenza_remix.training.fit.config import OptimiserConfig

#: In the root of squares: its derivative at zero is finite.
_FLOOR = 1e-14


def build_trainee(network: Any, spec: NetworkSpec, loss: Callable[..., Any]) -> Any:
    """Return the model that takes excerpts (batch, n_stems, n_samples, 2) and has a loss.

    Parameters
    ----------
    network : keras.Model
        See `cadenza_remix.separation.networks.architectures`.
    spec : NetworkSpec
    loss : callable
        ``loss(mixture, targets, outputs)``, see `training.losses`.
    """
    keras = load_keras()
    ops = keras.ops
    transform = graph_transform(spec)

    class Trainee(keras.Model):  # type: ignore[name-defined]
        """Excerpts in; spectra and what the network makes of them out."""

        def __init__(self) -> None:
            super().__init__(name="trainee", dtype="float32")
            self.network = network

        def call(self, excerpts: Any, training: bool | None = None) -> dict[str, Any]:
            targets = transform(excerpts)
            mixture = ops.sum(targets, axis=4)
            magnitudes = ops.sqrt(ops.sum(ops.square(mixture), axis=-1) + _FLOOR)
            outputs = self.network(magnitudes, training=training)
            singles = {name: ops.cast(output, "float32") for name, output in outputs.items()}
            return {"spectra of the mixture": mixture, "spectra of the targets": targets, **singles}

        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            outputs = dict(y_pred)
            mixture, targets = outputs.pop("spectra of the mixture"), outputs.pop("spectra of the targets")
            return loss(mixture, targets, outputs)

    return Trainee()


def graph_transform(spec: NetworkSpec) -> Callable[[Any], Any]:
    """Return the function from excerpts to spectra, in the operations of the back end.

    It gives (batch, n_frames, n_bins, 2 channels, n_stems, 2): real and imaginary parts of what `Stft.analyse` gives,
    as many bins as the network sees.
    """
    ops = load_keras().ops
    window = Stft(spec.frame_length, spec.hop_length, spec.fft_length).window

    def transform(excerpts: Any) -> Any:
        channels = ops.transpose(excerpts, (0, 1, 3, 2))
        frames = ops.extract_sequences(channels, spec.frame_length, spec.hop_length) * window
        parts = ops.rfft(frames, fft_length=spec.fft_length)
        spectra = ops.stack([part[..., : spec.n_bins] for part in parts], axis=-1)
        return ops.transpose(spectra, (0, 3, 4, 2, 1, 5))

    return transform


def build_optimiser(config: OptimiserConfig, precision: str) -> Any:
    """Return the Keras optimiser of a configuration; its learning rate is set before each step."""
    optimisers = load_keras().optimizers
    options: dict[str, Any] = {"learning_rate": config.learning_rate, "global_clipnorm": config.clip_norm}
    if config.ema is not None:
        options |= {"use_ema": True, "ema_momentum": config.ema}
    if config.name == "adamw":
        optimiser = optimisers.AdamW(weight_decay=config.weight_decay, **options)
    elif config.name == "adam":
        optimiser = optimisers.Adam(**options)
    else:
        optimiser = optimisers.SGD(momentum=0.9, **options)
    return optimisers.LossScaleOptimizer(optimiser) if precision == "mixed_float16" else optimiser


def moving_averages(optimiser: Any) -> list[Any] | None:
    """Return the variables with the averages of the trainable weights, in their order; None where there are none."""
    inner = getattr(optimiser, "inner_optimizer", optimiser)
    if not inner.use_ema:
        return None
    # No public name, but Keras' own callback SwapEMAWeights goes the same way.
    return list(inner._model_variables_moving_average)

"""The settings of a training: from YAML and ``key=value`` overrides to frozen dataclasses, checked once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cadenza_remix.audio.signal import STEMS
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.separation.models.untrusted import plain_name
from cadenza_remix.training.data.augmentation import Augmentation
from cadenza_remix.training.data.layouts import SPLITS
from cadenza_remix.training.fit.plain import build, from_yaml, plain
from cadenza_remix.training.losses import loss_settings

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec
    from cadenza_remix.training.data.excerpts import ExcerptSettings

#: What is left when other stems are taken out of a song.
REST_TARGETS = ("accompaniment", "instrumental", "rest")
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class ModelConfig:
    """The network: an architecture, its stems, and whatever shall differ from the architecture's defaults."""

    architecture: str
    stems: tuple[str, ...] = STEMS
    sample_rate: int | None = None
    frame_length: int | None = None
    hop_length: int | None = None
    fft_length: int | None = None
    n_frames: int | None = None
    n_bins: int | None = None
    n_context: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def spec(self) -> NetworkSpec:
        """Return the specification; Keras and its back end are loaded."""
        from cadenza_remix.separation.networks.architectures import default_spec

        names = ("sample_rate", "frame_length", "hop_length", "fft_length", "n_frames", "n_bins", "n_context")
        changes = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return default_spec(self.architecture, tuple(self.stems), settings=dict(self.settings), **changes)


@dataclass(frozen=True)
class DataSource:
    """A data set, or part of one.

    Parameters
    ----------
    path : Path
        Relative paths in a configuration count from the configuration's file.
    layout : str
        See `training.data.datasets.open_dataset`.
    split : str
        ``train``, ``valid`` or ``test``; ``all`` for every song; by default the one that the list is for.
    songs, exclude : tuple of str
        Names of songs to take (all if empty), and of songs to leave out.
    weight : float
        How often the set is drawn from, relative to the others, whatever its number of songs.
    """

    path: Path
    layout: str = "auto"
    split: str = ""
    songs: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise InputError("setting out of range", where="weight", expected="above 0", found=self.weight)
        if self.split not in ("", "all", *SPLITS):
            raise unknown_name("split", self.split, [*SPLITS, "all"], where=self.path)


@dataclass(frozen=True)
class ExcerptConfig:
    """How excerpts are drawn; see `training.data.excerpts.ExcerptSettings`."""

    mix_share: float = 0.5
    min_level_db: float = -50.0
    n_tries: int = 4
    silent_share: float = 0.1


@dataclass(frozen=True)
class DataConfig:
    """The songs and what is drawn from them; without ``targets`` each stem of the model is one of the songs' stems."""

    train: tuple[DataSource, ...]
    valid: tuple[DataSource, ...] = ()
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excerpts: ExcerptConfig = field(default_factory=ExcerptConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not self.train:
            raise InputError("no data", where="data.train", expected="at least one data set")


@dataclass(frozen=True)
class LossConfig:
    """One part of the loss; see `training.losses.build_loss`."""

    name: str
    weight: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loss_settings(self.name)  # refuses a name that is none


@dataclass(frozen=True)
class OptimiserConfig:
    """How weights follow the gradient.

    Parameters
    ----------
    schedule : str
        Of the learning rate, after ``warmup_steps`` in which it rises: ``constant``; ``cosine`` falls to
        ``final_share`` of it at ``max_steps``; ``cosine-time`` likewise at ``max_minutes`` (steps then depend on the
        clock, and no run repeats another exactly); ``plateau`` multiplies it by ``plateau_factor`` after
        ``plateau_patience`` validations without improvement.
    clip_norm : float or None
        The gradient of all weights together is scaled down to this norm.
    ema : float or None
        Validate, and keep as the model, the exponential moving average of the weights with this decay (0.999).
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "cosine-time", "plateau"] = "constant"
    warmup_steps: int = 0
    final_share: float = 0.01
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    clip_norm: float | None = 5.0
    weight_decay: float = 0.0
    ema: float | None = None

    def __post_init__(self) -> None:
        for name, value, fits, expected in (
            ("learning_rate", self.learning_rate, self.learning_rate > 0, "above 0"),
            ("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "0 or more"),
            ("final_share", self.final_share, 0 <= self.final_share <= 1, "0 to 1"),
            ("plateau_factor", self.plateau_factor, 0 < self.plateau_factor < 1, "between 0 and 1"),
            ("plateau_patience", self.plateau_patience, self.plateau_patience >= 1, "1 or more"),
            ("clip_norm", self.clip_norm, self.clip_norm is None or self.clip_norm > 0, "above 0"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more"),
            ("ema", self.ema, self.ema is None or 0 < self.ema < 1, "between 0 and 1"),
        ):
            if not fits:
                raise InputError("setting out of range", where=f"optimiser.{name}", expected=expected, found=value)
        if self.weight_decay and self.name != "adamw":
            raise InputError("no weight decay here", where="optimiser.name", expected="adamw", found=self.name)


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how.

    Parameters
    ----------
    max_minutes : float or None
        Of training and validation, counted over all parts of a run that was stopped and resumed.
    validate_every_steps : int
    n_valid_batches : int
        Batches of fixed excerpts for the validation loss.
    n_valid_s : float or None
        How much of each validation song is separated for its SDR, from its middle; None: all of it; 0: nothing.
    n_valid_songs : int or None
        How many validation songs are separated; None: all.
    patience : int
        Validations without improvement after which the training ends; 0: never.
    checkpoint_every_s : float
    n_workers, n_ahead : int
        Background processes that make batches, and how many batches lie ready.
    jit : str
        Whether XLA compiles the whole step: ``auto`` has that done by JAX alone.
    devices : str
        ``auto`` trains on all devices of the back end together (JAX), ``1`` on one.
    device : str
        ``auto``, ``cpu`` or ``gpu``.
    """

    batch_size: int = 8
    max_steps: int = 10_000
    max_minutes: float | None = None
    seed: int = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    validate_every_steps: int = 500
    n_valid_batches: int = 4
    n_valid_s: float | None = 60.0
    n_valid_songs: int | None = None
    patience: int = 0
    checkpoint_every_s: float = 300.0
    n_workers: int = 1
    n_ahead: int = 4
    jit: Literal["auto", "true", "false"] = "auto"
    devices: Literal["auto", "1"] = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "max_steps": 1, "validate_every_steps": 1, "n_valid_batches": 1, "n_ahead": 1}
        for name in (
            *("batch_size", "max_steps", "max_minutes", "seed", "validate_every_steps", "n_valid_batches"),
            *("n_valid_s", "n_valid_songs", "patience", "checkpoint_every_s", "n_workers", "n_ahead"),
        ):
            value = getattr(self, name)
            if value is not None and value < least.get(name, 0):
                expected = f"{least.get(name, 0)} or more"
                raise InputError("setting out of range", where=f"training.{name}", expected=expected, found=value)
        if self.seed > _LARGEST_SEED:
            expected = f"at most {_LARGEST_SEED}"
            raise InputError("setting out of range", where="training.seed", expected=expected, found=self.seed)


@dataclass(frozen=True)
class LogConfig:
    """What is written beside the checkpoints."""

    csv: bool = True
    tensorboard: bool = False
    every_steps: int = 10

    def __post_init__(self) -> None:
        if self.every_steps < 1:
            raise InputError("setting out of range", where="logs.every_steps", expected="1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training is told.

    Parameters
    ----------
    name : str
        Of the model.
    model, data, loss, optimiser, training, logs
        See their classes. In YAML ``loss`` may be a name, a mapping, or a list of these.
    initial_weights : Path or None
        Folder of a trained model: weights of the same place and shape are taken over before the first step.
    facts : mapping
        Goes into the model's folder as it is: licence, sources of the stems, ...
    """

    name: str
    model: ModelConfig
    data: DataConfig
    loss: tuple[LossConfig, ...] = (LossConfig("l1"),)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    logs: LogConfig = field(default_factory=LogConfig)
    initial_weights: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # What the model's folder would refuse after hours is refused now.
        try:
            plain_name(self.name)
        except ValueError as error:
            expected = "a few plain words, no path"
            raise InputError("wrong name of a model", where="name", expected=expected, found=self.name) from error
        try:
            json.dumps(plain(self.facts), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError("wrong setting", where="facts", expected="text and finite numbers", found=error) from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, folder: Path | None = None) -> TrainConfig:
        """Build one from plain values; unknown names and wrong types are refused.

        Parameters
        ----------
        values : mapping
        folder : Path, optional
            What relative paths count from; the working directory by default.
        """
        values = dict(values)
        loss = values.get("loss", "l1")
        losses = [loss] if isinstance(loss, str | Mapping) else loss
        if not isinstance(losses, Sequence):
            raise InputError("wrong loss", where="loss", expected="a name, or a list of them", found=loss)
        values["loss"] = [{"name": part} if isinstance(part, str) else part for part in losses]
        config = build(cls, values, where="")
        targets = _targets(config.model.stems, config.data.targets)
        return replace(config, data=replace(config.data, targets=targets)).with_paths_from(folder or Path.cwd())

    def with_paths_from(self, folder: Path) -> TrainConfig:
        """Return the same with absolute paths."""
        base = folder.absolute()

        def rooted(sources: tuple[DataSource, ...]) -> tuple[DataSource, ...]:
            return tuple(replace(source, path=base / source.path.expanduser()) for source in sources)

        data = replace(self.data, train=rooted(self.data.train), valid=rooted(self.data.valid))
        weights = None if self.initial_weights is None else base / self.initial_weights.expanduser()
        return replace(self, data=data, initial_weights=weights)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for YAML and JSON; `from_dict` takes them."""
        return dict(plain(self))

    def must_stay(self) -> dict[str, Any]:
        """Return what has to be the same when a training is resumed."""
        values = self.as_dict()
        training = {name: values["training"][name] for name in ("batch_size", "seed", "precision")}
        names = ("model", "data", "loss", "optimiser", "initial_weights")
        return {name: values[name] for name in names} | {"training": training}

    def excerpt_settings(self, spec: NetworkSpec, weights: tuple[float, ...]) -> ExcerptSettings:
        """Return the settings of the training's excerpts."""
        from cadenza_remix.training.data.excerpts import ExcerptSettings

        drawn = self.data.excerpts
        return ExcerptSettings(
            targets=self.data.targets,
            sample_rate=spec.sample_rate,
            n_samples=spec.patch_samples,
            batch_size=self.training.batch_size,
            seed=self.training.seed,
            mix_share=drawn.mix_share,
            augmentation=self.data.augmentation,
            min_level_db=drawn.min_level_db,
            n_tries=drawn.n_tries,
            silent_share=drawn.silent_share,
            weights=weights,
        )


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration.

    Parameters
    ----------
    path : path
        A YAML file.
    overrides : sequence of str
        ``training.max_steps=100``, ``data.train[0].path=songs``, ``loss=[l1,affinity]``. Relative paths in overrides
        count from the working directory, those in the file from the file's folder.

    Raises
    ------
    InputError
        The file cannot be read, a name is unknown or a value of the wrong type or out of range.
    """
    return TrainConfig.from_dict(from_yaml(path, overrides), folder=Path.cwd())


def _targets(stems: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return target -> sources in the model's order."""
    if given:
        if set(given) != set(stems):
            expected, found = ", ".join(stems), ", ".join(given)
            raise InputError("targets are not the model's stems", where="data.targets", expected=expected, found=found)
        return {stem: given[stem] for stem in stems}
    rest = tuple(stem for stem in STEMS if stem not in stems)
    unclear = [stem for stem in stems if stem not in (*STEMS, *REST_TARGETS)]
    if unclear or sum(stem in REST_TARGETS for stem in stems) > 1:
        expected = "which stems of the songs make up each of them: data.targets"
        raise InputError("unclear stems of the model", where="model.stems", expected=expected, found=", ".join(stems))
    return {stem: rest if stem in REST_TARGETS else (stem,) for stem in stems}

"""From the variables of a Spleeter checkpoint to the layers of the U-Nets, by an explicit table.

TensorFlow numbered the layers of one kind as they were made, and goes on counting from one instrument to the next: of
the instrument ``i`` (from 0), the convolutions are ``conv2d_{7 i}`` to ``conv2d_{7 i + 6}``, the transposed ones
``conv2d_transpose_{6 i}`` and on, the normalisations ``batch_normalization_{12 i}`` and on; number 0 goes without its
number. Every variable of the file must be in the table and have its shape, and every weight of the network must be
met exactly once; anything else is an error, because a wrong file would otherwise load and give noise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.backend import load_tensorflow
from cadenza_remix.separation.registry import ModelCard

_FILTERS = (16, 32, 64, 128, 256, 512)
_N_CHANNELS = 2
_NORM_WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")
#: In training checkpoints (the releases' ``-finetune`` archives): the state of the Adam optimiser, never needed here.
_OPTIMISER_NAMES = ("beta1_power", "beta2_power")
_OPTIMISER_SUFFIXES = ("/Adam", "/Adam_1")
#: The fields of a card that change what the network does.
_SETTINGS = (
    *("stems", "sample_rate", "frame_length", "hop_length", "n_frames", "n_bins"),
    *("separation_exponent", "mask_extension", "encoder_activation", "decoder_activation", "output"),
)
#: To be raised when the same weights and settings come to give other stems, so that kept ones are not taken for them.
_REVISION = 1


@dataclass(frozen=True)
class Slot:
    """One line of the table: a variable of the file, its shape, and the weight that it goes to.

    ``layer`` is None for a variable that is in the file and that the network does not use, by design.
    """

    variable: str
    shape: tuple[int, ...]
    layer: str | None
    weight: str


def weight_table(card: ModelCard) -> tuple[Slot, ...]:
    """Return the whole table of a model.

    Examples
    --------
    >>> from cadenza_remix.separation.registry import model_card
    >>> table = weight_table(model_card("spleeter:2stems"))
    >>> len(table), table[0].variable, table[0].layer
    (149, 'conv2d/kernel', 'vocals_down1_conv')
    """
    slots = [slot for index, stem in enumerate(card.stems) for slot in _stem_slots(index, stem)]
    # The number of training steps.
    return (*slots, Slot("global_step", (), None, ""))


def checkpoint_fingerprint(card: ModelCard, folder: Path) -> str:
    """Return 16 hexadecimal digits that stand for the bytes of a checkpoint and the card's settings.

    Reads the files without TensorFlow, so that work which is done already is recognised at once.

    Raises
    ------
    ModelError
        The files are not there.
    """
    prefix = _prefix(folder)
    digest = hashlib.sha256(json.dumps([_REVISION, {name: getattr(card, name) for name in _SETTINGS}]).encode())
    for path in [prefix.with_name(f"{prefix.name}.index"), *sorted(folder.glob(f"{prefix.name}.data-*"))]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def load_weights(network: Any, card: ModelCard, folder: Path) -> None:
    """Fill a network that was built for the card with the weights of a checkpoint.

    Parameters
    ----------
    network : keras.Model
        As `cadenza_remix.separation.unet` builds it.
    folder : Path
        Holds the checkpoint's ``.index`` and ``.data`` files.

    Raises
    ------
    ModelError
        The checkpoint cannot be read, or does not fit the table or the network.
    """
    where = f"{folder}: not {card.name}"
    fill_network(network, card, match_variables(weight_table(card), read_checkpoint(folder), where=where))


def fill_network(network: Any, card: ModelCard, weights: Mapping[tuple[str, str], NDArray[np.float32]]) -> None:
    """Give a network its weights, by (layer, weight).

    Raises
    ------
    ModelError
        A weight has another shape in the network, or the network has weights that are not given.
    """
    unfilled = {variable.path for variable in network.weights}
    for (layer, weight), values in weights.items():
        variable = getattr(network.get_layer(layer), weight)
        if tuple(variable.shape) != values.shape:
            raise ModelError(
                f"{card.name}: {layer}/{weight} of the network has another shape: "
                f"expected {values.shape}, found {tuple(variable.shape)}"
            )
        variable.assign(values)
        unfilled.remove(variable.path)
    if unfilled:
        raise ModelError(f"{card.name}: the table leaves out weights of the network: {', '.join(sorted(unfilled))}")


def match_variables(
    table: tuple[Slot, ...], variables: Mapping[str, NDArray[Any]], *, where: str
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """Hold a checkpoint against the table and return the values by (layer, weight).

    Raises
    ------
    ModelError
        A variable is unknown, missing or misshapen, or holds NaN or infinity; the line names the first of them.
    """
    known = {slot.variable: slot for slot in table}
    for name in sorted(variables):
        if name not in known and not _is_optimiser_state(name, known):
            shape = tuple(variables[name].shape)
            raise ModelError(f"{where}: unknown variable '{name}': expected none of this name, found shape {shape}")
    weights = {}
    for slot in table:
        if slot.variable not in variables:
            raise ModelError(f"{where}: missing variable '{slot.variable}': expected shape {slot.shape}, found none")
        values = variables[slot.variable]
        if tuple(values.shape) != slot.shape:
            found = tuple(values.shape)
            raise ModelError(f"{where}: misshapen variable '{slot.variable}': expected {slot.shape}, found {found}")
        if slot.layer is None:
            continue
        if not np.isfinite(values).all():
            raise ModelError(
                f"{where}: damaged variable '{slot.variable}': expected finite numbers, found NaN or infinity"
            )
        weights[slot.layer, slot.weight] = np.asarray(values, dtype=np.float32)
    return weights


def read_checkpoint(folder: Path) -> dict[str, NDArray[Any]]:
    """Read all variables of the one TensorFlow checkpoint in a folder.

    Raises
    ------
    ModelError
        There is none or more than one, or TensorFlow finds it damaged (each tensor carries a checksum) or truncated.
    """
    prefix = _prefix(folder)
    tensorflow = load_tensorflow()
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    except (tensorflow.errors.OpError, RuntimeError, ValueError, LookupError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{prefix}: damaged or truncated checkpoint (import or fetch it again): {reason}") from error


def _prefix(folder: Path) -> Path:
    found = sorted(folder.glob("[!.]*.index"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"{folder}: no checkpoint to read: expected one .index file, found {names}")
    prefix = found[0].with_suffix("")
    if not list(folder.glob(f"{prefix.name}.data-*")):
        raise ModelError(
            f"{folder}: incomplete checkpoint: expected {prefix.name}.data-* beside {found[0].name}, found none"
        )
    return prefix


def _stem_slots(index: int, stem: str) -> Iterator[Slot]:
    down, up = len(_FILTERS), (*_FILTERS[-2::-1], 1)
    n_inputs = _N_CHANNELS
    for level, filters in enumerate(_FILTERS, start=1):
        name = _numbered("conv2d", 7 * index + level - 1)
        yield from _conv(name, (5, 5, n_inputs, filters), filters, f"{stem}_down{level}_conv")
        # The way up starts from the raw sixth convolution: its normalisation was made, saved and never connected.
        layer = f"{stem}_down{level}_norm" if level < down else None
        yield from _norm(_numbered("batch_normalization", 12 * index + level - 1), filters, layer)
        n_inputs = filters
    for level, filters in enumerate(up, start=1):
        name = _numbered("conv2d_transpose", 6 * index + level - 1)
        # Transposed kernels hold their outputs before their inputs; from the second on, the inputs are doubled by
        # what comes across.
        yield from _conv(name, (5, 5, filters, n_inputs), filters, f"{stem}_up{level}_conv")
        number = 12 * index + down + level - 1
        yield from _norm(_numbered("batch_normalization", number), filters, f"{stem}_up{level}_norm")
        n_inputs = 2 * filters
    yield from _conv(_numbered("conv2d", 7 * index + down), (4, 4, 1, _N_CHANNELS), _N_CHANNELS, f"{stem}_mask_conv")


def _conv(variable: str, shape: tuple[int, ...], n_outputs: int, layer: str) -> Iterator[Slot]:
    yield Slot(f"{variable}/kernel", shape, layer, "kernel")
    yield Slot(f"{variable}/bias", (n_outputs,), layer, "bias")


def _norm(variable: str, n_channels: int, layer: str | None) -> Iterator[Slot]:
    for weight in _NORM_WEIGHTS:
        yield Slot(f"{variable}/{weight}", (n_channels,), layer, weight)


def _numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def _is_optimiser_state(name: str, known: Mapping[str, Slot]) -> bool:
    if name in _OPTIMISER_NAMES:
        return True
    return any(name.endswith(suffix) and name[: -len(suffix)] in known for suffix in _OPTIMISER_SUFFIXES)

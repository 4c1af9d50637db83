"""A model that was trained here as a separator: songs of any length at 44.1 kHz."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from cadenza_remix.audio.blocks import BlockSource, StemBlock, checked_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.separation.models.untrusted import shown
from cadenza_remix.separation.networks.masking import REST_STEMS
from cadenza_remix.separation.options import HighBand, SeparationOptions
from cadenza_remix.separation.separator import Progress, check_source_rate, separate_whole
from cadenza_remix.separation.stems import Stems
from cadenza_remix.separation.trained.engine import SAMPLE_RATE, PatchEngine
from cadenza_remix.separation.trained.folder import TrainedModel, load_network, read_model_folder
from cadenza_remix.separation.trained.masks import rest_index

_KNOWN_OPTIONS = ("device", "high_band")
_TOLD = 200


class TrainedSeparator:
    """One model with its weights, by way of masks on the mixture's spectra; its phases are kept.

    Memory does not grow with the song. Above what the network sees (its band, or half its sample rate), and where its
    masks leave something over, ``high_band`` decides: ``residual`` makes the stem of the rest the song minus the other
    stems, so that all of them sum to the song; that is the way where there is such a stem, ``zeros`` elsewhere.

    Parameters
    ----------
    model : TrainedModel
        From `read_model_folder`.
    name : str, optional
        As it was asked for, where that is not by its folder; the model's own by default.
    options : SeparationOptions, optional
        ``device`` and ``high_band`` are known.

    Raises
    ------
    InputError
        An option is not known, or ``residual`` was asked for and no stem is the rest; from `separate`: there is no
        such device.
    ModelError
        From `separate`: the weights do not fit, or the network gives what it should not.
    """

    def __init__(
        self, model: TrainedModel, *, name: str | None = None, options: SeparationOptions | None = None
    ) -> None:
        self.model = model
        self.name = name or model.name
        self.stems = model.spec.stems
        self.sample_rate = SAMPLE_RATE
        self.options = options or SeparationOptions()
        self.options.refuse_all_but(_KNOWN_OPTIONS, separator=self.name)
        self.high_band = _high_band(model.spec.stems, self.options, self.name)
        self.fingerprint = _fingerprint(model, self.high_band)

    def __repr__(self) -> str:
        asked = "".join(f", {name}={getattr(self.options, name)!r}" for name in self.options.changed())
        return f"TrainedSeparator({self.name!r}, {str(self.model.path)!r}{asked})"

    @property
    def device(self) -> str:
        """What it runs on, ``tensorflow on CPU``."""
        from cadenza_remix.separation.networks.backend import find_device

        return str(find_device(self.options.device))

    @property
    def private_data(self) -> bool | None:
        """Whether unpublished songs were among the training data; None where the model does not say."""
        private = self.model.facts.get("private_data")
        return private if isinstance(private, bool) else None

    @property
    def training_data(self) -> str | None:
        """What the model says of its training data, in a line."""
        data = self.model.facts.get("data")
        if data is None:
            return None
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        return shown(" ".join(text.split()), _TOLD)

    @cached_property
    def engine(self) -> PatchEngine:
        """What separates; made when the first song comes: until then neither Keras nor its back end is loaded."""
        from cadenza_remix.separation.networks.backend import choose_device

        device = choose_device(self.options.device)
        with device.scope():
            network = load_network(self.model)
        network.compile(jit_compile=device.backend == "jax")
        function = device.bound(network.predict_on_batch)
        return PatchEngine(self.model.spec, self.model.inference, function, high_band=self.high_band)

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate block by block; see `cadenza_remix.separation.separator.Separator.separate_blocks`."""
        check_source_rate(source, self.sample_rate)

        def tell(seconds: float) -> None:
            if progress is not None and source.duration_s:
                progress(min(1.0, seconds / source.duration_s))

        for stems in self.engine.separate(checked_blocks(source), tell=tell):
            yield {name: stem.T for name, stem in zip(self.stems, stems, strict=True)}
        if progress is not None:
            progress(1.0)


def load_trained(
    folder: str | Path, *, name: str | None = None, options: SeparationOptions | None = None
) -> TrainedSeparator:
    """Make a separator of a model's folder.

    Parameters
    ----------
    folder : str or Path
        As training writes it; ``~`` is the user's own.
    name : str, optional
        A public name for a model that comes with a package; the name in the folder by default.
    options : SeparationOptions, optional

    Raises
    ------
    InputError
        There is no trained model, or an option is not known to it.
    ModelError
        The model is damaged.
    """
    return TrainedSeparator(read_model_folder(folder), name=name, options=options)


def _high_band(stems: tuple[str, ...], options: SeparationOptions, name: str) -> HighBand:
    rest = rest_index(stems)
    if options.high_band == "residual" and rest is None:
        raise InputError(
            "no stem can take the residual", where=name, expected=" or ".join(REST_STEMS), found=", ".join(stems)
        )
    return options.high_band or ("zeros" if rest is None else "residual")


def _fingerprint(model: TrainedModel, high_band: HighBand) -> str:
    """Return digits that change with whatever changes the stems; not with the file's date or the folder's name."""
    settings = json.dumps([model.spec.as_dict(), model.inference.as_dict(), high_band], sort_keys=True)
    return hashlib.sha256(f"{model.weights_sha256} {settings}".encode()).hexdigest()[:16]

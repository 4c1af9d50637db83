"""From the stems of a song and a listener's audiograms to eight enhanced stems and a remix.

The order is the one that E016 of the First Cadenza Challenge tells (gains, NAL-R, compressor, sum, band-pass), with
every part of it a setting of a `Chain`. All of it runs at the rate of the music (44.1 kHz); only the results are
resampled to the rates at which the challenge wants them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from cadenza_remix.audio.resample import resample, resample_samples
from cadenza_remix.audio.signal import EARS, REMIX_SAMPLE_RATE, STEM_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.aid import aid_ear
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.band_pass import BandPassSettings, band_pass
from cadenza_remix.hearing.compressor import CompressorSettings
from cadenza_remix.hearing.nalr import NalrSettings
from cadenza_remix.separation.separator import Separator
from cadenza_remix.separation.stems import to_vdbo
from cadenza_remix.units import db_to_lin, rms

PRESETS = ("baseline", "e016")
LISTENING_LEVEL_DB = -23.0
_PARTS: dict[str, type] = {"nalr": NalrSettings, "compressor": CompressorSettings, "band_pass": BandPassSettings}


@dataclass(frozen=True)
class Chain:
    """What happens between the separated stems and the listener's ear; a part that is None is left out.

    ``gains_db``: gain of each stem; ``nalr``, ``compressor``: on each stem and ear; ``band_pass``: on the remix;
    ``band_pass_stems``: on the stems as well (E016's text has it on the remix alone).
    """

    name: str = "custom"
    gains_db: Mapping[str, float] = field(default_factory=dict)
    nalr: NalrSettings | None = None
    compressor: CompressorSettings | None = None
    band_pass: BandPassSettings | None = None
    band_pass_stems: bool = False

    def __post_init__(self) -> None:
        for stem, gain_db in self.gains_db.items():
            if stem not in STEMS:
                raise unknown_name("stem", stem, STEMS, where="gains_db")
            if not isinstance(gain_db, (int, float)) or isinstance(gain_db, bool) or not np.isfinite(gain_db):
                raise InputError(
                    "wrong gain", where=f"gains_db: {stem}", expected="a number of dB", found=repr(gain_db)
                )
        if not isinstance(self.band_pass_stems, bool):
            raise InputError(
                "wrong value", where="band_pass_stems", expected="true or false", found=repr(self.band_pass_stems)
            )
        if self.band_pass_stems and self.band_pass is None:
            raise InputError("band_pass_stems without band_pass", where=self.name, expected="a band_pass part")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for records."""
        return asdict(self)


@dataclass(frozen=True)
class Enhanced:
    """What one listener gets of one song.

    ``stems``: key ``<ear>_<stem>``, mono at 24 kHz, not scaled; ``remix``: stereo at 32 kHz, before any clipping.
    """

    stems: Mapping[str, Audio]
    remix: Audio


def load_chain(source: str | Path) -> Chain:
    """Return a preset (``baseline``, ``e016``) or read a YAML file of the same form.

    A part is switched on by ``true`` (default settings) or by a mapping of its settings, off by ``false`` or by leaving
    it out.

    Raises
    ------
    InputError
        Neither a preset nor a file; unknown or wrong keys: the message names them.

    Examples
    --------
    >>> load_chain("baseline").nalr
    NalrSettings(order=220)
    """
    if str(source) in PRESETS:
        text = resources.files("cadenza_remix.resources").joinpath(f"chain_{source}.yaml").read_text(encoding="utf-8")
        return chain_from(yaml.safe_load(text), name=str(source), where=str(source))
    path = Path(source)
    if path.suffix.lower() not in {".yaml", ".yml"}:
        raise unknown_name("chain", source, (*PRESETS, "FILE.yaml"))
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "chain file is missing", where=path, expected="a YAML file, or " + " or ".join(PRESETS)
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        found = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError("is not YAML", where=path, expected="settings of a chain", found=found) from error
    except OSError as error:
        raise InputError("cannot be read", where=path, expected="a YAML file", found=error.strerror) from error
    return chain_from(settings, name=path.stem, where=str(path))


def chain_from(settings: object, *, name: str, where: str = "chain") -> Chain:
    """Build a chain from plain values (a YAML mapping), refusing every key that is not known."""
    if not isinstance(settings, Mapping):
        raise InputError("wrong form", where=where, expected="a mapping of settings", found=type(settings).__name__)
    known = [entry.name for entry in fields(Chain) if entry.name != "name"]
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "name":
            continue
        if key not in known:
            raise unknown_name("key", key, known, where=where)
        if key == "gains_db" and not isinstance(value, Mapping):
            raise InputError("wrong gains_db", where=where, expected="a mapping stem: dB", found=repr(value))
        values[key] = _part(key, value, where) if key in _PARTS else value
    try:
        return Chain(name=name, **values)
    except InputError as error:
        raise InputError(str(error), where=where) from error


def enhance(
    song: Audio | Mapping[str, Audio],
    listener: Listener,
    *,
    separator: Separator | None = None,
    chain: Chain | str | Path = "baseline",
) -> Enhanced:
    """Demix a song and process it for one listener: the whole job on arrays.

    Parameters
    ----------
    song : Audio, or mapping of str to Audio
        The mixture; or its stems, separated before, so that many listeners cost one separation.
    listener : Listener
    separator : Separator, optional
        Needed for a mixture; from `load_separator`.
    chain : Chain or str or Path
        A preset (``baseline``, ``e016``), a YAML file or a `Chain`.

    Raises
    ------
    InputError
        A mixture without a separator; a separator that does not give vocals, drums, bass and other.
    """
    settings = chain if isinstance(chain, Chain) else load_chain(chain)
    if isinstance(song, Audio):
        if separator is None:
            raise InputError("a mixture needs a separator", where="enhance", expected="separator=load_separator(...)")
        song = to_vdbo(separator.separate(resample(song, separator.sample_rate)))
    return enhance_stems(song, listener, settings)


def enhance_stems(stems: Mapping[str, Audio], listener: Listener, chain: Chain) -> Enhanced:
    """Process separated stems for one listener.

    Parameters
    ----------
    stems : mapping of str to Audio
        vocals, drums, bass, other, each stereo (left and right are the ears) at one rate. Shorter stems are padded with
        silence at their end.
    listener : Listener
    chain : Chain

    Returns
    -------
    Enhanced

    Raises
    ------
    InputError
        Stems missing or of different rates; a band-pass edge above Nyquist.
    """
    sample_rate = _check_stems(stems)
    n_samples = max(audio.n_samples for audio in stems.values())
    enhanced: dict[str, Audio] = {}
    remix = np.zeros((n_samples, len(EARS)))
    for column, ear in enumerate(EARS):
        for stem in STEMS:
            samples = np.zeros(n_samples)
            samples[: stems[stem].n_samples] = stems[stem].stereo().samples[:, column]
            samples *= db_to_lin(chain.gains_db.get(stem, 0.0))
            aided = aid_ear(
                samples, listener.ear(ear), sample_rate=sample_rate, nalr=chain.nalr, compressor=chain.compressor
            )
            remix[:, column] += aided
            if chain.band_pass is not None and chain.band_pass_stems:
                aided = band_pass(aided, sample_rate=sample_rate, settings=chain.band_pass)
            enhanced[f"{ear}_{stem}"] = _at_rate(aided, sample_rate, STEM_SAMPLE_RATE, f"{ear} {stem}")
    if chain.band_pass is not None:
        remix = band_pass(remix, sample_rate=sample_rate, settings=chain.band_pass)
    return Enhanced(enhanced, _at_rate(remix, sample_rate, REMIX_SAMPLE_RATE, "remix"))


def at_listening_level(audio: Audio) -> Audio:
    """Return audio at -23 dB of full scale (RMS), peaks softly clipped: for comparing by ear at one level."""
    level = rms(audio.samples)
    gain = float(db_to_lin(LISTENING_LEVEL_DB)) / level if level else 1.0
    return Audio(soft_clip(gain * audio.samples), audio.sample_rate, audio.name)


def soft_clip(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """Limit a remix smoothly to full scale: ``tanh``, as the challenge's baseline does."""
    return np.tanh(np.asarray(samples, dtype=np.float64))


def _at_rate(samples: NDArray[np.float64], orig_rate: int, target_rate: int, name: str) -> Audio:
    return Audio(resample_samples(samples, orig_rate, target_rate), target_rate, name)


def _check_stems(stems: Mapping[str, Audio]) -> int:
    missing = [stem for stem in STEMS if stem not in stems]
    if missing:
        raise InputError(
            "stems are missing", where=", ".join(missing), expected=", ".join(STEMS), found=", ".join(stems)
        )
    rates = {stems[stem].sample_rate for stem in STEMS}
    if len(rates) > 1:
        raise InputError("stems differ in sample rate", expected="one rate", found=sorted(rates))
    return rates.pop()


def _part(key: str, value: object, where: str) -> Any:
    kind = _PARTS[key]
    if value is None or value is False:
        return None
    if value is True:
        value = {}
    if not isinstance(value, Mapping):
        raise InputError(
            f"wrong {key}", where=where, expected="true, false or a mapping of settings", found=repr(value)
        )
    known = [entry.name for entry in fields(kind)]
    for name in value:
        if name not in known:
            raise unknown_name("key", name, known, where=f"{where}: {key}")
    try:
        return kind(**value)
    except InputError as error:
        raise InputError(str(error), where=where) from error

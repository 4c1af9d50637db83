"""Short clips in the page: one loudness for all, Opus in an OGG file, at most ten seconds."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import numpy as np

from cadenza_remix.audio.resample import resample
from cadenza_remix.audio.signal import Audio
from cadenza_remix.report.page.markup import Html, data_uri, element, missing
from cadenza_remix.units import db_to_lin

CLIP_LUFS = -23.0
_HIGHEST_PEAK = 0.89  # Opus overshoots a little: 1 dB is left
_OPUS_RATE = 48_000
_COMPRESSION = 0.75  # on libsndfile's scale from 0 (largest) to 1: about 130 kbit/s in stereo


def clips(signals: Mapping[str, Audio], whose: str) -> Html | None:
    """Return a player for each signal; all sound equally loud.

    Parameters
    ----------
    signals : mapping of str to Audio
        By what to call them.
    whose : str
        Told in the players' labels.
    """
    lufs = {name: _lufs(audio) for name, audio in signals.items()}
    audible = {name: audio for name, audio in signals.items() if math.isfinite(lufs[name])}
    if not audible:
        return missing("Nothing to listen to: silent or not found.")
    gains = {name: float(db_to_lin(CLIP_LUFS - lufs[name])) for name in audible}
    peak = max(gains[name] * float(np.abs(audio.samples).max()) for name, audio in audible.items())
    all_lower = min(1.0, _HIGHEST_PEAK / peak)
    players = [
        _player(name, f"{name} of {whose}", _opus(audio, gains[name] * all_lower)) for name, audio in audible.items()
    ]
    return element("div", *players, class_="clips")


def _lufs(audio: Audio) -> float:
    from cadenza_remix.audio.loudness import integrated_lufs

    return integrated_lufs(audio)


def _opus(audio: Audio, gain_lin: float) -> bytes:
    import soundfile

    louder = Audio((audio.samples * np.float32(gain_lin)).astype(np.float32), audio.sample_rate)
    samples = np.clip(resample(louder, _OPUS_RATE).samples, -1.0, 1.0)
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", _OPUS_RATE, samples.shape[1], format="OGG", subtype="OPUS", compression_level=_COMPRESSION
    ) as writer:
        writer.write(samples)
    return file.getvalue()


def _player(name: str, label: str, data: bytes) -> Html:
    audio = element("audio", controls=True, preload="metadata", aria_label=label, src=data_uri(data, "audio/ogg"))
    return element("div", element("span", name), audio, class_="clip")

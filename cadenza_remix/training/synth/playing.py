"""From notes to sound: each key's tone is made once and used for all its notes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.training.synth.notes import Hit, Note
from cadenza_remix.training.synth.patches import Patch, tone
from cadenza_remix.training.synth.tones import RATE, Samples

Stereo = NDArray[np.float32]
_LONGEST_S = 6.0
_N_HARDNESS = 3


def play_notes(notes: Sequence[Note], patch: Patch, n_samples: int, rng: np.random.Generator) -> Stereo:
    """Return a part as its instrument plays it: float32, shape (n_samples, 2)."""
    n_channels = 2 if patch.is_wide else 1
    out = np.zeros((n_channels, n_samples), dtype=np.float32)
    longest: dict[tuple[int, int], float] = {}
    for note in notes:
        key = _tone_key(note)
        longest[key] = max(longest.get(key, 0.0), _sounding_s(note, patch))
    cached = {
        key: [tone(patch, key[0], seconds, key[1] / (_N_HARDNESS - 1), rng) for _ in range(n_channels)]
        for key, seconds in longest.items()
    }
    for note in notes:
        start = int(note.start_s * RATE)
        length = int(_sounding_s(note, patch) * RATE)
        gain = np.float32(0.35 + 0.65 * note.velocity)
        release = np.float32(patch.release_s)
        muted = patch.muted_share > 0 and note.duration_s < 0.16 and rng.random() < patch.muted_share
        for channel, samples in enumerate(cached[_tone_key(note)]):
            piece = samples[:length] if note.slide_from is None else _glide(samples, note, length)
            end = min(start + len(piece), n_samples)
            if end <= start:
                continue
            piece = _released(piece, note.duration_s * (0.5 if muted else 1.0), float(release))
            out[channel, start:end] += gain * piece[: end - start]
    return np.ascontiguousarray(np.broadcast_to(out.T, (n_samples, 2)))


def play_hits(
    hits: Sequence[Hit], kit: dict[str, list[Samples]], n_samples: int, rng: np.random.Generator
) -> dict[str, Samples]:
    """Return what each piece of the kit plays, unpanned: float32, shape (n_samples,).

    A kit holds one or more strokes per piece, from soft to hard. Closed and trodden hats choke the open one.
    """
    pieces: dict[str, Samples] = {}
    hat_times = sorted(hit.start_s for hit in hits if hit.piece in ("hat_closed", "hat_pedal", "hat_open"))
    for hit in hits:
        layers = kit.get(hit.piece)
        if not layers:
            continue
        out = pieces.setdefault(hit.piece, np.zeros(n_samples, dtype=np.float32))
        index = int(np.clip(round(hit.velocity * (len(layers) - 1) + rng.normal(0, 0.25)), 0, len(layers) - 1))
        stroke = layers[index]
        start = int(hit.start_s * RATE)
        length = min(len(stroke), n_samples - start)
        if length <= 0:
            continue
        gain = np.float32(hit.velocity**1.5 * rng.uniform(0.92, 1.0))
        stroke = stroke[:length]
        if hit.piece == "hat_open":
            after = next((time for time in hat_times if time > hit.start_s + 0.04), None)
            if after is not None:
                stroke = _released(stroke, after - hit.start_s, 0.03)
        out[start : start + len(stroke)] += gain * stroke[: n_samples - start]
    return pieces


def _tone_key(note: Note) -> tuple[int, int]:
    return note.pitch, round(note.velocity * (_N_HARDNESS - 1))


def _sounding_s(note: Note, patch: Patch) -> float:
    return min(note.duration_s, _LONGEST_S) + 4 * patch.release_s + 0.01


def _released(samples: Samples, held_s: float, release_s: float) -> Samples:
    """Return a tone that is let go after a time; it ends where nothing is left of it."""
    held = int(held_s * RATE)
    if held >= len(samples):
        return samples
    fade = np.exp(-np.arange(len(samples) - held, dtype=np.float32) / np.float32(release_s * RATE))
    fade[-64:] *= np.linspace(1, 0, len(fade[-64:]), dtype=np.float32)
    return np.concatenate([samples[:held], samples[held:] * fade])


def _glide(samples: Samples, note: Note, length: int) -> Samples:
    """Read a tone faster or slower at first, so that it glides to its pitch."""
    assert note.slide_from is not None
    times = np.arange(length) / RATE
    glide_s = min(0.12, note.duration_s / 2)
    bend = (note.slide_from - note.pitch) * np.clip(1 - times / glide_s, 0, 1)
    places = np.cumsum(2.0 ** (bend / 12))
    return np.interp(places, np.arange(len(samples)), samples, right=0).astype(np.float32)

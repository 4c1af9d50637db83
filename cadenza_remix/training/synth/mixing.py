"""From tracks to stems to a mix: colour, place, room, level, and a mastering gain that all stems share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cadenza_remix.audio.signal import STEMS
from cadenza_remix.training.synth import effects
from cadenza_remix.training.synth.effects import Band, Track
from cadenza_remix.training.synth.tones import RATE, Samples
from cadenza_remix.units import db_to_lin, rms

# Where the pieces stand (-1 left, 1 right, as the audience sees the kit) and their level in dB beside the kick.
_PLACES = {
    "kick": 0.0, "snare": 0.03, "sidestick": 0.1, "clap": 0.0, "hat_closed": 0.35, "hat_pedal": 0.35,
    "hat_open": 0.35, "ride": -0.45,
    "crash": -0.5, "crash2": 0.55, "tom_high": 0.35, "tom_mid": 0.0, "tom_low": -0.4, "tambourine": -0.4,
    "shaker": 0.5, "cowbell": -0.25,
    "conga_high": 0.5, "conga_low": 0.4,
}  # fmt: skip
_PIECE_LEVELS_DB = {
    "kick": 0.0, "snare": -1.0, "sidestick": -6.0, "clap": -5.0, "hat_closed": -15.0, "hat_pedal": -17.0,
    "hat_open": -14.0, "ride": -14.0,
    "crash": -10.0, "crash2": -10.0, "tom_high": -4.0, "tom_mid": -3.5, "tom_low": -3.0, "tambourine": -16.0,
    "shaker": -18.0,
    "cowbell": -13.0, "conga_high": -10.0, "conga_low": -9.0,
}  # fmt: skip
_STEM_LEVELS_DB = {"vocals": 0.0, "drums": -0.5, "bass": -1.5, "other": 0.5}
_SPREAD_DB = 2.3
_DRY_PIECES = ("kick", "hat_closed", "hat_pedal", "shaker")


@dataclass(frozen=True)
class Space:
    """The rooms of one song: one near, one large."""

    room: Track
    hall: Track
    wetness: float


def random_space(rng: np.random.Generator, *, wetness: float) -> Space:
    """Return two random rooms; ``wetness`` from 0 to 1 scales how much of them is heard."""
    room = effects.impulse_response(
        rng, decay_s=rng.uniform(0.2, 0.7), pre_delay_s=0.003, damping_hz=rng.uniform(2500, 8000)
    )
    hall = effects.impulse_response(
        rng, decay_s=rng.uniform(0.9, 2.4), pre_delay_s=rng.uniform(0.005, 0.05), damping_hz=rng.uniform(2000, 7000)
    )
    return Space(room, hall, wetness)


def mix_drums(pieces: Mapping[str, Samples], space: Space, drive: float, rng: np.random.Generator) -> Track:
    """Return the drum stem: every piece at its place, close microphones and the room, compressed together."""
    n_samples = len(next(iter(pieces.values()), ()))
    dry = np.zeros((n_samples, 2), dtype=np.float32)
    send = np.zeros((n_samples, 2), dtype=np.float32)
    width = rng.uniform(0.3, 1.1) * rng.choice([-1, 1])
    kick_lift, snare_lift, metal_lift = rng.normal(-3.5, 2.5), rng.normal(0.5, 2), rng.normal(1, 3)
    for piece, samples in pieces.items():
        lift = {"kick": kick_lift, "snare": snare_lift}.get(
            piece, metal_lift if "hat" in piece or "c" in piece[:1] else 0
        )
        gain = db_to_lin(_PIECE_LEVELS_DB[piece] + lift + rng.normal(0, 1))
        track = _coloured_piece(piece, samples, rng)
        placed = pan(track, float(np.clip(_PLACES[piece] * width + rng.normal(0, 0.03), -1, 1))) * np.float32(gain)
        dry += placed
        if piece not in _DRY_PIECES:
            send += placed
        else:
            send += np.float32(0.25) * placed
    room = effects.reverberate(send, space.room)
    mixed = dry + np.float32(space.wetness * rng.uniform(0.05, 0.6)) * room
    if rng.random() < 0.25:
        mixed += np.float32(space.wetness * rng.uniform(0.05, 0.25)) * effects.reverberate(send, space.hall)
    mixed = effects.compress(
        mixed,
        threshold_db=rng.uniform(0, 6),
        ratio=rng.uniform(1.5, 4),
        attack_ms=rng.uniform(5, 30),
        release_ms=rng.uniform(60, 200),
    )
    return effects.saturate(mixed, drive * rng.uniform(0, 0.35))


def _coloured_piece(piece: str, samples: Samples, rng: np.random.Generator) -> Track:
    track = samples[:, np.newaxis]
    bands: tuple[Band, ...]
    if piece == "kick":
        bands = (
            Band(rng.uniform(50, 80), rng.uniform(-2, 5)),
            Band(rng.uniform(250, 450), rng.uniform(-8, 0)),
            Band(rng.uniform(2500, 5000), rng.uniform(-2, 6)),
        )
        return effects.equalise(track, low_cut_hz=30, bands=bands)
    if piece == "snare":
        bands = (Band(rng.uniform(170, 250), rng.uniform(-2, 5)), Band(rng.uniform(3000, 7000), rng.uniform(-2, 6)))
        return effects.equalise(track, low_cut_hz=rng.uniform(60, 130), bands=bands)
    if piece.startswith(("hat", "ride", "crash", "shaker", "tambourine")):
        return effects.equalise(
            track, low_cut_hz=rng.uniform(200, 600), bands=(Band(rng.uniform(7000, 11000), rng.uniform(-5, 4)),)
        )
    return effects.equalise(track, low_cut_hz=50, bands=(Band(rng.uniform(300, 3000), rng.uniform(-4, 4)),))


def mix_bass(track: Track, drive: float, rng: np.random.Generator) -> Track:
    """Return the bass stem: in the middle, compressed, its highs cut more or less."""
    bands = (
        Band(rng.uniform(60, 110), rng.uniform(-2, 4)),
        Band(rng.uniform(200, 400), rng.uniform(-4, 4)),
        Band(rng.uniform(600, 1600), rng.uniform(-3, 9), 0.6),
        Band(rng.uniform(2000, 4000), rng.uniform(-3, 8), 0.6),
    )
    mono = effects.saturate(effects.centre(track)[:, np.newaxis], rng.uniform(0, 0.15) + drive * rng.uniform(0, 0.4))
    mono = effects.equalise(
        mono, low_cut_hz=30, high_cut_hz=float(np.exp(rng.uniform(np.log(2500), np.log(16000)))), bands=bands
    )
    mono = effects.compress(
        mono, threshold_db=rng.uniform(-8, 0), ratio=rng.uniform(2, 6), attack_ms=15, release_ms=rng.uniform(80, 250)
    )
    stereo = np.repeat(mono, 2, axis=1)
    if rng.random() < 0.2:
        high = effects.equalise(mono, low_cut_hz=250)
        stereo = stereo + 0.5 * (
            effects.chorus(np.repeat(high, 2, axis=1), rate_hz=rng.uniform(0.3, 1.2), depth_ms=1.5, mix=0.7) - high
        )
    return pan(stereo, float(rng.normal(0, 0.02)))


def mix_part(track: Track, role: str, space: Space, place: float, drive: float, rng: np.random.Generator) -> Track:
    """Return one part of the stem "other", coloured and placed, with its effects and room, at an RMS level of 0.1."""
    held = role in ("pad", "strings", "organ")
    if drive > 0.02:
        track = effects.amplify(track, drive, rng)
    bands = tuple(
        Band(float(np.exp(rng.uniform(np.log(150), np.log(9000)))), rng.uniform(-5, 5), rng.uniform(0.5, 1.5))
        for _ in range(3)
    )
    low_cut_hz = rng.uniform(70, 220) if role not in ("power", "chug", "piano") else rng.uniform(50, 110)
    high_cut_hz = rng.uniform(5000, 14000) if rng.random() < 0.3 else 0.0
    track = effects.equalise(track, low_cut_hz=low_cut_hz, high_cut_hz=high_cut_hz, bands=bands)
    if rng.random() < 0.6 and not held:
        track = effects.compress(track, threshold_db=rng.uniform(-4, 4), ratio=rng.uniform(1.5, 4))
    track = pan(track, place)
    if rng.random() < (0.35 if held else 0.2):
        track = effects.chorus(
            track, rate_hz=rng.uniform(0.2, 2), depth_ms=rng.uniform(0.5, 3), mix=rng.uniform(0.3, 0.8)
        )
    if role in ("lead", "pluck", "arpeggio", "stabs", "skank") and rng.random() < 0.5:
        track = effects.echo(
            track,
            delay_s=float(rng.choice([0.19, 0.25, 0.33, 0.375, 0.5])),
            feedback=rng.uniform(0.2, 0.6),
            mix=rng.uniform(0.1, 0.45),
        )
    response = space.hall if held or rng.random() < 0.5 else space.room
    if rng.random() < 0.85:
        track = track + np.float32(space.wetness * rng.uniform(0.05, 0.6)) * effects.reverberate(track, response)
    if rng.random() < 0.25:
        track = widen(track, rng.uniform(0.6, 1.6))
    return (track * np.float32(0.1 / max(active_rms(track), 1e-6))).astype(np.float32)


def mix_vocals(
    lines: Sequence[tuple[str, Samples]], space: Space, drive: float, step_s: float, rng: np.random.Generator
) -> Track:
    """Return the vocal stem: the lead in the middle, doubles and harmonies at the sides and softer, echo and room."""
    n_samples = len(lines[0][1]) if lines else 0
    dry = np.zeros((n_samples, 2), dtype=np.float32)
    side = float(rng.choice([-1, 1]))
    for kind, samples in lines:
        bands = (
            Band(rng.uniform(180, 400), rng.uniform(-5, 2)),
            Band(rng.uniform(2500, 5000), rng.uniform(-1, 5)),
            Band(rng.uniform(8000, 12000), rng.uniform(-3, 6)),
        )
        track = effects.equalise(samples[:, np.newaxis], low_cut_hz=rng.uniform(70, 130), bands=bands)
        track = effects.compress(
            track,
            threshold_db=rng.uniform(-8, 0),
            ratio=rng.uniform(2, 8),
            attack_ms=rng.uniform(2, 12),
            release_ms=rng.uniform(60, 180),
        )
        track = effects.saturate(track, drive * rng.uniform(0, 0.3))
        level_db = 0.0 if kind == "lead" else rng.uniform(-13, -4)
        track = track * np.float32(db_to_lin(level_db) * 0.1 / max(active_rms(track), 1e-6))
        if kind == "lead":
            dry += pan(track, float(rng.normal(0, 0.03)))
        else:
            side = -side
            placed = pan(track, side * rng.uniform(0.1, 0.9))
            if rng.random() < 0.5:  # two singers, one at each side
                late = int(rng.uniform(0.012, 0.03) * RATE)
                placed[late:] += np.float32(0.8) * placed[: n_samples - late, ::-1].copy()
            dry += placed
    wet = effects.reverberate(dry, space.hall if rng.random() < 0.7 else space.room)
    mixed = dry + np.float32(space.wetness * rng.uniform(0.03, 0.45)) * wet
    if rng.random() < 0.35:
        mixed = effects.echo(
            mixed,
            delay_s=step_s * float(rng.choice([2, 3, 4, 1])),
            feedback=rng.uniform(0.1, 0.5),
            mix=rng.uniform(0.05, 0.25),
        )
    if rng.random() < 0.12:
        mixed = effects.chorus(
            mixed, rate_hz=rng.uniform(0.2, 0.8), depth_ms=rng.uniform(0.5, 2), mix=rng.uniform(0.2, 0.6)
        )
    return mixed.astype(np.float32)


def balance(stems: Mapping[str, Track], rng: np.random.Generator) -> dict[str, Track]:
    """Return the stems at levels that real mixes have, each with a deviation of its own (measured where it plays)."""
    balanced = {}
    for stem in STEMS:
        level_db = _STEM_LEVELS_DB[stem] + float(np.clip(rng.normal(0, _SPREAD_DB), -5, 5))
        level = active_rms(stems[stem])
        gain = db_to_lin(level_db) * 0.1 / level if level > 1e-6 else 0.0
        balanced[stem] = stems[stem] * np.float32(gain)
    return balanced


def master(stems: Mapping[str, Track], rng: np.random.Generator) -> dict[str, Track]:
    """Return the stems with one gain over time for all, so that their sum is loud enough and peaks below 1.

    The gain is what a limiter on the mixture would apply: being common, it keeps the sum of the stems the mixture.
    """
    mixture = np.sum(list(stems.values()), axis=0)
    level = rms(mixture)
    ceiling = rng.uniform(0.8, 0.97)
    wanted = db_to_lin(rng.uniform(-19.5, -13.5)) / level if level > 1e-6 else 1.0
    peak = float(np.abs(mixture).max(initial=1e-9))
    limited_by_db = rng.uniform(0, 7)  # no more than this is taken off the highest peak
    wanted = float(min(wanted, ceiling / peak * db_to_lin(limited_by_db)))
    gain = np.float32(wanted) * effects.limiter_gain(mixture * np.float32(wanted), ceiling=ceiling)
    # The smoothed gain may let a peak through by a little, and a stem may peak where another cancels it in the sum.
    over = max(float(np.abs(track * gain).max(initial=0.0)) for track in (mixture, *stems.values())) / 0.985
    gain = gain / np.float32(max(1.0, over))
    return {stem: track * gain for stem, track in stems.items()}


def pan(track: Track, place: float) -> Track:
    """Return a track in stereo, at a place from -1 (left) to 1 (right); a stereo track is turned down at one side."""
    angle = (place + 1) * np.pi / 4
    gains = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32) * np.float32(np.sqrt(2))
    if track.shape[1] == 2:
        gains = np.minimum(gains, 1.0).astype(np.float32)
    return (track * gains).astype(np.float32)


def widen(track: Track, width: float) -> Track:
    """Return a stereo track with its sides scaled by a factor."""
    middle = effects.centre(track)[:, np.newaxis]
    return middle + np.float32(width) * (track - middle)


def active_rms(track: Track) -> float:
    """Return the RMS of the parts of a track that are not silent (50 ms blocks within 35 dB of the loudest)."""
    block = int(0.05 * RATE)
    n_blocks = len(track) // block
    if n_blocks == 0:
        return rms(track)
    whole = np.ascontiguousarray(track[: n_blocks * block]).reshape(n_blocks, -1)
    energy = np.einsum("ij,ij->i", whole, whole, dtype=np.float64) / whole.shape[1]
    loud = energy[energy > energy.max() * 10**-3.5]
    return float(np.sqrt(loud.mean())) if loud.size and loud.max() > 0 else 0.0

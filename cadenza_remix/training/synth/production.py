"""One song from its number: plan, players, instruments, mix. The same settings and number give the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.training.synth import effects, mixing, soundfont
from cadenza_remix.training.synth.accompaniment import Part, play_others
from cadenza_remix.training.synth.bass import play_bass
from cadenza_remix.training.synth.drumkit import random_kit
from cadenza_remix.training.synth.drums import DrumTrack, play_drums
from cadenza_remix.training.synth.melody import add_voices, sing_lead
from cadenza_remix.training.synth.notes import Note
from cadenza_remix.training.synth.patches import Patch, random_patch
from cadenza_remix.training.synth.playing import play_hits, play_notes
from cadenza_remix.training.synth.samples import SampleFolder, open_samples, random_bass_sample, sampled_kit
from cadenza_remix.training.synth.song import SongPlan, random_plan
from cadenza_remix.training.synth.tones import RATE, Samples, hertz
from cadenza_remix.training.synth.voice import random_voice, sing

_SOUNDFONT_SHARE = 0.6
_SAMPLES_SHARE = 0.5
_BASS_SAMPLE_SHARE = 0.15
# Independent streams of random numbers of one song: a change to one player leaves the others alone.
_STREAMS = ("plan", "drums", "bass", "others", "voices", "sounds", "mix")


@dataclass(frozen=True)
class BandSettings:
    """What the songs of a data set depend on, besides their number.

    Parameters
    ----------
    seed : int
    song_length_s : pair of float
        Shortest and longest duration of a song in seconds.
    engines : tuple of str
        Kinds of singing voice (`voice.available_engines`).
    soundfont, samples : Path or None
        A SoundFont and a folder of one-shot samples to use beside the band's own sounds.
    """

    seed: int
    song_length_s: tuple[float, float]
    engines: tuple[str, ...]
    soundfont: Path | None = None
    samples: Path | None = None


@dataclass(frozen=True, eq=False)
class SynthSong:
    """A finished song: its stems, float32 of shape (n_samples, 2), and what there is to know about it."""

    stems: Mapping[str, NDArray[np.float32]]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Orchestra:
    """Chosen sounds of the pitched parts: a patch of ours, or a SoundFont's program."""

    parts: tuple[Part, ...]
    patches: tuple[Patch | None, ...]
    programs: tuple[int | None, ...]


def make_song(number: int, settings: BandSettings) -> SynthSong:
    """Return a song of the band.

    Parameters
    ----------
    number : int
        Which song of the data set, from 0.
    settings : BandSettings

    Returns
    -------
    SynthSong
        Stems vocals, drums, bass, other at 44.1 kHz; their sum peaks below 1.
    """
    streams = {name: np.random.default_rng([settings.seed, number, index]) for index, name in enumerate(_STREAMS)}
    plan = random_plan(streams["plan"], song_length_s=settings.song_length_s)
    n_samples = int(plan.duration_s * RATE)
    folder = None if settings.samples is None else open_samples(settings.samples)
    drums = play_drums(plan, streams["drums"])
    parts = (Part("bass", play_bass(plan, drums, streams["bass"])), *play_others(plan, streams["others"]))
    orchestra = _choose_sounds(plan, parts, settings, streams["sounds"])
    tracks = _play(orchestra, settings, n_samples, streams["sounds"])
    sampled = _sampled_bass(folder, parts[0].notes, n_samples, streams["sounds"])
    kit, kit_name = _choose_kit(plan, settings, folder, streams["sounds"])
    pieces = play_hits(drums.hits, kit, n_samples, streams["drums"])
    vocals, voices = _sing(plan, settings, n_samples, streams["voices"])

    rng = streams["mix"]
    space = mixing.random_space(rng, wetness=float(rng.uniform(0.15, 1.0)))
    drive = plan.genre.drive
    stems = {
        "vocals": mixing.mix_vocals(vocals, space, drive, plan.step_s, rng),
        "drums": mixing.mix_drums(pieces, space, drive, rng) if pieces else np.zeros((n_samples, 2), dtype=np.float32),
        "bass": mixing.mix_bass(_driven(tracks[0] if sampled is None else sampled, orchestra.patches[0]), drive, rng),
        "other": _mix_others(orchestra, tracks[1:], space, rng),
    }
    stems = _pump(plan, drums, stems, rng)
    stems = mixing.master(mixing.balance(stems, rng), rng)
    sounds = [
        {"role": part.role, "sound": patch.kind if patch is not None else f"program {program}"}
        for part, patch, program in zip(orchestra.parts, orchestra.patches, orchestra.programs, strict=True)
    ]
    if sampled is not None:
        sounds[0]["sound"] = "sample"
    return SynthSong(stems, _facts(number, plan) | {"drums": kit_name, "instruments": sounds, "voices": voices})


def _facts(number: int, plan: SongPlan) -> dict[str, Any]:
    return {
        "number": number,
        "genre": plan.genre.name,
        "tempo_bpm": plan.tempo_bpm,
        "beats_per_bar": plan.beats_per_bar,
        "swing": round(plan.swing, 4),
        "key": {"tonic": plan.key.tonic, "mode": plan.key.mode},
        "first_beat_s": round(plan.lead_in_s, 6),
        "sections": [
            {"kind": section.kind, "first_bar": section.first_bar, "n_bars": section.n_bars}
            for section in plan.sections
        ],
    }


def _choose_sounds(
    plan: SongPlan, parts: tuple[Part, ...], settings: BandSettings, rng: np.random.Generator
) -> _Orchestra:
    patches: list[Patch | None] = []
    programs: list[int | None] = []
    for part in parts:
        role = str(rng.choice(plan.genre.bass_kinds)) if part.role == "bass" else part.role
        acoustic = role in ("plucked", "picked", "soft", "slap", "driven")
        family = role if part.role != "bass" else ("bass" if acoustic else "synth-bass")
        program = None
        if settings.soundfont is not None and rng.random() < _SOUNDFONT_SHARE:
            program = soundfont.random_program(family, rng)
        programs.append(program)
        patches.append(None if program is not None else random_patch(role, rng))
    return _Orchestra(parts, tuple(patches), tuple(programs))


def _play(
    orchestra: _Orchestra, settings: BandSettings, n_samples: int, rng: np.random.Generator
) -> list[effects.Track]:
    """Return the tracks of all parts, shape (n_samples, 2) each."""
    played: dict[int, effects.Track] = {}
    borrowed = [index for index, program in enumerate(orchestra.programs) if program is not None]
    if borrowed and settings.soundfont is not None:
        takes = [soundfont.Take(orchestra.programs[i] or 0, orchestra.parts[i].notes) for i in borrowed]
        played.update(zip(borrowed, soundfont.play_takes(settings.soundfont, takes, n_samples), strict=True))
    for index, patch in enumerate(orchestra.patches):
        if patch is not None:
            played[index] = play_notes(orchestra.parts[index].notes, patch, n_samples, rng)
    return [played[index] for index in range(len(orchestra.parts))]


def _driven(track: effects.Track, patch: Patch | None) -> effects.Track:
    return track if patch is None else effects.saturate(track, 0.6 * patch.drive)


def _sampled_bass(
    folder: SampleFolder | None, notes: tuple[Note, ...], n_samples: int, rng: np.random.Generator
) -> effects.Track | None:
    """Return the bass line played with a sample, now and then; None otherwise."""
    if folder is None or rng.random() > _BASS_SAMPLE_SHARE:
        return None
    found = random_bass_sample(folder, rng)
    if found is None:
        return None
    sample, sample_hz = found
    out = np.zeros(n_samples, dtype=np.float32)
    at_pitch: dict[int, Samples] = {}
    for note in notes:
        if note.pitch not in at_pitch:
            places = np.arange(0, len(sample) - 1, hertz(note.pitch) / sample_hz)
            at_pitch[note.pitch] = np.interp(places, np.arange(len(sample)), sample).astype(np.float32)
        start = int(note.start_s * RATE)
        held = int(note.duration_s * RATE)
        piece = at_pitch[note.pitch][: min(held + 1500, max(0, n_samples - start))].copy()
        fade = min(1500, len(piece))
        if fade:
            piece[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        out[start : start + len(piece)] += np.float32(note.velocity) * piece
    return np.repeat(out[:, np.newaxis], 2, axis=1)


def _choose_kit(
    plan: SongPlan, settings: BandSettings, folder: SampleFolder | None, rng: np.random.Generator
) -> tuple[dict[str, list[Samples]], str]:
    is_synthetic = bool(rng.random() < plan.genre.synthetic_drums)
    kit = random_kit(rng, is_synthetic=is_synthetic)
    name = "synthetic" if is_synthetic else "modelled"
    if settings.soundfont is not None and rng.random() < _SOUNDFONT_SHARE:
        borrowed = soundfont.load_kit(settings.soundfont, rng, is_synthetic=is_synthetic)
        kit |= {piece: strokes for piece, strokes in borrowed.items() if rng.random() > 0.12}
        name = "soundfont"
    if folder is not None and rng.random() < _SAMPLES_SHARE:
        kit = sampled_kit(folder, kit, rng)
        name += " and samples"
    return kit, name


def _sing(
    plan: SongPlan, settings: BandSettings, n_samples: int, rng: np.random.Generator
) -> tuple[list[tuple[str, Samples]], list[dict[str, str]]]:
    """Return what is sung, line by line, and who sings."""
    voice = random_voice(rng, engines=settings.engines)
    lead = sing_lead(plan, (voice.low_pitch, voice.high_pitch), rng)
    lines = [lead, *add_voices(plan, lead, rng)]
    sung, facts = [], []
    for line in lines:
        singer = (
            voice
            if line.kind in ("lead", "double") or rng.random() < 0.5
            else random_voice(rng, engines=settings.engines)
        )
        sung.append((line.kind, sing(line.notes, singer, n_samples=n_samples, rng=rng)))
        facts.append({"kind": line.kind, "engine": singer.engine, "speech_voice": singer.speech_voice})
    return sung, facts


def _mix_others(
    orchestra: _Orchestra, tracks: list[effects.Track], space: mixing.Space, rng: np.random.Generator
) -> effects.Track:
    """Return the stem "other": its parts side by side, at levels that differ by a few dB."""
    total = np.zeros((len(tracks[0]), 2), dtype=np.float32)
    sides = rng.permutation(np.linspace(-1, 1, len(tracks))) * rng.uniform(0.2, 1.0)
    for index, track in enumerate(tracks):
        part, patch = orchestra.parts[index + 1], orchestra.patches[index + 1]
        drive = patch.drive if patch is not None else 0.0
        mixed = mixing.mix_part(track, part.role, space, float(np.clip(sides[index], -0.95, 0.95)), drive, rng)
        level_db = rng.normal({"lead": 0.5, "pad": -3, "strings": -2}.get(part.role, 0.0), 2.5)
        total += np.float32(10 ** (level_db / 20)) * mixed
    return total


def _pump(
    plan: SongPlan, drums: DrumTrack, stems: dict[str, effects.Track], rng: np.random.Generator
) -> dict[str, effects.Track]:
    """Let the kick drum duck bass and other where the style does so."""
    if rng.random() >= plan.genre.sidechain_share:
        return stems
    kicks = [hit.start_s for hit in drums.hits if hit.piece == "kick"]
    depth, release_s = float(rng.uniform(0.2, 0.85)), float(rng.uniform(0.12, 0.35))
    ducked = {stem: effects.duck(stems[stem], kicks, depth=depth, release_s=release_s) for stem in ("bass", "other")}
    return stems | ducked

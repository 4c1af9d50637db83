"""Instruments of a SoundFont, played by the program fluidsynth from a MIDI file that we write."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from cadenza_remix.errors import InputError, MissingDependencyError
from cadenza_remix.training.synth.notes import Note
from cadenza_remix.training.synth.tones import RATE, Samples

_TICKS = 1000  # a second has one beat, a tick is a millisecond
_RELEASE_S = 1.5  # for the last notes to die away before the next take begins
_TIME_LIMIT_S = 600

# General MIDI programs (from 0) that suit a part's role, or a kind of bass.
_PROGRAMS: dict[str, tuple[int, ...]] = {
    "piano": (0, 1, 2, 3, 0), "epiano": (4, 5, 4, 5, 11), "clav": (7, 6, 27), "organ": (16, 17, 18, 19, 21),
    "strum": (24, 25, 25, 26, 27), "fingered": (24, 25, 26, 46, 24), "skank": (26, 27, 27, 28),
    "bubble": (16, 17, 18, 4),
    "power": (29, 30, 30), "chug": (28, 30, 30, 29), "riff": (26, 27, 29, 30, 81, 80),
    "lead": (29, 30, 80, 81, 65, 66, 56, 73, 22, 40, 26, 85),
    "brass": (61, 62, 63, 56, 57, 65, 66), "strings": (48, 49, 50, 51, 48, 42, 45),
    "pad": (88, 89, 90, 91, 94, 95, 50, 51),
    "arpeggio": (0, 4, 11, 12, 24, 27, 80, 81, 46, 45), "pluck": (45, 11, 12, 13, 46, 98, 108, 107, 9),
    "stabs": (1, 55, 61, 62, 81, 18, 90),
    "bass": (32, 33, 33, 34, 34, 35, 36, 37), "synth-bass": (38, 39, 38, 39),
}  # fmt: skip
_KITS = (0, 0, 8, 16, 16, 24, 25, 32, 40)
_SYNTHETIC_KITS = (24, 25)
_PIECE_KEYS = {
    "kick": (36, 35), "snare": (38, 40), "sidestick": (37,), "clap": (39,), "hat_closed": (42,), "hat_pedal": (44,),
    "hat_open": (46,),
    "ride": (51, 59), "crash": (49,), "crash2": (57,), "tom_high": (50, 48), "tom_mid": (47, 45), "tom_low": (43, 41),
    "tambourine": (54,), "shaker": (70, 82), "cowbell": (56,), "conga_high": (63, 62), "conga_low": (64,),
}  # fmt: skip
_KIT_VELOCITIES = (45, 85, 112, 127)
_LONG_STROKES = ("crash", "crash2", "ride", "hat_open")


@dataclass(frozen=True)
class Take:
    """What one instrument plays: a program of bank 0."""

    program: int
    notes: tuple[Note, ...]


def check_soundfont(path: Path) -> None:
    """Make sure that a SoundFont can be played.

    Raises
    ------
    InputError
        There is no such file, or it is none.
    MissingDependencyError
        The program fluidsynth or the package mido is missing.
    """
    if not path.is_file():
        raise InputError("no such SoundFont", where=path, expected="a .sf2 file")
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise InputError("not a SoundFont", where=path, expected="a .sf2 file (RIFF sfbk)", found=f"{head[:4]!r}")
    if shutil.which("fluidsynth") is None:
        raise MissingDependencyError(
            "a SoundFont needs the program fluidsynth, which is not installed: install it (Debian: fluidsynth) or leave"
            " the SoundFont out"
        )
    try:
        import mido  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "a SoundFont needs the package mido, which is not installed: pip install mido, or leave the SoundFont out"
        ) from error


def soundfont_digest(path: Path) -> str:
    """Return the SHA-256 of a SoundFont: songs depend on it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def random_program(role: str, rng: np.random.Generator) -> int | None:
    """Return a General MIDI program that suits a role or kind of bass; None where none does."""
    programs = _PROGRAMS.get(role)
    return None if programs is None else int(rng.choice(programs))


def play_takes(soundfont: Path, takes: Sequence[Take], n_samples: int) -> list[NDArray[np.float32]]:
    """Return each take as it sounds alone: float32, shape (n_samples, 2), without fluidsynth's own effects.

    All takes are played one after another by one call of fluidsynth, which loads the SoundFont once, and cut apart.

    Raises
    ------
    MissingDependencyError, InputError
        As `check_soundfont`; also when fluidsynth fails.
    """
    each_ms = int(np.ceil((n_samples / RATE + _RELEASE_S) * 1000))
    events: list[tuple[int, int, tuple[str, int, int]]] = []
    for index, take in enumerate(takes):
        begin = index * each_ms
        channel = index % 9  # the tenth is the drums'
        events.append((begin, 0, ("program", channel, take.program)))
        for note in take.notes:
            on = begin + round(note.start_s * 1000)
            off = min(on + max(20, round(note.duration_s * 1000)), begin + each_ms - 20)
            events.append((on, 2, (f"on{channel}", note.pitch, int(np.clip(30 + 97 * note.velocity, 1, 127)))))
            events.append((off, 1, (f"off{channel}", note.pitch, 0)))
    whole = _render(soundfont, events, len(takes) * each_ms)
    cuts = [int(index * each_ms * RATE / 1000) for index in range(len(takes))]
    return [whole[cut : cut + n_samples] for cut in cuts]


def load_kit(soundfont: Path, rng: np.random.Generator, *, is_synthetic: bool) -> dict[str, list[Samples]]:
    """Return strokes of a random drum kit, from soft to hard; float32, shape (n,), each piece's hardest with peak 1."""
    program = int(rng.choice(_SYNTHETIC_KITS if is_synthetic else _KITS))
    keys = {piece: int(rng.choice(choices)) for piece, choices in _PIECE_KEYS.items()}
    events: list[tuple[int, int, tuple[str, int, int]]] = [(0, 0, ("program", 9, program))]
    slots: list[tuple[str, int, int]] = []
    at = 50
    for piece, key in keys.items():
        length = 3500 if piece in _LONG_STROKES else 1200
        for velocity in _KIT_VELOCITIES if piece not in ("crash", "crash2") else _KIT_VELOCITIES[-2:]:
            events += [(at, 2, ("on9", key, velocity)), (at + length - 100, 1, ("off9", key, 0))]
            slots.append((piece, at, length))
            at += length + 400
    whole = _render(soundfont, events, at) @ np.array([0.5, 0.5], dtype=np.float32)
    kit: dict[str, list[Samples]] = {}
    for piece, begin, length in slots:
        stroke = whole[int(begin * RATE / 1000) : int((begin + length) * RATE / 1000)]
        peak = float(np.abs(stroke).max(initial=0.0))
        if peak > 1e-5:
            kit.setdefault(piece, []).append(_trimmed(stroke / peak))
    return kit


def _trimmed(stroke: Samples) -> Samples:
    """Return a stroke without the silence around it, faded out at its end."""
    loud = np.flatnonzero(np.abs(stroke) > 1e-3)
    stroke = stroke[max(0, loud[0] - 20) : loud[-1] + 1].copy()
    fade = min(len(stroke), 400)
    stroke[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return stroke


def _render(
    soundfont: Path, events: list[tuple[int, int, tuple[str, int, int]]], length_ms: int
) -> NDArray[np.float32]:
    """Play events (time in ms, rank among those of one time, what) and return float32, shape (length, 2)."""
    check_soundfont(soundfont)
    n_samples = int(np.ceil(length_ms * RATE / 1000))
    with tempfile.TemporaryDirectory(prefix="cadenza-band-") as name:
        midi, wav = Path(name, "band.mid"), Path(name, "band.wav")
        _write_midi(midi, events, length_ms)
        command = [
            "fluidsynth",
            "-ni",
            "-q",
            "-R",
            "0",
            "-C",
            "0",
            "-g",
            "0.3",
            "-r",
            str(RATE),
            "-O",
            "float",
            "-T",
            "wav",
        ]
        command += ["-o", "synth.polyphony=512", "-F", str(wav), str(soundfont), str(midi)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(
                "fluidsynth did not end", where=soundfont, expected=f"at most {_TIME_LIMIT_S} s"
            ) from error
        if done.returncode or not wav.is_file():
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            raise InputError("fluidsynth failed", where=soundfont, found=f"status {done.returncode}: {reason[0]}")
        samples, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    if len(samples) < n_samples:
        samples = np.pad(samples, ((0, n_samples - len(samples)), (0, 0)))
    return samples[:n_samples]


def _write_midi(path: Path, events: list[tuple[int, int, tuple[str, int, int]]], length_ms: int) -> None:
    import mido

    file = mido.MidiFile(ticks_per_beat=_TICKS)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    before = 0
    for time_ms, _, (kind, first, second) in sorted(events):
        wait = time_ms - before
        before = time_ms
        if kind == "program":
            track.append(mido.Message("program_change", channel=first, program=second, time=wait))
        elif kind.startswith("on"):
            track.append(mido.Message("note_on", channel=int(kind[2:]), note=first, velocity=second, time=wait))
        else:
            track.append(mido.Message("note_off", channel=int(kind[3:]), note=first, velocity=0, time=wait))
    track.append(mido.MetaMessage("end_of_track", time=max(0, length_ms - before)))
    file.save(path)

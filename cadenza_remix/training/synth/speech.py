"""Spoken syllables with the times of their sounds, from speech synthesisers at hand.

- Flite (program `flite`): its voices rms, slt and awb were modelled on recordings of people, kal16 is made of pieces
  of such recordings.
- eSpeak NG (package `espeakng-loader`, or the system's library): formant synthesis, many voices;
  `speech_espeak` calls it.

Both take speech sounds instead of spelling, and tell where each sound begins.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from cadenza_remix.errors import CadenzaError, MissingDependencyError, unknown_name
from cadenza_remix.training.synth.voice_words import parse_syllable

FLITE_SHARE = 0.8  # of voices by chance, where both programs are at hand: people's recordings sound more like people
_FLITE_VOICES = {"slt": True, "rms": False, "awb": False, "kal16": False}  # whether a woman
_ESPEAK_WOMEN = ["f1", "f2", "f3", "f4", "f5", "Annie", "linda", "steph", "anika", "belinda", "klatt6"]
_ESPEAK_MEN = [
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "klatt2",
    "klatt4",
    "Andy",
    "Gene2",
    "Michael",
    "adam",
    "paul",
    "rob",
]
_WORDS_PER_MINUTE = 110
_SLOWER = 1.5  # than the voice speaks by itself: vowels have time to settle


class SpeechError(CadenzaError):
    """A speech synthesiser did not give what it was asked for."""


@dataclass(frozen=True)
class SpeechVoice:
    """A speaking voice: its name ("flite:slt"), and whether it is a woman's."""

    name: str
    is_female: bool


@dataclass(frozen=True)
class Speech:
    """A spoken syllable.

    Parameters
    ----------
    samples : array, shape (n_samples,), float64
    sample_rate : int
        In hertz.
    edges_s : tuple of float
        Where the syllable's sounds begin, and where the last one ends, in seconds.
    """

    samples: NDArray[np.float64]
    sample_rate: int
    edges_s: tuple[float, ...]


@lru_cache(maxsize=1)
def speech_voices() -> tuple[SpeechVoice, ...]:
    """Return the speaking voices that can be used here; none when there is no synthesiser."""
    voices = []
    if shutil.which("flite"):
        listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, timeout=30).stdout.split()
        voices += [SpeechVoice(f"flite:{name}", female) for name, female in _FLITE_VOICES.items() if name in listed]
    if _espeak_files() is not None:
        voices += [SpeechVoice(f"espeak:{name}", True) for name in _ESPEAK_WOMEN]
        voices += [SpeechVoice(f"espeak:{name}", False) for name in _ESPEAK_MEN]
    return tuple(voices)


def random_speech_voice(rng: np.random.Generator) -> SpeechVoice:
    """Return a speaking voice by chance, mostly one that was made of recordings.

    Raises
    ------
    MissingDependencyError
        When there is none.
    """
    flite = [voice for voice in speech_voices() if voice.name.startswith("flite:")]
    others = [voice for voice in speech_voices() if not voice.name.startswith("flite:")]
    chosen = flite if flite and (not others or rng.random() < FLITE_SHARE) else others
    if not chosen:
        raise MissingDependencyError(
            "no speech synthesiser: install the package espeakng-loader, or the programs flite or espeak-ng"
        )
    return chosen[rng.integers(len(chosen))]


def speak(syllable: str, voice: str) -> Speech:
    """Return a spoken syllable.

    Parameters
    ----------
    syllable : str
        Sounds joined by hyphens, as in `voice_words`.
    voice : str
        One of the names of `speech_voices`.

    Raises
    ------
    InputError
        When the voice is not among those.
    SpeechError
        When the synthesiser fails.
    """
    names = [known.name for known in speech_voices()]
    if voice not in names:
        raise unknown_name("speech voice", voice, names, where="speech_voice")
    program, _, name = voice.partition(":")
    sounds = parse_syllable(syllable).sounds
    return _flite(sounds, name) if program == "flite" else _espeak(sounds, name)


# --- Flite ------------------------------------------------------------------------------------------------------------


def _flite(sounds: tuple[str, ...], voice: str) -> Speech:
    with tempfile.TemporaryDirectory(prefix="cadenza_speech_") as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={_SLOWER}", "-psdur"]
        command += ["-p", " ".join(["pau", *sounds, "pau"]), "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0 or not path.is_file():
            raise SpeechError(f"flite failed with status {done.returncode}: {done.stderr.strip()[:200]}")
        samples, sample_rate = soundfile.read(path, dtype="float64")
    ends = [(name, float(end)) for name, end in re.findall(r"(\S+):([\d.]+)", done.stdout)]
    spoken = tuple(name for name, _ in ends)
    if spoken != ("pau", *sounds, "pau"):
        raise SpeechError(f"flite spoke other sounds: expected {' '.join(sounds)}, found {' '.join(spoken)}")
    return Speech(samples, sample_rate, tuple(end for _, end in ends[:-1]))


# --- eSpeak NG --------------------------------------------------------------------------------------------------------

_MNEMONICS = {
    "aa": "A:",
    "ae": "a",
    "ah": "V",
    "ao": "O:",
    "aw": "aU",
    "ax": "@",
    "ay": "aI",
    "eh": "E",
    "er": "3:",
    "ey": "eI",
    "ih": "I",
    "iy": "i:",
    "ow": "oU",
    "oy": "OI",
    "uh": "U",
    "uw": "u:",
    "ch": "tS",
    "dh": "D",
    "hh": "h",
    "jh": "dZ",
    "ng": "N",
    "sh": "S",
    "th": "T",
    "y": "j",
}


def _espeak_files() -> tuple[str, str | None] | None:
    """Return the library and its data's folder (None: the library knows), or None when there is no eSpeak NG."""
    if importlib.util.find_spec("espeakng_loader") is not None:
        import espeakng_loader

        return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    found = ctypes.util.find_library("espeak-ng")
    return (found, None) if found else None


def _espeak(sounds: tuple[str, ...], voice: str) -> Speech:
    files = _espeak_files()
    if files is None:
        raise MissingDependencyError("no library of eSpeak NG: install the package espeakng-loader")
    vowel = parse_syllable("-".join(sounds)).vowel
    text = "".join(("'" if name == vowel else "") + _MNEMONICS.get(name, name) for name in sounds)
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("speech_espeak.py"))]
    command += [files[0], files[1] or "", f"en-us+{voice}", str(_WORDS_PER_MINUTE), f"[[{text}]]"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise SpeechError(f"eSpeak NG failed: {reason[0][:200]}")
    head, _, data = done.stdout.partition(b"\n")
    told = json.loads(head)
    samples, rate = np.frombuffer(data, dtype=np.int16) / 32768.0, told["rate"]
    starts = [place / rate for name, place in told["sounds"] if name and not name.startswith("_")]
    rests = [place / rate for name, place in told["sounds"] if name.startswith("_")]
    if len(starts) != len(sounds):
        spoken = " ".join(name for name, _ in told["sounds"])
        raise SpeechError(f"eSpeak NG spoke other sounds: expected {' '.join(sounds)}, found {spoken}")
    end = min((rest for rest in rests if rest > starts[-1]), default=len(samples) / rate)
    return Speech(samples, rate, (*starts, end))

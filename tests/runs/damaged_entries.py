"""Ways to damage a good entry of two songs for two listeners, each with the fault that must be told for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from cadenza_remix.audio.io import load_audio, write_flac16
from cadenza_remix.audio.signal import EARS, STEMS, Audio
from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.naming import pair_folder, remix_path, scale_path, stem_path, stem_paths
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import enhance_stems, load_chain

SONGS, LISTENERS = ("First Half", "Second Half"), ("L5040", "L5076")
SEGMENTS = {song: SongSegments(objective=Segment(0.25, 2.75), subjective=Segment(1.0, 2.0)) for song in SONGS}
ONE, TWO = SONGS
A, B = LISTENERS

Expected = list[tuple[str, str, str]]  # kind, path, words of the line
Damage = Callable[[Path], Expected]
DAMAGES: dict[str, Damage] = {}


def damage(function):
    DAMAGES[function.__name__] = function
    return function


def write_scaled(path: Path, samples: np.ndarray) -> None:
    peak = float(np.abs(samples).max())
    path.parent.mkdir(parents=True, exist_ok=True)
    scale_path(path).write_text(repr(peak))
    write_flac16(path, samples / peak, 24000)


def stem_file(root: Path, ear: str = "left", stem: str = "drums", listener: str = A, song: str = ONE) -> Path:
    return stem_path(root, listener, song, ear, stem)


def name_of(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def level_of(path: Path) -> np.ndarray:
    return soundfile.read(path)[0] * float(scale_path(path).read_text())


def exchange(first: Path, second: Path) -> None:
    for one, other in ((first, second), (scale_path(first), scale_path(second))):
        contents = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(contents)


# --- What is there, and how it is named


@damage
def no_stem(root):
    path = stem_file(root)
    path.unlink()
    return [("missing", name_of(root, path), "missing")]


@damage
def no_scale(root):
    path = scale_path(stem_file(root))
    path.unlink()
    return [("missing", name_of(root, path), "missing")]


@damage
def no_remix(root):
    path = remix_path(root, B, TWO)
    path.unlink()
    return [("missing", name_of(root, path), "missing")]


@damage
def no_pair(root):
    shutil.rmtree(pair_folder(root, B, ONE))
    return [("pair_missing", f"{B}/{ONE}", "pair is missing")]


@damage
def no_listener(root):
    shutil.rmtree(root / B)
    return [("listener_missing", B, "listener is missing with all 2 songs")]


@damage
def no_song(root):
    for listener in LISTENERS:
        shutil.rmtree(pair_folder(root, listener, TWO))
    return [("song_missing", f"*/{TWO}", "song is missing for all 2 listeners")]


@damage
def nothing_at_all(root):
    shutil.rmtree(root)
    (root / "notes").mkdir(parents=True)
    return [("empty", ".", "holds none of the expected pairs: expected 4 pairs, found none")]


@damage
def a_file_too_many(root):
    path = scale_path(remix_path(root, A, ONE))
    path.write_text("1.0")
    return [("extra", name_of(root, path), "does not belong to the submission")]


@damage
def notes_at_the_top(root):
    (root / "README.txt").write_text("hello")
    return [("extra", "README.txt", "does not belong to the submission")]


@damage
def a_listener_too_many(root):
    shutil.copytree(root / A, root / "L9999")
    return [("listener_unknown", "L9999", "listener who was not asked for: found 34 files")]


@damage
def a_song_too_many(root):
    for listener in LISTENERS:
        shutil.copytree(pair_folder(root, listener, ONE), pair_folder(root, listener, "Third"))
    return [("song_unknown", f"{A}/Third", "song that was not asked for: found for 2 listeners")]


@damage
def a_listener_in_lower_case(root):
    (root / A).rename(root / A.lower())
    for folder in sorted((root / A.lower()).iterdir()):
        for file in sorted(folder.iterdir()):
            file.rename(file.with_name(file.name.replace(A, A.lower())))
    return [("misspelt", f"l5040/{song}", f"folder is misspelt: expected {A}/{song}, found l5040/") for song in SONGS]


@damage
def a_song_in_upper_case(root):
    pair_folder(root, A, ONE).rename(root / A / ONE.upper())
    return [("misspelt", f"{A}/FIRST HALF", f"folder is misspelt: expected {A}/{ONE}, found")]


@damage
def files_in_lower_case(root):
    for file in sorted(pair_folder(root, A, ONE).iterdir()):
        file.rename(file.with_name(file.name.lower()))
    first = f"{A}/{ONE}/l5040_first half_left_bass.flac"
    return [("misspelt", first, f"expected {A}_{ONE}_left_bass.flac, found l5040_first half_left_bass.flac (and 16")]


# --- Form


@damage
def rate_of_the_music(root):
    path = stem_file(root)
    write_flac16(path, np.resize(soundfile.read(path)[0], 110250), 44100)
    return [("sample_rate", name_of(root, path), "wrong sample rate: expected 24000 Hz, found 44100 Hz")]


@damage
def twenty_four_bits(root):
    path = stem_file(root)
    soundfile.write(path, soundfile.read(path)[0], 24000, subtype="PCM_24")
    return [("format", name_of(root, path), "wrong format: expected FLAC PCM_16, found FLAC PCM_24")]


@damage
def wav_under_the_name_of_flac(root):
    path = stem_file(root)
    soundfile.write(path, soundfile.read(path)[0], 24000, format="WAV", subtype="PCM_16")
    return [("format", name_of(root, path), "wrong format: expected FLAC PCM_16, found WAV PCM_16")]


@damage
def stereo_stem(root):
    path = stem_file(root)
    write_flac16(path, np.repeat(soundfile.read(path)[0][:, np.newaxis], 2, axis=1), 24000)
    return [("channels", name_of(root, path), "wrong number of channels: expected 1, found 2")]


@damage
def whole_song_instead_of_its_segment(root):
    path = stem_file(root)
    write_flac16(path, np.resize(soundfile.read(path)[0], 72000), 24000)
    return [("duration", name_of(root, path), "wrong duration: expected 2.500 s, found 3.000 s")]


@damage
def half_a_file(root):
    path = stem_file(root)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return [("unreadable", name_of(root, path), "cannot be decoded")]


@damage
def text_under_the_name_of_flac(root):
    path = stem_file(root)
    path.write_text("no audio at all")
    return [("unreadable", name_of(root, path), "cannot be decoded")]


@damage
def empty_file(root):
    path = remix_path(root, A, ONE)
    path.write_bytes(b"")
    return [("unreadable", name_of(root, path), "cannot be decoded")]


@damage
def mono_remix(root):
    path = remix_path(root, A, ONE)
    write_flac16(path, soundfile.read(path)[0][:, 0], 32000)
    return [("channels", name_of(root, path), "wrong number of channels: expected 2, found 1")]


@damage
def remix_at_the_rate_of_the_stems(root):
    path = remix_path(root, A, ONE)
    write_flac16(path, soundfile.read(path)[0][:24000], 24000)
    return [("sample_rate", name_of(root, path), "expected 32000 Hz, found 24000 Hz")]


@damage
def remix_of_the_other_segment(root):
    path = remix_path(root, A, ONE)
    write_flac16(path, np.resize(soundfile.read(path)[0], (80000, 2)), 32000)
    return [("duration", name_of(root, path), "wrong duration: expected 1.000 s, found 2.500 s")]


@damage
def silent_remix(root):
    path = remix_path(root, A, ONE)
    write_flac16(path, np.zeros((32000, 2)), 32000)
    return [("silent", name_of(root, path), "the remix is silent")]


@damage
def clipped_stem(root):
    path = stem_file(root, stem="other")
    write_flac16(path, np.clip(20 * soundfile.read(path)[0], -1, 1), 24000)
    return [("clipped", name_of(root, path), "is clipped: expected at most 5% at full scale, found")]


# --- Scales


def scale_holds(text: bytes, kind: str, words: str) -> Damage:
    def write(root: Path) -> Expected:
        path = scale_path(stem_file(root))
        path.write_bytes(text)
        return [(kind, name_of(root, path), words)]

    return write


DAMAGES["scale_is_a_word"] = scale_holds(b"loud", "scale", "expected one finite number, 0 or more, found 'loud'")
DAMAGES["scale_is_not_a_number"] = scale_holds(b"nan", "scale", "not a scale")
DAMAGES["scale_is_infinite"] = scale_holds(b"inf", "scale", "not a scale")
DAMAGES["scale_is_negative"] = scale_holds(b"-0.5", "scale", "found '-0.5'")
DAMAGES["scale_has_a_comma"] = scale_holds(b"0,5", "scale", "found '0,5'")
DAMAGES["scale_is_empty"] = scale_holds(b"", "scale", "found ''")
DAMAGES["scale_is_binary"] = scale_holds(b"\xff\xfe1", "scale", "found bytes that are no text")
DAMAGES["scale_is_zero"] = scale_holds(b"0.0", "scale_zero", "scale is 0 beside a stem that is not silent")
DAMAGES["scale_is_absurd"] = scale_holds(b"1e6", "scale_absurd", "senseless scale: expected at most 10000, found 1e+06")


@damage
def scale_of_a_few_steps(root):
    path = stem_file(root)
    write_flac16(path, soundfile.read(path)[0] / 200, 24000)
    scale_path(path).write_text(repr(200 * float(scale_path(path).read_text())))
    return [("coarse", name_of(root, scale_path(path)), "a peak of 164 steps of 32768")]


@damage
def scale_a_hundred_times_too_large(root):
    path = stem_file(root)
    scale_path(path).write_text(repr(100 * float(scale_path(path).read_text())))
    return [("level", name_of(root, path), "level is far off: expected at most 25 dB above the reference")]


@damage
def all_scales_lost(root):
    for path in stem_paths(root, A, ONE):
        scale_path(path).write_text("1.0")
    return [("scale_lost", f"{A}/{ONE}", "scale looks lost: expected each stem's own peak, found 1 beside each of 8")]


# --- What the references tell


@damage
def silent_stem(root):
    path = stem_file(root)
    write_flac16(path, np.zeros(60000), 24000)
    return [("silent", name_of(root, path), "is silent where the reference is not: found no sound at all")]


@damage
def stem_that_stops(root):
    path = stem_file(root)
    samples = soundfile.read(path)[0]
    samples[18000:] = 0
    write_flac16(path, samples, 24000)
    return [("silent", name_of(root, path), "found silence in 67% of what is loud")]


@damage
def left_and_right_of_a_pair(root):
    for stem in STEMS:
        exchange(stem_file(root, "left", stem), stem_file(root, "right", stem))
    return [("sides_swapped", f"{A}/{ONE}", "left and right are swapped: expected left before right, found")]


@damage
def left_and_right_of_a_stem(root):
    exchange(stem_file(root, "left", "other"), stem_file(root, "right", "other"))
    return [("sides_swapped", name_of(root, stem_file(root, "left", "other")), "found the other ear")]


@damage
def vocals_and_drums(root):
    expected = []
    for ear in EARS:
        vocals, drums = stem_file(root, ear, "vocals"), stem_file(root, ear, "drums")
        exchange(vocals, drums)
        expected.append(("stems_swapped", name_of(root, vocals), "holds another stem: expected vocals, found drums"))
        expected.append(("stems_swapped", name_of(root, drums), "holds another stem: expected drums, found vocals"))
    return expected


@damage
def three_stems_in_a_circle(root):
    exchange(stem_file(root, "left", "vocals"), stem_file(root, "left", "bass"))
    exchange(stem_file(root, "left", "bass"), stem_file(root, "left", "other"))
    moved = {"vocals": "bass", "bass": "other", "other": "vocals"}
    return [
        ("stems_swapped", name_of(root, stem_file(root, "left", stem)), f"expected {stem}, found {other}")
        for stem, other in moved.items()
    ]


@damage
def late_by_a_quarter_of_a_second(root):
    for path in stem_paths(root, A, ONE):
        samples = soundfile.read(path)[0]
        write_flac16(path, np.concatenate((np.zeros(6000), samples[:-6000])), 24000)
    return [("delayed", f"{A}/{ONE}", "stems are delayed: expected at most 0.1 s, found 0.250 s too late")]


@damage
def another_song(root):
    rng = np.random.default_rng(1)
    for path in stem_paths(root, A, ONE):
        write_scaled(path, 0.1 * rng.standard_normal(60000))
    return [("other_song", f"{A}/{ONE}", "stems do not belong to the references")]


def mixture_damage(chain: str) -> Callable[[Path, Path], Expected]:
    def write(root: Path, good: Path) -> Expected:
        mixture = load_audio(good / "references" / ONE / "mixture.wav")
        listener = load_listeners("cad1-sample")[A]
        samples = Audio(0.5 * mixture.samples, 44100)
        enhanced = enhance_stems(dict.fromkeys(STEMS, samples), listener, load_chain(chain)).stems
        path = stem_file(root, "right", "vocals")
        write_scaled(path, enhanced["right_vocals"].excerpt(0.25, 2.75).samples[:, 0])
        return [("is_mixture", name_of(root, path), "is the mixture: expected a separated stem, found")]

    return write

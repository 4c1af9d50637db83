"""What is heard on a page, made for one participant's ears, equally loud, and never above the limit.

A page's stimuli are rendered, measured and written as clips one after the other; the gains that make them equally loud
travel beside them, so that all of a page can be lowered together where one of them would come above the limit.
"""

from __future__ import annotations

import math
import string
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import numpy as np

from cadenza_remix.audio.loudness import integrated_lufs, true_peak_dbtp
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, Audio
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.listen.anchors import low_pass_anchor
from cadenza_remix.listen.clips import Clip, ClipStore
from cadenza_remix.listen.library import Library
from cadenza_remix.listen.panel.config import (
    HIDDEN_REFERENCE,
    LOUDNESS_RANGE_LUFS,
    MOST_STIMULI,
    TestSettings,
    anchor_name,
)
from cadenza_remix.listen.panel.records import Participant, PlannedTrial
from cadenza_remix.listen.panel.selection import version_of
from cadenza_remix.listen.versions import render
from cadenza_remix.units import db_to_lin

MAX_LOUDNESS_LUFS = LOUDNESS_RANGE_LUFS[1]
"""Nothing is played louder than this, whatever a test asks for."""
FADE_S = 0.01
"""At both ends of a stimulus, so that a cut through loud music does not click."""
LEVEL_TONE_S = 4.0
_TONE_KEY = "panel:level"


@dataclass(frozen=True)
class StimulusClip:
    """Where a browser finds a sound, and what to multiply the file by: loudness, level and limit are in it."""

    url: str
    gain_lin: float
    n_samples: int

    def to_dict(self) -> dict[str, object]:
        """Return the plain values that the page gets."""
        return {"url": self.url, "gain_lin": self.gain_lin, "n_samples": self.n_samples}


@dataclass(frozen=True)
class TrialSounds:
    """The sounds of a page: the open reference (MUSHRA only), and those behind the labels."""

    reference: StimulusClip | None
    stimuli: Mapping[str, StimulusClip]


@dataclass(frozen=True)
class _Measured:
    clip: Clip
    loudness_lufs: float
    peak_dbtp: float


class StimulusMaker:
    """Makes the sounds of pages, in its own threads, and remembers which clips they are.

    Parameters
    ----------
    settings : TestSettings
    library : Library
        Of the test's runs.
    clips : ClipStore
    """

    def __init__(self, settings: TestSettings, library: Library, clips: ClipStore) -> None:
        self._settings, self._library, self._clips = settings, library, clips
        self._pages: dict[tuple[int, int], Future[TrialSounds]] = {}
        self._early: set[tuple[int, int]] = set()  # those that nobody has asked for
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="panel")
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="panel-ahead")

    def page(self, person: Participant, trial: PlannedTrial) -> Future[TrialSounds]:
        """Return the sounds of a page that is waited for."""
        return self._submit(person, trial, self._threads)

    def prepare(self, person: Participant, trial: PlannedTrial) -> None:
        """Begin with the sounds of a page that will be asked for."""
        self._submit(person, trial, self._ahead)

    def level_tone(self) -> StimulusClip:
        """Return noise with the spectrum of speech, as loud as the test's loudest stimulus may be."""
        loudness = self._settings.loudness_lufs
        target = MAX_LOUDNESS_LUFS if loudness is None else loudness

        def make() -> Audio:
            noise = speech_noise(np.random.default_rng(self._settings.seed))
            gain_db = target - integrated_lufs(noise)
            gain_db += min(0.0, self._settings.max_peak_dbfs - true_peak_dbtp(noise) - gain_db)
            return Audio(noise.samples * float(db_to_lin(gain_db)), noise.sample_rate, "level check")

        return _stimulus(self._clips.clip(_TONE_KEY, make), 1.0)

    def forget(self, number: int, *, trials: Iterable[int]) -> None:
        """Remove what was made for a participant who had these pages."""
        with self._lock:
            keys = [key for key in self._pages if key[0] == number]
            futures = [self._pages.pop(key) for key in keys]
            self._early.difference_update(keys)
        for future in futures:
            if not future.cancel():
                wait([future])  # what is being made now would be left behind
        for trial in trials:
            for label in ("reference", *string.ascii_uppercase[:MOST_STIMULI]):
                self._clips.forget(_key(number, trial, label))

    def close(self) -> None:
        """End the threads; what has not begun is dropped."""
        for threads in (self._threads, self._ahead):
            threads.shutdown(wait=True, cancel_futures=True)

    def _submit(self, person: Participant, trial: PlannedTrial, threads: ThreadPoolExecutor) -> Future[TrialSounds]:
        key = (person.number, trial.trial)
        with self._lock:
            known = self._pages.get(key)
            is_wanted = threads is self._threads
            # What waits behind others, made ahead of time, begins anew at once when somebody wants it.
            late = known is not None and is_wanted and key in self._early and known.cancel()
            if known is not None and not late and self._usable(known):
                return known
            for old in [one for one in self._pages if one[0] == person.number and one[1] < trial.trial - 1]:
                del self._pages[old]
            (self._early.discard if is_wanted else self._early.add)(key)
            future = self._pages[key] = threads.submit(self._make, person, trial)
        return future

    def _usable(self, future: Future[TrialSounds]) -> bool:
        if future.cancelled():
            return False
        if not future.done():
            return True
        if future.exception() is not None:
            return False
        sounds = future.result()
        found = [*sounds.stimuli.values(), *([sounds.reference] if sounds.reference else [])]
        return all(self._clips.find(_clip_id(one.url)) for one in found)

    def _make(self, person: Participant, trial: PlannedTrial) -> TrialSounds:
        audios = stimulus_audios(self._settings, self._library, listener_of(person), trial)
        measured = {}
        for label, make in audios.items():
            measured[label] = self._measured(_key(person.number, trial.trial, label), make)
        gains_db = trial_gains_db(
            [one.loudness_lufs for one in measured.values()],
            [one.peak_dbtp for one in measured.values()],
            target_lufs=self._settings.loudness_lufs,
            max_peak_dbfs=self._settings.max_peak_dbfs,
        )
        sounds = {
            label: _stimulus(one.clip, float(db_to_lin(gain_db)))
            for (label, one), gain_db in zip(measured.items(), gains_db, strict=True)
        }
        return TrialSounds(sounds.pop("reference", None), sounds)

    def _measured(self, key: str, make: Callable[[], Audio]) -> _Measured:
        audio = faded(make())
        self._clips.forget(key)
        clip = self._clips.clip(key, lambda: audio)
        return _Measured(clip, clip.loudness_lufs, true_peak_dbtp(audio))


def stimulus_audios(
    settings: TestSettings, library: Library, listener: Listener, trial: PlannedTrial
) -> dict[str, Callable[[], Audio]]:
    """Return how to make each sound of a page, by label; MUSHRA's open one is called ``reference``.

    All have the same number of samples and begin at the same sample of the song.
    """
    song = library.song_named(trial.song)

    def make(version: str) -> Audio:
        return render(
            library, song, version, listener, start_s=trial.start_s, duration_s=trial.duration_s, simulator=None
        )

    kept: list[Audio] = []

    def reference() -> Audio:
        if not kept:  # made once for the open one, the hidden one and the anchors
            kept.append(make(f"remix:clean:{settings.reference}"))
        return kept[0]

    def made(stimulus: str) -> Callable[[], Audio]:
        if stimulus == HIDDEN_REFERENCE and settings.type == "mushra":
            return reference
        if stimulus in anchors:
            return lambda: low_pass_anchor(reference(), anchors[stimulus])
        return partial(make, version_of(stimulus))

    anchors = {anchor_name(cutoff_hz): cutoff_hz for cutoff_hz in settings.anchors_hz if settings.type == "mushra"}

    audios: dict[str, Callable[[], Audio]] = {"reference": reference} if settings.type == "mushra" else {}
    return {**audios, **{label: made(stimulus) for label, stimulus in trial.labels.items()}}


def trial_gains_db(
    loudness_lufs: Sequence[float], peaks_dbtp: Sequence[float], *, target_lufs: float | None, max_peak_dbfs: float
) -> list[float]:
    """Return the gains of the stimuli of one page.

    Each is brought to the target; without a target all keep their levels. Where a true peak would come above the limit,
    or the loudness above `MAX_LOUDNESS_LUFS`, all are lowered by the same, so that what was equally loud stays so.

    Parameters
    ----------
    loudness_lufs, peaks_dbtp : sequences of float
        Of each stimulus; minus infinity for silence, which is not raised.
    target_lufs : float or None
    max_peak_dbfs : float

    Examples
    --------
    >>> trial_gains_db([-20.0, -30.0], [-1.0, -6.0], target_lufs=-23.0, max_peak_dbfs=-3.0)
    [-7.0, 3.0]
    """
    gains = [
        0.0 if target_lufs is None or not math.isfinite(loudness) else target_lufs - loudness
        for loudness in loudness_lufs
    ]
    excess = max((peak + gain - max_peak_dbfs for peak, gain in zip(peaks_dbtp, gains, strict=True)), default=0.0)
    too_loud = max((loudness + gain - MAX_LOUDNESS_LUFS for loudness, gain in zip(loudness_lufs, gains, strict=True)))
    lowered = max(0.0, excess, too_loud)
    return [gain - lowered for gain in gains]


def listener_of(person: Participant) -> Listener:
    """Return a participant as a listener of the room."""
    ears = {ear: Audiogram(**values, name=f"participant {person.number}") for ear, values in person.audiogram.items()}
    return Listener(person.listener, ears["left"], ears["right"])


def speech_noise(rng: np.random.Generator, *, duration_s: float = LEVEL_TONE_S) -> Audio:
    """Return noise about as strong at each frequency as speech, which can be repeated without a seam.

    Level at 100 to 500 Hz, from there 9 dB less for each octave, nothing above 10 kHz: the long-term spectrum of speech
    (Byrne et al., Journal of the Acoustical Society of America 96, 1994), roughly. Both ears get the same.
    """
    n_samples = round(duration_s * MUSIC_SAMPLE_RATE)
    frequencies = np.fft.rfftfreq(n_samples, 1 / MUSIC_SAMPLE_RATE)
    levels_db = -9.0 * np.log2(np.maximum(frequencies, 500.0) / 500.0)
    spectrum = db_to_lin(levels_db) * np.exp(2j * np.pi * rng.random(len(frequencies)))
    spectrum[(frequencies < 100.0) | (frequencies > 10_000.0)] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    noise *= 0.1 / np.sqrt(np.mean(noise**2))
    return Audio(np.stack([noise, noise], axis=1), MUSIC_SAMPLE_RATE, "speech-shaped noise")


def faded(audio: Audio) -> Audio:
    """Return audio with `FADE_S` of fade at both ends (half a cosine)."""
    n_fade = min(round(FADE_S * audio.sample_rate), audio.n_samples // 2)
    window = np.ones((audio.n_samples, 1), dtype=np.float32)
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n_fade) + 0.5) / max(n_fade, 1)))[:, np.newaxis]
    window[:n_fade] = rise
    window[audio.n_samples - n_fade :] = rise[::-1]
    return Audio(audio.samples * window, audio.sample_rate, audio.name)


def _stimulus(clip: Clip, gain_lin: float) -> StimulusClip:
    return StimulusClip(f"/clips/{clip.id}.flac", clip.scale_lin * gain_lin, clip.n_samples)


def _clip_id(url: str) -> str:
    return url.removeprefix("/clips/").removesuffix(".flac")


def _key(number: int, trial: int, label: str) -> str:
    return f"panel:{number}:{trial}:{label}"

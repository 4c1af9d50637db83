"""The formant voice: spectral envelopes of speech sounds computed from tables of formants; needs no other package.

Vowels take their first three formants from the means over men of G. E. Peterson and H. L. Barney, "Control methods used
in a study of the vowels", J. Acoust. Soc. Am. 24, 1952. Everything else (consonants, levels, bandwidths) was set by ear
and by what acoustic phonetics tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cadenza_remix.training.synth.voice_phrases import FRAME_RATE, Phrase, Sound
from cadenza_remix.training.synth.voice_render import FREQUENCIES_HZ, PER_DB, Envelopes, higher_resonances_db
from cadenza_remix.training.synth.voice_settings import VoiceSettings

_VOWELS = {
    "iy": (270, 2290, 3010),
    "ih": (390, 1990, 2550),
    "eh": (530, 1840, 2480),
    "ae": (660, 1720, 2410),
    "aa": (730, 1090, 2440),
    "ao": (570, 840, 2410),
    "uh": (440, 1020, 2240),
    "uw": (300, 870, 2240),
    "ah": (640, 1190, 2390),
    "ax": (500, 1450, 2450),
    "er": (490, 1350, 1690),
}
_GLIDES = {"ay": ("aa", "ih"), "aw": ("aa", "uh"), "ow": ("ao", "uw"), "oy": ("ao", "ih"), "ey": ("eh", "iy")}


@dataclass(frozen=True)
class _Consonant:
    """Formants, level of the pulses, and noise: level in dB, centre in Hz, width in octaves; closure before a burst."""

    formants: tuple[float, float, float]
    pulses_db: float = -200.0
    noise_db: float = -200.0
    centre_hz: float = 1000.0
    width: float = 1.0
    closure: float = 0.0


_CONSONANTS = {
    "m": _Consonant((250, 1000, 2200), -10),
    "n": _Consonant((260, 1500, 2500), -11),
    "ng": _Consonant((270, 1900, 2600), -12),
    "l": _Consonant((360, 1100, 2700), -6),
    "r": _Consonant((360, 1150, 1600), -6),
    "w": _Consonant((300, 650, 2200), -7),
    "y": _Consonant((260, 2250, 3000), -7),
    "v": _Consonant((250, 1200, 2300), -14, -30, 6500, 1.3),
    "dh": _Consonant((260, 1400, 2500), -14, -34, 6000, 1.4),
    "z": _Consonant((260, 1600, 2500), -16, -20, 7200, 0.55),
    "s": _Consonant((300, 1650, 2500), noise_db=-13, centre_hz=7500, width=0.55),
    "sh": _Consonant((300, 1800, 2400), noise_db=-12, centre_hz=3600, width=0.7),
    "f": _Consonant((300, 1200, 2300), noise_db=-26, centre_hz=7000, width=1.5),
    "th": _Consonant((300, 1400, 2500), noise_db=-28, centre_hz=7500, width=1.3),
    "hh": _Consonant((500, 1500, 2500), noise_db=-22, centre_hz=1800, width=1.6),
    "p": _Consonant((280, 900, 2200), noise_db=-18, centre_hz=1000, width=1.8, closure=0.6),
    "t": _Consonant((280, 1700, 2600), noise_db=-14, centre_hz=5000, width=1.1, closure=0.55),
    "k": _Consonant((280, 1900, 2400), noise_db=-15, centre_hz=2300, width=0.8, closure=0.55),
    "b": _Consonant((260, 900, 2200), -20, -24, 900, 1.6, 0.75),
    "d": _Consonant((260, 1700, 2600), -20, -20, 4200, 1.0, 0.75),
    "g": _Consonant((260, 1900, 2400), -20, -20, 2200, 0.8, 0.7),
    "ch": _Consonant((300, 1800, 2500), noise_db=-13, centre_hz=3800, width=0.7, closure=0.35),
    "jh": _Consonant((260, 1800, 2500), -20, -16, 3600, 0.7, 0.4),
}
_HIGHER_HZ = (3250.0, 3750.0, 4950.0)
_BANDWIDTHS_HZ = (75.0, 95.0, 160.0, 260.0, 330.0, 450.0)
_MOVE_S = 0.018  # how fast formants move: deviation of the smoothing


def envelopes(phrase: Phrase, voice: VoiceSettings, rng: np.random.Generator) -> Envelopes:
    """Return the spectral envelopes of a phrase, before loudness and the voice's colour."""
    formants, pulses_db, noise = _tracks(phrase)
    formants *= voice.formant_scale * rng.normal(1.0, 0.015, size=3)
    formants = gaussian_filter1d(formants, _MOVE_S * FRAME_RATE, axis=0, mode="nearest")
    formants *= 1.0 + 0.01 * gaussian_filter1d(rng.standard_normal(formants.shape), 6.0, axis=0)
    # A high voice opens its mouth so that the first formant does not stay below the note.
    formants[:, 0] = np.maximum(formants[:, 0], 1.02 * phrase.f0)
    formants[:, 1] = np.maximum(formants[:, 1], formants[:, 0] * 1.15)
    formants[:, 2] = np.maximum(formants[:, 2], formants[:, 1] * 1.1)
    level = gaussian_filter1d(10.0 ** (pulses_db / 20.0), 0.006 * FRAME_RATE, mode="nearest")
    tract = _tract(formants, voice)
    # Glottal flow falls with 12 dB an octave above its own formant; the lips give 6 dB an octave back.
    # In between it falls faster than by those 6 dB: the flow closes softly. Above, noise and the close itself hold it.
    corners = np.log2([20.0, 300.0, 4000.0, 5500.0, 22050.0])
    falling_db = np.interp(np.log2(np.maximum(FREQUENCIES_HZ, 20.0)), corners, [-4.0, 0.0, -30.0, -19.0, -29.0])
    glottis = np.exp(PER_DB * falling_db)
    glottis *= np.exp(PER_DB * higher_resonances_db(voice.formant_scale))
    voiced = tract * glottis.astype(np.float32)
    voiced *= (level / np.sqrt(np.mean(voiced**2, axis=1)))[:, None].astype(np.float32)
    aspiration = voiced * _aspiration().astype(np.float32)
    scale = np.float32(voice.formant_scale**0.5)
    frication = np.asarray(_frication(noise, float(scale)), dtype=np.float32)
    return Envelopes(pulses=voiced, noise=np.hypot(aspiration, frication))


def _aspiration() -> NDArray[np.float64]:
    """Return how much of a voiced sound is noise, by frequency: a clear voice's; colour comes later."""
    return 0.02 + 0.35 / (1.0 + (5500.0 / np.maximum(FREQUENCIES_HZ, 1.0)) ** 3)


def _tracks(phrase: Phrase) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return formants (n, 3), level of the pulses in dB (n,), and noise (n, 3): level in dB, centre, width."""
    formants = np.tile(np.array(_VOWELS["ax"], dtype=float), (phrase.n_frames, 1))
    pulses_db = np.full(phrase.n_frames, -200.0)
    noise = np.tile(np.array([-200.0, 1000.0, 1.0]), (phrase.n_frames, 1))
    sounds = phrase.sounds
    for place, sound in enumerate(sounds):
        first, last = round(sound.start * FRAME_RATE), max(round(sound.end * FRAME_RATE), 1)
        # Beyond the last sound, and before the first, formants stay where they are.
        until = phrase.n_frames if place + 1 == len(sounds) else last
        begin = 0 if place == 0 else first
        if sound.name in _CONSONANTS:
            one = _CONSONANTS[sound.name]
            formants[begin:until] = one.formants
            burst = first + int(one.closure * (last - first))
            pulses_db[first:last] = one.pulses_db
            noise[burst:last, 0] = one.noise_db
            if one.closure > 0.0:  # a burst dies away
                noise[burst:last, 0] -= 14.0 * np.linspace(0.0, 1.0, last - burst) ** 2
            noise[first:last, 1:] = one.centre_hz, one.width
        else:
            formants[begin:until] = _vowel(sound, np.arange(begin, until) / FRAME_RATE)
            pulses_db[begin:until] = 0.0
    return formants, pulses_db, noise


def _vowel(sound: Sound, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the formants of a vowel; a diphthong holds its beginning and glides at its end."""
    first, last = _GLIDES.get(sound.name, (sound.name, sound.name))
    glide = min(0.18, 0.5 * (sound.end - sound.start))
    share = (
        np.clip((times - (sound.end - glide)) / glide, 0.0, 1.0)[:, None] if glide > 0 else np.zeros((len(times), 1))
    )
    begin, end = np.array(_VOWELS[first], dtype=float), np.array(_VOWELS[last], dtype=float)
    return begin ** (1.0 - share) * end**share


def _tract(formants: NDArray[np.float64], voice: VoiceSettings) -> NDArray[np.float32]:
    """Return the amplitude response of the vocal tract, shape (n_frames, n_bins): resonators in a row."""
    # Above the last resonator the response goes on level: `higher_resonances_db` and the glottis shape it there.
    frequencies = np.minimum(FREQUENCIES_HZ, 4400.0 * voice.formant_scale).astype(np.float32) ** 2
    power = np.ones((len(formants), len(frequencies)), dtype=np.float32)
    higher = np.array(_HIGHER_HZ) * voice.formant_scale
    # The singer's formant: the third to fifth draw together in a loud, trained voice.
    higher[:2] += voice.effort * 0.35 * (3000.0 * voice.formant_scale - higher[:2])
    centres = np.concatenate([formants, np.tile(higher, (len(formants), 1))], axis=1).astype(np.float32)
    for column, width in enumerate(_BANDWIDTHS_HZ):
        centre = centres[:, column, None] ** 2
        width_hz = np.float32(width * (1.0 + 0.6 * voice.breathiness))
        power *= centre**2 / ((centre - frequencies) ** 2 + frequencies * width_hz**2)
    # What the resonances from the seventh on add below them: those of a tube closed at one end, 1 kHz apart.
    power *= np.exp(frequencies * np.float32(2.0 / (1000.0 * 6000.0 * voice.formant_scale**2)))
    power /= (1.0 + (FREQUENCIES_HZ / 13000.0) ** 6).astype(np.float32)
    return np.sqrt(power)


def _frication(noise: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return the amplitude spectra of fricatives and bursts."""
    level = gaussian_filter1d(10.0 ** (noise[:, 0] / 20.0), 0.9, mode="nearest")
    octaves = np.log2(np.maximum(FREQUENCIES_HZ, 20.0) / (noise[:, 1, None] * scale))
    # Steeper below the centre than above: the cavity before the tongue passes what is high.
    width = noise[:, 2, None] * np.where(octaves < 0.0, 0.8, 1.5)
    shape = np.exp(-0.5 * (octaves / width) ** 2) + 0.01
    shape /= np.sqrt(np.mean(shape**2, axis=1, keepdims=True))
    return np.asarray(level[:, None] * shape)

"""Say one thing by eSpeak NG's library and write it to standard output; a program that needs the standard library only.

The library keeps its oscillators' and noise's state for as long as a process lives, so that the same syllable sounds
otherwise the second time. In a process of its own it always sounds the same.

Arguments: the library, the folder of its data (empty: its own), voice, words a minute, text. Output: one line of JSON
with `rate` and `sounds` (name and first sample of each), then the samples as 16-bit integers of this machine.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 1, 0x8000
_RATE_PARAMETER = 1
_UTF8_AND_PHONEMES = 0x101
_BY_CHARACTER = 1
_LAST_EVENT, _PHONEME = 0, 7


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("phoneme", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def main(library_path: str, data: str, voice: str, words_per_minute: str, text: str) -> str | None:
    """Write the speech; return what went wrong, or None."""
    library = ctypes.CDLL(library_path)
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode() or None, _PHONEME_EVENTS | _DONT_EXIT)
    if rate <= 0:
        return "eSpeak NG did not start"
    if hasattr(library, "espeak_ng_SetRandSeed"):  # from 1.52 on its noise is seeded by the clock
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    pieces: list[bytes] = []
    sounds: list[tuple[str, int]] = []

    def receive(samples: Any, n_samples: int, events: Any) -> int:
        if samples and n_samples > 0:
            pieces.append(ctypes.string_at(samples, 2 * n_samples))
        place = 0
        while events[place].type != _LAST_EVENT:
            if events[place].type == _PHONEME:
                sounds.append((events[place].phoneme.decode(errors="replace"), events[place].sample))
            place += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        return f"eSpeak NG has no voice {voice!r}"
    library.espeak_SetParameter(_RATE_PARAMETER, int(words_per_minute), 0)
    code = text.encode()
    length = ctypes.c_size_t(len(code) + 1)
    status = library.espeak_Synth(code, length, 0, _BY_CHARACTER, 0, _UTF8_AND_PHONEMES, None, None)
    if status != 0 or library.espeak_Synchronize() != 0 or not pieces:
        return f"eSpeak NG could not say {text}"
    sys.stdout.buffer.write(json.dumps({"rate": rate, "sounds": sounds}).encode() + b"\n" + b"".join(pieces))
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

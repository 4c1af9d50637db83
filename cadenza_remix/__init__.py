"""Music in, a listener's audiograms in; out come stems and a remix that the listener hears better, and scores.

The names below are loaded when they are first used: ``import cadenza_remix`` itself loads neither TensorFlow nor Numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cadenza_remix.audio.io import load_audio as load_audio
    from cadenza_remix.audio.reading import FileBlocks as FileBlocks
    from cadenza_remix.audio.signal import Audio as Audio
    from cadenza_remix.errors import CadenzaError as CadenzaError
    from cadenza_remix.hearing.audiogram import Audiogram as Audiogram
    from cadenza_remix.hearing.audiogram import Listener as Listener
    from cadenza_remix.hearing.audiogram import load_listeners as load_listeners
    from cadenza_remix.remix import Chain as Chain
    from cadenza_remix.remix import enhance as enhance
    from cadenza_remix.remix import load_chain as load_chain
    from cadenza_remix.separation.loading import load_separator as load_separator
    from cadenza_remix.separation.options import SeparationOptions as SeparationOptions

_HOMES = {
    "Audio": "cadenza_remix.audio.signal",
    "Audiogram": "cadenza_remix.hearing.audiogram",
    "CadenzaError": "cadenza_remix.errors",
    "Chain": "cadenza_remix.remix",
    "Listener": "cadenza_remix.hearing.audiogram",
    "enhance": "cadenza_remix.remix",
    "load_audio": "cadenza_remix.audio.io",
    "load_chain": "cadenza_remix.remix",
    "load_listeners": "cadenza_remix.hearing.audiogram",
    "load_separator": "cadenza_remix.separation.loading",
    "FileBlocks": "cadenza_remix.audio.reading",
    "SeparationOptions": "cadenza_remix.separation.options",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cadenza_remix' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

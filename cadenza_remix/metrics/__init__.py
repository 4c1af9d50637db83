"""Scores: HAAQI per ear, SNR, SDR, SI-SDR, BSS Eval and the cancellation residual per stem.

Names are loaded when they are asked for: HAAQI brings Numba, which takes a moment that other users need not wait.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cadenza_remix.metrics.bss_v4 import BssEvalResult as BssEvalResult
    from cadenza_remix.metrics.bss_v4 import bss_eval as bss_eval
    from cadenza_remix.metrics.bss_v4 import median_over_tracks as median_over_tracks
    from cadenza_remix.metrics.cancellation import CancellationResult as CancellationResult
    from cadenza_remix.metrics.cancellation import cancellation_residual as cancellation_residual
    from cadenza_remix.metrics.cancellation import cancellation_residual_db as cancellation_residual_db
    from cadenza_remix.metrics.haaqi_cache import HaaqiReferenceCache as HaaqiReferenceCache
    from cadenza_remix.metrics.haaqi_index import compute_haaqi as compute_haaqi
    from cadenza_remix.metrics.haaqi_index import haaqi as haaqi
    from cadenza_remix.metrics.haaqi_reference import HaaqiReference as HaaqiReference
    from cadenza_remix.metrics.haaqi_result import HaaqiFeatures as HaaqiFeatures
    from cadenza_remix.metrics.haaqi_result import HaaqiResult as HaaqiResult
    from cadenza_remix.metrics.separation import sdr_db as sdr_db
    from cadenza_remix.metrics.separation import si_sdr_db as si_sdr_db
    from cadenza_remix.metrics.separation import snr_db as snr_db

_MODULE_OF = {
    "haaqi": "haaqi_index",
    "compute_haaqi": "haaqi_index",
    "HaaqiFeatures": "haaqi_result",
    "HaaqiReference": "haaqi_reference",
    "HaaqiReferenceCache": "haaqi_cache",
    "HaaqiResult": "haaqi_result",
    "snr_db": "separation",
    "sdr_db": "separation",
    "si_sdr_db": "separation",
    "bss_eval": "bss_v4",
    "BssEvalResult": "bss_v4",
    "median_over_tracks": "bss_v4",
    "cancellation_residual": "cancellation",
    "cancellation_residual_db": "cancellation",
    "CancellationResult": "cancellation",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])

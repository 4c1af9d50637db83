"""All values of all runs in a compact form, from which the page's script makes a CSV file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.report.page.contents import Scores
from cadenza_remix.report.tidy import METRICS

_DECIMALS = {"haaqi": 4, "snr_db": 2, "sdr_db": 2}
"""HAAQI's own spread over seeds of its noise is about 1e-3."""


def packed_values(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Return names once, and a row of numbers for each system, song, listener and metric.

    Rows are ``[system, song, listener, metric, value of each channel ...]``; the first four count into the lists of
    names, the values are in the order of ``channels``, null where one is not defined.
    """
    channels = [(ear, stem) for ear in EARS for stem in STEMS]
    songs = sorted({pair.song for of in scores.values() for pair in of.means})
    listeners = sorted({pair.listener for of in scores.values() for pair in of.means})
    song_place, listener_place = ({name: rank for rank, name in enumerate(names)} for names in (songs, listeners))
    rows = []
    for system, of in enumerate(scores.values()):
        wide = of.tidy.pivot(index=["song", "listener", "metric"], columns=["ear", "stem"], values="value")
        for (song, listener, metric), values in zip(wide.index, wide[channels].to_numpy(), strict=True):
            numbers = [None if math.isnan(value) else round(float(value), _DECIMALS[metric]) for value in values]
            rows.append([system, song_place[song], listener_place[listener], METRICS.index(metric), *numbers])
    return {
        "systems": list(scores),
        "songs": songs,
        "listeners": listeners,
        "metrics": list(METRICS),
        "channels": channels,
        "rows": rows,
    }

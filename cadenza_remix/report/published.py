"""What the organisers published about CAD1, for orientation.

The figures belong to the test split: its songs, its listeners, its references. A score on other songs, other listeners
or shorter passages is another quantity, however alike it looks; the two baselines themselves stand at 0.26 and 0.23 on
the validation split and at 0.71 and 0.64 on the test split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class PublishedSystem:
    """One line of the official results.

    Parameters
    ----------
    name : str
        The organisers' name of a baseline, or an entry's number.
    about : str
        How it works, in a few words; empty where nothing was published.
    haaqi, haaqi_left, haaqi_right : float
        Mean over all songs, listeners and stems; the same for each ear.
    panel_quality : float or None
        Mean rating of basic audio quality, 0 to 100; None where the panel did not hear the system.
    """

    name: str
    about: str
    haaqi: float
    haaqi_left: float
    haaqi_right: float
    panel_quality: float | None


@dataclass(frozen=True)
class ValidationScore:
    """A baseline's mean HAAQI on the validation split."""

    name: str
    haaqi: float


@dataclass(frozen=True)
class PublishedResults:
    """The official results of a challenge: what was measured on what, and where it is written."""

    title: str
    split: str
    n_songs: int
    n_listeners: int
    systems: tuple[PublishedSystem, ...]
    validation: tuple[ValidationScore, ...]
    sources: tuple[str, ...]


@lru_cache(maxsize=1)
def published_results() -> PublishedResults:
    """Return the results of CAD1, Task 1, the highest HAAQI first."""
    text = resources.files("cadenza_remix.resources").joinpath("cad1_results.json").read_text(encoding="utf-8")
    raw: dict[str, Any] = json.loads(text)
    return PublishedResults(
        title=raw["title"],
        split=raw["split"],
        n_songs=raw["n_songs"],
        n_listeners=raw["n_listeners"],
        systems=tuple(PublishedSystem(**system) for system in raw["systems"]),
        validation=tuple(ValidationScore(**score) for score in raw["validation"]),
        sources=tuple(raw["sources"]),
    )


def print_published(console: Console, results: PublishedResults | None = None) -> None:
    """Print the official results, and what they may not be compared with; fits 80 columns."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    results = results or published_results()
    validation = ", ".join(f"{score.name} {score.haaqi:.4f}" for score in results.validation)
    table = Table(
        title=results.title,
        caption=(
            f"Only for orientation: {results.split} split, {results.n_songs} songs x {results.n_listeners} listeners. "
            "Not comparable with scores on another split, other songs, listeners or references. "
            f"(On the validation split: {validation}.)"
        ),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("system", no_wrap=True)
    for heading in ("HAAQI", "left", "right", "panel\nquality"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("how")
    for system in results.systems:
        quality = "-" if system.panel_quality is None else f"{system.panel_quality:.1f}"
        scores = [f"{value:.3f}" for value in (system.haaqi, system.haaqi_left, system.haaqi_right)]
        table.add_row(system.name, *scores, quality, escape(system.about))
    console.print(table)

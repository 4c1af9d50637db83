"""What was run: chains in words, separators, how much, which records, with what the report was made."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from cadenza_remix.audio.signal import STEMS
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.remix import Chain
from cadenza_remix.report.page.contents import Contents
from cadenza_remix.report.page.markup import Html, counted, element, how_to_read, join, missing, paragraph
from cadenza_remix.report.page.places import enhance_place, score_places
from cadenza_remix.runs.finished import UNPROCESSED, UPPER_BOUND, FinishedRun
from cadenza_remix.runs.records import Record

_PACKAGES = ("cadenza-remix", "numpy", "scipy", "pandas", "numba", "soxr", "soundfile", "pyloudnorm", "matplotlib")
_DIGEST_DIGITS = 16


def overview(contents: Contents) -> Html:
    """Return a card for each run, and the versions with which the report was made."""
    cards = element("div", *(_card(run) for run in contents.runs), class_="cards")
    explanation = how_to_read(
        "The digest of records is taken over the keys of all pairs in order; a key covers the bytes of song and "
        "references, model and weights, chain and audiogram. Two runs of one digest hold the same results."
    )
    words = ", ".join(f"{name} {version}" for name, version in _versions())
    return join(
        cards, explanation, paragraph(element("strong", "This report was made with "), words, ".", class_="how")
    )


def chain_in_words(chain: Chain) -> list[str]:
    """Return the steps of a chain in their order, each as a line.

    Examples
    --------
    >>> chain_in_words(Chain(gains_db={"vocals": 3.0}))
    ['Gains: vocals +3 dB', 'Sum of the stems to the remix', 'Soft clip (tanh) of the remix over full scale']
    """
    steps = []
    gains = [f"{stem} {chain.gains_db[stem]:+g} dB" for stem in STEMS if chain.gains_db.get(stem)]
    if gains:
        steps.append(f"Gains: {', '.join(gains)}")
    if chain.nalr is not None:
        steps.append(f"NAL-R for each ear: FIR of {chain.nalr.order + 1} taps, delay taken out")
    if chain.compressor is not None:
        steps.append(f"Compressor on each stem and ear: {_compressor(chain)}")
    if chain.band_pass_stems and chain.band_pass is not None:
        steps.append(f"{_band_pass(chain)} on the stems")
    steps.append("Sum of the stems to the remix")
    if chain.band_pass is not None:
        steps.append(f"{_band_pass(chain)} on the remix")
    steps.append("Soft clip (tanh) of the remix over full scale")
    return steps


def records_digest(records: Mapping[Pair, Record]) -> str:
    """Return what names a set of records: a digest over their keys in the order of the pairs."""
    text = "\n".join(f"{pair.listener}/{pair.song}\t{records[pair].key}" for pair in sorted(records))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]


def _compressor(chain: Chain) -> str:
    settings = chain.compressor
    assert settings is not None
    return (
        f"threshold {settings.threshold_lin:g} of full scale, attenuation {settings.attenuation:g}, "
        f"attack {settings.attack_ms:g} ms, release {settings.release_ms:g} ms, RMS over "
        f"{1000 * settings.rms_window_s:g} ms, make-up gain {settings.makeup_gain_lin:g}"
    )


def _band_pass(chain: Chain) -> str:
    settings = chain.band_pass
    assert settings is not None
    return f"Band-pass {settings.low_hz:g} to {settings.high_hz:g} Hz (Butterworth, order {settings.order})"


def _card(run: FinishedRun) -> Html:
    facts: list[tuple[str, object]] = [
        ("Chain", _chain(run)),
        ("Separator", _separator(run)),
        ("Pairs", _pairs(run)),
    ]
    for title, records in (("Enhanced", run.enhanced), ("Scored", run.scored)):
        if records:
            digest = element("code", records_digest(records))
            facts.append((title, join(f"{counted(len(records), 'pair')}, digest ", digest)))
    if run.scored:
        facts.append(("Scorer", scorer_in_words(run.scored.values())))
    facts.append(("Records from", _dates(run)))
    items = [part for term, fact in facts for part in (element("dt", term), element("dd", fact))]
    return element("article", element("h3", run.name), element("dl", *items), class_="card")


def _chain(run: FinishedRun) -> Html:
    chain = run.chain
    if chain is not None:
        steps = element("ol", *(element("li", step) for step in chain_in_words(chain)))
        return join(element("strong", chain.name), steps)
    last = run.name.rpartition("/")[2]
    if last == UNPROCESSED:
        return join("none: the unprocessed mixture stands in place of each stem, which is what doing nothing scores")
    if last == UPPER_BOUND:
        return join("none: the clean stems with each listener’s NAL-R, which is what a perfect separation scores")
    return missing("not known: no records of enhancing were found")


def _separator(run: FinishedRun) -> object:
    if run.separators:
        return ", ".join(run.separators)
    return missing("not known: no separated stems were found") if run.enhanced else "none that is known"


def _pairs(run: FinishedRun) -> str:
    n_songs, n_listeners, n_pairs = len(run.songs), len(run.listeners), len(run.pairs)
    text = f"{n_pairs} ({counted(n_songs, 'song')} × {counted(n_listeners, 'listener')})"
    if n_pairs != n_songs * n_listeners:
        text += f"; {n_songs * n_listeners - n_pairs} of these are not there"
    cut = any(record.settings.get("segments_s") for record in run.enhanced.values())
    return text + (", segments of the songs" if cut else ", whole songs" if run.enhanced else "")


def scorer_in_words(records: Iterable[Record]) -> str:
    """Return by which scorer, noise and seeding records were made."""
    kinds = {
        (_named(r.settings, "scorer"), _named(r.settings, "noise"), _named(r.settings, "seeding")) for r in records
    }
    return "; ".join(f"HAAQI {scorer}, noise {noise}, seeding {seeding}" for scorer, noise, seeding in sorted(kinds))


def _named(settings: Mapping[str, Any], key: str) -> str:
    return str(settings.get(key) or "not noted")


def _dates(run: FinishedRun) -> str:
    """Return when the records were written, as the file system says."""
    places = [enhance_place(run), *score_places(run)]
    times = []
    for place in places:
        for pair in run.pairs:
            with suppress(OSError):
                times.append((place / pair.listener / f"{pair.song}.json").stat().st_mtime)
    if not times:
        return "not known"
    first, last = (datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M") for t in (min(times), max(times)))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _versions() -> list[tuple[str, str]]:
    rows = [("Python", platform.python_version())]
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            rows.append((name, metadata.version(name)))
    return rows

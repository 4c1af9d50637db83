"""What of the runs a test makes use of: whether its systems and listeners are there, and which passages are heard."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.listen.library import Library
from cadenza_remix.listen.panel.config import MIXTURE, SongChoice, TestSettings
from cadenza_remix.listen.versions import versions_of

_SHORTEST_S = 1.0
_ROUNDING_S = 1e-6


def version_of(system: str) -> str:
    """Return the room's name for what a system of the test stands for."""
    return MIXTURE if system == MIXTURE else f"remix:{system}"


def needed_versions(settings: TestSettings) -> tuple[str, ...]:
    """Return the versions that every song of the test must have for every participant."""
    reference = (f"remix:clean:{settings.reference}",) if settings.type == "mushra" else ()
    return tuple(map(version_of, settings.systems)) + reference


def check_systems(settings: TestSettings, library: Library) -> None:
    """Refuse systems that the runs do not have.

    Raises
    ------
    InputError
        With the names that there are.
    """
    known = [system.name for system in library.systems]
    for name in settings.systems:
        if name not in (*known, MIXTURE):
            raise unknown_name("system", name, (*known, MIXTURE), where="systems")
    if settings.type == "mushra" and settings.reference not in known:
        raise unknown_name("system", settings.reference, known, where="reference")


def passages_of(settings: TestSettings, library: Library) -> list[tuple[str, float, float]]:
    """Return what is heard of which songs: (song, start_s, duration_s), the same for all participants.

    Where the settings name no start, the passage lies in the middle of what all listeners of the run can hear of the
    song in all versions; where that is shorter than the test's duration, it is all of it.

    Raises
    ------
    InputError
        A song is unknown, too little of it can be heard, or two choices are the same passage.
    """
    wanted = settings.songs
    if wanted is None:
        wanted = tuple(SongChoice(song.name) for song in library.songs)
    passages = []
    for choice in wanted:
        begin, end = _common_range(settings, library, choice.name)
        duration = choice.duration_s or settings.duration_s
        if choice.start_s is None:
            duration = min(duration, end - begin)
            start = begin + math.floor((end - begin - duration) / 2 * 10) / 10  # to a tenth of a second
        else:
            start = choice.start_s
            duration = duration if choice.duration_s else max(0.0, min(duration, end - start))
        if start < begin - _ROUNDING_S or start + duration > end + _ROUNDING_S or duration < _SHORTEST_S:
            raise InputError(
                "passage is not all there",
                where=choice.name,
                expected=f"at least {_SHORTEST_S:g} s within {begin:.2f} to {end:.2f} s",
                found=f"{duration:.2f} s from {start:.2f} s on",
            )
        passage = (choice.name, start, duration)
        if passage in passages:
            raise InputError("passage stands twice", where=f"songs: {choice.name}", expected="each once")
        passages.append(passage)
    return passages


def check_listener(
    settings: TestSettings, library: Library, listener: Listener, passages: Sequence[tuple[str, float, float]]
) -> None:
    """Refuse a listener for whom a stimulus of the test cannot be made.

    Raises
    ------
    InputError
        With the song and the version that is not there.
    """
    for name in dict.fromkeys(song for song, _, _ in passages):
        have = {version.id for version in versions_of(library, library.song_named(name), listener)}
        for version in needed_versions(settings):
            if version not in have:
                raise InputError(
                    f"{version} cannot be heard", where=f"{name}, listener {listener.id}", expected="its files or stems"
                )


def _common_range(settings: TestSettings, library: Library, name: str) -> tuple[float, float]:
    """Return what of a song all listeners of the runs, and somebody else, can hear in all versions that are needed."""
    song = library.song_named(name)
    needed = needed_versions(settings)
    begin, end = 0.0, math.inf
    for listener in (*library.listeners, library.standard_listeners[0]):
        ranges = {version.id: (version.start_s, version.end_s) for version in versions_of(library, song, listener)}
        if not all(version in ranges for version in needed):
            continue  # refused when somebody wants to take part as this listener
        begin = max(begin, *(ranges[version][0] for version in needed))
        end = min(end, *(ranges[version][1] for version in needed))
    if not math.isfinite(end):
        raise InputError("cannot be heard in all versions", where=name, expected=", ".join(needed))
    return begin, end

"""The versions of a song that one listener can hear, and the rendering of any passage of them.

What a run wrote for a listener is played from its files. For everybody else (another audiogram, an own song) the stems
of the passage go through the chain on the spot, with as much before and after as the filters and the compressor reach.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.loss_simulation import hear_as
from cadenza_remix.listen.library import Library, RoomSong, UnknownIdError
from cadenza_remix.listen.live import SIMULATION_REACH
from cadenza_remix.listen.offers import Offer, Version, offers
from cadenza_remix.listen.stamps import file_stamp


def versions_of(library: Library, song: RoomSong, listener: Listener) -> list[Version]:
    """Return what one listener can hear of a song, group by group."""
    return [offer.version for offer in offers(library, song, listener)]


def origin_of(
    library: Library, song: RoomSong, version_id: str, listener: Listener, *, simulator: str | None = None
) -> Hashable:
    """Return what decides how a version of a song sounds: equal ones are one sound, a replaced file is another one.

    Parameters
    ----------
    library : Library
    song : RoomSong
    version_id : str
        Of `versions_of`.
    listener : Listener
        Counts only where it is heard: in what is made for this listener, and through a simulator.
    simulator : str, optional
        As for `render`.

    Raises
    ------
    UnknownIdError
        The listener cannot hear such a version of this song.
    InputError
        A file is not there.
    """
    offer = _offer(library, song, version_id, listener)
    whose = listener.id if offer.is_for_listener or simulator is not None else None
    return version_id, whose, simulator, tuple(map(file_stamp, offer.files()))


def render(
    library: Library,
    song: RoomSong,
    version_id: str,
    listener: Listener,
    *,
    start_s: float,
    duration_s: float,
    simulator: str | None = None,
) -> Audio:
    """Return a passage of a version as one listener gets it.

    Parameters
    ----------
    library : Library
    song : RoomSong
    version_id : str
        Of `versions_of`.
    listener : Listener
        Whose audiograms the remix is made for, and whose hearing is simulated.
    start_s, duration_s : float
        From the song's beginning; what lies outside the version is silence.
    simulator : str, optional
        A name of `cadenza_remix.hearing.loss_simulation.simulator_names`: as this listener hears it.

    Returns
    -------
    Audio
        Stereo, 44.1 kHz, ``round(duration_s * 44100)`` samples; enhanced stems may lie over full scale.

    Raises
    ------
    UnknownIdError
        The listener cannot hear such a version of this song.
    InputError
        No length, or a file cannot be read.
    """
    first, n_samples = round(start_s * MUSIC_SAMPLE_RATE), round(duration_s * MUSIC_SAMPLE_RATE)
    if first < 0 or n_samples < 1:
        raise InputError(
            "wrong passage", expected="start_s of at least 0, duration_s above 0", found=f"{start_s:g}, {duration_s:g}"
        )
    passage = _offer(library, song, version_id, listener).passage
    name = f"{song.name}: {version_id}"
    if simulator is None:
        return Audio(passage(first, n_samples), MUSIC_SAMPLE_RATE, name)
    before = min(first, SIMULATION_REACH)
    wide = Audio(passage(first - before, before + n_samples + SIMULATION_REACH), MUSIC_SAMPLE_RATE, name)
    heard = hear_as(wide, listener, simulator=simulator)
    return Audio(heard.samples[before : before + n_samples], MUSIC_SAMPLE_RATE, name)


def warm_up(library: Library, *, is_over: Callable[[], bool] = lambda: False) -> None:
    """Make a moment of mixture and remixes, so that the first visitor does not wait for what is loaded and compiled.

    ``is_over`` is asked before each version whether to leave it at that.
    """
    listener = library.standard_listeners[0]
    for song in library.songs[:1]:
        for offer in offers(library, song, listener):
            if not is_over() and offer.version.id.startswith(("mixture", "remix:")):
                offer.passage(0, MUSIC_SAMPLE_RATE // 10)


def _offer(library: Library, song: RoomSong, version_id: str, listener: Listener) -> Offer:
    for offer in offers(library, song, listener):
        if offer.version.id == version_id:
            return offer
    raise UnknownIdError(f"unknown version {version_id!r}", where=song.name, expected="one that the server lists")

"""The listening room's API: what there is to hear, clips of it, audiograms of visitors."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cadenza_remix.audio.signal import EARS
from cadenza_remix.errors import CadenzaError, InputError, unknown_name
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.hearing.loss_simulation import simulator_names
from cadenza_remix.hearing.severity import listener_grade
from cadenza_remix.listen.clips import ClipStore, RenderPool
from cadenza_remix.listen.library import MOST_FREQUENCIES, Library, RoomSong
from cadenza_remix.listen.ranges import FileInParts
from cadenza_remix.listen.room_clips import ClipPassage, clip_or_error, clips_answer, key_prefix
from cadenza_remix.listen.security import error_response
from cadenza_remix.listen.uploads import Uploads
from cadenza_remix.listen.versions import versions_of

MAX_CLIP_S = 60.0
MOST_VERSIONS = 48
"""Of one request."""
_SLOW_S = {"msbg": 15.0}
"""So much may be heard at once through simulators that take most of a second for each second of each version."""
_LABELS = {
    "simple": "Thresholds and loudness recruitment",
    "msbg": f"MSBG (pyclarity), slow: up to {_SLOW_S['msbg']:g} s at once",
}
MOST_SLOW_VERSIONS = 4
"""Of one request through such a simulator."""

Made = TypeVar("Made")
_Level = Annotated[float, Field(allow_inf_nan=False)]
_Frequency = Annotated[float, Field(ge=20, le=24_000)]
_Id = Annotated[str, Field(min_length=1, max_length=300)]


class GoneError(CadenzaError):
    """Nobody waits for the answer any more."""


class _Strict(BaseModel):
    """A body whose keys are all known, and whose numbers are numbers."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AudiogramBody(_Strict):
    """Thresholds of one ear."""

    frequencies_hz: Annotated[list[_Frequency], Field(min_length=2, max_length=MOST_FREQUENCIES)]
    levels_db_hl: Annotated[list[_Level], Field(min_length=2, max_length=MOST_FREQUENCIES)]

    def audiogram(self, ear: str) -> Audiogram:
        """Return the audiogram, checked."""
        return Audiogram(self.frequencies_hz, self.levels_db_hl, name=ear)


class ListenerBody(_Strict):
    """Both ears."""

    left: AudiogramBody
    right: AudiogramBody


class ClipsBody(_Strict):
    """Which passage of which versions."""

    song: _Id
    listener: _Id
    start_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    duration_s: Annotated[float, Field(gt=0, le=MAX_CLIP_S, allow_inf_nan=False)]
    versions: Annotated[list[_Id], Field(min_length=1, max_length=MOST_VERSIONS)]
    simulator: str | None = None


def room_router(*, library: Library, clips: ClipStore, uploads: Uploads | None, pool: RenderPool) -> APIRouter:
    """Return the routes below ``/api`` that the room page uses."""
    router = APIRouter()
    library.when_removed(lambda song_id: clips.forget_all(key_prefix(song_id)))  # a visitor's song goes, and all of it

    @router.get("/api/room")
    def room() -> dict[str, Any]:
        return _room(library, uploads)

    @router.get("/api/songs/{song_id}/versions")
    def versions(song_id: str, listener: str) -> list[dict[str, Any]]:
        found = versions_of(library, library.song(song_id), library.listener(listener))
        return [{"id": v.id, "label": v.label, "group": v.group, "start_s": v.start_s, "end_s": v.end_s} for v in found]

    @router.post("/api/listeners")
    def add_listener(body: ListenerBody) -> dict[str, Any]:
        return listener_entry(library.add_listener(body.left.audiogram("left"), body.right.audiogram("right")))

    @router.post("/api/clips")
    async def make_clips(body: ClipsBody, request: Request) -> dict[str, Any]:
        song, listener = library.song(body.song), library.listener(body.listener)
        if body.start_s >= song.duration_s:
            found = f"{body.start_s:g} s"
            raise InputError("begins after the song", where="start_s", expected=f"< {song.duration_s:g} s", found=found)
        if body.simulator is not None:
            _check_simulator(body.simulator, body)
        passage = ClipPassage(song, listener, body.start_s, body.duration_s, body.simulator)
        jobs = [partial(clip_or_error, library, clips, passage, version) for version in body.versions]
        return clips_answer(body.versions, await _unless_gone(request, pool.run_all(jobs)))

    return router


def _check_simulator(name: str, body: ClipsBody) -> None:
    """Refuse a simulator that is not there, and more of it than ends in reasonable time."""
    if name not in simulator_names():
        raise unknown_name("simulator", name, simulator_names())
    most_s = _SLOW_S.get(name, MAX_CLIP_S)
    if body.duration_s > most_s:
        expected, found = f"at most {most_s:g} s", f"{body.duration_s:g} s"
        raise InputError(f"too long for simulator {name}", where="duration_s", expected=expected, found=found)
    if name in _SLOW_S and len(body.versions) > MOST_SLOW_VERSIONS:
        expected = f"at most {MOST_SLOW_VERSIONS}"
        raise InputError(
            f"too many for simulator {name}", where="versions", expected=expected, found=len(body.versions)
        )


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Made]) -> Made:
    """Wait for work as long as the one who asked for it does; then it is cancelled."""

    async def until_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    made, gone = asyncio.ensure_future(work), asyncio.ensure_future(until_gone())
    try:
        await asyncio.wait({made, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not made.done():
            raise GoneError("the one who asked has gone")
        return made.result()
    finally:
        made.cancel()
        gone.cancel()
        await asyncio.wait({made, gone})  # then what has not begun is out of the queue, before anybody else asks


def clip_router(clips: ClipStore) -> APIRouter:
    """Return the route of the clips themselves, which the room and listening tests share."""
    router = APIRouter()

    @router.api_route("/clips/{name}", methods=["GET", "HEAD"])
    async def clip_file(name: str, request: Request) -> Response:
        clip = clips.find(name.removesuffix(".flac")) if name.endswith(".flac") else None
        if clip is None:
            return error_response(404, "no such clip, or no longer: ask for it again")
        headers = {"cache-control": "private, max-age=86400, immutable"}
        return FileInParts(clip.path, etag=f'"{clip.id}"', media_type="audio/flac", headers=headers)

    return router


def listener_entry(listener: Listener) -> dict[str, Any]:
    """Return a listener as the API tells of one."""
    return {
        "id": listener.id,
        "severity": listener_grade(listener),
        **{ear: audiogram_entry(listener.ear(ear)) for ear in EARS},
    }


def audiogram_entry(audiogram: Audiogram) -> dict[str, list[float]]:
    """Return an audiogram as plain values."""
    return {"frequencies_hz": audiogram.frequencies_hz.tolist(), "levels_db_hl": audiogram.levels_db_hl.tolist()}


def song_entry(song: RoomSong) -> dict[str, Any]:
    """Return a song as the API tells of one."""
    return {
        "id": song.id,
        "name": song.name,
        "duration_s": song.duration_s,
        "has_clean": song.sources.references is not None,
        "is_upload": song.is_upload,
    }


def _room(library: Library, uploads: Uploads | None) -> dict[str, Any]:
    limits: dict[str, Any] = {"max_clip_s": MAX_CLIP_S}
    if uploads is not None:
        limits["max_upload_mb"] = round(uploads.limits.max_bytes / 1e6, 3)
        limits["max_upload_s"] = uploads.limits.max_song_s
        limits["upload_suffixes"] = list(uploads.suffixes)
    return {
        "name": library.name,
        "songs": [song_entry(song) for song in library.songs],
        "systems": [
            {"name": system.name, "chain": None if system.chain is None else system.chain.to_dict()}
            for system in library.systems
        ],
        "listeners": [listener_entry(listener) for listener in library.listeners],
        "standard_audiograms": [
            {"id": listener.id, **audiogram_entry(listener.left)} for listener in library.standard_listeners
        ],
        "simulators": [
            {"id": name, "label": _LABELS[name], "max_clip_s": _SLOW_S.get(name, MAX_CLIP_S)}
            for name in simulator_names()
        ],
        "limits": limits,
        "uploads": uploads is not None,
        "separator": uploads.separator if uploads is not None else None,
    }

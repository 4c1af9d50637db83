"""Visitors' songs: what is taken, what is refused, and that nothing in a file or around it brings the server down."""

import asyncio
import contextlib
import io
import os
import signal
import struct
import time

import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.listen.library import Library, UnknownIdError
from cadenza_remix.listen.upload_body import RefusedUploadError, has_magic, shown_name
from cadenza_remix.listen.uploads import UploadLimits, Uploads

RATE = 44100


def music(duration_s, *, rate=RATE, seed=3):
    """Return stereo noise with a tone: something to demix."""
    time_s = np.arange(round(duration_s * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.05, (time_s.size, 2))
    return (noise + 0.2 * np.sin(2 * np.pi * 220 * time_s)[:, np.newaxis]).astype(np.float32)


def coded(samples, *, rate=RATE, container="WAV", subtype=None):
    """Return the bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


async def pieces(data, size=50_000, pause_s=0.0):
    """Yield a file as a request's body comes."""
    for first in range(0, len(data), size):
        await asyncio.sleep(pause_s)
        yield data[first : first + size]


def send(uploads, data, name, **how):
    return asyncio.run(uploads.receive(pieces(data, **how), name))


def wait_for(uploads, token, *states, timeout_s=60):
    """Return the status once it is one of these."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        status = uploads.status(token)
        if status["state"] in states:
            return status
        assert status["state"] not in ("ready", "failed"), status
        time.sleep(0.02)
    raise AssertionError(f"still {status}")


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def library():
    return Library()


@pytest.fixture
def opened(tmp_path, library):
    """Open uploads with the limits given; they are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(**limits):
            uploads = Uploads(tmp_path / "own", library=library, limits=UploadLimits(**limits))
            stack.callback(uploads.close)
            return uploads

        yield make


def failed_line(uploads, data, name):
    """Send a file that is taken and then fails; return why, and see that nothing is left of it."""
    status = wait_for(uploads, send(uploads, data, name), "failed")
    assert status["song"] is None
    assert not files_of(uploads._own_folder())
    assert "\n" not in status["error"]
    assert str(uploads._own_folder()) not in status["error"]
    return status["error"]


def test_killed_worker_fails_one_song_and_the_next_is_demixed(opened, library, tmp_path):
    uploads = opened()
    victim = send(uploads, coded(music(2)), "first.wav")
    wait_for(uploads, victim, "demixing")
    # The demixing worker has several seconds of loading before it: it is there now.
    (pid,) = uploads.worker_pids()
    os.kill(pid, signal.SIGKILL)
    status = wait_for(uploads, victim, "failed")
    assert status["error"] == "first: demixing failed: its worker was killed (was it out of memory?)"
    assert not files_of(tmp_path)

    samples = music(3)
    token = send(uploads, coded(samples, container="FLAC"), "..\\..\\etc/My \u202esong\x00.flac")
    shares, seconds = [], []
    deadline = time.monotonic() + 120
    while (status := uploads.status(token))["state"] != "ready" and time.monotonic() < deadline:
        shares.append(status["share"])
        seconds.append(status["seconds_left"])
        assert status["state"] != "failed", status
        time.sleep(0.02)
    assert shares
    assert all(0 <= share <= 1 for share in shares)
    song = status["song"]
    assert library.song(song.id) is song
    assert song.is_upload
    assert song not in library.songs
    assert (song.name, song.duration_s, song.sources.separator) == ("My song", 3.0, "cadenza:mini")
    np.testing.assert_allclose(load_audio(song.sources.mixture).samples, samples, atol=2**-15)
    stems = load_stems(song.sources.kept_stems)
    assert list(stems) == ["vocals", "drums", "bass", "other"]
    assert all(audio.n_samples == len(samples) and audio.n_channels == 2 for audio in stems.values())
    assert soundfile.info(song.sources.kept_stems / "vocals.wav").subtype == "FLOAT"
    assert sum(np.abs(audio.samples).max() for audio in stems.values()) > 0.1
    assert not list(song.sources.kept_stems.glob("original*"))
    assert song.sources.kept_stems.stat().st_mode & 0o077 == 0

    uploads.remove(token)
    assert not files_of(tmp_path)
    for forgotten in (lambda: uploads.status(token), lambda: uploads.remove(token), lambda: library.song(song.id)):
        with pytest.raises(UnknownIdError):
            forgotten()


def test_what_a_damaged_or_hostile_file_does_is_told_in_one_line(opened):
    uploads = opened(max_song_s=5)
    whole = coded(music(1))
    # The header says 4 GB, or twice as much as there is; or 65535 channels, or a rate of a billion.
    lying = whole[:40] + struct.pack("<I", 2 * (len(whole) - 44)) + whole[44:]
    assert "cut off" in failed_line(uploads, lying, "lying.wav")
    channels = whole[:22] + struct.pack("<H", 65535) + whole[24:]
    assert failed_line(uploads, channels, "channels.wav").startswith("channels: ")
    rate = whole[:24] + struct.pack("<I", 1_000_000_000) + whole[28:]
    assert failed_line(uploads, rate, "rate.wav").startswith("rate: ")
    nan = coded(np.full((1000, 2), np.nan, dtype=np.float32), subtype="FLOAT")
    assert "finite" in failed_line(uploads, nan, "nan.wav")
    assert "no samples" in failed_line(uploads, coded(np.zeros((0, 2))), "empty.wav")
    noise = np.random.default_rng(1).bytes(100_000)
    for head, name in ((b"fLaC", "x.flac"), (b"OggS", "x.ogg"), (b"\0\0\0\x20ftypM4A ", "x.m4a"), (b"ID3", "x.mp3")):
        assert failed_line(uploads, head + noise, name).startswith("x: ")


def test_bombs_are_stopped_by_what_they_say_and_by_what_they_give(opened):
    uploads = opened(max_song_s=5)
    # An hour of silence in a few kilobytes each.
    bomb = coded(np.zeros((600 * RATE, 1), dtype=np.int16), container="FLAC")
    assert len(bomb) < 200_000
    expected = "bomb: song is too long: expected at most 5 s"
    assert failed_line(uploads, bomb, "bomb.flac") == expected
    # The same without a length in the header: it has to be decoded to find out.
    silent_on_length = bomb[:21] + bytes([bomb[21] & 0xF0]) + bytes(4) + bomb[26:]
    assert failed_line(uploads, silent_on_length, "bomb.flac").startswith("bomb: ")
    mp3 = coded(np.zeros((20 * RATE, 1)), container="MP3")
    assert failed_line(uploads, mp3, "bomb.mp3") == expected
    # A low rate: few bytes become many samples.
    slow = coded(np.zeros((6 * 1000, 1)), rate=1000)
    assert failed_line(uploads, slow, "bomb.wav") == expected


def test_decoder_has_little_memory(opened):
    # Too little even to load what decodes: the worker fails, the server does not.
    uploads = opened(decode_bytes=40_000_000)
    assert failed_line(uploads, coded(music(0.1)), "song.wav")


@pytest.mark.parametrize(
    ("data", "name", "status", "line"),
    [
        (b"", "song.wav", 415, "file is empty"),
        (b"no music, just text", "song.mp3", 415, "file is not what its name says: expected .mp3"),
        (b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd", "song.m4a", 415, "not what its name says"),
        (b"RIFF", "song.wav", 415, "not what its name says"),
        (coded(music(0.1)), "song.flac", 415, "not what its name says"),
        (coded(music(0.1)), "song.exe", 415, "wrong kind of file: expected .wav, .flac"),
        (coded(music(0.1)), "wav", 415, "wrong kind of file"),
        (coded(music(1)), "song.wav", 413, "file is too large: expected at most 0.1 MB"),
    ],
)
def test_refused_at_the_door(opened, tmp_path, data, name, status, line):
    uploads = opened(max_bytes=100_000)
    with pytest.raises(RefusedUploadError) as caught:
        send(uploads, data, name)
    assert caught.value.status == status
    assert line in str(caught.value)
    assert not files_of(tmp_path)
    assert uploads.worker_pids() == ()
    # The place is free again.
    assert uploads._n_receiving == 0


def test_too_large_is_noticed_before_all_has_come(opened):
    uploads, n_taken = opened(max_bytes=100_000), 0

    async def endless():
        nonlocal n_taken
        head = coded(music(0.1))[:1000]
        while True:
            n_taken += len(head)
            yield head

    with pytest.raises(RefusedUploadError, match="too large"):
        asyncio.run(uploads.receive(endless(), "song.wav"))
    assert n_taken <= 101_000


@pytest.mark.parametrize("limits", [{"receive_s": 0.3}, {"idle_s": 0.05}])
def test_slow_clients_are_let_go(opened, tmp_path, limits):
    uploads = opened(**limits)
    with pytest.raises(RefusedUploadError, match="too slow") as caught:
        send(uploads, coded(music(1)), "song.wav", size=1000, pause_s=0.1)
    assert caught.value.status == 408
    assert not files_of(tmp_path)


def test_client_that_goes_away_leaves_nothing(opened, tmp_path):
    uploads = opened()

    async def broken():
        yield coded(music(0.1))[:5000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(uploads.receive(broken(), "song.wav"))
    assert not files_of(tmp_path)
    assert uploads._n_receiving == 0


def test_only_so_many_at_once_and_removed_ones_make_room(opened, tmp_path):
    uploads = opened(max_waiting=2)
    data = coded(music(1))
    first, second = send(uploads, data, "a.wav"), send(uploads, data, "b.wav")
    assert len({first, second}) == 2
    assert min(len(first), len(second)) >= 32
    with pytest.raises(RefusedUploadError, match="too many songs at once") as caught:
        send(uploads, data, "c.wav")
    assert caught.value.status == 429
    wait_for(uploads, first, "demixing")
    assert uploads.status(second)["state"] == "waiting"
    (pid,) = uploads.worker_pids()
    uploads.remove(first)  # while it is worked on
    uploads.remove(second)  # perhaps before it began
    send(uploads, data, "c.wav")
    uploads.close()
    assert not files_of(tmp_path)
    assert uploads.worker_pids() == ()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RefusedUploadError, match="closing"):
        send(uploads, data, "d.wav")


def test_failed_ones_are_forgotten_after_a_while_and_when_there_are_too_many(opened):
    uploads = opened(max_kept=1, max_song_s=0.5)
    data = coded(music(1))
    first, second = (send(uploads, data, "a.wav") for _ in range(2))
    wait_for(uploads, second, "failed")
    with pytest.raises(UnknownIdError):
        uploads.status(first)
    brief = opened(keep_s=0.5, max_song_s=0.5)
    token = send(brief, data, "a.wav")
    deadline = time.monotonic() + 20
    with pytest.raises(UnknownIdError):
        while time.monotonic() < deadline:
            brief.status(token)
            time.sleep(0.05)


def test_disk_is_not_filled(opened):
    uploads = opened(max_disk_bytes=50e6)
    with pytest.raises(RefusedUploadError, match="no space") as caught:
        send(uploads, coded(music(0.1)), "song.wav")
    assert caught.value.status == 503


def test_folder_of_a_killed_server_is_removed(opened, tmp_path):
    uploads = opened()
    own = uploads._own_folder()
    dead = own.with_name(own.name.replace(f"-{os.getpid()}-", "-999999999-"))
    dead.mkdir()
    (dead / "song.wav").write_bytes(b"x")
    other = opened()._own_folder()
    assert not dead.exists()
    assert own.exists()
    assert other.exists()


def test_names_are_only_shown():
    assert shown_name("../../etc/passwd.mp3") == "passwd"
    assert shown_name("C:\\music\\A song.STEM.MP4") == "A song"
    assert shown_name("a\nb\t<script>\u202e.wav") == "a b <script>"
    assert shown_name(".wav") == shown_name("") == shown_name("///") == "own song"
    assert len(shown_name("x" * 5000 + ".wav")) == 80
    assert shown_name("Überraschung 日本.flac") == "Überraschung 日本"


@pytest.mark.parametrize(
    ("container", "suffix"), [("WAV", ".wav"), ("FLAC", ".flac"), ("MP3", ".mp3"), ("OGG", ".ogg"), ("AIFF", ".aiff")]
)
def test_first_bytes_of_real_files(container, suffix):
    data = coded(music(0.2), container=container)
    assert has_magic(data[:12], suffix)
    others = {".wav", ".flac", ".ogg", ".aif", ".mp4"} - {suffix, suffix[:4]}
    assert not any(has_magic(data[:12], other) for other in others)
    assert not has_magic(b"", suffix)
    assert not has_magic(data[1:13], suffix)


def test_http(opened, tmp_path):
    import httpx
    from fastapi import FastAPI

    from cadenza_remix.listen.uploads_api import uploads_router

    uploads = opened(max_bytes=300_000, max_song_s=0.5)
    app = FastAPI()
    app.include_router(uploads_router(uploads))

    async def talk():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://room") as client:
            made = await client.post("/api/uploads?name=my%20song.wav", content=coded(music(1)))
            assert made.status_code == 202
            token = made.json()["token"]
            while (status := (await client.get(f"/api/uploads/{token}")).json())["state"] != "failed":
                assert set(status) == {"state", "share", "seconds_left", "error", "song"}
                await asyncio.sleep(0.02)
            assert status["error"] == "my song: song is too long: expected at most 0.5 s"
            assert (await client.delete(f"/api/uploads/{token}")).status_code == 200
            for answer in (await client.get(f"/api/uploads/{token}"), await client.delete("/api/uploads/..")):
                assert answer.status_code == 404
            large = await client.post("/api/uploads?name=a.wav", content=coded(music(3)))
            unannounced = await client.post("/api/uploads?name=a.wav", content=pieces(coded(music(3))))
            for answer in (large, unannounced):
                assert (answer.status_code, answer.json()) == (
                    413,
                    {"error": "file is too large: expected at most 0.3 MB"},
                )
            wrong = await client.post("/api/uploads?name=a.mp3", content=b"text" * 99)
            assert wrong.status_code == 415
            assert list(wrong.json()) == ["error"]

    asyncio.run(talk())
    assert not files_of(tmp_path)

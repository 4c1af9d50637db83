"""Clips leave some of their disk free, whoever fills it; what is being sent is sent to its end."""

import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal
from room_client import Client, wanted
from small_disk import needs_small_disk, run_on_small_disk

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import OutputError
from cadenza_remix.listen.app import create_app
from cadenza_remix.listen.clips import RESERVE_BYTES, ClipStore
from cadenza_remix.listen.ranges import CHUNK_BYTES

RATE = 44_100
MANY_BYTES = 10**9


class Disk:
    """A disk of so many bytes, on which the files of a folder lie, and others that need ``others`` bytes."""

    def __init__(self, total):
        self.total = total
        self.others = 0
        self.told = []

    def __call__(self, folder):
        used = sum(path.stat().st_size for path in folder.iterdir()) + self.others
        self.told.append(self.total - used)
        return SimpleNamespace(total=self.total, free=max(0, self.told[-1]))


def noise(seed, *, n_samples=RATE):
    return Audio(0.1 * np.random.default_rng(seed).standard_normal((n_samples, 2)), RATE)


@pytest.fixture(scope="module")
def size(tmp_path_factory):
    """Bytes of a clip of `noise`, and some more."""
    store = ClipStore(tmp_path_factory.mktemp("one"), max_bytes=1)
    return max(store.clip(str(seed), lambda seed=seed: noise(seed)).path.stat().st_size for seed in range(8)) + 1000


def kept(store, clips):
    return [store.find(clip.id) is not None for clip in clips]


def test_the_oldest_clips_go_before_the_reserve_is_touched(tmp_path, size):
    disk = Disk(20 * size)
    store = ClipStore(tmp_path, max_bytes=MANY_BYTES, reserve_bytes=2 * size, disk_usage=disk)
    disk.others = 15 * size  # three clips, and two for the reserve
    clips = []
    for seed in range(6):
        clips.append(store.clip(str(seed), lambda seed=seed: noise(seed)))
        assert disk(tmp_path).free >= 2 * size
    assert kept(store, clips) == [False] * 3 + [True] * 3
    store.find(clips[3].id)  # used again: no longer the oldest
    disk.others += size
    clips.append(store.clip("6", lambda: noise(6)))
    assert disk(tmp_path).free >= 2 * size
    assert kept(store, clips) == [False, False, False, True, False, False, True]


def test_many_at_once_share_the_room(tmp_path, size):
    disk = Disk(20 * size)
    store = ClipStore(tmp_path, max_bytes=MANY_BYTES, reserve_bytes=2 * size, disk_usage=disk)
    disk.others = 15 * size
    with ThreadPoolExecutor(8) as threads:
        clips = list(threads.map(lambda seed: store.clip(str(seed), lambda: noise(seed)), range(24)))
    assert min(disk.told) >= 2 * size
    assert disk(tmp_path).free >= 2 * size
    assert sum(kept(store, clips)) == 3


def test_a_clip_that_does_not_fit_is_refused_in_one_line_and_made_later(tmp_path, size):
    disk = Disk(100 * size)
    store = ClipStore(tmp_path, max_bytes=MANY_BYTES, reserve_bytes=2 * size, disk_usage=disk)
    first = store.clip("0", lambda: noise(0))
    disk.others = 98 * size
    with pytest.raises(OutputError) as refused:
        store.clip("1", lambda: noise(1))
    line = str(refused.value)
    assert line.startswith("the server's disk for temporary files is full: expected ")
    assert f"free for another clip, found {2 * size / 1e6:.1f} MB" in line
    assert "\n" not in line
    assert str(tmp_path) not in line
    assert store.find(first.id) is None  # what it took is given back to who fills the disk
    assert list(tmp_path.iterdir()) == []
    disk.others = 96 * size
    assert store.find(store.clip("1", lambda: noise(1)).id) is not None


def test_of_a_small_disk_a_tenth_stays_free(tmp_path, size):
    disk = Disk(30 * size)
    assert disk.total < RESERVE_BYTES
    store = ClipStore(tmp_path, max_bytes=MANY_BYTES, disk_usage=disk)
    disk.others = 25 * size
    clips = [store.clip(str(seed), lambda seed=seed: noise(seed)) for seed in range(4)]
    assert kept(store, clips) == [False, False, True, True]
    assert disk(tmp_path).free >= 3 * size


def test_what_is_being_sent_goes_on_when_its_clip_goes(tmp_path, size):
    disk = Disk(20 * size)
    store = ClipStore(tmp_path, max_bytes=MANY_BYTES, reserve_bytes=2 * size, disk_usage=disk)
    clip = store.clip("long", lambda: noise(0, n_samples=4 * RATE))
    content = clip.path.read_bytes()
    assert len(content) > 2 * CHUNK_BYTES
    sent = []

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.body" and len(sent) == 2:  # of several parts, the first has gone
            disk.others = 20 * size - 3 * size
            store.clip("next", lambda: noise(1))
            assert not clip.path.exists()

    app = create_app(library=None, clips=store)
    scope = {
        "type": "http", "method": "GET", "path": f"/clips/{clip.path.name}", "raw_path": b"", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")], "scheme": "http", "server": ("127.0.0.1", 80), "http_version": "1.1",
    }  # fmt: skip
    anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 200
    assert len(sent) > 3
    assert b"".join(message["body"] for message in sent[1:]) == content
    assert store.find(clip.id) is None


def test_the_room_tells_why_a_version_has_no_clip(library, tmp_path):
    disk = Disk(1_000_000_000)
    store = ClipStore(tmp_path, max_bytes=MANY_BYTES, disk_usage=disk)
    with start_blocking_portal() as portal:
        client = Client(create_app(library=library, clips=store), portal)
        disk.others = 900_000_000
        answer = client.post("/api/clips", wanted(library))
        assert answer.status_code == 500
        assert set(answer.json()) == {"error"}
        assert re.fullmatch(
            r"the server's disk .* is full: expected 100\.\d MB .*, found 100\.0 MB", answer.json()["error"]
        )
        disk.others = 0
        assert client.post("/api/clips", wanted(library)).json()["failed"] == []


#: A store on a disk of 4 MB, of which it is not told what is free.
SCENE = """
import shutil, sys
from pathlib import Path
import numpy as np
from cadenza_remix.audio.signal import Audio
from cadenza_remix.listen.clips import ClipStore

def noise(seed):
    return Audio(0.1 * np.random.default_rng(seed).standard_normal((44100, 2)), 44100)

folder = Path(sys.argv[1])
total = shutil.disk_usage(folder).total
assert total == 4 * 2**20, total
store = ClipStore(folder / "clips", max_bytes=10**9)
clips = []
for seed in range(60):
    clips.append(store.clip(str(seed), lambda: noise(seed)))
    assert shutil.disk_usage(folder).free >= total // 10, f"after {seed + 1} clips"
    if seed == 3:
        content, reader = clips[3].path.read_bytes(), clips[3].path.open("rb")
n_kept = sum(store.find(clip.id) is not None for clip in clips)
assert n_kept > 3 and store.find(clips[-1].id) and not clips[3].path.exists()
assert reader.read() == content
reader.close()
(folder / "other").write_bytes(bytes(shutil.disk_usage(folder).free))
clips.append(store.clip("more", lambda: noise(99)))
assert shutil.disk_usage(folder).free >= total // 10
assert 0 < sum(store.find(clip.id) is not None for clip in clips) < n_kept
"""


@needs_small_disk
def test_on_a_disk_of_its_own(tmp_path):
    run_on_small_disk(tmp_path, SCENE)

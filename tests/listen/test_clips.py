"""Clips are made once, kept within bounds, and hold what was rendered."""

import asyncio
import math
import threading
import time

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.loudness import integrated_lufs
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.listen.clips import BusyError, ClipStore, RenderPool

RATE = 44_100


def noise(seed, *, level=0.1, n_samples=RATE):
    return Audio(level * np.random.default_rng(seed).standard_normal((n_samples, 2)), RATE)


@pytest.fixture
def store(tmp_path):
    return ClipStore(tmp_path / "clips", max_bytes=10**8)


@pytest.mark.parametrize("level", [1e-4, 0.1, 3.0])
def test_a_file_times_its_scale_is_what_was_rendered(store, level):
    audio = noise(1, level=level)
    clip = store.clip("a", lambda: audio)
    file = load_audio(clip.path, sample_rate=None)
    assert (file.sample_rate, file.n_channels, clip.n_samples) == (RATE, 2, RATE)
    step = clip.scale_lin / 32768
    # Half a step of rounding; the highest sample is stored one step lower.
    np.testing.assert_allclose(file.samples * clip.scale_lin, audio.samples, atol=1.01 * step)
    assert clip.peak_lin == pytest.approx(np.abs(audio.samples).max())
    assert clip.loudness_lufs == pytest.approx(integrated_lufs(audio))


def test_silence_has_a_scale_and_no_loudness(store):
    clip = store.clip("a", lambda: Audio(np.zeros((100, 2)), RATE))
    assert (clip.scale_lin, clip.peak_lin, clip.loudness_lufs) == (1.0, 0.0, -math.inf)
    assert not load_audio(clip.path).samples.any()


def test_one_channel_becomes_two(store):
    assert load_audio(store.clip("a", lambda: Audio(np.ones(100) * 0.5, RATE)).path).n_channels == 2


def test_many_who_ask_at_once_get_one_clip(store):
    made = []
    begin = threading.Barrier(8)
    clips = []

    def make():
        made.append(1)
        time.sleep(0.1)
        return noise(1)

    def ask():
        begin.wait()
        clips.append(store.clip("a", make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(clips) == 8
    assert len({clip.id for clip in clips}) == 1


def test_other_keys_do_not_wait(store):
    inside, let_go = threading.Event(), threading.Event()

    def slow():
        inside.set()
        assert let_go.wait(10)
        return noise(1)

    thread = threading.Thread(target=store.clip, args=["slow", slow])
    thread.start()
    assert inside.wait(10)
    assert store.clip("quick", lambda: noise(2)).n_samples == RATE
    assert store.ready("slow") is None
    let_go.set()
    thread.join()
    assert store.ready("slow") is not None


def test_who_fails_does_not_stay_in_the_way(store):
    def fail():
        raise InputError("no such thing")

    for _ in range(2):
        with pytest.raises(InputError, match="no such thing"):
            store.clip("a", fail)
    assert store.clip("a", lambda: noise(1)).n_samples == RATE


def test_all_who_wait_learn_of_a_failure(store):
    inside, errors = threading.Event(), []

    def fail():
        inside.set()
        time.sleep(0.2)
        raise InputError("no such thing")

    def ask():
        try:
            store.clip("a", fail)
        except InputError as error:
            errors.append(str(error))

    first = threading.Thread(target=ask)
    first.start()
    assert inside.wait(10)
    ask()
    first.join()
    assert errors == ["no such thing"] * 2


def test_ids_say_nothing_and_find_their_clips(store):
    clips = [store.clip(f"song/{index}", lambda index=index: noise(index, n_samples=100)) for index in range(3)]
    assert len({clip.id for clip in clips}) == 3
    for clip in clips:
        assert len(clip.id) == 32
        assert clip.id.isalnum()
        assert store.find(clip.id) is clip
    for key in ("", "song/0", "../" + clips[0].id, clips[0].path.name, str(clips[0].path)):
        assert store.find(key) is None


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    size = ClipStore(tmp_path / "one", max_bytes=1).clip("a", lambda: noise(0)).path.stat().st_size
    store = ClipStore(tmp_path / "clips", max_bytes=int(3.5 * size))
    clips = [store.clip(str(index), lambda index=index: noise(index)) for index in range(3)]
    with clips[1].path.open("rb") as reader:
        assert store.find(clips[0].id) is clips[0]  # used again: no longer the oldest
        store.clip("3", lambda: noise(3))
        assert store.find(clips[1].id) is None
        assert not clips[1].path.exists()
        assert len(reader.read()) == pytest.approx(size, rel=0.05)  # who reads it reads on
    assert [store.find(clip.id) is not None for clip in clips] == [True, False, True]
    again = store.clip("1", lambda: noise(1))
    assert again.id != clips[1].id
    assert len(list((tmp_path / "clips").iterdir())) == 3


def test_a_single_clip_beyond_the_bound_is_kept(tmp_path):
    store = ClipStore(tmp_path, max_bytes=1)
    first = store.clip("a", lambda: noise(1))
    assert store.find(first.id).path.exists()
    store.clip("b", lambda: noise(2))
    assert store.find(first.id) is None


def test_a_clip_whose_file_others_removed_is_made_again(store):
    first, other = (store.clip(key, lambda: noise(1)) for key in "ab")
    first.path.unlink()
    assert store.find(first.id) is None
    other.path.unlink()
    assert store.ready("b") is None
    first.path.parent.rmdir()  # cleaners of /tmp take empty folders as well
    again = store.clip("a", lambda: noise(1))
    assert (again.id != first.id, again.path.exists(), store.find(again.id)) == (True, True, again)


def test_forgotten_clips_are_gone(store):
    clip = store.clip("a", lambda: noise(1))
    store.forget("a")
    store.forget("a")
    assert store.find(clip.id) is None
    assert store.ready("a") is None
    assert not clip.path.exists()


def test_what_is_forgotten_while_it_is_made_does_not_stay(store, tmp_path):
    def make():
        store.forget_all("song:")
        return noise(1)

    clip = store.clip("song:a", make)
    assert store.find(clip.id) is None
    assert list((tmp_path / "clips").iterdir()) == []
    assert store.find(store.clip("song:a", lambda: noise(1)).id) is not None


def test_jobs_run_in_order_of_their_results():
    async def scene():
        pool = RenderPool(n_threads=2)
        results = await pool.run_all([lambda: time.sleep(0.05) or "slow", lambda: "quick"])
        pool.close()
        return results

    assert asyncio.run(scene()) == ["slow", "quick"]


def test_too_many_jobs_are_refused_and_later_taken():
    let_go = threading.Event()

    async def scene():
        pool = RenderPool(n_threads=1, most_waiting=3)
        waiting = asyncio.ensure_future(pool.run_all([lambda: let_go.wait(10)] * 2))
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError) as refusal:
            await pool.run_all([lambda: True] * 2)
        third = asyncio.ensure_future(pool.run(lambda: "third"))
        await asyncio.sleep(0.05)
        let_go.set()
        assert await waiting == [True, True]
        assert await third == "third"
        assert await pool.run_all([lambda: 1] * 20) == [1] * 20  # alone, any number is taken
        pool.close()
        return refusal.value.retry_after_s

    assert asyncio.run(scene()) > 0


def test_who_leaves_takes_what_has_not_begun_along():
    let_go, begun = threading.Event(), []

    async def scene():
        pool = RenderPool(n_threads=1, most_waiting=4)
        leaving = asyncio.ensure_future(pool.run_all([lambda: let_go.wait(10), lambda: begun.append(1)]))
        await asyncio.sleep(0.05)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        let_go.set()
        assert await pool.run(lambda: "next") == "next"
        assert await pool.run_all([lambda: 1] * 4) == [1] * 4  # nobody is counted who has gone
        pool.close()

    asyncio.run(scene())
    assert begun == []


def test_an_error_of_a_job_reaches_who_asked():
    def fail():
        raise InputError("no such thing")

    async def scene():
        pool = RenderPool()
        with pytest.raises(InputError, match="no such thing"):
            await pool.run_all([fail, lambda: 1])
        pool.close()

    asyncio.run(scene())

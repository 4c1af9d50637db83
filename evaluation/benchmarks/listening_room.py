"""How long a listener waits in the listening room, in numbers: its page, a new audiogram, fifty clients at once.

    PYTHONPATH=.:tests/helpers python evaluation/benchmarks/listening_room.py --work build/benchmark_listening_room

Makes a song of 30 s from the demo's excerpt, enhances it by two chains with `cadenza:mini`, serves the results by
``cadenza-remix listen`` and asks it as a browser would, and with Debian's chromium. Every audiogram is a new one, so
nothing can have been made before. Times hold everything from the request to the last byte of the clips.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from bench_report import Report
from browser import open_browser, open_page
from listening_server import listening_server
from open_room import LOADED
from scoring import SECONDS, repeated

from cadenza_remix.audio.io import load_audio, load_stems, write_stems
from cadenza_remix.demo import demo_song
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.enhancing import enhance_songs
from cadenza_remix.runs.songs import find_songs
from cadenza_remix.separation.loading import load_separator

CHAINS = ("baseline", "e016")
N_CLIENTS = 50
FILES_OF_THE_PAGE = ("/", "/pages/common.css", "/pages/room.css", "/pages/room.js", "/pages/player.js", "/api/room")
BOTH = [f"remix:{chain}" for chain in CHAINS]
EDITS: dict[str, tuple[list[str], str | None]] = {
    "remix of baseline": (BOTH[:1], None),
    "remix of e016": (BOTH[1:], None),
    "both remixes": (BOTH, None),
    "both remixes and the mixture, through the simple simulator": (["mixture", *BOTH], "simple"),
}


def make_results(work: Path) -> None:
    """Write a song of 30 s, its clean and separated stems, and two remixes for one listener."""
    excerpt = demo_song().path
    references = work / "references" / "song"
    write_stems(references, {stem: repeated(audio, 0.0) for stem, audio in load_stems(excerpt).items()})
    write_stems(references, {"mixture": repeated(load_audio(excerpt), 0.0)})
    for chain in CHAINS:
        report = enhance_songs(
            find_songs([references]), load_listeners("cad1-sample", only=["L5040"]),
            separator=load_separator("cadenza:mini"), chain=load_chain(chain), out=work / chain,
            stems_folder=work / "stems",
        )  # fmt: skip
        if report.failures:
            sys.exit(str(report.failures[0].error))


class Visitor:
    """Asks for clips as the page does."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=120)
        self._room = self._client.get("/api/room").json()
        self._levels_db_hl = np.array([20.0, 25, 30, 40, 45, 50, 55, 60])

    def page_s(self) -> float:
        """Return the seconds that the files of the page take, one after another."""
        began = time.perf_counter()
        for path in FILES_OF_THE_PAGE:
            self._client.get(path).raise_for_status()
        return time.perf_counter() - began

    def edit_s(self, versions: Sequence[str], simulator: str | None) -> float:
        """Return the seconds from an audiogram that nobody has had to all bytes of these versions."""
        self._levels_db_hl += 0.25
        ear = {
            "frequencies_hz": [250, 500, 1000, 2000, 3000, 4000, 6000, 8000],
            "levels_db_hl": list(self._levels_db_hl),
        }
        began = time.perf_counter()
        told = self._client.post("/api/listeners", json={"left": ear, "right": ear}).raise_for_status().json()
        for clip in self.clips(told["id"], versions, simulator):
            self._client.get(clip["url"]).raise_for_status()
        return time.perf_counter() - began

    def clips(self, listener: str, versions: Sequence[str], simulator: str | None = None) -> list[dict]:
        body = {"song": self._room["songs"][0]["id"], "listener": listener, "start_s": 0, "duration_s": float(SECONDS),
                "versions": list(versions), "simulator": simulator}  # fmt: skip
        return self._client.post("/api/clips", json=body).raise_for_status().json()["clips"]


def browser_s(url: str) -> tuple[float, float]:
    """Return the seconds until the page can be used in a fresh browser profile, and until its first versions play."""
    with open_browser() as browser, open_page(browser) as (page, _):
        began = time.perf_counter()
        page.goto(url)
        page.locator("#song option").first.wait_for(state="attached")
        page.locator("#ears [role=slider]").first.wait_for()
        usable_s = time.perf_counter() - began
        page.locator(LOADED).nth(2).wait_for()
        return usable_s, time.perf_counter() - began


async def _stream(port: int, address: str, content: bytes) -> None:
    """Fetch a clip three times over one connection, by as little work of this side as can be."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        if await reader.readexactly(len(content)) != content:
            raise ValueError("wrong bytes")
    writer.close()


async def _all_streams(port: int, address: str, content: bytes) -> None:
    await asyncio.gather(*(_stream(port, address, content) for _ in range(N_CLIENTS)))


def stream_to_all(port: int, address: str, content: bytes) -> float:
    """Return the bytes per second that fifty clients get, who begin at once."""
    began = time.perf_counter()
    asyncio.run(_all_streams(port, address, content))
    return 3 * N_CLIENTS * len(content) / (time.perf_counter() - began)


def fifty_clients(port: int, address: str, content: bytes) -> tuple[float, list[float]]:
    """Return the bytes per second to fifty clients in a process of their own, and what others wait for /api/room."""
    waits_s = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as others:
        others.submit(time.perf_counter).result()  # it is there
        streaming = others.submit(stream_to_all, port, address, content)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            while not streaming.done():
                began = time.perf_counter()
                client.get("/api/room").raise_for_status()
                waits_s.append(time.perf_counter() - began)
                time.sleep(0.02)
        return streaming.result(), waits_s


def low_middle_high(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), float(np.median(values)), max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; emptied first")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write what is printed to this file")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    make_results(options.work)
    report = Report("Waiting in the listening room", packages=("numpy", "scipy", "fastapi", "uvicorn"))

    def row(what: str, asked: str, measure: Callable[[], float]) -> list[str]:
        seconds = [measure() for _ in range(options.turns)]
        return [what, asked, *(f"{value:.3f}" for value in low_middle_high(seconds))]

    with listening_server([options.work, "--no-uploads"]) as server:
        visitor = Visitor(server.url)
        visitor.edit_s(*EDITS["both remixes"])  # reads and compiles what the first visitor of the day waits for
        rows = [row("the page's main files", "< 1", visitor.page_s)]
        in_browser = [browser_s(server.url) for _ in range(options.turns)]
        for place, (what, asked) in enumerate([("usable in chromium", "< 1"), ("first versions loaded", "")]):
            times = iter([times[place] for times in in_browser])
            rows.append(row(what, asked, lambda times=times: next(times)))
        for what, (versions, simulator) in EDITS.items():
            rows.append(row(what, "< 3", lambda v=versions, s=simulator: visitor.edit_s(v, s)))
        report.table(f"Seconds, {options.turns} turns; a new audiogram for {SECONDS} s of music each time",
                     ["what", "asked, s", "min", "median", "max"], rows)  # fmt: skip
        (clip,) = visitor.clips("L5040", ["mixture"])
        content = httpx.get(server.url + clip["url"], timeout=120).content
        rates, waits_ms = [], []
        for _ in range(options.turns):
            rate, waits_s = fifty_clients(server.port, clip["url"], content)
            rates.append(rate / 1e6)
            waits_ms += [1000 * wait_s for wait_s in waits_s]
        report.table(
            f"{N_CLIENTS} clients at once on this machine, a clip of {len(content) / 1e6:.1f} MB three times each, "
            "no wrong byte",
            ["MB/s: min", "median", "max", "/api/room meanwhile, ms: median", "max"],
            [[f"{value:.0f}" for value in (*low_middle_high(rates), np.median(waits_ms), max(waits_ms))]],
        )
    report.finish(options.out)


if __name__ == "__main__":
    main()

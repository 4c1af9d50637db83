"""Byte ranges as RFC 9110 has them."""

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from cadenza_remix.listen import ranges
from cadenza_remix.listen.ranges import (
    CHUNK_BYTES,
    ByteRange,
    FileInParts,
    UnsatisfiableRangeError,
    matches_etag,
    parse_range,
)

CONTENT = bytes(range(256)) * 1600 + b"the end"  # more than three chunks
ETAG = '"0123"'

SATISFIABLE = {
    "bytes=0-0": (0, 0),
    "bytes=0-9": (0, 9),
    "bytes=5-": (5, 99),
    "bytes=99-": (99, 99),
    "bytes=-1": (99, 99),
    "bytes=-100": (0, 99),
    "bytes=-1000": (0, 99),
    "bytes=90-1000": (90, 99),
    "Bytes = 3-4": (3, 4),
    "bytes= 3 - 4 ": (3, 4),
    "bytes=007-8": (7, 8),
}
WHOLE = [None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "items=0-5", "bytes=0-1,5-6", "bytes=0-1;2",
         "bytes=--5", "bytes=+1-2", "bytes=1.0-2", "bytes=" + "9" * 5000 + "-", "bytes=٣-٤"]  # fmt: skip
OUTSIDE = ["bytes=100-", "bytes=100-200", "bytes=1000-", "bytes=-0"]


@pytest.mark.parametrize("header", SATISFIABLE)
def test_one_range_is_understood(header):
    first, last = SATISFIABLE[header]
    assert parse_range(header, 100) == ByteRange(first, last)


@pytest.mark.parametrize("header", WHOLE)
def test_what_cannot_be_understood_is_ignored(header):
    assert parse_range(header, 100) is None


@pytest.mark.parametrize("header", OUTSIDE)
def test_a_range_outside_is_told(header):
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 100)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_file_has_no_ranges(header):
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 0)


def test_etags_are_compared_weakly_for_if_none_match():
    assert matches_etag('"a", W/"b"', '"b"')
    assert matches_etag("*", '"b"')
    assert not matches_etag('"a"', '"b"')
    assert not matches_etag(None, '"b"')


@pytest.fixture
def ask(tmp_path):
    path = tmp_path / "clip.bin"
    path.write_bytes(CONTENT)
    (tmp_path / "empty.bin").write_bytes(b"")

    async def answer(request):
        file = tmp_path / request.path_params["name"]
        return FileInParts(file, etag=ETAG, media_type="audio/flac", headers={"cache-control": "private"})

    app = Starlette(routes=[Route("/{name}", answer, methods=["GET", "HEAD"])])

    def request(method="GET", name="clip.bin", **headers):
        async def send():
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                named = {key.replace("_", "-"): value for key, value in headers.items()}
                return await client.request(method, f"/{name}", headers=named)

        return anyio.run(send)

    return request


def test_the_whole_file(ask):
    answer = ask()
    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == ETAG
    assert answer.headers["content-type"] == "audio/flac"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (1, CHUNK_BYTES), (CHUNK_BYTES - 1, 2 * CHUNK_BYTES + 1), (5, len(CONTENT) - 1)]
)
def test_a_part(ask, first, last):
    answer = ask(Range=f"bytes={first}-{last}")
    assert answer.status_code == 206
    assert answer.content == CONTENT[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert answer.headers["content-length"] == str(last + 1 - first)


def test_the_last_bytes(ask):
    answer = ask(Range="bytes=-7")
    assert (answer.status_code, answer.content) == (206, b"the end")


def test_several_ranges_get_the_whole(ask):
    answer = ask(Range="bytes=0-1,4-5")
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_outside_the_file(ask):
    answer = ask(Range=f"bytes={len(CONTENT)}-")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"
    assert answer.json() == {"error": "range outside the file"}


@pytest.mark.parametrize(
    ("tag", "status"), [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("Sat, 21 Nov 2026 20:00:00 GMT", 200)]
)
def test_if_range(ask, tag, status):
    answer = ask(Range="bytes=2-3", If_Range=tag)
    assert answer.status_code == status
    assert answer.content == (CONTENT[2:4] if status == 206 else CONTENT)


def test_if_range_with_a_range_outside_of_another_content_gets_the_whole(ask):
    assert ask(Range="bytes=99999999-", If_Range='"other"').status_code == 200


def test_head_sends_headers_alone(ask):
    answer = ask("HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert ask("HEAD", Range="bytes=0-3").status_code == 200  # ranges are for GET alone (section 14.2)


def test_not_modified(ask):
    answer = ask(If_None_Match=ETAG, Range="bytes=0-3")
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == ETAG
    assert answer.headers["cache-control"] == "private"


def test_an_empty_file(ask):
    answer = ask(name="empty.bin")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    answer = ask(name="empty.bin", Range="bytes=0-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")


def test_a_file_that_went_is_not_found(ask):
    assert ask(name="none.bin").status_code == 404


def answer_to(path, *, receive, send):
    """Let a file answer a client that is told by what it receives and how it takes what is sent."""
    scope = {"type": "http", "method": "GET", "headers": []}
    anyio.run(FileInParts(path, etag=ETAG, media_type="audio/flac"), scope, receive, send)


def test_who_hangs_up_gets_no_more(tmp_path):
    path = tmp_path / "clip.bin"
    path.write_bytes(CONTENT)
    gone, chunks = anyio.Event(), []

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.body":
            chunks.append(len(message["body"]))
            gone.set()
            await anyio.sleep(0.05)

    answer_to(path, receive=receive, send=send)
    assert chunks == [CHUNK_BYTES]


def test_who_takes_nothing_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / "clip.bin"
    path.write_bytes(CONTENT)
    monkeypatch.setattr(ranges, "STALLED_AFTER_S", 0.05)
    chunks = []

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        if message["type"] == "http.response.body":
            chunks.append(len(message["body"]))
            await anyio.sleep_forever()

    answer_to(path, receive=receive, send=send)
    assert chunks == [CHUNK_BYTES]

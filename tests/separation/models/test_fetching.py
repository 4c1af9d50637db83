"""Downloads from a real server that breaks off, lies, redirects, fails, or does not answer at all."""

from __future__ import annotations

import base64
import hashlib
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_server import ServedFile, serving

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.fetching import _SafeRedirects, download

CONTENT = np.random.default_rng(3).bytes(400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the machine that runs the tests out of the way of 127.0.0.1."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def get(served: ServedFile, target: Path, **options: Any) -> Path:
    """Download with waits that suit a test."""
    return download(served.url, target, **({"sha256": SHA256, "timeout_s": 0.5, "backoff_s": 0.01} | options))


def partial(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_a_file_comes_whole_and_progress_is_told(tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    with serving(CONTENT) as served:
        path = get(served, tmp_path / "new" / "file", progress=lambda *step: steps.append(step))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_a_broken_off_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(CONTENT, "break", "break") as served:
        path = get(served, tmp_path / "file", notify=said.append)
    assert path.read_bytes() == CONTENT
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [ask["range"] for ask in served.requests] == [None, f"bytes={half}-", f"bytes={half + quarter}-"]
    assert served.requests[1]["if_range"] == '"first"'
    assert f"broke off after {half} of {len(CONTENT)} bytes; trying again" in said[0]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with serving(CONTENT, "break", "500") as served:
        with pytest.raises(ModelError, match="2 attempts"):
            get(served, target, attempts=2)
        assert not target.exists()
        assert partial(target).stat().st_size == len(CONTENT) // 2
        get(served, target)
        assert served.requests[-1]["range"] == f"bytes={len(CONTENT) // 2}-"
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"first"', None, 'W/"weak"'])
def test_a_server_that_ignores_ranges_is_heard_from_the_beginning(tmp_path: Path, etag: str | None) -> None:
    with serving(CONTENT, "break", "no ranges", etag=etag) as served:
        assert get(served, tmp_path / "file").read_bytes() == CONTENT
    # A weak tag does not promise equal bytes, so it must not be named as a condition (RFC 9110, 13.1.5).
    assert served.requests[1]["if_range"] == (etag if etag == '"first"' else None)
    assert served.requests[1]["range"] == f"bytes={len(CONTENT) // 2}-"


def test_a_file_that_changed_meanwhile_is_begun_again(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with serving(CONTENT[::-1], "break", "500") as served:
        with pytest.raises(ModelError):
            get(served, target, attempts=2)
        served.content, served.etag = CONTENT, '"second"'
        get(served, target)
    assert target.read_bytes() == CONTENT
    assert len(served.requests) == 3  # the condition in the header told it: no second transfer was needed


def test_a_file_that_changed_without_a_sign_is_found_by_its_checksum(tmp_path: Path) -> None:
    target = tmp_path / "file"
    said: list[str] = []
    with serving(CONTENT[::-1], "break", "500", etag=None) as served:
        with pytest.raises(ModelError):
            get(served, target, attempts=2)
        served.content = CONTENT
        get(served, target, notify=said.append)
    assert target.read_bytes() == CONTENT
    assert [ask["range"] is None for ask in served.requests] == [True, False, False, True]
    assert "starting from the beginning" in said[0]


def test_a_partial_file_longer_than_the_file_is_begun_again(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with serving(CONTENT * 3, "break", "500", etag=None) as served:
        with pytest.raises(ModelError):
            get(served, target, attempts=2)
        served.content = CONTENT
        get(served, target)
    assert target.read_bytes() == CONTENT


def test_a_partial_file_that_is_whole_needs_no_network(tmp_path: Path) -> None:
    target = tmp_path / "file"
    partial(target).write_bytes(CONTENT)
    with serving(CONTENT) as served:
        get(served, target)
        assert served.requests == []
    assert target.read_bytes() == CONTENT


def test_a_partial_file_of_another_address_is_not_continued(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with serving(CONTENT[::-1], "break", "500") as served, pytest.raises(ModelError):
        get(served, target, attempts=2)
    with serving(CONTENT) as served:
        get(served, target)
        assert [ask["range"] for ask in served.requests] == [None]


def test_garbage_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with serving(CONTENT, "garbage") as served:
        with pytest.raises(
            ModelError, match=f"wrong checksum of the 26 bytes received .*expected sha256 {SHA256[:12]}"
        ):
            get(served, tmp_path / "file")
        assert len(served.requests) == 1
    assert not list(tmp_path.iterdir())


def test_redirects_are_followed_and_keep_the_range(tmp_path: Path) -> None:
    with serving(CONTENT, "redirect", "break", "redirect") as served:
        assert get(served, tmp_path / "file").read_bytes() == CONTENT
    assert [ask["path"] for ask in served.requests] == ["/tiny.tar.gz", "/elsewhere"] * 2
    assert served.requests[3]["range"] == f"bytes={len(CONTENT) // 2}-"


def test_a_redirect_to_an_insecure_address_is_refused() -> None:
    request = urllib.request.Request("https://model.invalid/file")
    with pytest.raises(ModelError, match=r"refused: the server redirects to the insecure http://elsewhere.invalid"):
        _SafeRedirects().redirect_request(request, None, 302, "Found", {}, "http://elsewhere.invalid/")


def test_a_server_without_lengths_is_understood(tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    with serving(CONTENT, "no length") as served:
        get(served, tmp_path / "file", progress=lambda *step: steps.append(step))
    assert steps[-1] == (len(CONTENT), None)


@pytest.mark.parametrize("code", ["500", "503", "429"])
def test_a_passing_trouble_is_tried_again(tmp_path: Path, code: str) -> None:
    with serving(CONTENT, code, code) as served:
        assert get(served, tmp_path / "file").read_bytes() == CONTENT
        assert len(served.requests) == 3


def test_waits_are_doubled_from_attempt_to_attempt(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(CONTENT, "503", "503", "503") as served:
        begun = time.monotonic()
        get(served, tmp_path / "file", attempts=4, backoff_s=0.02, notify=said.append)
        assert time.monotonic() - begun >= 0.02 + 0.04 + 0.08
    assert [line.rpartition("trying again in ")[2] for line in said] == ["0.02 s", "0.04 s", "0.08 s"]


def test_a_lasting_trouble_ends_after_some_attempts(tmp_path: Path) -> None:
    with serving(CONTENT, *["500"] * 9) as served:
        with pytest.raises(
            ModelError, match=r"tiny.tar.gz: cannot be downloaded \(3 attempts\): the server answered 500"
        ):
            get(served, tmp_path / "file")
        assert len(served.requests) == 3


@pytest.mark.parametrize("code", ["404", "403"])
def test_an_answer_that_will_not_change_is_not_asked_for_again(tmp_path: Path, code: str) -> None:
    with serving(CONTENT, code) as served:
        with pytest.raises(ModelError, match=f"cannot be downloaded: the server answered {code}"):
            get(served, tmp_path / "file")
        assert len(served.requests) == 1


@pytest.mark.parametrize("how", ["silent", "stall"])
def test_a_server_that_falls_silent_does_not_hold_us(tmp_path: Path, how: str) -> None:
    begun = time.monotonic()
    with serving(CONTENT, *[how] * 9) as served:
        with pytest.raises(ModelError, match=r"\(2 attempts\): no answer within 0.2 s"):
            get(served, tmp_path / "file", attempts=2, timeout_s=0.2)
        # Two attempts of 0.2 s and a pause of 0.01 s; the rest of the bound is for a busy machine.
        assert time.monotonic() - begun < 5
    assert served.requests


def test_a_network_that_swallows_everything_does_not_hold_us(tmp_path: Path) -> None:
    # A port that listens and whose queue is full: connections are neither made nor refused.
    with socket.socket() as deaf, socket.socket() as filler:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        filler.connect(deaf.getsockname())
        begun = time.monotonic()
        with pytest.raises(ModelError, match=r"no answer within 0\.2 s"):
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/file"
            download(url, tmp_path / "file", sha256=SHA256, timeout_s=0.2, attempts=2, backoff_s=0.01)
        assert time.monotonic() - begun < 5


def test_a_refused_connection_is_told_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(ModelError, match="Connection refused"):
            download(url, tmp_path / "file", sha256=SHA256, attempts=1)


def test_the_proxy_variable_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(CONTENT) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.rpartition("/")[0])
        monkeypatch.setenv("no_proxy", "")
        download("http://model.invalid/file", tmp_path / "file", sha256=SHA256, timeout_s=2)
        assert [ask["path"] for ask in proxy.requests] == ["http://model.invalid/file"]


def test_a_proxy_is_given_the_login_in_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(CONTENT) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.rpartition("/")[0].replace("//", "//me:secret@"))
        monkeypatch.setenv("no_proxy", "")
        download("http://model.invalid/file", tmp_path / "file", sha256=SHA256, timeout_s=2)
        assert proxy.requests[0]["proxy_login"] == "Basic " + base64.b64encode(b"me:secret").decode()


def test_a_proxy_is_passed_by_for_the_hosts_that_need_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(CONTENT) as served, serving(b"the proxy's") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.rpartition("/")[0])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(served, tmp_path / "file").read_bytes() == CONTENT
        assert proxy.requests == []


def test_a_download_through_a_proxy_that_breaks_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(CONTENT, "break", "503") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.rpartition("/")[0])
        monkeypatch.setenv("no_proxy", "")
        path = download("http://model.invalid/file", tmp_path / "file", sha256=SHA256, timeout_s=2, backoff_s=0.01)
        assert path.read_bytes() == CONTENT
        assert [ask["range"] for ask in proxy.requests] == [None, *[f"bytes={len(CONTENT) // 2}-"] * 2]


def test_a_folder_that_cannot_be_made_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with serving(CONTENT) as served, pytest.raises(OSError, match="cannot be written"):
        get(served, tmp_path / "file" / "below")

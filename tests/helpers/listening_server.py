"""``cadenza-remix listen`` as a program of its own on a free port of the loopback device."""

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

READY_S = 60.0


def free_port() -> int:
    """A port that nobody listens on now; a server can be started on it again after it was killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ListeningServer:
    """The running program: where it answers, what it printed, and two ways to end it."""

    def __init__(self, arguments: Sequence[str | Path], *, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._folder = tempfile.TemporaryDirectory(prefix="listening-server-")
        self._log = Path(self._folder.name) / "output.txt"
        command = [sys.executable, "-m", "cadenza_remix", "listen", *map(str, arguments), "--port", str(self.port)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.url = self._wait_for_its_line()

    def output(self) -> str:
        """All it has printed so far."""
        return self._log.read_text(errors="replace")

    def _wait_for_its_line(self) -> str:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server left with {self.process.returncode}: {self.output()}")
            if (found := re.search(rf"http://[\w.\-]+:{self.port}", self.output())) and self._answers():
                return found.group(0)
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the server was not ready in {READY_S:.0f} s: {self.output()}")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End it as a power cut would: no handler of its own runs."""
        self.process.kill()
        self.process.wait(timeout=20)

    def stop(self) -> int:
        """End it as an operator would; its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._folder.cleanup()
        return int(self.process.returncode)


@contextmanager
def listening_server(arguments: Sequence[str | Path], *, port: int | None = None) -> Iterator[ListeningServer]:
    """Start it with these arguments beside ``--port``, and stop it in the end (killed or not)."""
    server = ListeningServer(arguments, port=port)
    try:
        yield server
    finally:
        server.stop()

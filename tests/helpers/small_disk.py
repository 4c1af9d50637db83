"""A program on a disk of 4 MB of its own, in memory: no administrator is needed where users may mount one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_MAY_MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]
_ON_IT = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$0" -c "$2" "$1"'

needs_small_disk = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*_MAY_MOUNT, "true"], capture_output=True, check=False).returncode,
    reason="this system lets its users mount no disk in memory",
)


def run_on_small_disk(folder: Path, program: str) -> str:
    """Run lines of Python with the disk mounted at a folder, their first argument; return what they print."""
    command = [*_MAY_MOUNT, "sh", "-c", _ON_IT, sys.executable, str(folder), program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

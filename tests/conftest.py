"""Fixtures shared by all tests."""

import os
import signal
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Where no bytecode is kept, every program that a test starts compiles the whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# In the background of a shell, SIGINT is ignored, and all that a test starts would ignore it as well.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest


@pytest.fixture(scope="session")
def song():
    """The real excerpt that every test of real music uses."""
    from cadenza_remix.demo import demo_song

    return demo_song()


@pytest.fixture
def call_here(capfd):
    """Call the command line in this process, for what needs none of its own; what is returned is what a process leaves.

    A process of its own takes a second to start. At least one test of each command starts one.
    """
    from cadenza_remix.cli import main

    def call(*arguments):
        words = [str(argument) for argument in arguments]
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(words)
        return subprocess.CompletedProcess(words, left.value.code, *capfd.readouterr())

    return call

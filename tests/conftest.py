"""Fixtures shared by all tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest


@pytest.fixture(scope="session")
def song():
    """The real excerpt that every test of real music uses."""
    from cadenza_remix.demo import demo_song

    return demo_song()

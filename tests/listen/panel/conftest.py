"""A tiny finished run for all tests of listening tests."""

import pytest
from tiny_run import make_tiny_run


@pytest.fixture(scope="session")
def panel_run(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("panel") / "run"
    folder.mkdir()
    make_tiny_run(folder, song, n_songs=2, duration_s=2.0, scored=False)
    return folder

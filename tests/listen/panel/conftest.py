"""A tiny finished run for all tests of listening tests; for those in a browser, the browser and who holds the tests."""

import pytest
from tiny_run import make_tiny_run


@pytest.fixture(scope="session")
def panel_run(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("panel") / "run"
    folder.mkdir()
    make_tiny_run(folder, song, n_songs=2, duration_s=2.0, scored=False)
    return folder


@pytest.fixture(scope="module")
def browser():
    from browser import open_browser  # Playwright is loaded where a browser is wanted

    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def panels(request, panel_run, tmp_path_factory):
    """The listening tests that a file of tests names in its ``PANELS``, by type, each of them starting."""
    from browsed_panel import hold_panels

    with hold_panels(tmp_path_factory.mktemp("panels"), panel_run, request.module.PANELS) as panels:
        yield panels


@pytest.fixture(scope="module")
def mushra(panels, browser):
    return panels["mushra"].result()

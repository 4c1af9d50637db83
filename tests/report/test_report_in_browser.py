"""The report in a real browser: sorting, CSV, nothing loaded, nothing refused by its policy, narrow and on paper."""

import csv
import io
import shutil

import pytest
from browser import ARGUMENTS
from tiny_run import make_tiny_run

from cadenza_remix.report.page.writing import write_report
from cadenza_remix.runs.finished import find_runs

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(song, tmp_path_factory):
    place = tmp_path_factory.mktemp("browser")
    make_tiny_run(place / "run", song, n_songs=2, duration_s=1.0)
    write_report(find_runs(place / "run"), place / "report.html", audio=True)
    return place / "report.html"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(report, browser):
    """The report opened; it must neither ask for anything nor complain."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    context.close()


def first_column(page, table):
    return page.locator(f"#{table} tbody tr > :first-child").all_inner_texts()


def test_tables_sort_by_click_and_by_keyboard(page):
    heading = page.locator("#table-haaqi-by-song thead th").nth(1)
    names = first_column(page, "table-haaqi-by-song")
    assert len(names) == 2
    exact = page.locator("#table-haaqi-by-song tbody tr > :nth-child(2)")
    heading.get_by_role("button").click()
    values = [float(cell.get_attribute("data-v").split()[0]) for cell in exact.all()]
    assert values == sorted(values)
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").press("Enter")
    assert [float(cell.get_attribute("data-v").split()[0]) for cell in exact.all()] == sorted(values, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert first_column(page, "table-haaqi-by-song") == sorted(names)
    assert heading.get_attribute("aria-sort") is None


def download(page, locator):
    with page.expect_download() as started:
        locator.click()
    return started.value


def test_table_is_saved_as_csv_with_its_exact_numbers(page):
    button = page.locator('button.save[data-table="table-haaqi-by-listener"]')
    saved = download(page, button)
    assert saved.suggested_filename == "haaqi-by-listener.csv"
    rows = list(csv.reader(io.StringIO(saved.path().read_text(encoding="utf-8-sig"))))
    assert rows[0][:2] == ["listener", "hearing loss"]
    assert {"baseline", "baseline (low)", "baseline (high)", "e016 minus baseline"} <= set(rows[0])
    assert [row[0] for row in rows[1:]] == ["L5076", "L5040"]  # by hearing loss
    place = rows[0].index("baseline")
    shown = page.locator("#table-haaqi-by-listener tbody tr").first.locator("td").nth(2).inner_text().split()[0]
    assert f"{float(rows[1][place]):.3f}" == shown


def test_every_value_is_saved(page):
    saved = download(page, page.get_by_role("button", name="Save every value as CSV"))
    rows = list(csv.DictReader(io.StringIO(saved.path().read_text(encoding="utf-8-sig"))))
    assert len(rows) == 2 * 2 * 2 * 3 * 8  # systems, songs, listeners, metrics, channels
    assert {row["ear"] for row in rows} == {"left", "right"}
    assert all(0 < float(row["value"]) < 1 for row in rows if row["metric"] == "haaqi")


def test_pictures_and_clips_are_there(page):
    assert page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length") == 0
    assert page.locator("img").count() > 8
    page.wait_for_function("[...document.querySelectorAll('audio')].every((clip) => clip.duration > 0.9)")
    assert page.locator("audio").count() == 16  # two systems, two best and two worst pairs, mixture and remix


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_page_never_scrolls_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_folded_is_printed_and_folded_again(page):
    folded = "document.querySelectorAll('details:not([open])').length"
    before = page.evaluate(folded)
    assert before == 2  # SNR and SDR by stem and ear
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(folded) == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(folded) == before


def test_nothing_is_hidden_on_paper(page):
    page.emulate_media(media="print")
    assert page.locator("button.save:visible").count() == 0
    cut_off = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollHeight > box.clientHeight + 2).length"
    )
    assert cut_off == 0
    assert page.pdf(format="A4").startswith(b"%PDF")

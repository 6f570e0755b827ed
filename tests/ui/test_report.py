"""The report in a browser: it asks for nothing, and nothing in it is blank."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

POLICY = re.compile(r'<meta [^>]*http-equiv="Content-Security-Policy"[^>]*>', re.IGNORECASE)


def requests_of(page: Page, path: Path) -> list[str]:
    """Opens a file with every other request aborted, and lists those."""
    asked: list[str] = []

    def refuse(route, request) -> None:  # type: ignore[no-untyped-def]
        if request.url == path.as_uri():
            route.continue_()
        else:
            asked.append(request.url)
            route.abort()

    page.route("**/*", refuse)
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return [url for url in asked if not url.startswith("data:")]


def test_the_report_attempts_no_request(page: Page, any_report: Path) -> None:
    assert POLICY.search(any_report.read_text())
    assert requests_of(page, any_report) == []


def test_the_report_attempts_no_request_where_no_policy_hides_it(page: Page, any_report: Path, tmp_path: Path) -> None:
    html, policies = POLICY.subn("", any_report.read_text())
    assert policies == 1
    copy = tmp_path / "report.html"
    copy.write_text(html)
    assert requests_of(page, copy) == []


def test_a_request_would_be_seen(page: Page, tmp_path: Path) -> None:
    copy = tmp_path / "report.html"
    copy.write_text('<img src="http://192.0.2.1/pixel.png">')
    assert requests_of(page, copy) == ["http://192.0.2.1/pixel.png"]


def test_the_report_holds_no_script(any_report: Path) -> None:
    assert "<script" not in any_report.read_text()


def test_every_figure_of_the_report_is_drawn_and_described(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    figures = page.locator(".jp-RenderedSVG img")
    assert figures.count() == 3
    for figure in figures.all():
        assert figure.evaluate("image => image.complete && image.naturalWidth") > 500
        assert len(figure.get_attribute("alt") or "") > 30


def test_every_figure_of_a_stores_report_is_drawn_and_described(page: Page, store_report: Path) -> None:
    page.goto(store_report.as_uri())
    figures = page.locator(".jp-RenderedSVG img")
    assert figures.count() >= 6
    for figure in figures.all():
        assert figure.evaluate("image => image.complete && image.naturalWidth") > 400
        assert len(figure.get_attribute("alt") or "") > 30


def test_every_output_of_the_report_is_visible(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    outputs = page.locator(".jp-OutputArea-output")
    assert outputs.count() > 10
    for output in outputs.all():
        box = output.bounding_box()
        assert box is not None
        assert box["width"] > 100
        assert box["height"] > 15
    assert page.locator(".jp-RenderedText", has_text=re.compile(r"VBox\(|TableTree")).count() == 0


def test_the_trees_of_the_report_open_and_close_without_a_script(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    tree = page.locator(".pwb-tree").first
    uart = tree.get_by_text("0x0009000000").first
    assert uart.is_visible()
    tree.locator("summary").first.click()
    assert not uart.is_visible()


def test_the_marked_rows_are_those_with_more_threads_than_cores(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    assert "Shaded: more threads than" in page.inner_text("body")
    assert "This process may use" in page.inner_text("body")


@pytest.mark.parametrize("width", [600, 1200])
def test_the_report_needs_no_sideways_scrolling(page: Page, any_report: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(any_report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_report_prints_long_lines_wrapped(page: Page, any_report: Path) -> None:
    page.goto(any_report.as_uri())
    page.emulate_media(media="print")
    assert page.locator("pre").first.evaluate("pre => getComputedStyle(pre).whiteSpace") == "pre-wrap"

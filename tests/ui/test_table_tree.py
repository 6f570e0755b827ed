"""The tree's script in a bare page, with a model that is none of Jupyter's."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

import pyworkbench.widgets
from pyworkbench import Stage2
from pyworkbench.widgets import TableTree

ESM = (Path(pyworkbench.widgets.__file__).parent / "table_tree.js").read_text()

SHOW = """async ([esm, html]) => {
    const listeners = new Set();
    window.model = {
        html,
        get: (name) => window.model[name],
        on: (event, listener) => { if (event === 'change:html') listeners.add(listener) },
        off: (event, listener) => { if (event === 'change:html') listeners.delete(listener) },
        set: (html) => { window.model.html = html; listeners.forEach((listener) => listener()) },
        listeners,
    };
    const module = await import(URL.createObjectURL(new Blob([esm], { type: 'text/javascript' })));
    window.cleanup = module.default.render({ model: window.model, el: document.body });
}"""


def table(*, pages: bool = False) -> Stage2:
    table = Stage2()
    table.map(0x4000_0000, 4 << 20, 0x8000_0000)
    if pages:
        table.split(0x4000_0000, 2 << 20)
    return table


@pytest.fixture
def tree(page: Page) -> Page:
    page.goto("about:blank")
    page.evaluate(SHOW, [ESM, TableTree(table()).html])
    return page


def test_the_tree_shows_levels_addresses_and_counts(tree: Page) -> None:
    rows = tree.locator(".pwb-row:not(.pwb-head)").all_inner_texts()
    assert len(rows) == 2
    for word in ("L2", "0x0040000000", "2 blocks", "4 MiB", "rw-, normal, AF", "0x80000000"):
        assert word in rows[1]


def test_a_change_of_the_table_is_shown_and_keeps_closed_what_was_closed(tree: Page) -> None:
    tree.locator("summary").first.click()
    assert not tree.get_by_text("2 blocks").is_visible()
    tree.evaluate("html => model.set(html)", TableTree(table(pages=True)).html)
    assert tree.locator(".pwb-kind", has_text="512 pages").count() == 1
    assert not tree.get_by_text("512 pages").is_visible()


def test_the_buttons_open_and_close_everything(tree: Page) -> None:
    tree.evaluate("html => model.set(html)", TableTree(table(pages=True)).html)
    tree.get_by_role("button", name="close all").click()
    assert not tree.get_by_text("512 pages").is_visible()
    tree.get_by_role("button", name="open all").click()
    assert tree.get_by_text("512 pages").is_visible()


def test_the_tree_is_opened_and_closed_by_keyboard(tree: Page) -> None:
    tree.locator("summary").first.focus()
    tree.keyboard.press("Enter")
    assert not tree.get_by_text("2 blocks").is_visible()


def test_a_view_that_is_gone_no_longer_listens(tree: Page) -> None:
    assert tree.evaluate("model.listeners.size") == 1
    tree.evaluate("cleanup()")
    assert tree.evaluate("model.listeners.size") == 0

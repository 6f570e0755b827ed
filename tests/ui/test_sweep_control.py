"""A sweep from a notebook in JupyterLab: started, watched, cancelled, resumed, and found again."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from playwright.sync_api import Locator, Page

from pyworkbench.sweep import read_status
from pyworkbench.sweep.background import cancel

if TYPE_CHECKING:
    from tests.ui.conftest import Lab

CELL = """from pyworkbench.sweep import SweepSpec
from pyworkbench.widgets import SweepControl
SweepControl({store!r}, SweepSpec(threads=[1, 2], guest=["16M"], repeats=100_000))"""

EXECUTE = """async (code) => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const reply = await kernel.requestExecute({ code, store_history: false }).done;
    return reply.content.status;
}"""


@pytest.fixture
def store(lab: "Lab", tmp_path: Path) -> Iterator[Path]:
    """A store, and a notebook with a control for it."""
    cell = nbformat.v4.new_code_cell(CELL.format(store=str(tmp_path / "store")))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.folder / "notebooks" / f"{tmp_path.name}.ipynb")
    yield tmp_path / "store"
    cancel(tmp_path / "store")


def test_a_sweep_is_started_cancelled_and_resumed_and_outlives_its_tab_and_kernel(lab: "Lab", store: Path) -> None:
    page = lab.page
    control = opened(lab, store)
    assert control.get_by_text("400,000 measurements, about").is_visible()
    assert not button(control, "cancel").is_enabled()

    button(control, "start").click()
    state(control, "running").wait_for(timeout=60_000)
    control.locator(".pwb-live circle").nth(8).wait_for()
    # The kernel answers while the sweep runs.
    assert page.evaluate(EXECUTE, "1 + 1") == "ok"
    before = read_status(store)
    assert before.running
    assert not control.locator("input").first.is_enabled()
    shows_more(control, before.measured)

    # The tab and the kernel are gone, the sweep is not; another kernel finds it.
    page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); return null }")
    page.evaluate("() => { const tab = jupyterapp.shell.currentWidget; tab.context.save().then(() => tab.close()) }")
    page.wait_for_function(
        "path => jupyterapp.shell.currentWidget?.context?.path !== path", arg=f"notebooks/{store.parent.name}.ipynb"
    )
    assert read_status(store).running
    control = opened(lab, store)
    state(control, "running").wait_for()
    assert read_status(store).pid == before.pid
    shows_more(control, read_status(store).measured)

    button(control, "cancel").click()
    state(control, "interrupted").wait_for()
    kept = read_status(store)
    assert kept.state == "interrupted"
    assert kept.done >= before.measured

    button(control, "resume").click()
    state(control, "running").wait_for(timeout=60_000)
    control.get_by_text(f"{kept.done:,} reused").wait_for()
    assert read_status(store).pid != before.pid
    button(control, "cancel").click()
    state(control, "interrupted").wait_for()


def test_a_wrong_value_is_answered_in_place_and_a_choice_changes_the_plan(lab: "Lab", store: Path) -> None:
    control = opened(lab, store)
    control.get_by_role("button", name="exclusive").click()
    control.get_by_text("2 points; 200,000 measurements").wait_for()
    threads = control.locator("input").first
    threads.fill("1, 200")
    threads.press("Enter")
    control.get_by_text("threads '200': it should be less than or equal to 128").wait_for()
    assert not button(control, "start").is_enabled()
    assert not store.exists()


def opened(lab: "Lab", store: Path) -> Locator:
    """The control of the notebook, opened and run."""
    lab.open(f"notebooks/{store.parent.name}.ipynb")
    lab.run_all()
    control = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .pwb-sweep").first
    control.locator(".pwb-plan").wait_for()
    return control


def button(control: Locator, name: str) -> Locator:
    return control.get_by_role("button", name=name)


def state(control: Locator, name: str) -> Locator:
    return control.locator(f".pwb-status[data-state={name}]")


def shows_more(control: Locator, measured: int) -> None:
    """Waits until the status tells of more measurements than these."""
    page: Page = control.page
    # Each update is another element.
    page.wait_for_function(
        """least => Array.from(document.querySelectorAll(".pwb-status")).some(
            (status) => Number(/: ([0-9,]+) of/.exec(status.textContent)?.[1].replaceAll(",", "")) > least)""",
        arg=measured,
    )

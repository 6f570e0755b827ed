"""The quickstart in JupyterLab: it opens, runs, and its control changes the tree."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ui.conftest import Lab


def test_the_quickstart_runs_in_lab_and_its_control_changes_the_tree(lab: "Lab") -> None:
    notebook = lab.folder / "notebooks" / "quickstart.ipynb"
    notebook.write_text(notebook.read_text().replace("guest_mib = 1024", "guest_mib = 16").replace('"128M"', '"2M"'))
    lab.open("notebooks/quickstart.ipynb")
    lab.run_all()

    page = lab.page
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    control = page.locator(".widget-vbox", has=page.locator(".widget-toggle-buttons"))
    tree = control.locator(".pwb-tree")
    tree.get_by_text("2 concatenated root pages").wait_for()
    assert tree.get_by_text("256 blocks").is_visible()

    control.get_by_role("button", name="16K").click()
    tree.get_by_text("16 concatenated root pages").wait_for()
    tree.get_by_text("16 blocks").wait_for()

    control.get_by_role("button", name="pages only").click()
    tree.get_by_text("2048 pages").first.wait_for()
    assert tree.get_by_text("16 blocks").count() == 0

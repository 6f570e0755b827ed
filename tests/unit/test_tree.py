"""The tree of a table: complete, grouped, and honest about what it leaves out."""

import pytest

from pyworkbench import Stage2
from pyworkbench.widgets import TableControl, TableTree
from pyworkbench.widgets.tree import Run, tree_of
from pyworkbench.widgets.tree_html import SHOWN, size_text, tree_html

MIB = 1 << 20


def leaves_in(runs: tuple[Run, ...]) -> int:
    """Leaves and annotations of runs, those of grouped tables counted for each."""
    return sum(run.count * (leaves_in(run.children) if run.kind == "table" else 1) for run in runs)


def busy(granule: str, ipa_bits: int) -> Stage2:
    """A table with blocks, pages, a device, write protection, a split, software bits and annotations."""
    table = Stage2(granule, ipa_bits)  # type: ignore[arg-type]
    table.map(0x4000_0000, 1 << 30, 0x8_2000_0000, prot="rwx")
    table.map(0x1000_0000, 64 * table.page_size, 0x1000_0000, memtype="device")
    table.wrprotect(0x4000_0000, 512 * MIB)
    table.split(0x4000_0000, 512 * MIB)
    table.relax_perms(0x4000_0000 + 5 * table.page_size, "rw")
    table.test_clear_young(0x6000_0000, 512 * MIB)
    table.annotate(0x2000_0000, 3 * table.page_size, 2, 0x100)
    table.annotate(0x2000_0000 + 3 * table.page_size, table.page_size, 3, 0x100)
    return table


@pytest.mark.parametrize(("granule", "ipa_bits"), [("4K", 32), ("4K", 40), ("4K", 48), ("16K", 40), ("64K", 52)])
def test_every_leaf_and_every_table_page_is_in_the_tree(granule: str, ipa_bits: int) -> None:
    table = busy(granule, ipa_bits)
    runs = tree_of(table)
    assert leaves_in(runs) == len(table.leaves())
    assert sum(run.tables for run in runs) + table.root_pages == table.stats()["tables"]


def test_neighbours_that_look_alike_are_one_run_and_those_that_do_not_are_not() -> None:
    table = Stage2()
    table.map(0, 6 * 0x1000, 0x8000_0000)
    table.unmap(0x5000, 0x1000)
    table.map(0x5000, 0x1000, 0x9000_0000)
    table.wrprotect(0x1000, 0x1000)
    table.annotate(0x8000, 0x1000, 2, 0)
    table.annotate(0x9000, 0x1000, 3, 0)
    [level1] = tree_of(table)
    [level2] = level1.children
    runs = [(run.kind, run.count, run.attributes[:3], run.pa) for run in level2.children]
    assert runs == [
        ("page", 1, "rw-", 0x8000_0000),
        ("page", 1, "r--", 0x8000_1000),
        ("page", 4, "rw-", None),  # of one look, but their output addresses do not follow one another
        ("annotation", 1, "inv", None),
        ("annotation", 1, "inv", None),
    ]


def test_sibling_tables_of_one_content_are_one_row() -> None:
    table = Stage2(force_pte=True)
    table.map(0, 64 * MIB, 0x8000_0000)
    [level1] = tree_of(table)
    [tables] = level1.children
    assert (tables.kind, tables.count, tables.used, len(tables.children)) == ("table", 32, 512, 1)
    assert level1.used == 32


def test_an_empty_table_says_so() -> None:
    assert tree_of(Stage2()) == ()
    assert "nothing is mapped" in TableTree(Stage2()).html


def test_runs_that_are_not_shown_are_counted() -> None:
    table = Stage2()
    for page in range(0, 512, 2):
        table.map(page << 12, 0x1000, page << 12)
    html = tree_html(table, tree_of(table))
    assert html.count("pwb-page") == SHOWN
    assert f"and {256 - SHOWN} entries in {256 - SHOWN} more runs" in html


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (4096, "4 KiB"), (1 << 40, "1 TiB")])
def test_sizes_are_in_the_largest_unit_that_divides_them(size: int, text: str) -> None:
    assert size_text(size) == text


def test_widgets_carry_their_static_twin() -> None:
    tree, control = TableTree(busy("4K", 40)), TableControl(lambda table: table.map(0, 2 * MIB, 0))
    data, _ = tree._repr_mimebundle_()  # type: ignore[misc]
    for bundle in (data, control._repr_mimebundle_()):
        assert bundle is not None
        assert 'class="pwb-tree"' in bundle["text/html"]
        assert "application/vnd.jupyter.widget-view+json" in bundle


def test_the_control_builds_another_table_for_each_choice() -> None:
    control = TableControl(lambda table: table.map(0, 512 * MIB, 0))
    assert (control.table.start_level, control.table.root_pages) == (1, 2)
    control.ipa_bits.value = 43
    assert control.table.root_pages == 16
    control.ipa_bits.value = 44
    assert (control.table.start_level, control.table.root_pages) == (0, 1)
    blocks = control.table.stats()["table_bytes"]
    control.leaves.value = "pages only"
    assert control.table.stats()["table_bytes"] > 50 * blocks
    assert "256 tables" in control.tree.html


def test_a_choice_that_no_table_can_have_is_answered_and_the_last_table_stays() -> None:
    control = TableControl(lambda table: table.map(0, 2 * MIB, 0))
    before = control.tree.html
    control.ipa_bits.value = 52
    assert "ipa_bits 52 is outside 32 to 48" in control.problem.value
    assert control.tree.html == before
    control.granule.value = "64K"
    assert control.problem.value == ""
    assert "64K granule" in control.tree.html

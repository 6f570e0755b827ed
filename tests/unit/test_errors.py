"""Errors name the value and what would be right; a panic of the core is one of them."""

import pickle
import subprocess
import sys

import pytest

from pyworkbench import CorePanic, InputError, Stage2, TableError, WorkbenchError, _core, run_ops


@pytest.fixture
def table() -> Stage2:
    return Stage2()


@pytest.mark.parametrize("long", [False, True])
def test_a_panic_of_the_core_arrives_as_an_exception(long: bool) -> None:
    with pytest.raises(CorePanic, match=r"broken invariant \(at .*enter\.rs:\d+:\d+\)"):
        _core.panic_in_core("broken invariant", long)


def test_a_panic_of_the_core_prints_nothing() -> None:
    program = """
from pyworkbench import CorePanic, _core
for long in (False, True):
    try:
        _core.panic_in_core("broken invariant", long)
    except CorePanic:
        pass
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0x1234, 0x1000, 0), "ipa 0x1234 is not a multiple of the page size 0x1000: 0x1000 or 0x2000 would"),
        ((0x1000, 0x800, 0), "size 0x800 is not a multiple of the page size 0x1000: 0x0 or 0x1000 would be"),
        ((0x1000, 0x1000, 1), "pa 0x1 is not a multiple of the page size 0x1000: 0x0 or 0x1000 would be"),
        ((0x1000, 0, 0), "size 0 maps nothing: a multiple of the page size 0x1000 would be right"),
        (
            (1 << 40, 0x1000, 0),
            "ipa 0x10000000000 is outside the 40-bit IPA space: 0xffffffffff is its last address",
        ),
        (
            ((1 << 40) - 0x1000, 0x2000, 0),
            "ipa 0xfffffff000 + size 0x2000 ends at 0x10000001000, past the 40-bit IPA space: "
            "a size up to 0x1000 would fit",
        ),
        (
            (0, 0x1000, 1 << 48),
            "pa 0x1000000000000 + size 0x1000 ends past the output addresses of this table: "
            "its last page is 0xfffffffff000",
        ),
        ((-1, 0x1000, 0), "-1 is no address or size: 0 to 2**64 - 1 would be"),
        ((1 << 64, 0x1000, 0), "18446744073709551616 is no address or size: 0 to 2**64 - 1 would be"),
        ((0, 0x1000, 0, "rwq"), "prot \"rwq\": 'q' is none of r, w, x"),
        ((0, 0x1000, 0, "rw", "write-back"), "memtype \"write-back\" is none of 'normal', 'nc', 'device'"),
        (
            (0, 0x1000, 0, "rx", "device"),
            'prot "rx" executes from memtype "device": only \'normal\' memory can be executed',
        ),
    ],
)
def test_wrong_input_is_named_with_what_would_be_right(
    table: Stage2, arguments: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        table.map(*arguments)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, ValueError)
    assert table.stats()["pages"] == 0


def test_execute_at_one_exception_level_needs_xnx() -> None:
    with pytest.raises(InputError, match="needs xnx=True: 'x' would be right"):
        Stage2(xnx=False).map(0, 0x1000, 0, prot="u")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"granule": "8K"}, 'granule "8K" is not one of 4K, 16K, 64K'),
        ({"ipa_bits": 53}, "ipa_bits 53 is outside 32 to 48 (4K pages without LPA2)"),
        ({"start_level": 3}, "start_level 3 does not fit 40 IPA bits: 0 to 1 would"),
        ({"level_bits": 10}, "level_bits 10 is outside 1 to 9, the bits one level of this granule resolves"),
    ],
)
def test_a_table_that_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Stage2(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert str(caught.value) == message


def test_what_the_table_refuses_carries_its_errno(table: Stage2) -> None:
    table.map(0, 0x1000, 0, prot="r")
    with pytest.raises(TableError, match=r"^EAGAIN: map\(0x0, 0x1000\): a page there") as caught:
        table.map(0, 0x1000, 0, prot="rw")
    assert (caught.value.errno, caught.value.name) == (11, "EAGAIN")


def test_a_destroyed_table_refuses_everything(table: Stage2) -> None:
    table.map(0, 0x1000, 0)
    table.destroy()
    table.destroy()
    with pytest.raises(TableError, match=r"^EINVAL: unmap: the table was destroyed"):
        table.unmap(0, 0x1000)
    assert table.lookup(0) is None
    assert len(table.leaves()) == 0
    assert table.stats()["tables"] == 0


def test_errors_survive_pickling(table: Stage2) -> None:
    with pytest.raises(WorkbenchError) as caught:
        table.relax_perms(0x1000, "w")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (what was pickled a line above)
    assert (type(copy), str(copy), copy.errno) == (TableError, str(caught.value), 11)


def test_a_script_with_an_error_names_the_line() -> None:
    with pytest.raises(InputError, match=r"^line 3: "):
        run_ops("# granule 4k args --ipa-bits=40\nget 0x1000\nmap 0x1000\n")

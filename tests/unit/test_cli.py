"""The command line: what it prints, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "data" / "golden"


def pwb(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pyworkbench", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr


def test_ops_prints_what_upstream_answered() -> None:
    case = GOLDEN / "hand6-4k__failalloc.ops"
    assert pwb("ops", str(case)) == (0, case.with_suffix(".out").read_text(), "")


def test_ops_reads_standard_input() -> None:
    case = GOLDEN / "hand9-4k__edges.ops"
    assert pwb("ops", "-", text=case.read_text()) == (0, case.with_suffix(".out").read_text(), "")


def test_a_script_with_an_error_is_one_line_and_exit_2() -> None:
    code, out, err = pwb("ops", "-", text="# granule 4k args\nfrobnicate 0x1000\n")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("pwb: line 2: ")


@pytest.mark.parametrize("name", ["no/such/file", "."])
def test_a_file_that_cannot_be_read_is_one_line_and_exit_2(name: str) -> None:
    code, out, err = pwb("ops", name)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert name in err


def test_binary_input_is_one_line_and_exit_2(tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe\x00")
    code, out, err = pwb("ops", str(file))
    assert (code, out, len(err.splitlines())) == (2, "", 1)

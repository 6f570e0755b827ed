"""The command line: what it prints, and its exit codes."""

import gzip
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["explore", "flush-race", "--frob"], "No such option: --frob"),
        (["explore", "flush-race", "--search", "luck"], "'--search'"),
        (["explore", "flush-race", "--time", "-1"], "'--time'"),
        (["orderings"], "scenario"),
        (["report", "notebooks/quickstart.ipynb"], "--output"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it_and_exit_2(arguments: list[str], said: str) -> None:
    code, out, err = pwb(*arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("pwb: ")
    assert said in err


def test_without_a_command_there_is_the_help() -> None:
    code, out, err = pwb()
    assert (code, err) == (2, "")
    assert "Usage: pwb " in out


CAPTURES = Path(__file__).parents[2] / "data" / "captures"


def test_replay_finds_no_difference_in_any_capture() -> None:
    code, out, err = pwb("replay", str(CAPTURES))
    assert (code, err) == (0, "")
    totals = [line.split(": ", 1)[1] for line in out.splitlines() if " snapshots, " in line]
    assert len(totals) == 7
    assert all(line.endswith(" 0 differences") for line in totals)


def test_replay_exits_1_on_a_difference(tmp_path: Path) -> None:
    for file in (CAPTURES / "own-a76-S8").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "s2.S8.jsonl.gz"
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    lost = next(at for at, line in enumerate(lines) if b'"page"' in line)
    header = next(at for at in range(lost, -1, -1) if b'"snapshot"' in lines[at])
    entries = int(lines[header].split(b'"entries":')[1].split(b",")[0])
    lines[header] = lines[header].replace(b'"entries":%d' % entries, b'"entries":%d' % (entries - 1))
    lines[header] = lines[header].replace(b'"entries": %d' % entries, b'"entries": %d' % (entries - 1))
    del lines[lost]
    file.write_bytes(gzip.compress(b"".join(lines)))
    code, out, err = pwb("replay", str(tmp_path), "--each")
    assert (code, err) == (1, "")
    assert "1 differences" in out


def test_replay_of_something_else_is_one_line_and_exit_2(tmp_path: Path) -> None:
    code, out, err = pwb("replay", str(tmp_path))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert str(tmp_path) in err

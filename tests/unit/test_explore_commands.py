"""Explorations from the command line: what it prints, its exit codes, and what Ctrl-C leaves."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyworkbench import (
    Verdict,
    cases,
    scenarios,
    strategies,
    variants,
)

from .test_cli import pwb
from .test_explore import RACE, SET

OWN_B1 = Path(__file__).parents[2] / "data" / "captures" / "race" / "own-b1"


def test_what_has_a_name_is_listed() -> None:
    assert RACE in scenarios()
    assert variants()[:5] == ["arm64-6.12", "arm64-7.3", "riscv-7.3", "loongarch-7.3", "mips-7.3"]
    assert strategies()[0] == "none"
    code, out, err = pwb("explore", "--list")
    assert (code, err) == (0, "")
    assert all(name in out for name in [*scenarios(), *variants(), *strategies()])


def test_the_command_prints_orders() -> None:
    code, out, err = pwb("orderings", SET)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "3 orders; in 2 two flushes of a VM may overlap"
    code, out, err = pwb("orderings", SET, "--prove", "1", "--json")
    assert (code, err) == (0, "")
    printed = [json.loads(line) for line in out.splitlines()]
    assert [one["verdict"] for one in printed] == ["Bug", None, None]
    code, out, err = pwb("orderings", "task T1 fds=vm: clse vm")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_the_command_says_in_its_exit_code_which_answer_it_is(bug: Verdict) -> None:
    code, out, err = pwb("explore", RACE, "--json")
    assert (code, err) == (10, "")
    printed = json.loads(out)
    assert (printed["answer"], printed["schedule"]) == ("Bug", bug.schedule)
    assert printed["findings"][0]["steps"]
    code, out, err = pwb("explore", RACE, "--strategy", "claim-under-lock")
    assert (code, err, out.splitlines()[0]) == (0, "", "Proved")
    code, out, err = pwb("explore", RACE, "--strategy", "claim-under-lock", "--executions", "2")
    assert (code, err, out.splitlines()[0]) == (11, "", "Exhausted (the bound on executions)")
    assert pwb("explore")[0] == 2
    assert pwb("explore", RACE, "--search", "luck")[0] == 2


def test_the_command_replays_a_schedule(bug: Verdict) -> None:
    assert bug.schedule is not None
    code, out, err = pwb("explore", "--replay", bug.schedule)
    assert (code, err) == (10, "")
    assert "kvm_mmu_free_memory_cache" in out
    code, out, err = pwb("explore", "--json", "--replay", f"pwb1:{RACE} arm64-7.3 none:0")
    assert (code, err) == (1, "")
    assert not any(one["harm"] for one in json.loads(out)["findings"])


def test_the_command_prints_the_matrix() -> None:
    how = ["matrix", RACE, "--variant", "arm64-7.3", "--strategy", "none", "--strategy", "lock-flush-naive"]
    code, out, err = pwb(*how)
    assert (code, err) == (0, "")
    assert re.search(r"lock-flush-naive\s+Bug\s+deadlock", out)
    code, out, err = pwb(*how, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["verdict"] for line in out.splitlines()] == ["Bug", "Bug"]
    assert json.loads(out.splitlines()[1])["kinds"] == ["deadlock"]


def test_the_printed_matrix_ends_with_reasons_and_ladders_on_request() -> None:
    how = ["matrix", RACE, "--strategy", "none", "--strategy", "slots-lock"]
    code, out, err = pwb(*how, "--variant", "arm64-7.3", "--variant", "mips-7.3")
    assert (code, err) == (0, "")
    assert "n/a mips-7.3, none: has no split cache: cache=never would be right" in " ".join(out.split())
    assert "T1  " not in out
    code, out, err = pwb(*how, "--variant", "arm64-7.3", "--ladders")
    assert (code, err) == (0, "")
    replay = next(line for line in out.splitlines() if line.startswith("replay: "))
    assert pwb("explore", "--replay", replay.removeprefix("replay: "))[0] == 10


def test_ctrl_c_answers_with_what_is_known() -> None:
    script = f"""
from pyworkbench import explore
said = []
progress = lambda *_: said or said.append(print("exploring", flush=True))
verdict = explore("{RACE}", strategy="claim-under-lock", search="random", time_s=250, progress=progress)
print(verdict.answer, verdict.why, verdict.executions > 0)
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "exploring\n"
    run.send_signal(signal.SIGINT)
    assert run.communicate() == ("Exhausted stopped True\n", "")
    assert run.returncode == 0


def test_the_command_prints_a_row_for_each_bug_and_search() -> None:
    code, out, _ = pwb("first-findings", "--seeds", "2", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert {(row["bug"], row["search"]) for row in rows} >= {("double-free", "dpor"), ("stall", "random")}
    assert "double-free" in pwb("first-findings", "--seeds", "2")[1]


INTERRUPTED = {
    "matrix": f'verdict_matrix(["{RACE}"], search="random", time_s=250)',
    "orderings": f'orderings("{SET}", prove=3, search="random", time_s=250, stop_at_first=False)',
    "first findings": "first_findings(10**7)",
}


@pytest.mark.parametrize("what", INTERRUPTED)
def test_ctrl_c_answers_with_the_rows_that_are_known(what: str) -> None:
    script = f"""
from pyworkbench import _apart, first_findings, orderings, verdict_matrix
wait, said = _apart.wait, []
def tell_and_wait(*args, **how):
    if not said:
        said.append(True)
        print("running", flush=True)
    return wait(*args, **how)
_apart.wait = tell_and_wait
frame = {INTERRUPTED[what]}
print(len(frame), frame.attrs["stopped"])
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "running\n"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()
    assert (err, run.returncode) == ("", 0)
    rows, stopped = out.split()
    assert (int(rows) > 0, stopped) == (True, "True")


def test_ctrl_c_ends_a_command_in_one_line_or_with_an_answer() -> None:
    how = ["--strategy", "claim-under-lock", "--search", "random", "--time", "250"]
    command = [sys.executable, "-c", PWB, "explore", RACE, *how]
    for after in ("import", "explore"):
        run = subprocess.Popen([*command, after], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert run.stdout is not None
        assert run.stdout.readline() == "now\n"
        run.send_signal(signal.SIGINT)
        out, err = run.communicate()
        if after == "import":
            assert (run.returncode, out, err) == (130, "", "pwb: stopped\n")
        else:
            assert (run.returncode, out.splitlines()[0], err) == (11, "Exhausted (stopped)", "")


# The command as its script starts it, which says when it has come somewhere.
PWB = """
import sys, threading, time
after = sys.argv.pop()
sys.argv[0] = "pwb"
if after == "import":
    import pyworkbench._starting
    print("now", flush=True)
    time.sleep(250)
import pyworkbench._live as live
from pyworkbench.cli import main
text = live.exploring_text
def said(*now):
    live.exploring_text = text
    print("now", flush=True)
    return text(*now)
import pyworkbench._show
pyworkbench._show.exploring_text = said
main()
"""


def test_the_command_prints_a_block_for_each_explored_order_with_counts_and_ladders() -> None:
    code, out, err = pwb("orderings", SET, "--prove", "3")
    assert (code, err) == (0, "")
    blocks = re.split(r"^\d+\. ", out, flags=re.MULTILINE)[1:]
    assert len(blocks) == 3
    assert all(re.search(r"[\d,]+ executions, [\d,]+ actions, [\d,]+ equivalence classes", block) for block in blocks)
    assert [("double-free" in block, "kvm_mmu_free_memory_cache" in block) for block in blocks] == [
        (True, True),
        (True, False),  # the ladder of the first
        (False, False),
    ]
    assert "the ladder of order 1" in blocks[1]
    assert out.splitlines()[-1] == "of the first 3, explored: Bug 2, Proved 1"
    code, out, _ = pwb("orderings", SET, "--prove", "3", "--no-ladders")
    assert "exit_mmap > " not in out
    long = pwb("orderings", "every-order", "--limit", "3")[1]
    assert max(map(len, long.splitlines())) <= 120


def test_the_command_explores_parts_on_threads() -> None:
    code, out, err = pwb("explore", RACE, "--strategy", "claim-under-lock", "--jobs", "2")
    assert (code, err, out.splitlines()[0]) == (0, "", "Proved")
    code, out, err = pwb("explore", RACE, "--search", "dfs", "--jobs", "2")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_the_list_is_a_line_a_name_or_an_object_a_line() -> None:
    code, out, err = pwb("explore", "--list", "--json")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows == cases().to_dict("records")
    assert [row["name"] for row in rows if row["what"] == "search"] == ["dpor", "dfs", "random", "pct", "surw"]
    assert all(row["about"] and row["text"] for row in rows)
    plain = pwb("explore", "--list")[1].splitlines()
    assert all(any(line.split()[:1] == [row["name"]] and row["about"] in line for line in plain) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explore", "flush-rase"], "flush-race and flush-age are closest (`pwb explore --list` lists them)"),
        (["matrix", "flush-race-filed"], "of which flush-race-filled, "),
        (["orderings", "flush-race", "--variant", "arm64-7.4"], 'variant "arm64-7.4" is not one of arm64-6.12'),
        (["explore", "flush-race", "--every-action"], "--every-action is for --replay"),
        (["explore", "flush-race", "--search", "random"], "(--executions, --time)"),
        (["explore", "flush-race", "--jobs", "2", "--search", "dfs"], "(--jobs) needs search dpor"),
        (["explore", "--replay", "pwb2:flush-race arm64-9 none:0x1:0badcafe-12345678 leak x"], "a variant (arm64-6.12"),
        (["ops", "/no/such"], "/no/such: No such file or directory; expected a script of table operations"),
        (["overlap", "/no/such"], "/no/such: No such file or directory; expected ftrace's text"),
        (["kasan", "/no/such"], "/no/such: No such file or directory; expected a kernel's log"),
        (["kasan", str(OWN_B1), "--trace", "/no/such"], "/no/such: No such file or directory; expected ftrace's text"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_would_be_right(arguments: list[str], said: str) -> None:
    code, out, err = pwb(*arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err
    assert "Errno" not in err
    assert len(err) < 400


def section(heading: str) -> str:
    """A part of docs/json.md."""
    text = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    (part,) = [part for part in text.split("\n## ") if part.startswith(heading)]
    return part


@pytest.mark.parametrize(
    ("heading", "arguments"),
    [
        ("`pwb explore ", ["explore", RACE]),
        ("`pwb explore ", ["explore", "--replay", f"pwb1:{RACE} arm64-7.3 none:0"]),
        ("`pwb explore ", ["explore", "--list"]),
        ("`pwb matrix ", ["matrix", RACE, "--variant", "arm64-7.3", "--strategy", "none"]),
        ("`pwb orderings ", ["orderings", SET, "--prove", "2"]),
        ("`pwb first-findings ", ["first-findings", "--seeds", "1", "--executions", "2"]),
        ("`pwb overlap ", ["overlap", str(OWN_B1)]),
        ("`pwb kasan ", ["kasan", str(OWN_B1)]),
    ],
)
def test_every_field_that_is_printed_is_described(heading: str, arguments: list[str]) -> None:
    _, out, err = pwb(*arguments, "--json")
    assert err == ""
    described = set(re.findall(r"`(\w+)`", section(heading)))
    for row in map(json.loads, out.splitlines()):
        assert set(row) <= described
        assert isinstance(row.get("kinds", []), list)
        for inner in [*row.get("findings", []), row.get("model"), row.get("slab"), row.get("freed"), row.get("known")]:
            assert set(inner or {}) <= described

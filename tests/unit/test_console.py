"""KASAN's reports, as Python and the command line see them. The parser's own tests are in Rust."""

import gzip
import json
import pickle
import shutil
from pathlib import Path

import pytest

from pyworkbench import CaptureError, compare_chains, find_overlaps, kasan

from .test_cli import pwb

RACE = Path(__file__).parents[2] / "data" / "captures" / "race"
CONSOLE = RACE / "own-b1" / "console.txt.gz"

# What the project models of the two ways into a flush.
MODELLED = [
    "exit_mmap",
    "__mmu_notifier_release",
    "kvm_vm_release",
    "kvm_destroy_vm",
    "mmu_notifier_unregister",
    "kvm_mmu_notifier_release",
    "kvm_arch_flush_shadow_all",
    "kvm_uninit_stage2_mmu",
    "kvm_mmu_free_memory_cache",
]


def test_each_report_is_of_an_array_that_the_trace_shows_freed_twice_at_once() -> None:
    reports = kasan(CONSOLE)
    assert [report.kind for report in reports] == ["double-free"] * 12
    found = [one for trace in find_overlaps(RACE / "own-b1") for one in trace.overlaps if one.kind == "cache"]
    by_tasks = {frozenset(one.pids): one for one in found}
    for report in reports:
        assert report.complete
        assert report.freed is not None
        assert report.object == "kvm.arch.split_page_cache.objects"
        assert report.pid is not None
        assert report.freed.pid is not None
        overlap = by_tasks[frozenset([report.pid, report.freed.pid])]
        assert report.known is not None
        assert (report.address, report.known["kvm"], report.known["mc"]) == (overlap.objects, overlap.kvm, overlap.mc)


def test_the_two_chains_of_every_report_are_those_of_the_last_close_and_of_the_exit() -> None:
    below = MODELLED[-4:]
    close = [*reversed(below), "mmu_notifier_unregister", "kvm_destroy_vm", "kvm_vm_release"]
    leave = [*reversed(below), "__mmu_notifier_release", "exit_mmap"]
    for report in kasan(CONSOLE):
        assert report.freed is not None
        chains = {report.comm: report.stack, "T1" if report.comm == "T2" else "T2": report.freed.stack}
        assert compare_chains(chains["T2"], close, MODELLED).agrees
        assert compare_chains(chains["T1"], leave, MODELLED).agrees
        differ = compare_chains(chains["T1"], close, MODELLED)
        assert (differ.agrees, differ.common) == (False, 0)
        assert str(differ).startswith("nothing in common, then exit_mmap > __mmu_notifier_release > ")


def test_the_command_prints_one_object_a_report() -> None:
    code, out, err = pwb("kasan", "--json", str(CONSOLE))
    assert (code, err) == (0, "")
    printed = [json.loads(line) for line in out.splitlines()]
    assert {one["model"]["agrees"] for one in printed} == {True}
    without = [{name: value for name, value in one.items() if name != "model"} for one in printed]
    assert without == [json.loads(json.dumps(report.as_json())) for report in kasan(CONSOLE)]
    first = printed[0]
    assert (first["address"], first["pid"], first["comm"], first["cpu"]) == ("0xffff000006ee4000", 43, "T2", 1)
    assert first["slab"] == {"address": "0xffff000006ee4000", "cache": "kmalloc-8k", "size_bytes": 8192}
    assert first["known"]["kvm"] == "0xffff000006e5c000"


def test_the_text_sets_the_chains_side_by_side() -> None:
    code, out, err = pwb("kasan", str(CONSOLE))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{CONSOLE}:198: double-free in kvfree+0x3c/0x50 at 0xffff000006ee4000"
    assert lines[1].startswith("  kvm.arch.split_page_cache.objects of kvm 0xffff000006e5c000")
    assert lines[3].split("  ")[1] == "freed again by T2 (pid 43)"
    assert "freed by T1 (pid 42)" in lines[3]
    assert next(line for line in lines if "kvm_destroy_vm" in line).split()[1] == "exit_mmap"
    assert lines[-1] == "12 reports"


def test_without_a_trace_no_object_is_named(tmp_path: Path) -> None:
    alone = Path(shutil.copy(CONSOLE, tmp_path))
    assert {report.object for report in kasan(alone)} == {None}
    named = kasan(alone, trace=RACE / "own-b1" / "trace.S6b.txt.gz")
    assert {report.object for report in named} == {"kvm.arch.split_page_cache.objects"}


def test_a_log_without_a_report_gives_none() -> None:
    assert kasan(RACE / "deb-a" / "console.txt.gz") == []
    assert pwb("kasan", str(RACE / "deb-a")) == (0, "0 reports\n", "")


def test_a_report_that_is_cut_says_so(tmp_path: Path) -> None:
    file = tmp_path / "console.txt"
    lines = gzip.decompress(CONSOLE.read_bytes()).splitlines(keepends=True)
    file.write_bytes(b"".join(lines[190:230]))
    (report,) = kasan(file)
    assert (report.complete, report.freed, report.allocated is None) == (False, None, False)
    assert "does not hold this report to its end" in str(report)
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 (what was pickled here)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("console.txt", b"", "it is empty"),
        ("console.txt", b"\x7fELF\x02\x01\x00\x00", "binary"),
        ("console.txt.gz", CONSOLE.read_bytes()[:4000], "breaks off"),
        ("console.txt", b"Dear reader,\n", "not a kernel's log"),
    ],
    ids=["empty", "binary", "gzip that is cut", "letter"],
)
def test_bad_input_is_one_line_that_names_the_file(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(CaptureError, match=name) as caught:
        kasan(file)
    assert caught.value.file == str(file)
    code, out, err = pwb("kasan", str(file))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"pwb: {file}:")
    assert cause in err

"""Overlaps in real traces, as Python and the command line see them. The readers' own tests are in Rust."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from pyworkbench import CaptureError, find_overlaps, overlaps

from .test_cli import pwb

RACE = Path(__file__).parents[2] / "data" / "captures" / "race"
STATS = sorted(RACE.glob("*/*.stats.json"))


def traces_of(stats: Path) -> list[Path]:
    """The traces, packed and raw, of which `stats` counts the iterations."""
    scenario = stats.name.removesuffix(".stats.json")
    names = [f"ops.{scenario}.jsonl.gz", f"trace.{scenario}.txt.gz"]
    return [stats.parent / name for name in names if (stats.parent / name).exists()]


@pytest.mark.parametrize("trace", [trace for stats in STATS for trace in traces_of(stats)], ids=lambda p: p.name)
def test_the_command_prints_what_the_recorder_counted_in_every_iteration(trace: Path) -> None:
    code, out, err = pwb("overlap", "--json", str(trace))
    assert (code, err) == (0, "")
    printed = {(one["kind"], frozenset(one["pids"])): one for one in map(json.loads, out.splitlines())}
    assert len(printed) == len(out.splitlines())
    scenario = trace.name.split(".")[1]
    for one in json.loads((trace.parent / f"{scenario}.stats.json").read_text()):
        pids = frozenset([one["t1"], one["t2"]])
        flush, cache = printed.pop(("flush", pids), None), printed.pop(("cache", pids), None)
        assert (flush is not None, cache is not None) == (one["overlap"], one["mc_both_nonzero"])
        if flush:
            starts, ends, (kvm, _) = zip(*one["iv"].values(), strict=True)
            assert (flush["start"], flush["end"], flush["us"]) == (max(starts), min(ends), one["ov_us"])
            assert flush["kvm"] == kvm
        if cache:
            assert cache["kvm"] == kvm
            assert min(cache["nobjs"]) > 0
            assert int(cache["objects"], 16) > 0
            assert int(cache["mc"], 16) > int(kvm, 16)
    assert printed == {}


@pytest.mark.parametrize("trace", [trace for stats in STATS for trace in traces_of(stats)], ids=lambda p: p.name)
def test_with_empty_caches_every_two_frees_at_once_are_those_that_the_recorder_saw(trace: Path) -> None:
    found = overlaps(trace, empty_caches=True)
    caches = {frozenset(pids) for pids in found[found["kind"] == "cache"]["pids"]}
    stats = json.loads((trace.parent / f"{trace.name.split('.')[1]}.stats.json").read_text())
    assert caches == {frozenset([one["t1"], one["t2"]]) for one in stats if one["mc_overlap"]}


def test_a_cache_that_one_task_found_empty_is_shown_when_asked_for() -> None:
    counts = [len(overlaps(RACE / "own-b1", empty_caches=empty)) for empty in (False, True)]
    assert counts == [47, 48]


def test_the_frame_keeps_addresses_exact() -> None:
    frame = overlaps(RACE / "own-b1")
    flush, cache = frame.iloc[0], frame.iloc[1]
    assert flush["kvm"] == cache["kvm"] == 0xFFFF_0000_06E5_C000
    assert cache["mc"] == 0xFFFF_0000_06E5_CD28
    assert pd.isna(flush["mc"])
    assert "kvm_arch_flush_shadow_all" in flush["ladder"]


def test_a_trace_without_an_overlap_gives_an_empty_frame_and_two_lines() -> None:
    orderly = RACE.parent / "deb-max" / "ops.S5.jsonl.gz"
    assert overlaps(orderly).empty
    assert [one.flushes for one in find_overlaps(orderly)] == [1]
    code, out, err = pwb("overlap", str(orderly))
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == ["  two flushes of one VM at once: 0; two frees of one cache at once: 0"]


def test_the_text_shows_a_ladder_for_each_flush_and_the_cache_freed_inside_beneath_the_same_heading() -> None:
    code, out, err = pwb("overlap", str(RACE / "own-b1"))
    assert (code, err) == (0, "")
    paragraphs = out.split("\n\n")
    assert len(paragraphs) == 1 + 26
    first = paragraphs[1].splitlines()
    assert first[0] == ("kvm 0xffff000006e5c000: the VM is flushed twice at once, from 5.157367 to 5.158988 (1621 us)")
    assert "freed twice at once: 511 and 440 objects" in first[1]
    assert first[2].split() == ["time", "T1", "(pid", "42)", "T2", "(pid", "43)"]


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("trace.txt", b"", "it is empty"),
        ("trace.txt", b"\x7fELF\x02\x01\x00\x00", "binary"),
        ("trace.txt.gz", gzip.compress(b"x" * 9999, mtime=0)[:30], "gzip"),
        ("ops.jsonl", b'{"i":0,"t1":"1.0', "cut"),
        ("letter.txt", b"Dear reader,\n", "not an ftrace text"),
    ],
    ids=["empty", "binary", "gzip that is cut", "JSON that is cut", "letter"],
)
def test_bad_input_is_one_line_that_names_the_file(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(CaptureError, match=name) as caught:
        overlaps(file)
    assert caught.value.file == str(file)
    code, out, err = pwb("overlap", str(file))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"pwb: {file}:1: ")
    assert cause in err


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="it holds no trace"):
        overlaps(tmp_path)
    code, out, err = pwb("overlap", str(tmp_path / "none.txt"))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "none.txt" in err

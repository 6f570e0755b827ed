"""Replays of real captures, as Python sees them. What the readers refuse is tested beside them, in Rust."""

import gzip
import pickle
import shutil
from pathlib import Path

import pytest

from pyworkbench import CaptureError, InputError, Replay, replay

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
# Snapshots, entries, and entries that differ in nothing but a hardware-set access flag.
FACTS = {
    "deb-max": (35, 112_614, 1085),
    "deb-n1": (35, 112_669, 1573),
    "deb16k-n1": (22, 54_094, 264),
    "own-a76-S8": (4, 16_464, 0),
}


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A copy of the smallest capture with snapshots, to be spoilt."""
    copy = tmp_path / "capture"
    shutil.copytree(CAPTURES / "own-a76-S8", copy)
    for file in copy.iterdir():
        file.chmod(0o644)
    return copy


@pytest.mark.parametrize("name", FACTS)
def test_every_entry_of_every_snapshot_is_rebuilt(name: str) -> None:
    found = replay(CAPTURES / name)
    snapshots, entries, af_only = FACTS[name]
    assert (len(found.snapshots), found.entries, found.af_only) == (snapshots, entries, af_only)
    assert found.exact == entries - af_only
    assert found.differing == 0
    assert found.uncompared == found.skipped_vms == found.lost == []
    assert found.answers_differing == found.invalidations_differing == []
    assert found.answers_agreed > 0
    assert found.invalidations_agreed > 0


@pytest.mark.parametrize("name", ["deb-max", "own-a76-S8"])
def test_the_raw_trace_gives_what_the_packed_files_give(name: str) -> None:
    raw, packed = (replay(CAPTURES / name, source=source) for source in ("raw", "packed"))

    def facts(found: Replay) -> object:
        return (
            found.vms,
            [(one["name"], one["exact"], one["af_only"], one["differing"]) for one in found.snapshots],
            found.failed,
            (found.answers_agreed, found.invalidations_agreed, found.invalidations_apart),
        )

    assert facts(raw) == facts(packed)


def test_the_dump_of_a_rebuilt_table_is_the_kernels_own() -> None:
    dumps = {one["name"]: one["dump"] for one in replay(CAPTURES / "own-a76-S8", dumps=True).snapshots}
    recorded: dict[str, str] = {}
    for line in (CAPTURES / "own-a76-S8" / "ptdump.S8.txt").read_text().splitlines(keepends=True):
        if line.startswith("###"):
            name = next(name for name in dumps if name in line.split())
            recorded[name] = ""
        else:
            recorded[name] += line
    assert dumps == recorded


def test_a_table_that_is_not_as_recorded_is_a_difference(capture: Path) -> None:
    file = capture / "s2.S8.jsonl.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True)
    page = next(at for at, line in enumerate(lines) if '"page"' in line)
    desc = lines[page].split('"desc"')[1].split('"')[1]
    lines[page] = lines[page].replace(desc, f"{int(desc, 16) ^ 1 << 7:#x}")
    file.write_bytes(gzip.compress("".join(lines).encode()))
    found = replay(capture)
    assert found.differing == 1
    (entry,) = (entry for one in found.snapshots for entry in one["differences"])
    assert entry["level"] == 3
    assert found.frame()["differing"].sum() == 1


def test_a_cut_trace_is_one_error_that_names_file_and_line(capture: Path) -> None:
    file = capture / "ops.S8.jsonl.gz"
    text = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(text[: len(text) // 2]))
    with pytest.raises(CaptureError, match=r"ops\.S8\.jsonl\.gz:\d+: ") as caught:
        replay(capture)
    error = caught.value
    assert isinstance(error, InputError)
    assert error.file is not None
    assert error.file.endswith("ops.S8.jsonl.gz")
    assert error.line == text[: len(text) // 2].count(b"\n") + 1
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (what was pickled here)
    assert (str(copy), copy.file, copy.line) == (str(error), error.file, error.line)


def test_a_directory_without_a_capture_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=str(tmp_path)) as caught:
        replay(tmp_path)
    assert caught.value.line is None


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(InputError, match="none of 'auto', 'packed', 'raw'"):
        replay(CAPTURES / "own-a76-S8", source="ftrace")  # type: ignore[arg-type]  # wrong on purpose

"""Stores: what is there is not measured again, what is damaged is named, and the rest stays readable."""

import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pyworkbench import InputError
from pyworkbench.errors import StoreError, StoreWarning
from pyworkbench.sweep import SweepResult, compact, load, read_status, segments, spec_of, store, sweep

SMALL: dict[str, Any] = {"threads": 1, "lock": ["parking_lot", "std"], "guest": "2M", "warmup": 0, "repeats": 2}


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several segments for a handful of rows."""
    monkeypatch.setattr(store, "SEGMENT_ROWS", 2)


def files(directory: Path) -> list[Path]:
    """The segments of a store."""
    return sorted((directory / "segments").iterdir())


def measurements(directory: Path) -> list[tuple[str, int]]:
    """Key and repeat of each row, in order of measurement."""
    rows = load(directory).sort_values("run")
    return list(zip(rows["key"], rows["repeat"], strict=True))


def test_a_store_is_written_in_segments_with_a_manifest_and_a_status(tmp_path: Path) -> None:
    result = sweep(out=tmp_path, **SMALL)
    assert [file.name for file in files(tmp_path)] == [f"{at:08}.parquet" for at in (1, 2, 3, 4)]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert spec_of(manifest["sessions"][0]["spec"]) == spec_of(SMALL)
    assert {"cpu", "kernel", "build_id", "steal_s"} <= set(manifest["sessions"][0]["environment"])
    assert (result.status.state, result.status.done, result.status.planned) == ("done", 8, 8)
    assert len(result.rows) == 8
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "lock",
        "log",
        "manifest.json",
        "segments",
        "status.json",
    ]


def test_only_what_is_missing_is_measured(tmp_path: Path) -> None:
    first = sweep(out=tmp_path, **SMALL)
    same = sweep(out=tmp_path, **SMALL)
    more = sweep(out=tmp_path, **SMALL | {"lock": ["std", "parking_lot", "mutex"], "repeats": 3})
    less = sweep(out=tmp_path, **SMALL | {"lock": "parking_lot"})
    counts = [(one.status.planned, one.status.reused, one.status.measured) for one in (first, same, more, less)]
    assert counts == [(8, 0, 8), (8, 8, 0), (18, 8, 10), (4, 4, 0)]
    found = measurements(tmp_path)
    assert len(found) == len(set(found)) == 18
    assert sorted(load(tmp_path)["run"]) == list(range(18))
    assert set(less.rows["lock"]) == {"parking_lot"}
    assert load(tmp_path)["session"].value_counts().to_dict() == {0: 8, 2: 10}


def test_the_order_is_random_and_seeded_and_repeats_are_interleaved(tmp_path: Path) -> None:
    orders = []
    for at, seed in enumerate((1, 1, 2)):
        sweep(out=tmp_path / str(at), **SMALL | {"seed": seed, "repeats": 6})
        orders.append(measurements(tmp_path / str(at)))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    keys = [key for key, _ in orders[0]]
    assert sum(a != b for a, b in itertools.pairwise(keys)) > 2 * len(set(keys))  # no point in one go


def test_a_result_without_a_store_is_there_as_long_as_it_is_kept() -> None:
    result = sweep(**SMALL)
    assert len(result.rows) == 8
    assert len(result.sites) > 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of five segments, to be copied and spoilt."""
    directory = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "SEGMENT_ROWS", 2)
        sweep(out=directory, **SMALL | {"lock": "parking_lot", "repeats": 5})
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    """Spoils the first column's page, which its end knows nothing of."""
    content = bytearray(file.read_bytes())
    start = pq.read_metadata(file).row_group(0).column(0).dictionary_page_offset
    for at in range(start + 20, start + 40):
        content[at] ^= 0x55
    file.write_bytes(content)


@pytest.mark.parametrize("spoil", [truncated, emptied, flipped])
def test_a_damaged_segment_is_named_and_the_rest_is_read(copy: Path, spoil: Any) -> None:
    spoil(files(copy)[1])
    with pytest.warns(StoreWarning, match=r"00000002\.parquet is damaged"):
        rows = load(copy)
    assert len(rows) == 8
    assert "00000002.parquet is damaged" in rows.attrs["warnings"][0]
    if spoil is not flipped:
        assert "00000002.parquet is damaged" in read_status(copy).damaged[0]
    assert compact(copy) == (5, 3)  # one before it, it, and one of what comes after
    with pytest.warns(StoreWarning, match="damaged"):
        assert len(load(copy)) == 8


def test_what_a_damaged_segment_had_is_measured_again(copy: Path) -> None:
    truncated(files(copy)[1])
    result = sweep(out=copy, **SMALL | {"lock": "parking_lot", "repeats": 5})
    with pytest.warns(StoreWarning, match="damaged"):
        assert len(result.rows) == 10
    assert (result.status.reused, result.status.measured) == (8, 2)


def test_a_store_in_which_nothing_can_be_read_is_an_error(copy: Path) -> None:
    for file in files(copy):
        emptied(file)
    with pytest.raises(StoreError, match=r"copy: nothing in the store can be read: .*00000001\.parquet is damaged"):
        load(copy)


def test_a_segment_of_another_version_is_named_and_the_rest_is_read(copy: Path) -> None:
    table = pq.read_table(files(copy)[2])
    pq.write_table(table.replace_schema_metadata({"pyworkbench.measurement": "99"}), files(copy)[2])
    with pytest.warns(StoreWarning, match=r"00000003\.parquet is of measurement version 99, this is"):
        assert len(load(copy)) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measurement": 99}, r"manifest\.json: the store is of measurement version 99, and this build measures"),
        ({"format": 99}, r"manifest\.json: the store is of format 99, and this version reads format 1"),
        ({"kind": "explore"}, r"manifest\.json: the store is of kind explore, the sweep of measure"),
    ],
)
def test_a_store_of_another_version_is_refused_by_a_sweep(copy: Path, change: dict[str, Any], message: str) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | change))
    before = [file.read_bytes() for file in files(copy)]
    with pytest.raises(StoreError, match=message):
        sweep(out=copy, **SMALL)
    assert [file.read_bytes() for file in files(copy)] == before


def test_a_damaged_manifest_is_named(copy: Path) -> None:
    (copy / "manifest.json").write_text('{"format"')
    with pytest.raises(StoreError, match=r"manifest\.json: is damaged"):
        load(copy)
    with pytest.raises(StoreError, match=r"manifest\.json: is damaged"):
        sweep(out=copy, **SMALL)


def test_where_there_is_no_store_it_is_said(tmp_path: Path) -> None:
    for read in (load, read_status, compact):
        with pytest.raises(StoreError, match="there is no store of a sweep here"):
            read(tmp_path)


def test_rows_of_another_build_are_refused_on_request(copy: Path) -> None:
    again = SMALL | {"lock": "parking_lot", "repeats": 5}
    assert sweep(out=copy, strict_build=True, **again).status.reused == 10
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["sessions"][0]["environment"]["build_id"] = "another"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=r"there are rows of build another, and this is .*: strict_build refuses"):
        sweep(out=copy, strict_build=True, **again)
    assert sweep(out=copy, **again).status.reused == 10


def test_compaction_keeps_every_row_and_the_sweep_goes_on(copy: Path) -> None:
    before = measurements(copy)
    assert compact(copy) == (5, 1)
    assert [file.name for file in files(copy)] == ["00000001-00000005.parquet"]
    assert measurements(copy) == before
    result = sweep(out=copy, **SMALL | {"lock": "parking_lot", "repeats": 6})
    assert (result.status.reused, result.status.measured) == (10, 2)
    assert [file.name for file in files(copy)] == ["00000001-00000005.parquet", "00000006.parquet"]
    assert compact(copy) == (2, 1)
    assert compact(copy) == (1, 1)


@pytest.mark.parametrize("calls", range(8))
def test_a_compaction_that_is_killed_at_any_step_leaves_each_row_once(
    copy: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = measurements(copy)
    left = calls

    class Killed(BaseException):
        pass

    def dying(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(segments, "synchronise", dying(segments.synchronise))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        patch.setattr(Path, "replace", dying(Path.replace))
        with pytest.raises(Killed):
            compact(copy)
    assert measurements(copy) == before
    assert read_status(copy).stored == 10
    compact(copy)
    assert measurements(copy) == before
    assert [file.name for file in files(copy)] == ["00000001-00000005.parquet"]


def test_the_tables_of_several_rows_a_measurement_have_its_configuration(made: Path) -> None:
    rows = load(made)
    sites = load(made, "sites")
    assert set(sites["run"]) <= set(rows["run"])
    assert {"threads", "lock", "walk", "lock_class", "side", "site", "acquisitions"} <= set(sites.columns)
    per_run = sites[sites["side"] == "write"].groupby("run")["acquisitions"].sum()
    assert (rows.set_index("run")["write_acquisitions"].loc[per_run.index] == per_run).all()
    assert "p99_ns" in load(made, "classes").columns
    with pytest.raises(InputError, match="table 'site' is not one of a store of kind measure: rows, classes"):
        load(made, "site")  # type: ignore[arg-type]


PROGRAM = """
import sys
from pyworkbench.sweep import store, sweep
store.SEGMENT_ROWS = 2
sweep(out=sys.argv[1], threads=1, lock=["parking_lot", "std"], guest="2M", warmup=0, repeats=5)
"""


def run(directory: Path, **how: Any) -> "subprocess.CompletedProcess[str]":
    """A sweep in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)


def test_a_segment_that_cannot_be_written_is_named_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    limit = (12_000, 12_000)  # bytes of a file: a manifest fits, a segment does not
    failed = run(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert "StoreError" in failed.stderr.splitlines()[-1]
    assert "segments/00000001.parquet: cannot be written" in failed.stderr.splitlines()[-1]
    assert files(tmp_path) == []
    assert load(tmp_path).empty
    assert read_status(tmp_path).state == "failed"
    assert run(tmp_path).returncode == 0
    assert len(load(tmp_path)) == 20


MOUNT, UMOUNT = (shutil.which(name) or name for name in ("mount", "umount"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is full after some segments."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run([MOUNT, "-t", "tmpfs", "-o", "size=320k", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield disk
    subprocess.run([UMOUNT, disk], check=True)


def test_a_full_disk_is_an_error_and_the_sweep_goes_on_where_there_is_room(small_disk: Path) -> None:
    directory = small_disk / "store"
    failed = run(directory)
    assert "cannot be written" in failed.stderr
    assert "No space left on device" in failed.stderr
    kept = load(directory)
    assert 0 < len(kept) < 20
    subprocess.run([MOUNT, "-o", "remount,size=64m", small_disk], check=True)
    assert run(directory).returncode == 0
    status = read_status(directory)
    assert (status.reused, status.done, len(load(directory))) == (len(kept), 20, 20)


def test_explorations_have_a_store_too(tmp_path: Path) -> None:
    def explored(**fields: Any) -> SweepResult:
        return sweep(kind="explore", out=tmp_path, strategy=["none", "claim-under-lock"], **fields)

    first = explored()
    assert first.rows.set_index("strategy")["verdict"].astype(str).to_dict() == {
        "none": "Bug",
        "claim-under-lock": "Proved",
    }
    again = explored(search=["dpor", "random"], seed=[1, 2], executions=50)
    assert (again.status.reused, again.status.measured) == (0, 6)  # dpor has no seed; a bound is part of a point
    assert explored(search=["dpor", "random"], seed=[2], executions=50).status.reused == 4
    assert "n/a" not in set(again.rows["verdict"])

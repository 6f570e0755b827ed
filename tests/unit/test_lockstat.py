"""Lock counters in the kernel's forms: laid out byte for byte, read again with the same numbers."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pyworkbench.sweep
from pyworkbench import CaptureError, InputError
from pyworkbench.cli.app import app
from pyworkbench.lockstat import lock_stat, lock_stat_of, perf_lock, read_lock_stat

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
TIMES = ("min_ns", "max_ns", "ns")


def site(
    name: str = "kvm_handle_guest_abort",
    side: str = "read",
    *,
    acquisitions: int = 1000,
    contentions: int = 4,
    wait_ns: tuple[int, int, int] = (1_000, 3_000, 8_000),
    hold_ns: tuple[int, int, int] = (40, 7_006, 250_000),
    **columns: Any,
) -> dict[str, Any]:
    """What one site recorded in one measurement; times are minimum, maximum and total."""
    waits = {f"wait_{what}": value for what, value in zip(TIMES, wait_ns if contentions else (0, 0, 0), strict=True)}
    holds = {f"hold_{what}": value for what, value in zip(TIMES, hold_ns, strict=True)}
    counts = {
        "acquisitions": acquisitions,
        "contentions": contentions,
        "acq_bounces": acquisitions // 2,
        "con_bounces": contentions,
    }
    where = {"lock": "qrwlock", "lock_class": "kvm->mmu_lock", "side": side, "site": name}
    return where | counts | waits | holds | columns


def flush(**columns: Any) -> dict[str, Any]:
    """The write side, held once for long."""
    times = {"acquisitions": 2, "wait_ns": (500, 2_500_004, 2_500_504), "hold_ns": (300, 90_000_000, 90_000_300)}
    return site("kvm_free_stage2_pgd:swap", "write", **{"contentions": 2, **times, **columns})


@pytest.mark.parametrize("name", ["own-a76-S8", "race/own-b1"])
def test_a_real_kernels_file_is_written_again_byte_for_byte(name: str) -> None:
    file = CAPTURES / name / "lock_stat.txt.gz"
    assert f"{read_lock_stat(file)}\n" == gzip.decompress(file.read_bytes()).decode()


def test_the_text_is_laid_out_as_the_kernels() -> None:
    real = str(read_lock_stat(CAPTURES / "own-a76-S8" / "lock_stat.txt.gz")).splitlines()
    mine = str(lock_stat(pd.DataFrame([site(), flush()]))).splitlines()
    assert mine[:5] == real[:5]
    of_mmu_lock = next(at for at, line in enumerate(real) if "&(kvm)->mmu_lock-W" in line)
    for ours, theirs in zip(mine[5:7], real[of_mmu_lock : of_mmu_lock + 2], strict=True):
        assert len(ours) == len(theirs)
        for at in (pos for pos, char in enumerate(theirs) if char == "."):
            assert ours[at] == "."
    starts = [
        "                         kvm->mmu_lock-W:             2              2           0.50        2500.00",
        "                         kvm->mmu_lock-R:             4              4           1.00           3.00",
        "                         ---------------",
        "                           kvm->mmu_lock              4          [<0000000000000000>] kvm_handle_guest",
        "                           kvm->mmu_lock              2          [<0000000000000000>] kvm_free_stage2_",
    ]
    for line, start in zip(mine[5:], starts, strict=False):
        assert line.startswith(start)
    assert mine[10:] == ["", "." * 221]
    assert mine[5].split()[6:] == ["1250.25", "1", "2", "0.30", "90000.00", "90000.30", "45000.15"]


def test_counters_of_sites_and_measurements_are_added_up() -> None:
    sites = [site(repeat=repeat) for repeat in range(3)] + [site("kvm_age_gfn", acquisitions=10, contentions=0)]
    (row,) = lock_stat(pd.DataFrame(sites)).rows.to_dict("records")
    assert (row["acquisitions"], row["contentions"], row["acq_bounces"]) == (3010, 12, 1505)
    assert (row["waittime_min_us"], row["waittime_max_us"], row["waittime_total_us"]) == (1, 3, 24)
    assert (row["waittime_avg_us"], row["holdtime_total_us"]) == (2, 1000)


def test_a_time_that_nothing_took_does_not_count_as_the_shortest() -> None:
    rows = lock_stat(pd.DataFrame([site(), site("kvm_age_gfn", contentions=0)])).rows
    assert rows["waittime_min_us"].tolist() == [1]
    assert lock_stat(pd.DataFrame([site(contentions=0)])).rows["waittime_min_us"].tolist() == [0]


def test_locks_stand_most_contended_first_and_sides_only_where_there_are_two() -> None:
    mutex = site("kvm_vm_ioctl", "write", lock_class="kvm->slots_lock", contentions=9)
    quiet = site("kvm_destroy_vm", "write", lock_class="kvm_lock", contentions=0)
    rows = lock_stat(pd.DataFrame([quiet, site(), flush(), mutex])).rows
    assert rows["lock_class"].tolist() == ["kvm->slots_lock", "kvm->mmu_lock", "kvm->mmu_lock", "kvm_lock"]
    assert [None if pd.isna(side) else side for side in rows["side"]] == [None, "write", "read", None]


counters = st.builds(
    lambda name, lock, side, acquisitions, contentions, waits, holds: site(
        name,
        side,
        lock_class=lock,
        acquisitions=acquisitions,
        contentions=min(contentions, acquisitions),
        wait_ns=(*sorted(waits), sum(waits)),
        hold_ns=(*sorted(holds), sum(holds)),
    ),
    st.sampled_from(["abort", "kvm_free_stage2_pgd:swap", "age"]),
    st.sampled_from(["kvm->mmu_lock", "kvm->slots_lock", "anon_vma->rwsem"]),
    st.sampled_from(["read", "write"]),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.tuples(*[st.integers(0, 10**13)] * 2),
    st.tuples(*[st.integers(0, 10**13)] * 2),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(counters, min_size=1, max_size=8), st.booleans())
def test_what_is_written_is_read_again_with_the_same_numbers(sites: list[dict[str, Any]], oversubscribed: bool) -> None:
    written = lock_stat(pd.DataFrame(sites).assign(oversubscribed=oversubscribed))
    read = lock_stat_of(str(written).encode())
    assert str(read) == str(written)
    assert read.warnings == written.warnings
    for mine, theirs in ((written.rows, read.rows), (written.points, read.points)):
        pd.testing.assert_frame_equal(mine, theirs, check_dtype=False)


def test_who_was_waited_for_is_the_second_list() -> None:
    sites = pd.DataFrame([site(contended_by=2), flush(contended_by=4), site("kvm_age_gfn", contended_by=0)])
    stat = lock_stat(sites)
    assert stat.points[["kind", "count", "symbol"]].to_numpy().tolist() == [
        ["contended", 4, "kvm_age_gfn"],
        ["contended", 4, "kvm_handle_guest_abort"],
        ["contended", 2, "kvm_free_stage2_pgd:swap"],
        ["contending", 4, "kvm_free_stage2_pgd:swap"],
        ["contending", 2, "kvm_handle_guest_abort"],
    ]
    assert str(stat).count("-" * len("kvm->mmu_lock-R") + "\n") == 2 + 2  # and the two rules above
    pd.testing.assert_frame_equal(lock_stat_of(str(stat).encode()).points, stat.points, check_dtype=False)


def test_what_makes_the_counters_doubtful_stands_where_a_kernel_warns() -> None:
    sites = pd.DataFrame([site(threads=1, oversubscribed=False), site(threads=4, oversubscribed=True)])
    assert str(lock_stat(sites)).splitlines()[1:3] == [
        "*WARNING* counters of several configurations, which differ in threads",
        "*WARNING* more threads than cores: waits and holds are the scheduler's too",
    ]
    assert lock_stat(sites[:1]).warnings == []


def test_measurements_that_failed_are_left_out() -> None:
    sites = pd.DataFrame([site(status="ok"), site(status="failed")])
    assert lock_stat(sites).rows["acquisitions"].tolist() == [1000]
    with pytest.raises(InputError, match="every measurement in the frame failed"):
        lock_stat(sites[1:])


def test_contention_is_printed_as_perf_does() -> None:
    sites = [
        site(contentions=42, wait_ns=(900, 13_640, 192_674)),
        flush(wait_ns=(1, 2_280_000_000, 4_566_000_000)),
        site("kvm_vm_ioctl", "write", lock_class="kvm->slots_lock", contentions=1, wait_ns=(999, 999, 999)),
        site("never_waited", contentions=0),
        site("stage2_unmap", "write", lock="mcs", contentions=3, wait_ns=(1, 10**6, 3 * 10**6)),
        site("exit", "write", lock="mutex", contentions=1, wait_ns=(61 * 10**9,) * 3),
        site("mutate", "write", lock_class="something_new", contentions=1, wait_ns=(5, 5, 5)),
    ]
    assert str(perf_lock(pd.DataFrame(sites))).splitlines() == [
        " contended   total wait     max wait     avg wait         type   caller",
        "",
        "         1      1.02 m       1.02 m       1.02 m         mutex   exit",
        "         2      4.57 s       2.28 s       2.28 s      rwlock:W   kvm_free_stage2_pgd:swap",
        "         3      3.00 ms      1.00 ms      1.00 ms     spinlock   stage2_unmap",
        "        42    192.67 us     13.64 us      4.59 us     rwlock:R   kvm_handle_guest_abort",
        "         1       999 ns       999 ns       999 ns        mutex   kvm_vm_ioctl",
        "         1         5 ns         5 ns         5 ns      unknown   mutate",
    ]


def test_nothing_contended_is_a_header() -> None:
    assert str(perf_lock(pd.DataFrame([site(contentions=0)]))).splitlines()[2:] == []


@pytest.mark.parametrize("render", [lock_stat, perf_lock])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contentions": None}, "column contentions has gaps: a counter needs a sweep with counters='counts'"),
        ({"wait_ns": None}, "column wait_ns has gaps: a time needs a sweep with counters='times'"),
    ],
)
def test_what_was_not_recorded_is_named(render: Any, change: dict[str, Any], message: str) -> None:
    sites = pd.DataFrame([site() | change, site()])
    with pytest.raises(InputError, match=message):
        render(sites)
    for column in change:
        with pytest.raises(InputError, match=f"no column {column}"):
            render(sites.drop(columns=column))


def test_a_file_that_is_no_lock_stat_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 1 kB\n")
    with pytest.raises(CaptureError, match="meminfo") as error:
        read_lock_stat(file)
    assert (error.value.file, error.value.line) == (str(file), 1)


def stored(monkeypatch: pytest.MonkeyPatch, sites: pd.DataFrame) -> None:
    """Lets a directory hold these sites."""

    def load(directory: Path, table: str) -> pd.DataFrame:
        assert (str(directory), table) == ("DIR", "sites")
        return sites

    monkeypatch.setattr(pyworkbench.sweep, "load", load, raising=False)


def test_the_commands_print_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sites = pd.DataFrame([site(threads=1), flush(threads=4)])
    stored(monkeypatch, sites)
    for command, render in (("lock-stat", lock_stat), ("perf-lock", perf_lock)):
        assert CliRunner().invoke(app, [command, "DIR"]).stdout == f"{render(sites)}\n"
        run = CliRunner().invoke(app, [command, "DIR", "--where", "threads=4"])
        assert run.stdout == f"{render(sites[1:])}\n"
    assert str(lock_stat(Path("DIR"))) == str(lock_stat(sites))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("threads", "'threads' has no value: threads=VALUE would be right"),
        ("threads=3", "threads is 1, 4"),
        ("thread=1", "no column thread: did you mean threads?"),
    ],
)
def test_measurements_that_are_not_there_cannot_be_chosen(
    monkeypatch: pytest.MonkeyPatch, where: str, message: str
) -> None:
    stored(monkeypatch, pd.DataFrame([site(threads=1), flush(threads=4)]))
    run = CliRunner().invoke(app, ["lock-stat", "DIR", "--where", where])
    assert isinstance(run.exception, InputError)
    assert message in str(run.exception)

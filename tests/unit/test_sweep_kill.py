"""What is killed loses nothing but the segment in flight, and what runs beside it keeps its hands off."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from pyworkbench.errors import StoreError
from pyworkbench.sweep import Status, load, read_status, store, sweep
from pyworkbench.sweep import worker as program
from pyworkbench.sweep.machine import alone
from pyworkbench.sweep.measuring import Measured, Worker
from pyworkbench.sweep.plan import plan
from pyworkbench.sweep.run import _Session
from pyworkbench.sweep.segments import write
from pyworkbench.sweep.spec import spec_of

QUICK: dict[str, Any] = {"threads": 1, "lock": ["parking_lot", "std"], "guest": "2M", "warmup": 0}
"""One thread: on a busy machine, two that wait for each other take seconds."""
FOREVER: dict[str, Any] = {"threads": 1, "walk": "shared", "guest": "512G", "warmup": 0, "repeats": 2}
"""Measurements that take far longer than a test."""

TAKES_A_ROW = {function.__code__ for function in (_Session._took, store.Store.append, store.Store.flush, write)}

PROGRAM = """
import sys
from pyworkbench.sweep import store, sweep
store.SEGMENT_S = 0.05
sweep(out=sys.argv[1], **eval(sys.argv[2]))
"""


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts sweeps in processes of their own, which end with the test."""
    started = []

    def sweeping(directory: Path, fields: dict[str, Any], errors: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PROGRAM, str(directory), repr(fields)]
        started.append(subprocess.Popen(command, stderr=errors, text=True))
        return started[-1]

    yield sweeping
    for process in started:
        process.kill()
        process.communicate()


Start = Callable[..., "subprocess.Popen[str]"]


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What the condition answers when it is no longer false."""
    deadline = time.monotonic() + 120
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} does not come"
        time.sleep(0.005)
    return answer


def worker_of(pid: int) -> psutil.Process | None:
    """The process that measures for a sweep."""
    try:
        children = psutil.Process(pid).children()  # the first is git, which is asked for the revision
        return next((child for child in children if program.__file__ in child.cmdline()), None)
    except psutil.NoSuchProcess:
        return None


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended."""
    try:
        return not process.is_running() or bool(process.status() == "zombie")
    except psutil.NoSuchProcess:
        return True


def is_measuring(process: psutil.Process) -> bool:
    """Whether it has begun on what takes forever."""
    return bool(process.cpu_times().user > 0.2 or process.memory_info().rss > 100 << 20)


def stored(directory: Path) -> list[tuple[str, int]]:
    """Key and repeat of each row; each is there once."""
    if not (directory / "manifest.json").exists():
        return []
    rows = load(directory)
    found = list(zip(rows["key"], rows["repeat"], strict=True))
    assert len(set(found)) == len(found)
    return found


def test_a_sweep_that_is_killed_again_and_again_loses_no_segment_and_ends_complete(
    start: Start, tmp_path: Path
) -> None:
    fields = QUICK | {"repeats": 150}
    total = len(plan(spec_of(fields)).points) * 150
    moments = random.Random(7)  # noqa: S311 (when to kill is no secret)
    before: list[tuple[str, int]] = []
    killed = 0
    for state in ["running", "planning"] * 4:
        process = start(tmp_path, fields)
        wait_for(partial(has_come_to, state, tmp_path, process), "the sweep")
        time.sleep(moments.uniform(0, 0.8))
        worker = worker_of(process.pid)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        if worker:
            wait_for(partial(is_gone, worker), "the worker's end")
        now = stored(tmp_path)
        assert set(before) <= set(now)
        before = now
        status = read_status(tmp_path)
        assert status.state == "killed" or len(now) == total
        assert status.planned == 0 or status.done == len(now)
    assert killed
    assert before
    assert sweep(out=tmp_path, **fields).status.reused == len(before)
    assert len(stored(tmp_path)) == total
    runs = load(tmp_path)["run"].tolist()
    assert len(set(runs)) == len(runs)


def has_come_to(state: str, directory: Path, process: "subprocess.Popen[str]") -> bool:
    """Whether a sweep holds its store, and is this far; or is over already."""
    if process.poll() is not None:
        return True
    return read_pid(directory) == process.pid and read_status(directory).state in {state, "running"}


def read_pid(directory: Path) -> int | None:
    """The process that a store's status names."""
    try:
        return read_status(directory).pid
    except StoreError:
        return None


def test_a_worker_that_is_killed_again_and_again_costs_no_row(start: Start, tmp_path: Path) -> None:
    fields = QUICK | {"repeats": 60}
    process = start(tmp_path, fields)
    moments = random.Random(8)  # noqa: S311 (when to kill is no secret)
    for _ in range(8):
        worker = wait_for(lambda: worker_of(process.pid) or process.poll() is not None, "a worker")
        time.sleep(moments.uniform(0, 0.2))
        if isinstance(worker, psutil.Process):
            with suppress(psutil.NoSuchProcess):
                worker.kill()
    assert process.wait() == 0
    rows = load(tmp_path)
    assert len(stored(tmp_path)) == len(plan(spec_of(fields)).points) * 60
    assert set(rows["status"]) <= {"ok", "crashed"}
    crashed = rows[rows["status"] == "crashed"]
    assert read_status(tmp_path).crashed == len(crashed)
    assert all("was killed by SIGKILL" in error for error in crashed["error"])
    assert crashed["ops"].isna().all()
    assert rows.loc[rows["status"] == "ok", "ops"].notna().all()


def measured_by(
    worker: Worker, point: str, *, timeout_s: float = 600.0, waiting: Callable[[], object] = lambda: None
) -> Measured:
    """A measurement."""
    return worker.measure(point, 0, 0, timeout_s=timeout_s, waiting=waiting)


@pytest.fixture
def points() -> tuple[str, str]:
    """A quick point, and one that takes forever."""
    return plan(spec_of(QUICK)).points[0], plan(spec_of(FOREVER)).points[0]


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_measurement_that_dies_is_answered_by_the_signal_and_the_next_one_is_measured(
    how: str, points: tuple[str, str], tmp_path: Path
) -> None:
    quick, forever = points
    with (tmp_path / "log").open("ab", buffering=0) as log, Worker(log=log) as worker:
        assert measured_by(worker, quick).status == "ok"
        first = worker.pid
        assert first
        threading.Timer(0.3, os.kill, (first, getattr(signal, how))).start()
        died = measured_by(worker, forever)
        assert (died.row, died.status) == (None, "crashed")
        assert f"its process was killed by {how}" in str(died.error)
        assert measured_by(worker, quick).status == "ok"
        assert worker.pid != first


def test_a_worker_that_dies_with_nothing_to_do_is_no_crash_of_a_point(points: tuple[str, str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab", buffering=0) as log, Worker(log=log) as worker:
        assert measured_by(worker, points[0]).status == "ok"
        assert worker.pid
        process = psutil.Process(worker.pid)
        process.kill()
        wait_for(lambda: process.status() == "zombie", "its end")
        assert measured_by(worker, points[0]).status == "ok"


def test_a_measurement_that_takes_too_long_is_given_up(points: tuple[str, str], tmp_path: Path) -> None:
    quick, forever = points
    with (tmp_path / "log").open("ab", buffering=0) as log, Worker(log=log) as worker:
        late = measured_by(worker, forever, timeout_s=0.5)
        assert (late.status, late.error) == ("crashed", "it took longer than timeout_s 0.5 and was killed")
        assert measured_by(worker, quick).status == "ok"


def test_a_measurement_that_raises_is_answered_by_the_error(points: tuple[str, str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab", buffering=0) as log, Worker(log=log) as worker:
        failed = measured_by(worker, "no point")
        assert (failed.row, failed.status) == (None, "failed")
        assert str(failed.error).startswith("InputError: ")
        first = worker.pid
        assert measured_by(worker, points[0]).status == "ok"
        assert worker.pid == first


@pytest.mark.parametrize("fresh", [False, True])
def test_a_worker_is_kept_warm_unless_each_measurement_is_to_have_its_own(
    fresh: bool, points: tuple[str, str], tmp_path: Path
) -> None:
    pids = set()
    with (tmp_path / "log").open("ab", buffering=0) as log, Worker(log=log, fresh=fresh) as worker:
        for _ in range(3):
            measured_by(worker, points[0], waiting=lambda: pids.add(worker.pid))
            pids.add(worker.pid)
    assert (len(pids - {None}) == 1) is not fresh


def test_a_point_that_takes_too_long_is_a_row_and_the_sweep_goes_on(tmp_path: Path) -> None:
    result = sweep(out=tmp_path, **FOREVER | {"guest": ["2M", "512G"], "timeout_s": 1.0})
    rows = result.rows
    assert set(rows.loc[rows["guest_bytes"] == 2 << 20, "status"]) == {"ok"}
    assert set(rows.loc[rows["guest_bytes"] == 512 << 30, "status"]) == {"crashed"}
    assert result.status.crashed == 2
    assert result.status.last_error == "it took longer than timeout_s 1 and was killed"
    again = FOREVER | {"guest": ["2M", "512G"], "timeout_s": 1.0}
    assert sweep(out=tmp_path, **again).status.reused == 4
    retried = sweep(out=tmp_path, retry=True, **again)
    assert (retried.status.reused, retried.status.crashed) == (2, 2)
    assert sorted(retried.rows["session"]) == [0, 0, 2, 2]


def test_two_sweeps_into_one_store_are_an_error_that_names_the_first(start: Start, tmp_path: Path) -> None:
    first = start(tmp_path, FOREVER)
    wait_for(lambda: read_pid(tmp_path) == first.pid, "the first sweep")
    with pytest.raises(StoreError, match=rf"lock: in use by a sweep, pid {first.pid}, since 20..-..-..T"):
        sweep(out=tmp_path, **QUICK)
    assert read_status(tmp_path).running
    first.kill()
    first.wait()
    assert sweep(out=tmp_path, **QUICK, repeats=1).status.state == "done"


def test_a_sweep_waits_for_the_machine_and_says_for_whom(tmp_path: Path) -> None:
    told: list[str] = []
    release = threading.Event()

    def hold() -> None:
        with alone("a sweep into /somewhere", lambda _: None):
            holding.set()
            release.wait()

    def progress(status: Status) -> None:
        if status.state == "waiting":
            told.append(str(status))
            release.set()

    holding = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait()
    result = sweep(out=tmp_path, progress=progress, **QUICK, repeats=1)
    holder.join()
    assert f"the machine is taken by a sweep into /somewhere, pid {os.getpid()}, since 20" in told[0]
    assert result.status.state == "done"


def test_the_machine_is_held_until_the_worker_is_gone_too(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, FOREVER)
    worker = wait_for(lambda: worker_of(process.pid), "the worker")
    wait_for(lambda: is_measuring(worker), "the measurement")
    worker.suspend()  # so that it cannot die of its parent's death yet
    lock = os.environ["PYWORKBENCH_RUNTIME_DIR"] + "/measuring.lock"
    assert os.path.realpath(lock) in {os.path.realpath(file.path) for file in worker.open_files()}
    process.kill()
    process.wait()
    deadline = time.monotonic() + 120

    def waiting(who: str) -> None:
        # Its first thread may be gone before the one that measured, which gives back half a gibibyte of table.
        assert time.monotonic() < deadline, who

    with alone("a test", waiting):
        assert is_gone(worker)


def test_ctrl_c_ends_a_sweep_at_once_and_keeps_what_was_measured(start: Start, tmp_path: Path) -> None:
    fields = FOREVER | {"guest": ["2M", "512G"], "repeats": 30, "seed": 2}
    process = start(tmp_path, fields, subprocess.PIPE)
    worker = wait_for(lambda: worker_of(process.pid), "the worker")
    wait_for(lambda: is_measuring(worker), "the long measurement")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.endswith("KeyboardInterrupt\n")
    assert is_gone(worker)
    status = read_status(tmp_path)
    assert status.state == "interrupted"
    assert status.measured == status.done == len(load(tmp_path))
    assert "by Ctrl-C; the same command goes on from here" in str(status)


def test_ctrl_c_between_any_two_lines_that_take_a_row_loses_and_doubles_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store, "SEGMENT_ROWS", 1)
    fields = QUICK | {"lock": "std", "repeats": 500}
    before = 0
    for line in range(36):
        lines_left = line

        def interrupt(frame: FrameType, event: str, _: object) -> Any:
            nonlocal lines_left
            if frame.f_code not in TAKES_A_ROW:
                return None
            if event == "line":
                lines_left -= 1
                if lines_left < 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return interrupt

        sys.settrace(interrupt)
        with pytest.raises(KeyboardInterrupt):
            sweep(out=tmp_path, **fields)
        status, rows = read_status(tmp_path), load(tmp_path)
        assert status.state == "interrupted"
        assert (status.reused, status.reused + status.measured) == (before, status.done), line
        assert not rows.duplicated(["key", "repeat"]).any()
        assert status.done == len(rows), line
        before = len(rows)


def test_what_progress_raises_ends_the_sweep_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    def progress(status: Status) -> None:
        if status.measured == 3:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        sweep(out=tmp_path, progress=progress, **QUICK)
    assert len(load(tmp_path)) == 3
    status = read_status(tmp_path)
    assert (status.state, status.what, status.done) == ("failed", "LookupError: enough", 3)
    assert sweep(out=tmp_path, **QUICK).status.reused == 3


def test_a_status_tells_how_far_a_running_sweep_is(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, FOREVER)
    wait_for(lambda: read_pid(tmp_path) == process.pid and read_status(tmp_path).state == "running", "the sweep")
    status = read_status(tmp_path)
    assert (status.planned, status.done, status.pid) == (2, 0, process.pid)
    process.kill()
    process.wait()
    status = read_status(tmp_path)
    assert status.state == "killed"
    assert f"its process {process.pid} is gone; the same command goes on from here" in str(status)

"""Sweeps as processes of their own: started, cancelled, resumed and found by the store's folder."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyworkbench.errors import InputError, StoreError
from pyworkbench.sweep import load, read_spec, read_status, spec_of, sweep
from pyworkbench.sweep.background import cancel, last_spec, look, resume, spec_text, start, what_it_said
from pyworkbench.sweep.store import locked

QUICK: dict[str, Any] = {"threads": [1, 2], "guest": "2M", "warmup": 0, "repeats": 2}
FOREVER: dict[str, Any] = {"threads": 1, "walk": "shared", "guest": "512G", "warmup": 0}
"""A measurement that takes far longer than a test."""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 120
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} does not come"
        time.sleep(0.02)
    return answer


def runs(directory: Path) -> bool:
    found = look(directory)
    return found is not None and found.state == "running"


def test_a_sweep_in_the_background_is_a_session_of_its_own_and_ends_done(tmp_path: Path) -> None:
    process = start(spec_of(QUICK), tmp_path / "made" / "store")
    assert os.getsid(process.pid) == process.pid
    assert process.wait(120) == 0
    assert read_status(tmp_path / "made" / "store").state == "done"
    assert len(load(tmp_path / "made" / "store")) == 8
    assert last_spec(tmp_path / "made" / "store") == spec_of(QUICK)


def test_a_sweep_is_cancelled_also_if_its_starter_ignores_ctrl_c(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a kernel does while it is idle
    try:
        process = start(spec_of(FOREVER), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(lambda: runs(tmp_path), "the sweep")
    assert cancel(tmp_path)
    assert process.wait(60) == 130
    assert read_status(tmp_path).state == "interrupted"
    assert not cancel(tmp_path)


def test_what_is_resumed_measures_only_what_is_missing(tmp_path: Path) -> None:
    process = start(spec_of(QUICK | {"repeats": 4000}), tmp_path)
    wait_for(lambda: (found := look(tmp_path)) and found.done > 0, "a segment")
    cancel(tmp_path)
    assert process.wait(60) == 130
    before = len(load(tmp_path))
    again = resume(tmp_path)
    wait_for(lambda: runs(tmp_path), "the sweep")
    found = look(tmp_path)
    assert found is not None
    assert (found.pid, found.reused, found.planned) == (again.pid, before, 16_000)
    cancel(tmp_path)
    again.wait(60)


def test_a_store_that_another_writes_into_is_not_started(tmp_path: Path) -> None:
    with locked(tmp_path, "a test"), pytest.raises(StoreError, match="in use by a test"):
        start(spec_of(QUICK), tmp_path)
    assert not (tmp_path / "spec.toml").exists()


def test_a_command_that_fails_at_once_says_why(tmp_path: Path) -> None:
    assert what_it_said(tmp_path) == ""
    process = start(spec_of(QUICK | {"guest": "3"}), tmp_path)
    assert process.wait(60) == 2
    assert what_it_said(tmp_path).startswith("pwb: ")
    assert "3" in what_it_said(tmp_path)
    assert look(tmp_path) is None


def test_a_store_of_the_command_line_is_resumed_by_its_manifest(tmp_path: Path) -> None:
    sweep(out=tmp_path, **QUICK)
    assert last_spec(tmp_path).model_dump() == spec_of(QUICK).model_dump()
    assert resume(tmp_path).wait(120) == 0
    assert read_status(tmp_path).reused == 8


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"threads": [1, 128], "rate_per_s": [0.5, "closed"], "breaks": [True, False], "mix": 'fault="1"'},
        {"preset": "demand_paging", "guest": ["256M"]},
        {"kind": "explore", "executions": 10, "time_s": 1e-7},
    ],
)
def test_a_spec_survives_its_text(tmp_path: Path, fields: dict[str, Any]) -> None:
    spec = spec_of(fields)
    (tmp_path / "spec.toml").write_text(spec_text(spec))
    assert read_spec(tmp_path / "spec.toml").model_dump() == spec.model_dump()


def test_a_folder_without_a_store_has_no_last_spec(tmp_path: Path) -> None:
    with pytest.raises((StoreError, InputError), match="no store"):
        last_spec(tmp_path)

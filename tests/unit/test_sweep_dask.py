"""Untimed work goes to any executor, timed work to none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyworkbench import InputError
from pyworkbench.sweep import executor_named, load, sweep

EXPLORED: dict[str, Any] = {
    "kind": "explore",
    "strategy": ["none", "claim-under-lock"],
    "search": ["dpor", "random"],
    "seed": [1, 2, 3],
    "executions": 50,
}


def test_a_dask_cluster_answers_as_threads_do(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster  # noqa: PLC0415 (slow to import)

    sweep(out=tmp_path / "local", **EXPLORED)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        result = sweep(out=tmp_path / "dask", executor=client.get_executor(pure=False), **EXPLORED)
        with executor_named(cluster.scheduler_address) as named:
            again = sweep(out=tmp_path / "again", executor=named, **EXPLORED)
    assert result.status.measured == again.status.measured == 2 + 2 * 3
    told = ["key", "verdict", "kinds", "executions", "schedule"]
    frames = [load(tmp_path / name)[told].astype(str).sort_values("key") for name in ("local", "dask", "again")]
    for frame in frames[1:]:
        assert frame.to_numpy().tolist() == frames[0].to_numpy().tolist()


def test_timed_points_refuse_an_executor_and_say_why() -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(InputError, match="timed points run one after another, alone on this machine"),
    ):
        sweep(threads=1, executor=pool)


def test_an_unknown_executor_is_named() -> None:
    with (
        pytest.raises(InputError, match="executor 'ray': local, dask, or a scheduler's address"),
        executor_named("ray"),
    ):
        pass


def test_a_task_that_fails_is_a_row(tmp_path: Path) -> None:
    class Refusing(ThreadPoolExecutor):
        def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
            if "claim-under-lock" in arguments[0]:
                return super().submit(lambda: 1 // 0)
            return super().submit(function, *arguments, **named)

    with Refusing(1) as pool:
        result = sweep(out=tmp_path, executor=pool, kind="explore", strategy=["none", "claim-under-lock"])
    rows = result.rows.set_index("strategy")
    assert rows.loc["claim-under-lock", "status"] == "failed"
    assert str(rows.loc["claim-under-lock", "error"]).startswith("ZeroDivisionError")
    assert rows.loc["none", "verdict"] == "Bug"
    assert result.status.failed == 1

"""Points of a sweep that are explorations: untimed, so that any executor may run them, in any number at once.

Guaranteed: what a task raises, or a worker's death, is a row that says so; rows come as they are ready. A window of
tasks is with the executor at a time, so that an interrupt has little to wait for.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator  # noqa: TC003
from concurrent.futures import FIRST_COMPLETED, Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from pyworkbench.errors import InputError
from pyworkbench.explore import explore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

TELL_S = 0.2
WINDOW = 64
"""Tasks that the executor has at a time."""


def explore_all(
    points: Sequence[str], executor: Executor | None, waiting: Callable[[], object]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Explores points; yields the index of each and its row.

    Args:
        points: in canonical form.
        executor: where they run; threads of this process if not said.
        waiting: called about every `TELL_S` seconds; what it raises ends it.
    """
    stopped = threading.Event()
    own = ThreadPoolExecutor(os.cpu_count()) if executor is None else None
    pool = executor or own
    assert pool is not None  # noqa: S101 (one of the two is there)
    # Own threads are told when it is over; what runs elsewhere ends by itself.
    task = partial(explore_point, stopped=stopped) if own else explore_point
    pending: dict[Future[dict[str, Any]], int] = {}
    left = iter(enumerate(points))
    try:
        while True:
            for at, point in left:
                pending[pool.submit(task, point)] = at
                if len(pending) >= WINDOW:
                    break
            if not pending:
                return
            done, _ = wait(pending, timeout=TELL_S, return_when=FIRST_COMPLETED)
            waiting()
            for future in done:
                yield pending.pop(future), _outcome(future)
    finally:
        stopped.set()
        for future in pending:
            future.cancel()
        if own:
            own.shutdown(cancel_futures=True)


def explore_point(point: str, stopped: threading.Event | None = None) -> dict[str, Any]:
    """Explores one point, and answers the columns of its row."""
    asked = json.loads(point)
    verdict = explore(
        asked["scenario"],
        variant=asked["variant"],
        strategy=asked["strategy"],
        search=asked["search"],
        seed=asked["seed"] or 0,
        executions=asked["executions_limit"],
        time_s=asked["time_limit_s"],
        preemptions=asked["preemptions_limit"],
        stop_at_first=False,
        progress=lambda *_: stopped is None or not stopped.is_set(),
    )
    return {
        "verdict": verdict.answer,
        "kinds": ", ".join(verdict.first_kinds),
        "object": verdict.bug.object if verdict.bug else None,
        "what": verdict.bug.what if verdict.bug else verdict.why,
        "executions": verdict.executions,
        "classes": verdict.classes,
        "actions": verdict.actions,
        "complete": verdict.complete,
        "elapsed_s": verdict.elapsed_s,
        "schedule": verdict.schedule,
        "ladder": verdict.ladder,
    }


def _outcome(future: Future[dict[str, Any]]) -> dict[str, Any]:
    """What a task answered, with its status."""
    try:
        return future.result() | {"status": "ok", "error": None}
    except Exception as error:  # of the task, or of the executor that lost it
        lost = any(word in type(error).__name__.lower() for word in ("broken", "killed"))
        status = "crashed" if lost else "failed"
        return {"status": status, "error": f"{type(error).__name__}: {error}"}


@contextmanager
def executor_named(name: str) -> Iterator[Executor | None]:
    """The executor of a name: `local` for threads, `dask` for a cluster of its own, or a Dask scheduler's address.

    Raises:
        InputError: there is no such executor, or Dask is not installed.
    """
    if name == "local":
        yield None
        return
    if name != "dask" and "://" not in name:
        raise InputError(
            f"executor {name!r}: local, dask, or a scheduler's address such as tcp://10.0.0.1:8786 would be right"
        )
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415 (an extra, and slow)
    except ImportError:
        raise InputError(
            "executor dask: dask.distributed is not installed; `pip install pyworkbench[dask]` does it"
        ) from None
    if name != "dask":
        with Client(name) as client:
            yield client.get_executor(pure=False)
        return
    with (
        LocalCluster(dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        # Without pure=False, Dask would compute what looks the same only once.
        yield client.get_executor(pure=False)

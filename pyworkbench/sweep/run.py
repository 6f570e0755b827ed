"""Runs a sweep: what is missing in the store, in seeded random order, one measurement after another.

Guaranteed: repeats of a point are spread over the whole sweep; the first measurements of a point in a session
(`warmup`) are thrown away; what is in the store is not measured again, what crashed only when asked to. While it
measures, the sweep has the machine for itself (`machine.alone`). Ctrl-C, or whatever `progress` raises, ends it at
once, and what was measured is kept.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyworkbench import _core
from pyworkbench._environment import steal_seconds
from pyworkbench.errors import InputError, StoreError
from pyworkbench.sweep import segments
from pyworkbench.sweep.exploring import explore_all
from pyworkbench.sweep.load import reader
from pyworkbench.sweep.machine import alone
from pyworkbench.sweep.measuring import Worker
from pyworkbench.sweep.plan import plan
from pyworkbench.sweep.result import TemporaryStore, result_of
from pyworkbench.sweep.schema import row_without_figures, store_schema
from pyworkbench.sweep.spec import SweepSpec, spec_of
from pyworkbench.sweep.status import Status, read_status, write_status
from pyworkbench.sweep.store import Store, locked, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    import numpy as np
    import pyarrow as pa

    from pyworkbench.sweep.measuring import Measured
    from pyworkbench.sweep.plan import Plan
    from pyworkbench.sweep.result import SweepResult

STATUS_S = 1.0
"""How often the status file is written."""
REFUSES_EXECUTORS = (
    "timed points run one after another, alone on this machine: on an executor they would share it with one another, "
    "and with whatever else runs there. kind='explore' takes an executor"
)


def sweep(
    spec: SweepSpec | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[Status], object] | None = None,
    executor: Executor | None = None,
    *,
    fresh_process: bool = False,
    strict_build: bool = False,
    retry: bool = False,
    **fields: Any,
) -> SweepResult:
    """Measures, or explores, every point of a sweep; the same call goes on where one was interrupted or killed.

    Ctrl-C ends it within 100 ms, and what was measured is kept.

    Args:
        spec: what to sweep; or the fields of one, as keywords.
        out: the store: a folder, made if need be, in which only what is missing is measured. Without one, what is
        measured
            lives as long as the result.
        progress: called after each measurement, and while one runs about five times a second, with how far it is;
        what it
            raises ends the sweep. In a notebook, if not said, a line shows it.
        executor: for explorations: where they run; threads of this process if not said.
        fresh_process: a new process for each measurement instead of a warm one.
        strict_build: refuse a store with rows of another build.
        retry: measure again what crashed or failed; the new row stands for the old one.
        **fields: the fields of `SweepSpec`.

    Raises:
        InputError: a field is wrong; the message names it and its value.
        StoreError: the store is in use, of another version, or cannot be written.

    Example:
        >>> result = sweep(threads=[1, 2], lock="std", guest=["2M"], repeats=2, warmup=0)
        >>> len(result.rows), int(result.rows["maps"].sum())
        (8, 4096)
    """
    if spec is not None and fields:
        raise InputError(f"a spec and the fields {', '.join(fields)} were given: either would be right")
    spec = spec or spec_of(fields)
    if spec.kind == "measure" and executor is not None:
        raise InputError(REFUSES_EXECUTORS)
    planned = plan(spec)
    from pyworkbench._live import sweeping  # noqa: PLC0415 (a line, only where it is run)

    temporary = TemporaryStore() if out is None else None
    directory = temporary.directory if temporary else Path(out or "")
    make_folder(directory)
    with (
        sweeping() if progress is None else nullcontext(progress) as show,
        locked(directory, "a sweep"),
    ):
        session = _Session(spec, planned, Store(directory, spec), show, strict_build=strict_build, retry=retry)
        session.run(executor, fresh_process=fresh_process)
        environment = session.environment
    return result_of(spec, environment, read_status(directory), planned.keys, directory, temporary)


@dataclass(frozen=True)
class _Work:
    """Measurements to be made, in order: which point, and which repeat of it."""

    points: np.ndarray[Any, Any]
    repeats: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.points.tolist(), self.repeats.tolist(), strict=True)


class _Session:
    """One run of a sweep into its store."""

    def __init__(
        self,
        spec: SweepSpec,
        planned: Plan,
        store: Store,
        show: Callable[[Status], object] | None,
        *,
        strict_build: bool,
        retry: bool,
    ) -> None:
        others = store.builds - {_core.build_id()}
        if strict_build and others:
            raise StoreError(
                f"there are rows of build {', '.join(sorted(others))}, and this is {_core.build_id()}: strict_build "
                "refuses to mix them",
                str(store.directory),
            )
        self._spec = spec
        self._plan = planned
        self._store = store
        self._show = show
        self._told = self._began = time.monotonic()
        self._status = Status("planning", session=store.session, plan=str(planned), pid=os.getpid())
        self._tell()
        self._work, self._run = self._missing(retry=retry)
        total = len(planned.points) * self._repeats
        reused = total - len(self._work)
        self._status = replace(self._status, planned=total, done=reused, reused=reused)

    @property
    def environment(self) -> dict[str, Any]:
        """Where and with what it was measured."""
        return self._store.environment

    @property
    def _repeats(self) -> int:
        return 1 if self._spec.kind == "explore" else self._spec.repeats

    def run(self, executor: Executor | None, *, fresh_process: bool) -> None:
        """Makes the missing measurements."""
        stolen = steal_seconds()
        state, what = "failed", ""
        try:
            if len(self._work) and self._spec.kind == "explore":
                self._explore(executor)
            elif len(self._work):
                with alone(f"a sweep into {self._store.directory.resolve()}", self._wait) as machine:
                    self._measure(machine, fresh_process=fresh_process)
            self._store.flush()
            state = "done"
        except KeyboardInterrupt:
            state, what = "interrupted", "by Ctrl-C; the same command goes on from here"
            self._store.flush()
            raise
        except BaseException as error:
            what = f"{type(error).__name__}: {error}"
            if not isinstance(error, StoreError):
                self._store.flush()
            raise
        finally:
            # Ctrl-C may have come between a row and the status that counts it.
            self._status = replace(
                self._status, state=state, what=what, elapsed_s=self._elapsed(), measured=self._store.written
            )
            self._tell()
            if state == "done":
                self._store.note(steal_s=round(steal_seconds() - stolen, 2))

    def _measure(self, machine: Any, *, fresh_process: bool) -> None:
        import pandas  # noqa: F401, PLC0415 (pyarrow would import it at the first row, between measurements)

        spec, points, keys = self._spec, self._plan.points, self._plan.keys
        self._began = time.monotonic()
        self._status = replace(self._status, state="running", what="")
        self._tell()
        warm: set[int] = set()
        with self._store.open_log() as log, Worker(log=log, inherit=machine, fresh=fresh_process) as worker:

            def measure(at: int, repeat: int, run: int) -> Measured:
                return worker.measure(points[at], repeat, run, timeout_s=spec.timeout_s, waiting=self._show_status)

            for at, repeat in self._work:
                if at not in warm:
                    warm.add(at)
                    # A point that does not survive its warm-up is measured all the same: its row says what happens.
                    all(measure(at, repeat, self._run).status == "ok" for _ in range(spec.warmup))
                measured = measure(at, repeat, self._run)
                self._took(keys[at], *self._row(measured, points[at], repeat))

    def _row(self, measured: Measured, point: str, repeat: int) -> tuple[pa.Table | dict[str, Any], str, str | None]:
        """The row of a measurement, its status and its error: the core's own, or what is known without one."""
        import pyarrow as pa  # noqa: PLC0415 (see _frames)

        if measured.row is not None:
            row = pa.ipc.open_stream(measured.row).read_all()
            return row, row["status"][0].as_py(), row["error"][0].as_py()
        known = {"run": self._run, "repeat": repeat, "status": measured.status, "error": measured.error}
        return row_without_figures("measure", point, **known), measured.status, measured.error

    def _explore(self, executor: Executor | None) -> None:
        self._began = time.monotonic()
        self._status = replace(self._status, state="running")
        self._tell()
        points, keys = self._plan.points, self._plan.keys
        wanted = [points[at] for at, _ in self._work]
        for index, row in explore_all(wanted, executor, self._show_status):
            at = int(self._work.points[index])
            known = row_without_figures("explore", points[at], run=self._run, repeat=0) | row
            self._took(keys[at], known, row["status"], row["error"])

    def _took(self, key: str, row: pa.Table | dict[str, Any], status: str, error: str | None) -> None:
        """A measurement is over."""
        self._run += 1
        now = self._status
        self._status = replace(
            now,
            measured=now.measured + 1,
            crashed=now.crashed + (status == "crashed"),
            failed=now.failed + (status == "failed"),
            last_error=error or now.last_error,
            elapsed_s=self._elapsed(),
        )
        if self._store.append(key, row):
            self._tell()
        else:
            self._show_status()

    def _wait(self, what: str) -> None:
        self._status = replace(self._status, state="waiting", what=what)
        self._show_status()

    def _show_status(self) -> None:
        if time.monotonic() - self._told >= STATUS_S:
            self._tell()
        elif self._show:
            self._show(self._status)

    def _tell(self) -> None:
        """Writes the status file, and shows how far the sweep is."""
        self._told = time.monotonic()
        self._status = replace(self._status, done=self._status.reused + self._store.written)
        write_status(self._store.directory, self._status)
        if self._show:
            self._show(self._status)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _missing(self, *, retry: bool) -> tuple[_Work, int]:
        """What the store does not have yet, in the order of the seed; and the next number of a row."""
        import numpy as np  # noqa: PLC0415 (it is there when rows are)
        import pyarrow as pa  # noqa: PLC0415 (see _frames)
        import pyarrow.compute as pc  # noqa: PLC0415

        repeats = self._repeats
        done = np.zeros((len(self._plan.points), repeats), bool)
        next_run = 0
        index_of = {key: at for at, key in enumerate(self._plan.keys)}
        schema = store_schema(self._spec.kind)
        read = reader(pa.schema([schema.field(name) for name in ("key", "repeat", "run", "status")]))
        for _, table in segments.read_each(self._store.folder, read, None, self._store.damaged):
            next_run = max(next_run, 1 + (pc.max(table["run"]).as_py() or 0))
            good = pc.equal(table["status"].cast(pa.string()), "ok")
            for batch in (table.filter(good) if retry else table).to_batches():
                known = np.array([index_of.get(key, -1) for key in batch["key"].dictionary.to_pylist()])
                at = known[batch["key"].indices.to_numpy()]
                repeat = batch["repeat"].to_numpy()
                ours = (at >= 0) & (repeat < repeats)
                done[at[ours], repeat[ours]] = True
        order = np.random.default_rng(self._spec.seed[0]).permutation(done.size)
        order = order[~done.reshape(-1)[order]]
        return _Work(order // repeats, order % repeats), next_run

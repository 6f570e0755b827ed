"""What a sweep costs beside what it measures: `make bench` runs this.

Each row is a figure, its limit, and their ratio; above 1 is above the limit. No test depends on them: they are of this
machine, in this minute.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pyworkbench import _core
from pyworkbench.sweep import compact, load, plan, spec_of, sweep
from pyworkbench.sweep.measuring import Worker
from pyworkbench.sweep.schema import measured_schema, store_schema
from pyworkbench.sweep.segments import write
from pyworkbench.sweep.store import Store, segment_metadata, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyworkbench.sweep.spec import SweepSpec

POINTS = 100_000
ROWS = 1_000_000


def seconds_of(work: Callable[[], Any]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def many_points() -> SweepSpec:
    """A spec of a hundred thousand points."""
    return spec_of(
        {
            "threads": list(range(1, 101)),
            "sparsity": list(range(1, 26)),
            "walk": ["shared", "exclusive"],
            "lock": ["qrwlock", "mutex"],
            "delay_ns": [0],
            "step": ["whole", "kernel", "2M", "4M", "8M", "16M", "32M", "64M", "128M", "1M"],
            "guest": "64M",
            "repeats": 1,
            "warmup": 0,
        }
    )


def rows_of(points: list[str], keys: list[str], repeats: int) -> pa.Table:
    """Rows as a sweep of these points writes them: one real measurement, with the configuration and other figures."""
    figures = pa.ipc.open_stream(_core.measure(points[0], 0, 0)).read_all().cast(pa.schema(list(measured_schema())))
    count = len(points) * repeats
    random = np.random.default_rng(0)
    configurations = pa.Table.from_pylist([json.loads(point) for point in points])
    of_point = pa.array(np.tile(np.arange(len(points)), repeats))
    columns: dict[str, Any] = {}
    for field in store_schema("measure"):
        if field.name in configurations.column_names:
            columns[field.name] = configurations[field.name].take(of_point).cast(field.type)
        elif field.name == "key":
            columns[field.name] = pa.array(keys).take(of_point)
        elif field.name == "run":
            columns[field.name] = pa.array(np.arange(count), field.type)
        elif field.name == "repeat":
            columns[field.name] = pa.array(np.repeat(np.arange(repeats), len(points)), field.type)
        elif field.name in figures.column_names and figures[field.name][0].as_py() is not None:
            value = figures[field.name][0]
            if pa.types.is_integer(field.type):
                spread = random.lognormal(0, 1, count) * max(value.as_py(), 1)
                columns[field.name] = pa.array(spread.astype(np.uint64)).cast(field.type)
            else:
                columns[field.name] = pa.repeat(value, count)
        else:
            columns[field.name] = pa.nulls(count, field.type)
    table = pa.table(columns, schema=store_schema("measure"))
    return table.replace_schema_metadata(segment_metadata("measure"))


def filled(directory: Path, spec: SweepSpec, table: pa.Table, size: int) -> None:
    """Makes a store with these rows, in segments of this size."""
    store = Store(directory, spec)
    for at, start in enumerate(range(0, len(table), size)):
        write(store.folder, at + 1, at + 1, partial(write_parquet, table.slice(start, size)))


def overhead_s(measurements: int) -> float:
    """What a warm worker adds to a measurement: the difference of medians, there and in this process."""
    point = plan(spec_of({"threads": 1, "walk": "shared", "guest": "64K", "op": "64K"})).points[0]

    def median(call: Callable[[int], object]) -> float:
        for at in range(20):
            call(at)
        return statistics.median(seconds_of(partial(call, at)) for at in range(measurements))

    with Path(os.devnull).open("ab", buffering=0) as log, Worker(log=log) as worker:
        there = median(lambda at: worker.measure(point, at, at, timeout_s=60.0, waiting=lambda: None))
    return there - median(lambda at: _core.measure(point, at, at))


def main() -> None:
    """Prints the rows."""
    figures: list[tuple[str, float, float]] = []
    spec = many_points()
    planned = plan(spec)
    figures.append(
        (f"planning {len(planned.points):,} points", min(seconds_of(lambda: plan(spec)) for _ in range(3)), 2.0)
    )

    with tempfile.TemporaryDirectory() as folder:
        big, wide = Path(folder) / "points", Path(folder) / "rows"
        for directory in (big, wide):
            directory.mkdir()
        rows = rows_of(list(planned.points), list(planned.keys), 1)
        filled(big, spec, rows, 1000)
        seconds = seconds_of(lambda: sweep(spec, big))
        figures.append(
            (f"resuming a finished sweep of {len(planned.points):,} points, 1000 rows a segment", seconds, 5.0)
        )

        repeats = ROWS // 10_000
        filled(wide, spec, rows_of(list(planned.points[:10_000]), list(planned.keys[:10_000]), repeats), 10_000)
        compact(wide)
        figures.append((f"load, {ROWS:,} rows, compacted", min(seconds_of(lambda: load(wide)) for _ in range(3)), 1.0))

    figures.append(("warm worker, overhead of a measurement", overhead_s(300), 0.002))
    print(f"{'seconds':78}{'measured':>10}{'limit':>8}{'ratio':>8}")
    for name, seconds, limit in figures:
        above = "  above the limit" if seconds > limit else ""
        print(f"{name:78}{seconds:>10.4f}{limit:>8.4g}{seconds / limit:>8.2f}{above}")


if __name__ == "__main__":
    main()

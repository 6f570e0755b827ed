"""Sweeps: real threads fault a guest's memory into one table under `mmu_lock`, then the table is torn down.

A point of a sweep is one combination of `threads`, `pattern`, `walk` and `teardown`; every point is measured
`repeats` times, all of them in seeded random order, after `warmup` rounds that are thrown away. Points run
one after another in this process; threads that can have a core each are pinned to it. What is guaranteed: the
figures of one row belong to one measurement, and the counters are exact. What is not: a quiet machine;
`fault_cpu_ns` over `fault_wall_ns` says how many cores really ran. Rows whose threads outnumber the cores are
marked `oversubscribed`: they say something about the scheduler, not about the lock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pyworkbench import _core
from pyworkbench._environment import environment, steal_seconds
from pyworkbench._frames import to_pandas
from pyworkbench.errors import InputError
from pyworkbench.table import Walker  # noqa: TC001 (pydantic reads it)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd


Pattern = Literal["disjoint", "overlapping"]
Walk = Literal["shared", "exclusive"]
Teardown = Literal["whole-under-lock", "whole-taken-out", "ranges-under-lock", "ranges-taken-out"]

PATTERNS: tuple[Pattern, ...] = ("disjoint", "overlapping")
WALKS: tuple[Walk, ...] = ("shared", "exclusive")
TEARDOWNS: tuple[Teardown, ...] = (
    "whole-under-lock",
    "ranges-under-lock",
    "whole-taken-out",
    "ranges-taken-out",
)

SUMMARY = {
    "faults_m_per_s": "faults, M/s",
    "contentions_per_1000": "waited, ‰",
    "wait_ns_per_fault": "wait, ns a fault",
    "teardown_ms": "teardown, ms",
    "write_hold_max_us": "longest hold, µs",
}
"""The figures of `SweepResult.summary`, with their titles."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size_bytes(text: str) -> int:
    """Bytes of a size such as `4K`, `2M` or `1G`.

    Raises:
        InputError: the text is no size.

    Example:
        >>> size_bytes("2M")
        2097152
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if match is None or int(match[1]) == 0:
        raise InputError(f"size {text!r} is not a number with K, M, G or T: 4K, 2M or 1G would be")
    return int(match[1]) * _UNITS[match[2]]


def _check_size(text: str) -> str:
    size_bytes(text)
    return text


def _check_distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("each value once would be right")
    return values


Size = Annotated[str, AfterValidator(_check_size)]
Distinct = AfterValidator(_check_distinct)


class SweepSpec(BaseModel):
    """What a sweep varies, and what it keeps. Unknown fields are errors.

    Example:
        >>> SweepSpec(threads=[1, 2], guest_mib=64).points
        32
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    threads: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), Distinct] = Field(
        default=[1, 2, 4], description="Numbers of threads that fault at the same time."
    )
    pattern: Annotated[list[Pattern], Field(min_length=1), Distinct] = Field(
        default=list(PATTERNS),
        description="disjoint: each thread faults its own slice of the guest; overlapping: every thread all of it.",
    )
    walk: Annotated[list[Walk], Field(min_length=1), Distinct] = Field(
        default=list(WALKS),
        description="shared: a fault holds mmu_lock for read, as since 2022; exclusive: for write, as before.",
    )
    teardown: Annotated[list[Teardown], Field(min_length=1), Distinct] = Field(
        default=list(TEARDOWNS),
        description="The table goes in one walk or in ranges, with mmu_lock held for write or taken out first.",
    )
    guest_mib: int = Field(default=256, ge=1, description="Guest memory, in MiB.")
    leaf: Size = Field(default="4K", description="What one fault maps: a page or a block of the granule.")
    granule: Literal["4K", "16K", "64K"] = Field(default="4K", description="The page size.")
    ipa_bits: int = Field(default=40, description="The size of the guest's physical address space, in bits.")
    step: Size | None = Field(
        default=None,
        description="What one range of a teardown in ranges covers; Linux's step (1G with 4K pages) if not given.",
    )
    walker: Walker = Field(
        default="upstream",
        description="upstream visits entry by entry, as Linux does; fast knows the table's structure.",
    )
    counters: Literal["off", "counts", "times"] = Field(
        default="times", description="What the lock records; times implies counts."
    )
    repeats: int = Field(default=5, ge=1, description="Measurements of each point.")
    warmup: int = Field(default=1, ge=0, description="Measurements of each point that are thrown away first.")
    seed: int = Field(default=0, ge=0, le=2**64 - 1, description="Decides the order of measurements.")

    @property
    def points(self) -> int:
        """How many combinations there are; each is measured `repeats` + `warmup` times."""
        return len(self.threads) * len(self.pattern) * len(self.walk) * len(self.teardown)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep measured.

    Attributes:
        spec: what was asked for.
        rows: a row for each measurement, in the order in which they ran. Configuration columns (categories
            where they are names), then `faults`, `retries`, `already_mapped`, `fault_wall_ns`, `fault_cpu_ns`
            (of all fault threads together), `faults_per_s`, `teardown_ns`, `pages_freed`, and for each side of
            `mmu_lock` (`read_`, `write_`) `acquisitions`, `contentions`, `wait_ns`, `wait_max_ns`, `hold_ns`,
            `hold_p50_ns`, `hold_p99_ns`, `hold_max_ns`; then context switches of the fault threads. The read
            side is the faults of a shared walk; the write side is the teardown, and the faults of an exclusive
            walk. What was not recorded is missing.
        sites: a row for each measurement, side of the lock and site that took it, with the configuration,
            `acquisitions` and `contentions`.
        environment: the machine, the kernel, the versions and the build (`cores` are those this process may
            use), and `steal_s`, the seconds that a hypervisor took from the machine meanwhile.
    """

    spec: SweepSpec
    rows: pd.DataFrame
    sites: pd.DataFrame
    environment: dict[str, Any]

    def summary(self) -> pd.DataFrame:
        """A row for each point: medians over its repeats, in units for people.

        Contentions and wait are of both sides of `mmu_lock` together, over the faults served. The longest write
        hold is the teardown's, or in an exclusive walk a fault's, if that was longer.
        """
        rows = self.rows.assign(
            faults_m_per_s=self.rows["faults_per_s"] / 1e6,
            contentions_per_1000=1000 * both_sides(self.rows, "contentions") / self.rows["faults"],
            wait_ns_per_fault=both_sides(self.rows, "wait_ns") / self.rows["faults"],
            teardown_ms=self.rows["teardown_ns"] / 1e6,
            write_hold_max_us=self.rows["write_hold_max_ns"] / 1e3,
        )
        point = ["threads", "oversubscribed", "pattern", "walk", "teardown"]
        return rows.groupby(point, observed=True)[list(SUMMARY)].median().reset_index()

    def to_parquet(self, path: Path) -> list[Path]:
        """Writes `rows` to `path` and `sites` beside it, each aside and renamed; spec and environment go along.

        They are in the Parquet metadata, as JSON, under `pyworkbench.spec` and `pyworkbench.environment`.

        Returns:
            The two files.
        """
        import json  # noqa: PLC0415 (with pyarrow, at the first file)

        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        facts = {
            "pyworkbench.spec": self.spec.model_dump_json(),
            "pyworkbench.environment": json.dumps(self.environment),
        }
        written = [path, path.with_name(f"{path.stem}-sites{path.suffix}")]
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, frame in zip(written, (self.rows, self.sites), strict=True):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            aside = file.with_name(f".{file.name}.part")
            pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **facts}), aside)
            aside.replace(file)
        return written


def sweep(
    spec: SweepSpec | None = None, *, progress: Callable[[int, int], object] | None = None, **fields: Any
) -> SweepResult:
    """Measures every point of a sweep. Ctrl-C stops it within 100 ms.

    Args:
        spec: what to sweep; or the fields of one, as keywords.
        progress: called with measurements done and planned, on a thread of the sweep's own; what it raises
            ends the sweep.
        **fields: the fields of `SweepSpec`.

    Raises:
        InputError: a field is wrong; the message names it and its value.

    Example:
        >>> result = sweep(threads=[1, 2], pattern=["disjoint"], guest_mib=2, repeats=2, warmup=0)
        >>> len(result.rows), int(result.rows["faults"].sum())
        (32, 16384)
    """
    if spec is not None and fields:
        raise InputError(f"a spec and the fields {', '.join(fields)} were given: either would be right")
    spec = spec or spec_of(fields)
    stolen = steal_seconds()
    rows, sites = _core.sweep(
        threads=spec.threads,
        patterns=spec.pattern,
        walks=spec.walk,
        teardowns=spec.teardown,
        guest_bytes=spec.guest_mib << 20,
        leaf_bytes=size_bytes(spec.leaf),
        granule=spec.granule,
        ipa_bits=spec.ipa_bits,
        walker=spec.walker,
        step_bytes=None if spec.step is None else size_bytes(spec.step),
        counters=spec.counters,
        repeats=spec.repeats,
        warmup=spec.warmup,
        seed=spec.seed,
        progress=progress,
    )
    facts = environment() | {"steal_s": round(steal_seconds() - stolen, 2)}
    measured = _with_categories(to_pandas(rows), spec)
    configuration = measured[["run", "repeat", "threads", "oversubscribed", "pattern", "walk", "teardown"]]
    by_site = _with_categories(to_pandas(sites), spec)
    return SweepResult(spec, measured, configuration.merge(by_site, on="run"), facts)


def both_sides(rows: pd.DataFrame, figure: str) -> pd.Series[Any]:
    """A figure of `mmu_lock`, `contentions` or `wait_ns`, of its read and write side together."""
    return rows[f"read_{figure}"] + rows[f"write_{figure}"]


def require_recorded(rows: pd.DataFrame, column: str) -> None:
    """Refuses rows in which a counter's column is empty.

    Raises:
        InputError: it is; the message says which `counters` would fill it.
    """
    if rows[column].isna().all():
        wanted = "'times'" if column.endswith("_ns") else "'counts' or 'times'"
        raise InputError(f"column {column} is empty: the sweep needs counters={wanted}")


def spec_of(fields: Mapping[str, Any], *, text: bool = False) -> SweepSpec:
    """A spec of the given fields; with `text`, numbers may be strings.

    Raises:
        InputError: a field is unknown or wrong.

    Example:
        >>> spec_of({"threads": [0]})
        Traceback (most recent call last):
        ...
        pyworkbench.errors.InputError: threads 0: it should be greater than or equal to 1
    """
    try:
        return SweepSpec.model_validate(fields, strict=not text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = first["loc"][0]
        if first["type"] == "extra_forbidden":
            raise InputError(f"{name} is no field of a sweep: {', '.join(SweepSpec.model_fields)} are") from None
        wrong = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        raise InputError(f"{name} {first['input']!r}: {wrong}") from None


_NAMES = ("walker", "lock", "counters", "granule", "side", "site")


def _with_categories(frame: pd.DataFrame, spec: SweepSpec) -> pd.DataFrame:
    """Names become categories; those of the swept axes keep the order of the spec."""
    import pandas as pd  # noqa: PLC0415 (see _frames)

    axes: dict[str, list[Any]] = {name: getattr(spec, name) for name in ("pattern", "walk", "teardown")}
    types = {name: pd.CategoricalDtype(values) for name, values in axes.items() if name in frame}
    types |= {name: pd.CategoricalDtype(sorted(frame[name].unique())) for name in _NAMES if name in frame}
    return frame.astype(types)

"""What a sweep is asked for: one model for TOML files, Python, command-line options and widgets.

Guaranteed: a field that does not exist, a value of another type or out of range, and a field of the other kind of
sweep are errors before anything runs; each names the field and its value. Whether a combination of values has a
meaning, the core decides when the points are planned (`pyworkbench.sweep.plan`).
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from pyworkbench.errors import InputError
from pyworkbench.sweep.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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


def size_text(size: int) -> str:
    """A number of bytes as a size.

    Example:
        >>> size_text(2 << 20), size_text(1536)
        ('2M', '1536')
    """
    unit = next(unit for unit in reversed(_UNITS) if size % _UNITS[unit] == 0)
    return f"{size // _UNITS[unit]}{unit}" if size else "0"


def _size_or(*words: str) -> AfterValidator:
    """Checks a size that may also be one of these words."""

    def check(text: str) -> str:
        if text not in words:
            try:
                size_bytes(text)
            except InputError:
                raise ValueError(
                    f"{', '.join(words)}{' or ' if words else ''}a size such as 2M would be right"
                ) from None
        return text

    return AfterValidator(check)


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else [value]


def _check_distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("each value once would be right")
    return values


T = TypeVar("T")
Many = Annotated[list[T], BeforeValidator(_as_list), Field(min_length=1), AfterValidator(_check_distinct)]
"""A dimension: a value, or a list of values."""

Kind = Literal["measure", "explore"]
Lock = Literal["qrwlock", "parking_lot", "std", "ticket", "mcs", "mutex", "range", "big_reader"]
Walk = Literal["shared", "exclusive"]
Pattern = Literal["disjoint", "overlapping"]
Teardown = Literal["table", "memslots-first", "close-first", "exit-first", "kill", "fd-passed"]
Preset = Literal["demand_paging", "dirty_log_perf", "access_tracking_perf", "memslot_modification_stress", "mmu_stress"]


class SweepSpec(BaseModel):
    """What a sweep varies, and what it keeps. Every dimension takes a value or a list; unknown fields are errors.

    Example:
        >>> SweepSpec(threads=[1, 2], guest=["64M"]).guest
        ['64M']
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Kind = Field(
        default="measure",
        description="measure: real threads, timed, one point after another; explore: verdicts, on any executor.",
    )
    preset: Preset | None = Field(
        default=None, description="Defaults named after a KVM selftest; other fields go before them."
    )

    threads: Many[Annotated[int, Field(ge=1, le=128)]] = Field(
        default=[1, 2, 4], description="Numbers of threads that work on the guest's table at the same time."
    )
    lock: Many[Lock] = Field(
        default=["qrwlock"],
        description="What plays mmu_lock; range (one a range) and big_reader (readers as cheap as RCU's) are what-ifs.",
    )
    walk: Many[Walk] = Field(
        default=["shared", "exclusive"],
        description="shared: a fault holds mmu_lock for read, as since 2022; exclusive: for write, as before.",
    )
    walker: Many[Literal["upstream", "fast"]] = Field(
        default=["upstream"],
        description="upstream visits entry by entry, as Linux does; fast knows the table's structure.",
    )
    counters: Many[Literal["off", "counts", "times"]] = Field(
        default=["times"], description="What the locks record; times implies counts."
    )
    granule: Many[Literal["4K", "16K", "64K"]] = Field(default=["4K"], description="The page size.")
    ipa_bits: Many[Annotated[int, Field(ge=1, le=64)]] = Field(
        default=[40], description="The size of the guest's physical address space, in bits."
    )
    guest: Many[Annotated[str, _size_or()]] = Field(default=["256M"], description="Guest memory.")
    leaf: Many[Annotated[str, _size_or("page", "block")]] = Field(
        default=["page"], description="What one fault maps: page, block (of the granule), or a size."
    )
    pattern: Many[Pattern] = Field(
        default=["disjoint"],
        description="disjoint: each thread works on a slice of its own; overlapping: every thread on all of the guest.",
    )
    locality: Many[Literal["sequential", "random", "hot"]] = Field(
        default=["sequential"], description="The order of touches; hot: 90 % of them to 10 % of the slice."
    )
    sparsity: Many[Annotated[int, Field(ge=1)]] = Field(
        default=[1], description="One leaf of each so many is touched; 1 is dense."
    )
    touch: Many[Annotated[str, _size_or("leaf")]] = Field(
        default=["leaf"], description="What touches are apart: leaf, or a size below it."
    )
    populate: Many[Literal["none", "all", "written", "old"]] = Field(
        default=["none"],
        description="The table before the clock starts; all: write-protected, written: writable, old: aged too.",
    )
    mix: Many[str] = Field(
        default=["fault"], description="Weights of operations, such as fault=90 age=5 wrprotect=5; unmap and split too."
    )
    write_percent: Many[Annotated[int, Field(ge=0, le=100)]] = Field(
        default=[100], description="How many of 100 touches write; the others read."
    )
    logging: Many[bool | Literal["auto"]] = Field(
        default=["auto"], description="Whether dirty logging is on; auto: where something needs it."
    )
    ops_per_thread: Many[Annotated[int, Field(ge=0)] | Literal["pass"]] = Field(
        default=["pass"], description="Operations of each thread; pass: once over its slice; 0: the teardown alone."
    )
    op: Many[Annotated[str, _size_or("auto")]] = Field(
        default=["auto"], description="The range of one age, wrprotect, unmap or split operation; auto: 2M."
    )
    rate_per_s: Many[Annotated[float, Field(gt=0)] | Literal["closed"]] = Field(
        default=["closed"], description="Paced arrivals a thread; closed: the next operation when one is done."
    )
    background: Many[Literal["none", "age", "dirty-log", "memslot", "other-vm"]] = Field(
        default=["none"], description="What one more thread does meanwhile."
    )
    background_pause_ns: Many[Annotated[int, Field(ge=0)]] = Field(
        default=[0], description="How long that thread rests between two of its operations."
    )
    delay_ns: Many[Annotated[int, Field(ge=0)]] = Field(
        default=[0], description="How much longer the critical section of delay_site is made."
    )
    delay_site: Many[str] = Field(default=["none"], description="The site of mmu_lock that delay_ns is for.")
    teardown: Many[Teardown] = Field(
        default=["table"],
        description="table: as step, place, breaks, free and defer say; others: a life cycle of variant and strategy.",
    )
    step: Many[Annotated[str, _size_or("whole", "kernel")]] = Field(
        default=["whole"], description="What one walk of the teardown covers: whole, kernel (Linux's step), or a size."
    )
    place: Many[Literal["under-lock", "taken-out"]] = Field(
        default=["under-lock"], description="Torn down with mmu_lock held for write, or taken out under it first."
    )
    breaks: Many[bool] = Field(default=[False], description="Whether the lock is offered to others between two walks.")
    free: Many[Literal["entries", "subtree"]] = Field(
        default=["entries"], description="Freed entry by entry, or a subtree at once."
    )
    defer: Many[bool] = Field(default=[False], description="Whether table pages are freed after an RCU grace period.")
    during: Many[Literal["none", "faults", "age", "dirty-log"]] = Field(
        default=["none"], description="What goes on elsewhere while the teardown runs."
    )
    variant: Many[str] = Field(default=["arm64-7.3"], description="The kernel whose life cycle runs.")
    strategy: Many[str] = Field(default=["none"], description="The locking strategy of the life cycle.")
    cache: Many[Literal["never", "filled"]] = Field(
        default=["never"], description="Whether the VM ever filled its cache for splitting blocks."
    )

    scenario: Many[str] = Field(default=["flush-race-filled"], description="explore: names or texts of scenarios.")
    search: Many[Literal["dpor", "dfs", "random", "pct", "surw"]] = Field(
        default=["dpor"], description="explore: the ways through the executions."
    )
    executions: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="explore: the most executions of a point."
    )
    time_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="explore: the most seconds of a point."
    )
    preemptions: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="explore: the most preemptions of an execution."
    )

    repeats: int = Field(default=5, ge=1, description="Measurements of each point.")
    warmup: int = Field(default=1, ge=0, description="Measurements of each point that are thrown away first.")
    seed: Many[Annotated[int, Field(ge=0, le=2**64 - 1)]] = Field(
        default=[0], description="The order of measurements (one value); explore: the seeds of random searches."
    )
    timeout_s: float = Field(
        default=600.0, gt=0, description="A measurement that takes longer is given up, and its row says so."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, fields: Any) -> Any:
        preset = fields.get("preset") if isinstance(fields, dict) else None
        return {**PRESETS[preset], **fields} if isinstance(preset, str) and preset in PRESETS else fields

    @model_validator(mode="after")
    def _check_kind(self) -> SweepSpec:
        ours, others = (MEASURED, EXPLORED) if self.kind == "measure" else (EXPLORED, MEASURED)
        named = sorted(self.model_fields_set & (others - ours))
        if named:
            other = "explore" if self.kind == "measure" else "measure"
            raise ValueError(f"{named[0]} is a field of kind {other!r}, and this sweep is of kind {self.kind!r}")
        if self.kind == "measure" and len(self.seed) > 1:
            raise ValueError(f"seed {self.seed}: measurements are put into one order, by one seed")
        return self


EXPLORED = frozenset({"scenario", "variant", "strategy", "search", "seed", "executions", "time_s", "preemptions"})
"""Fields that mean something to an exploration."""
MEASURED = frozenset(SweepSpec.model_fields) - (EXPLORED - {"variant", "strategy", "seed"}) - {"kind"}
"""Fields that mean something to a measurement."""


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
        return SweepSpec.model_validate(dict(fields), strict=not text)
    except ValidationError as error:
        raise InputError(_what_is_wrong(error)) from None


def read_spec(file: Path, options: Mapping[str, Any] | None = None) -> SweepSpec:
    """The spec of a TOML file, whose keys are the fields; `options` (text, as of a command line) go before them.

    Raises:
        InputError: there is no such file, it is no TOML, or a field is unknown or wrong; the message begins with the
            file.
    """
    try:
        fields = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: no TOML: {error}") from None
    except OSError as error:
        raise InputError(
            f"{file}: {error.strerror}: a TOML file with fields of a sweep, such as `threads = [1, 2]`, would be right"
        ) from None
    try:
        spec_of(fields)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return spec_of(fields | fields_of_text(options or {}, fields))


def fields_of_text(options: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Fields given as text, with their values; `beside` are fields of the same spec that decide its kind."""
    kind = {name: value for name, value in (beside or {}).items() if name in {"kind", "preset"}}
    spec = spec_of({**kind, **options}, text=True)
    return {name: getattr(spec, name) for name in options}


def _what_is_wrong(error: ValidationError) -> str:
    """The first error as a sentence: the field, its value, and what would be right."""
    every = error.errors(include_url=False)
    first = every[0]
    if not first["loc"]:
        return _said(first)
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        close = get_close_matches(name, SweepSpec.model_fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"{', '.join(SweepSpec.model_fields)} are"
        return f"{name} is no field of a sweep: {hint}"
    # A value that may be one of several things has an error for each of them, at one place.
    place = [part for part in first["loc"][:2] if part == name or isinstance(part, int)]
    same = [one for one in every if [part for part in one["loc"][:2] if part == name or isinstance(part, int)] == place]
    wrong = " or ".join(dict.fromkeys(re.sub("^(Input|List|Value) should", "it should", _said(one)) for one in same))
    return f"{name} {first['input']!r}: {wrong}{_did_you_mean(first)}"


def _said(one: Any) -> str:
    return str(one["msg"]).removeprefix("Value error, ")


def _did_you_mean(one: Any) -> str:
    if one["type"] != "literal_error" or not isinstance(one["input"], str):
        return ""
    close = get_close_matches(one["input"], re.findall(r"'([^']*)'", one["ctx"]["expected"]), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

"""The columns of a store: those of the core's measurements, and what the store adds to each row."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from pyworkbench import _core

if TYPE_CHECKING:
    import pyarrow as pa

NESTED = ("classes", "sites", "holds")
"""Columns of lists: tables of their own, of several rows a measurement."""
EXPLORED = {
    "scenario": "string",
    "variant": "string",
    "strategy": "string",
    "search": "string",
    "seed": "uint64",
    "executions_limit": "uint64",
    "time_limit_s": "double",
    "preemptions_limit": "uint64",
    "run": "uint32",
    "repeat": "uint32",
    "status": "string",
    "error": "string",
    "verdict": "string",
    "kinds": "string",
    "object": "string",
    "what": "string",
    "executions": "uint64",
    "classes": "uint64",
    "actions": "uint64",
    "complete": "bool",
    "elapsed_s": "double",
    "schedule": "string",
    "ladder": "string",
}
"""The columns of an exploration, with their Arrow types."""


@cache
def measured_schema() -> pa.Schema:
    """The core's schema of a measurement."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    return pa.ipc.open_stream(_core.measurement_schema()).schema


@cache
def measurement_version() -> int:
    """The version of what is measured, and how: rows of another one are not comparable."""
    return int(measured_schema().metadata[b"pyworkbench.measurement"])


@cache
def store_schema(kind: str) -> pa.Schema:
    """The columns of a store's rows, without metadata."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    if kind == "measure":
        core = list(measured_schema())
    else:
        core = [pa.field(name, pa.type_for_alias(alias)) for name, alias in EXPLORED.items()]
    own = [
        pa.field("key", pa.string()),
        pa.field("build_id", pa.string()),
        pa.field("session", pa.uint32()),
        pa.field("measured_at", pa.timestamp("ms", "UTC")),
    ]
    return pa.schema([*core, *own])


def configuration(kind: str) -> list[str]:
    """The columns that say what was measured: the fields of a point."""
    names: list[str] = list(store_schema(kind).names)
    return names[: names.index("run")]


def row_without_figures(kind: str, point: str, **known: Any) -> dict[str, Any]:
    """The row of a point that gave no figures: its configuration, and what is known."""
    names = store_schema(kind).names
    return {name: value for name, value in json.loads(point).items() if name in names} | known

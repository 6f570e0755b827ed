"""What figures call columns and values."""

from __future__ import annotations

from typing import Any

import pandas as pd

WORDS = {
    "guest_bytes": "guest memory",
    "leaf_bytes": "mapping",
    "longest_hold_ns": "longest hold",
    "unresched_ns": "longest stretch without a reschedule point",
    "teardown_ns": "teardown time",
    "ops_per_s": "operations a second",
    "op_bytes": "operation",
    "touch_bytes": "touch",
    "write_percent": "writes, %",
    "background_pause_ns": "background pause",
    "step_bytes": "step",
    "ipa_bits": "IPA bits",
    "delay_ns": "delay",
    "rate_per_s": "rate",
}
"""What a figure calls a column, where its name is not a word already."""

_MISSING = {"step_bytes": "whole", "ops_per_thread": "one pass", "rate_per_s": "closed loop"}
_FLAGS = {
    "breaks": ("no lock breaks", "lock breaks"),
    "defer": ("at once", "deferred"),
    "logging": ("no dirty logging", "dirty logging"),
}
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size_text(size_bytes: float) -> str:
    """A size in the largest unit of which there is one.

    Example:
        >>> size_text(1 << 30), size_text(3 << 19), size_text(100)
        ('1 GiB', '1.5 MiB', '100 B')
    """
    for unit, name in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:g} {name}"
    return f"{size_bytes:g} B"


def time_text(ns: float) -> str:
    """A time in the largest unit of which there is one.

    Example:
        >>> time_text(20), time_text(1.5e3), time_text(1e8), time_text(2e9)
        ('20 ns', '1.5 µs', '100 ms', '2 s')
    """
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= unit:
            return f"{ns / unit:.4g} {name}"
    return f"{ns:.4g} ns"


def word(column: str) -> str:
    """A column in words.

    Example:
        >>> word("guest_bytes"), word("lock"), word("delay_site")
        ('guest memory', 'lock', 'delay site')
    """
    return WORDS.get(column, column.replace("_", " "))


def value_text(column: str, value: Any) -> str:
    """A value of a configuration column in words.

    Example:
        >>> value_text("step_bytes", None), value_text("leaf_bytes", 4096), value_text("threads", 2)
        ('whole', '4 KiB', '2 threads')
    """
    if pd.isna(value):
        return _MISSING.get(column, f"no {word(column)}")
    if column in _FLAGS:
        return _FLAGS[column][bool(value)]
    if column.endswith("_bytes"):
        return size_text(float(value))
    if column == "threads":
        return f"{value} thread{'' if value == 1 else 's'}"
    if column == "sparsity":
        return "dense" if value == 1 else f"1 of {value}"
    return time_text(float(value)) if column.endswith("_ns") else str(value)


def qualified_text(column: str, value: Any) -> str:
    """The same beside values of other columns: a size or a number says what it is of.

    Example:
        >>> qualified_text("step_bytes", None), qualified_text("lock", "mcs"), qualified_text("threads", 1)
        ('step whole', 'mcs', '1 thread')
    """
    text = value_text(column, value)
    plain = column in _FLAGS or column == "threads" or text.startswith("no ") or isinstance(value, str)
    return text if plain else f"{word(column)} {text}"

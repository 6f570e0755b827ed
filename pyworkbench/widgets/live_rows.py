"""The rows of a store while it grows, as far as a live plot needs them.

Guaranteed: each segment is read once, however often one looks, so that looking at a long sweep stays cheap; what cannot
be read is left to those who read results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pyworkbench.sweep import segments
from pyworkbench.sweep.schema import configuration, store_schema

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class LiveRows:
    """The measurements of a store that came to an end, with one figure."""

    def __init__(self, directory: Path, figure: str) -> None:
        self._folder = directory / "segments"
        self._columns = [*configuration("measure"), "oversubscribed", "status", "key", figure]
        self._read: dict[str, pd.DataFrame] = {}

    def grew(self) -> bool:
        """Reads what has come since; says whether there was anything."""
        import pyarrow as pa  # noqa: PLC0415 (slow)

        from pyworkbench.sweep.load import reader  # noqa: PLC0415 (see above)

        standing = {segment.file.name: segment.file for segment in segments.standing(self._folder)}
        if standing.keys() == self._read.keys():
            return False
        schema = store_schema("measure")
        read = reader(pa.schema([schema.field(name) for name in self._columns]))
        for name in self._read.keys() - standing.keys():
            del self._read[name]  # a compaction's segment stands for it now
        for name, file in standing.items():
            if name not in self._read:
                try:
                    self._read[name] = read(file).to_pandas()
                except (OSError, ValueError):
                    self._read[name] = pd.DataFrame(columns=self._columns)
        return True

    def frame(self, keys: Collection[str] | None) -> pd.DataFrame:
        """The rows of these points; of all, if not said."""
        found = [frame.astype(object) for frame in self._read.values() if len(frame)]
        rows = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=self._columns)
        rows = rows[rows["status"] == "ok"]
        return rows if keys is None else rows[rows["key"].isin(keys)]

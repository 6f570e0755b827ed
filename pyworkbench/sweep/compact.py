"""Many small segments become one: `pwb compact`.

Guaranteed: at every moment, also after a kill, the store has each row once: the merged segment appears by one
rename, stands for those it was made of from then on, and only then are these removed. What cannot be read is left
as it is, and the segments on either side of it become one each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyworkbench.sweep import segments
from pyworkbench.sweep.store import locked, read_manifest, write_parquet

if TYPE_CHECKING:
    from pathlib import Path


def compact(directory: Path) -> tuple[int, int]:
    """Merges the segments of a store; says how many there were, and how many there are now.

    Raises:
        StoreError: there is no store, a sweep is writing into it, or the disk is full; nothing is lost then.
    """
    read_manifest(directory)
    folder = directory / "segments"
    with locked(directory, "a compaction"):
        segments.clear_away(folder)
        before = segments.standing(folder)
        for neighbours in _readable_neighbours(folder, before):
            _merge(folder, neighbours)
        return len(before), len(segments.standing(folder))


def _readable_neighbours(folder: Path, before: list[segments.Segment]) -> list[list[tuple[segments.Segment, Any]]]:
    """Runs of segments that can be read, with their rows."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (see _frames)

    readable = dict(
        segments.read_each(folder, lambda file: pq.read_table(file, page_checksum_verification=True), None, [])
    )
    runs: list[list[tuple[segments.Segment, Any]]] = [[]]
    for segment in before:
        if segment in readable and _same_columns(readable[segment], runs[-1]):
            runs[-1].append((segment, readable[segment]))
        elif segment in readable:
            runs.append([(segment, readable[segment])])
        else:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def _same_columns(table: Any, run: list[tuple[segments.Segment, Any]]) -> bool:
    return not run or bool(table.schema.equals(run[-1][1].schema, check_metadata=True))


def _merge(folder: Path, run: list[tuple[segments.Segment, Any]]) -> None:
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    merged = pa.concat_tables(table for _, table in run)
    first, last = run[0][0], run[-1][0]
    segments.write(folder, first.first, last.last, lambda file: write_parquet(merged, file))
    for segment, _ in run:
        segment.file.unlink(missing_ok=True)
    segments.synchronise(folder)

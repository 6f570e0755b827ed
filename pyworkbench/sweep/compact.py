"""Many small segments become one: `pwb compact`.

Guaranteed: at every moment, also after a kill, the store has each row once: the merged segment appears by one
rename, stands for those it was made of from then on, and only then are these removed. What cannot be read is left
as it is, and the segments on either side of it become one each. Rows pass through in pieces, so that the memory that it
takes does not depend on how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyworkbench.sweep import segments
from pyworkbench.sweep.store import GROUP_ROWS, locked, parquet_writer, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from pyworkbench.sweep.segments import Segment

BATCH_ROWS = 1 << 14
GROUP_BYTES = 192 << 20
"""What a piece of rows takes in memory; a store of short rows has fewer, larger groups."""


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
        left = before
        while left:
            left = left[_merge_first(folder, left) :]
        return len(before), len(segments.standing(folder))


class _DamagedError(Exception):
    """A segment cannot be read to its end."""

    def __init__(self, at: int) -> None:
        self.at = at


def _merge_first(folder: Path, left: list[Segment]) -> int:
    """Merges as many of the first segments as can be, and says how many are dealt with."""
    try:
        count, schema = _alike(left)
        if count > 1:
            run = left[:count]
            segments.write(folder, run[0].first, run[-1].last, lambda file: _write_rows(run, schema, file))
            for segment in run:
                segment.file.unlink(missing_ok=True)
            segments.synchronise(folder)
    except _DamagedError as damaged:
        # Those before it again, which were read to their ends; it stays as it is.
        return _merge_first(folder, left[: damaged.at]) if damaged.at else 1
    return count


def _alike(left: list[Segment]) -> tuple[int, pa.Schema]:
    """How many of the first segments have the same columns, and which."""
    schema = None
    for at, segment in enumerate(left):
        try:
            with _opened(segment) as opened:
                mine = opened.schema_arrow
        except (OSError, ValueError):
            if at == 0:
                raise _DamagedError(0) from None
            return at, schema
        if schema is not None and not mine.equals(schema, check_metadata=True):
            return at, schema
        schema = mine
    return len(left), schema


def _write_rows(run: list[Segment], schema: pa.Schema, file: Path) -> None:
    """The rows of segments in one file, in groups of rows that are as large as a piece in memory may be."""
    with parquet_writer(file, schema) as writer:
        piece: list[pa.RecordBatch] = []
        for at, segment in enumerate(run):
            for batch in _batches(segment, at):
                piece.append(batch)
                if sum(map(len, piece)) >= GROUP_ROWS or sum(one.nbytes for one in piece) >= GROUP_BYTES:
                    _write_group(writer, piece)
        _write_group(writer, piece)


def _batches(segment: Segment, at: int) -> Iterator[pa.RecordBatch]:
    """The rows of a segment; an error of its own is told from one of what is written."""
    try:
        with _opened(segment) as opened:
            batches = opened.iter_batches(BATCH_ROWS)
            while (batch := next(batches, None)) is not None:
                yield batch
    except (OSError, ValueError):
        raise _DamagedError(at) from None


def _write_group(writer: pq.ParquetWriter, piece: list[pa.RecordBatch]) -> None:
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    if piece:
        writer.write_table(pa.Table.from_batches(piece), row_group_size=GROUP_ROWS)
        piece.clear()


def _opened(segment: Segment) -> pq.ParquetFile:
    import pyarrow.parquet as pq  # noqa: PLC0415 (see _frames)

    return pq.ParquetFile(segment.file, page_checksum_verification=True, buffer_size=1 << 20)

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
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from pyworkbench.sweep.segments import Segment

BATCH_ROWS = 1 << 14
GROUP_BYTES = 64 << 20
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
        for neighbours in _readable_neighbours(before):
            _merge(folder, neighbours)
        return len(before), len(segments.standing(folder))


def _readable_neighbours(before: list[Segment]) -> list[list[Segment]]:
    """Runs of segments that can be read to their ends, and have the same columns."""
    runs: list[list[Segment]] = [[]]
    columns = None
    for segment in before:
        schema = _schema_if_whole(segment)
        if schema is None:
            runs.append([])
        elif runs[-1] and schema.equals(columns, check_metadata=True):
            runs[-1].append(segment)
        else:
            runs.append([segment])
        columns = schema
    return [run for run in runs if len(run) > 1]


def _schema_if_whole(segment: Segment) -> pa.Schema | None:
    """The columns of a segment whose every page is as it was written."""
    try:
        with _opened(segment) as opened:
            for _ in opened.iter_batches(BATCH_ROWS):
                pass
            return opened.schema_arrow
    except (OSError, ValueError):
        return None


def _merge(folder: Path, run: list[Segment]) -> None:
    segments.write(folder, run[0].first, run[-1].last, lambda file: _write_rows(run, file))
    for segment in run:
        segment.file.unlink(missing_ok=True)
    segments.synchronise(folder)


def _write_rows(run: list[Segment], file: Path) -> None:
    """The rows of segments in one file, in groups of rows that are as large as a piece in memory may be."""
    with _opened(run[0]) as first:
        schema = first.schema_arrow
    with parquet_writer(file, schema) as writer:
        piece: list[pa.RecordBatch] = []
        for segment in run:
            with _opened(segment) as opened:
                for batch in opened.iter_batches(BATCH_ROWS):
                    piece.append(batch)
                    if sum(map(len, piece)) >= GROUP_ROWS or sum(one.nbytes for one in piece) >= GROUP_BYTES:
                        _write_group(writer, piece)
        _write_group(writer, piece)


def _write_group(writer: pq.ParquetWriter, piece: list[pa.RecordBatch]) -> None:
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    if piece:
        writer.write_table(pa.Table.from_batches(piece), row_group_size=GROUP_ROWS)
        piece.clear()


def _opened(segment: Segment) -> pq.ParquetFile:
    import pyarrow.parquet as pq  # noqa: PLC0415 (see _frames)

    return pq.ParquetFile(segment.file, page_checksum_verification=True, buffer_size=1 << 20)

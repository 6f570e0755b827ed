"""The files of a store's rows: Parquet, each written aside, synchronised and renamed, never changed after that.

A segment is called by its numbers: `00000007.parquet`, or `00000001-00000041.parquet` after a compaction, which
then stands for every segment whose numbers lie within its own. Guaranteed: a file with such a name is whole unless
the disk damaged it; a reader that follows `standing` sees every row once, at whichever moment a sweep or a
compaction was killed. A damaged file is named, and the others are read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyworkbench.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

_NAME = re.compile(r"(\d{8})(?:-(\d{8}))?\.parquet")


@dataclass(frozen=True, order=True)
class Segment:
    """A file of rows."""

    first: int
    last: int
    file: Path

    def stands_for(self, other: Segment) -> bool:
        """Whether the rows of the other one are in this one too."""
        return self != other and self.first <= other.first and other.last <= self.last


def every(folder: Path) -> list[Segment]:
    """All segments of a folder, in order; also those that another stands for."""
    named = [(_NAME.fullmatch(file.name), file) for file in (folder.iterdir() if folder.is_dir() else ())]
    return sorted(Segment(int(match[1]), int(match[2] or match[1]), file) for match, file in named if match)


def standing(folder: Path) -> list[Segment]:
    """The segments that hold a store's rows, each row once, in order."""
    kept: list[Segment] = []
    for segment in sorted(every(folder), key=lambda one: (one.first, -one.last)):
        if not kept or not kept[-1].stands_for(segment):
            kept.append(segment)
    return kept


def write(folder: Path, first: int, last: int, write_rows: Callable[[Path], object]) -> Segment:
    """Writes a segment.

    Raises:
        StoreError: it cannot be written; nothing is left of it.
    """
    name = f"{first:08}.parquet" if first == last else f"{first:08}-{last:08}.parquet"
    file = folder / name
    aside = folder / f".{name}.part"
    try:
        write_rows(aside)
        synchronise(aside)
        aside.replace(file)
        synchronise(folder)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(f"cannot be written: {error.strerror or error}", str(file)) from error
    except Exception:
        aside.unlink(missing_ok=True)
        raise
    return Segment(first, last, file)


def synchronise(path: Path) -> None:
    """Waits until a file or the names of a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_away(folder: Path) -> None:
    """Removes what killed writers left aside, and segments that another stands for."""
    for file in folder.glob(".*.part"):
        file.unlink(missing_ok=True)
    kept = standing(folder)
    for segment in every(folder):
        if segment not in kept and is_whole(next(one for one in kept if one.stands_for(segment))):
            segment.file.unlink(missing_ok=True)


def is_whole(segment: Segment) -> bool:
    """Whether a segment's end, which says what is in it, can be read."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (see _frames)

    try:
        return bool(pq.read_metadata(segment.file).num_columns)
    except (OSError, ValueError):
        return False


def read_each(
    folder: Path, read: Callable[[Path], pa.Table], version: int | None, damaged: list[str]
) -> Iterator[tuple[Segment, pa.Table]]:
    """Reads every standing segment; appends to `damaged` the files that cannot be, or are of another version.

    Args:
        folder: the segments.
        read: reads one; an error of the file or of its format makes it a damaged one.
        version: the version of the measurement that rows must be of, if one is asked for.
        damaged: a sentence for each file that was left out.
    """
    for segment in standing(folder):
        try:
            table = read(segment.file)
        except FileNotFoundError:
            raise _Vanished from None  # a compaction took its place
        except (OSError, ValueError) as error:
            damaged.append(f"{segment.file} is damaged ({_first_line(error)}); its rows are left out")
            continue
        of = version_of(table.schema.metadata)
        if version is not None and of != version:
            damaged.append(f"{segment.file} is of measurement version {of}, this is {version}; its rows are left out")
            continue
        yield segment, table


def reading(once: Callable[[], Any]) -> Any:
    """Reads again when a compaction takes segments away meanwhile."""
    for _ in range(20):
        try:
            return once()
        except _Vanished:
            continue
    return once()


class _Vanished(Exception):  # noqa: N818 (nobody outside sees it)
    """A segment went between listing and reading."""


def version_of(metadata: dict[bytes, bytes] | None) -> int | None:
    """The version of the measurement that a schema's metadata name."""
    said = (metadata or {}).get(b"pyworkbench.measurement")
    return int(said) if said else None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def total_rows(segments: Iterable[Segment]) -> int:
    """How many rows segments have, as their ends say; damaged ones count nothing."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (see _frames)

    count = 0
    for segment in segments:
        try:
            count += pq.read_metadata(segment.file).num_rows
        except (OSError, ValueError):
            continue
    return count

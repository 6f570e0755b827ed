"""A store: the folder into which a sweep writes what it measures, as it measures it.

    DIR/manifest.json   the format, the kind of sweep, and each session: spec, environment, build
    DIR/segments/       the rows (see `segments`)
    DIR/status.json     how far the sweep is, written again about once a second
    DIR/lock            held (flock) by the one sweep or compaction that may write; says who
    DIR/log             what the measuring process printed, and what happened to it

Guaranteed: one writer at a time; what `flush` has written survives any kill; files are replaced as a whole. A kill
loses at most the rows since the last flush: a second of work or a thousand rows.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from pyworkbench import _core
from pyworkbench._environment import environment
from pyworkbench.errors import StoreError
from pyworkbench.sweep import segments
from pyworkbench.sweep.machine import holder, try_lock, write_holder
from pyworkbench.sweep.schema import measured_schema, measurement_version, store_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from pyworkbench.sweep.spec import SweepSpec

FORMAT = 1
"""The version of the store's own form."""
SEGMENT_ROWS = 1000
SEGMENT_S = 1.0
GROUP_ROWS = 1 << 17
"""The most rows of a row group of a segment."""
OWN = frozenset({"manifest.json", "segments", "status.json", "lock", "log", "spec.toml", "sweep.log"})
"""What is in a store's folder; the last two are `background`'s. A store is not begun among anything else."""
LOCK_TRIES = 5
"""A reader of the status holds the lock for a moment; a writer asks again."""


def read_manifest(directory: Path) -> dict[str, Any]:
    """What a store says about itself.

    Raises:
        StoreError: there is none, or one of another format.
    """
    file = directory / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(file.read_text())
        written = manifest["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError("there is no store of a sweep here: `pwb sweep --out` makes one", str(directory)) from None
    except OSError as error:
        raise StoreError(f"cannot be read: {error.strerror}", str(file)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"is damaged: {error}; the rows in segments/ can still be read as Parquet", str(file)
        ) from None
    if written != FORMAT:
        raise StoreError(f"the store is of format {written}, and this version reads format {FORMAT}", str(file))
    return manifest


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Holds a store for writing.

    Raises:
        StoreError: another holds it; the message says who, since when.
    """
    file = directory / "lock"
    for left in reversed(range(LOCK_TRIES)):
        try:
            held = try_lock(file)
        except OSError as error:
            raise StoreError(f"cannot be written: {error.strerror}", str(file)) from None
        if held is None and left:
            time.sleep(0.02)
            continue
        break
    if held is None:
        raise StoreError(f"in use by {holder(file)}: wait for it, or choose another folder", str(file))
    with held:
        write_holder(held, what)
        yield


def is_locked(directory: Path) -> bool:
    """Whether a sweep or a compaction writes into the store now."""
    try:
        # Shared and only to read: whoever may see a store may ask, and those who ask do not stop one another.
        with (directory / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def make_folder(directory: Path) -> None:
    """Makes the folder of a store, if it is not there.

    Raises:
        StoreError: it cannot be made, or holds something else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        others = sorted(file.name for file in directory.iterdir() if file.name not in OWN and file.name[0] != ".")
    except OSError as error:
        raise StoreError(f"cannot be a store's folder: {error.strerror}", str(directory)) from None
    if others and not (directory / "manifest.json").exists():
        raise StoreError(
            f"is no store, and has something else in it ({others[0]}): a new or an empty folder would be right",
            str(directory),
        )


class Store:
    """A store that is open for writing, by the one who holds its lock."""

    def __init__(self, directory: Path, spec: SweepSpec) -> None:
        self.directory = directory
        self.kind = spec.kind
        self.folder = directory / "segments"
        self._buffer: list[Any] = []
        self._since = 0.0
        self.folder.mkdir(exist_ok=True)
        segments.clear_away(self.folder)
        self._manifest = self._open_manifest(spec)
        self.session = len(self._manifest["sessions"]) - 1
        self._next = max((segment.last for segment in segments.every(self.folder)), default=0) + 1
        self.damaged: list[str] = []
        self.written = 0
        """Rows of this session that are in segments."""

    def _open_manifest(self, spec: SweepSpec) -> dict[str, Any]:
        version = measurement_version()
        file = self.directory / "manifest.json"
        if file.exists():
            manifest = read_manifest(self.directory)
            if manifest["kind"] != spec.kind:
                raise StoreError(f"the store is of kind {manifest['kind']}, the sweep of {spec.kind}", str(file))
            if manifest["measurement"] != version:
                raise StoreError(
                    f"the store is of measurement version {manifest['measurement']}, and this build measures version "
                    f"{version}: their rows are not comparable, choose another folder",
                    str(file),
                )
            if spec.kind == "measure":
                _refuse_another_machine(manifest, file)
        else:
            manifest = {"format": FORMAT, "kind": spec.kind, "measurement": version, "sessions": []}
        manifest["sessions"].append(
            {"spec": spec.model_dump(mode="json", exclude_unset=True), "environment": environment()}
        )
        write_json(file, manifest)
        return manifest

    @property
    def environment(self) -> dict[str, Any]:
        """Where and with what this session measures."""
        facts: dict[str, Any] = self._manifest["sessions"][-1]["environment"]
        return facts

    @property
    def builds(self) -> set[str]:
        """The builds of the core that wrote into this store before."""
        return {session["environment"]["build_id"] for session in self._manifest["sessions"][:-1]}

    def note(self, **facts: Any) -> None:
        """Adds facts to this session's environment in the manifest."""
        self.environment.update(facts)
        write_json(self.directory / "manifest.json", self._manifest)

    def open_log(self) -> IO[bytes]:
        """The log, to be appended to."""
        return (self.directory / "log").open("ab", buffering=0)

    def append(self, key: str, row: pa.Table | dict[str, Any]) -> bool:
        """Takes a row, as the core gives it or as values; says whether it wrote a segment."""
        if not self._buffer:
            self._since = time.monotonic()
        self._buffer.append((key, row, datetime.now(UTC)))
        if len(self._buffer) >= SEGMENT_ROWS or time.monotonic() - self._since >= SEGMENT_S:
            self.flush()
            return True
        return False

    def flush(self) -> None:
        """Writes what was taken as a segment; nothing if nothing was.

        Raises:
            StoreError: it cannot be written.
        """
        if not self._buffer:
            return
        taken = self._buffer
        table = self._table(taken)
        try:
            segments.write(self.folder, self._next, self._next, lambda file: write_parquet(table, file))
        except StoreError as error:
            raise StoreError(
                f"{error.message}; {len(taken)} measurements of the last second are lost, those before are kept: run "
                "the same again when that is mended",
                error.file,
            ) from error
        # Only now, so that after an interrupt the same rows can be written to the same name again; and at once, so that
        # none comes between.
        self._buffer, self._next, self.written = [], self._next + 1, self.written + len(taken)

    def _table(self, taken: list[tuple[str, pa.Table | dict[str, Any], datetime]]) -> pa.Table:
        """The rows as one table with all of the store's columns."""
        import pyarrow as pa  # noqa: PLC0415 (see _frames)

        schema = store_schema(self.kind)
        of_core = pa.schema(list(schema)[:-4])
        rows = [
            pa.Table.from_pylist([row], schema=of_core) if isinstance(row, dict) else row.cast(of_core)
            for _, row, _ in taken
        ]
        count = len(taken)
        own = [
            pa.array([key for key, _, _ in taken]),
            pa.array([_core.build_id()] * count),
            pa.array([self.session] * count, pa.uint32()),
            pa.array([at for _, _, at in taken], pa.timestamp("ms", "UTC")),
        ]
        table = pa.concat_tables(rows).combine_chunks()
        for field, column in zip(list(schema)[-4:], own, strict=True):
            table = table.append_column(field, column)
        return table.replace_schema_metadata(segment_metadata(self.kind))


def _refuse_another_machine(manifest: dict[str, Any], file: Path) -> None:
    """Rows of two machines would be taken for repeats of one measurement."""
    here = environment()
    for session in manifest["sessions"]:
        there = session["environment"]
        for name in ("cpu", "cores", "machine", "kernel"):
            if there.get(name) != here[name]:
                raise StoreError(
                    f"the store is of a machine whose {name} is {there.get(name)}, and here it is {here[name]}: their "
                    "rows are not comparable, choose another folder",
                    str(file),
                )


def segment_metadata(kind: str) -> dict[bytes, bytes]:
    """What a segment's schema says about it."""
    version = {b"pyworkbench.measurement": str(measurement_version()).encode()}
    return {
        **(measured_schema().metadata if kind == "measure" else version),
        b"pyworkbench.store": str(FORMAT).encode(),
    }


def write_parquet(table: pa.Table, file: Path) -> None:
    """Writes rows with checksums; names as dictionaries."""
    with parquet_writer(file, table.schema) as writer:
        writer.write_table(table, row_group_size=GROUP_ROWS)


def parquet_writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """What writes a segment, in pieces if need be."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (see _frames)

    return pq.ParquetWriter(file, schema, compression="lz4", write_page_checksum=True)


def write_json(file: Path, value: dict[str, Any], *, synchronised: bool = True) -> None:
    """Replaces a JSON file as a whole.

    Raises:
        StoreError: it cannot be written.
    """
    aside = file.with_name(f".{file.name}.part")
    try:
        with aside.open("w") as out:
            json.dump(value, out, indent=1)
            if synchronised:
                out.flush()
                os.fsync(out.fileno())
        aside.replace(file)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(f"cannot be written: {error.strerror or error}", str(file)) from error

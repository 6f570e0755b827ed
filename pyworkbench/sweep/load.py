"""A store's rows as frames.

Guaranteed: each measurement once, whatever was killed when; names of the configuration are categories, in the order
in which the spec lists them, and figures are Arrow columns. A file that is damaged or of another version is left
out, and said: by a `StoreWarning`, and in the frame's `attrs["warnings"]`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pyworkbench.errors import InputError, StoreError, StoreWarning
from pyworkbench.sweep import segments
from pyworkbench.sweep.schema import NESTED, configuration, measurement_version, store_schema
from pyworkbench.sweep.spec import SweepSpec
from pyworkbench.sweep.store import read_manifest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TABLES = ("rows", *NESTED)
Table = Literal["rows", "classes", "sites", "holds"]
_TEXTS = ("error", "what", "schedule", "ladder")
"""Text that is no name of anything."""


def load(directory: Path | str, table: Table = "rows") -> pd.DataFrame:
    """The rows of a store.

    Args:
        directory: the store.
        table: `rows`, a row a measurement; `classes`, a row for each class of operations of a measurement; `sites`,
        one for
            each site that took a lock; `holds`, one for each bucket of hold times. The latter three have the
            configuration too; the lock's own name is `lock_class` there, as `lock` is the kind that plays it.

    Returns:
        `attrs["warnings"]` lists what was left out, `attrs["sessions"]` the environments of the sweeps that wrote it.

    Raises:
        StoreError: there is no store, or nothing in it can be read.
        InputError: there is no such table.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    kind = manifest["kind"]
    if table not in TABLES or (table != "rows" and kind == "explore"):
        known = "rows" if kind == "explore" else ", ".join(TABLES)
        raise InputError(f"table {table!r} is not one of a store of kind {kind}: {known}")
    left_out: list[str] = []
    found = segments.reading(lambda: _read(directory, kind, table, left_out))
    found = _without_superseded(found)
    frame = _frame(found if table == "rows" else _unnest(found, table))
    for sentence in left_out:
        warnings.warn(sentence, StoreWarning, stacklevel=2)
    frame.attrs["warnings"] = left_out
    frame.attrs["sessions"] = [session["environment"] for session in manifest["sessions"]]
    return frame


def _read(directory: Path, kind: str, table: str, left_out: list[str]) -> pa.Table:
    """The columns of a table, of all segments."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    left_out.clear()
    schema = store_schema(kind)
    names = [name for name in schema.names if name not in NESTED]
    if table != "rows":
        names = [*configuration(kind), "run", "repeat", "oversubscribed", "status", "key", table]
    wanted = pa.schema([schema.field(name) for name in names])
    version = measurement_version() if kind == "measure" else None
    found = [one for _, one in segments.read_each(directory / "segments", reader(wanted), version, left_out)]
    if not found and left_out:
        raise StoreError(f"nothing in the store can be read: {left_out[0]}", str(directory))
    return pa.concat_tables(found) if found else reader_schema(wanted).empty_table()


def _without_superseded(found: pa.Table) -> pa.Table:
    """Leaves out rows without figures that have been measured again since."""
    import numpy as np  # noqa: PLC0415 (see _frames)
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    bad = pc.not_equal(found["status"].cast(pa.string()), "ok").to_numpy()
    if not bad.any():
        return found
    key = found["key"].cast(pa.string()).combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    measurement = key << 32 | found["repeat"].to_numpy()
    again = np.flatnonzero(np.isin(measurement, measurement[bad]))
    last = dict(zip(measurement[again].tolist(), again.tolist(), strict=True))
    kept = ~bad
    kept[list(last.values())] = True
    return found.filter(pa.array(kept))


def reader(wanted: pa.Schema) -> Any:
    """What reads these columns of a segment, names as dictionaries."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)
    import pyarrow.parquet as pq  # noqa: PLC0415

    as_read = reader_schema(wanted)
    names = [field.name for field in as_read if pa.types.is_dictionary(field.type)]

    def read(file: Path) -> pa.Table:
        opened = pq.ParquetFile(file, read_dictionary=names, page_checksum_verification=True)
        with opened:
            return opened.read(columns=wanted.names).select(wanted.names)

    return read


def reader_schema(wanted: pa.Schema) -> pa.Schema:
    """The types as they are read: names are dictionaries."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    def is_name(field: pa.Field) -> bool:
        return bool(pa.types.is_string(field.type)) and field.name not in _TEXTS

    name = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([field.with_type(name) if is_name(field) else field for field in wanted])


def _unnest(found: pa.Table, column: str) -> pa.Table:
    """A row for each member of the lists in a column, with the configuration of its measurement."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)
    import pyarrow.compute as pc  # noqa: PLC0415

    found = found.unify_dictionaries().combine_chunks()
    lists = found[column].combine_chunks() if found.num_rows else pa.array([], found.schema.field(column).type)
    members = pc.list_flatten(lists)
    of = found.drop_columns([column]).take(pc.list_parent_indices(lists))
    for name in (member.name for member in members.type):
        values = pc.struct_field(members, name)
        if pa.types.is_string(values.type):
            values = values.dictionary_encode()
        of = of.append_column("lock_class" if name == "lock" else name, values)
    return of


def _frame(found: pa.Table) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 (see _frames)
    import pyarrow as pa  # noqa: PLC0415

    def kind_of(arrow: pa.DataType) -> Any:
        return None if pa.types.is_dictionary(arrow) else pd.ArrowDtype(arrow)

    frame: pd.DataFrame = found.unify_dictionaries().to_pandas(types_mapper=kind_of, split_blocks=True)
    order = _order_of_names()
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.CategoricalDtype) and name != "key":
            present = list(frame[name].cat.categories)
            listed = [value for value in order.get(name, ()) if value in present]
            frame[name] = frame[name].cat.set_categories(listed + sorted(set(present) - set(listed)))
    return frame


def _order_of_names() -> dict[str, tuple[str, ...]]:
    """The names that the spec lists, in its order."""
    found = {}
    for name, field in SweepSpec.model_fields.items():
        of_one = get_args(field.annotation)[:1] if get_origin(field.annotation) is list else ()
        if of_one and get_origin(of_one[0]) is Literal:
            found[name] = get_args(of_one[0])
    return found

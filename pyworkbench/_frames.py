"""Arrow tables from the core as pandas frames, without a copy.

pandas and pyarrow are imported at the first frame, not with the package: a command that prints text starts
in a tenth of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


class ArrowBatch(Protocol):
    """An Arrow record batch, by the Arrow PyCapsule interface."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """The capsules of the schema and of the array."""


def to_pandas(batch: ArrowBatch) -> pd.DataFrame:
    """A frame over the batch's own memory, its columns of `pandas.ArrowDtype`."""
    import pandas as pd  # noqa: PLC0415 (see above)
    import pyarrow as pa  # noqa: PLC0415

    frame: pd.DataFrame = pa.record_batch(batch).to_pandas(types_mapper=pd.ArrowDtype)
    return frame

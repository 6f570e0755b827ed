"""Tables that say how sure each figure is, and take their values along for export.

A table shown in a notebook is HTML, whose figures are rounded; what it was made of travels beside it as Parquet, so
that `pwb report --parquet` and `--csv` write every digit. Plain HTML, no script, nothing to load.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from pyworkbench.errors import InputError
from pyworkbench.plots import OVERSUBSCRIBED
from pyworkbench.sweep import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from IPython.display import Markdown

T = TypeVar("T")

PARQUET = "application/vnd.apache.parquet"
"""The MIME type of a table's values in an output, base64; its metadata has the table's name."""
DIGITS = 4
MOST_ROWS = 400
"""What a page shows of a table; the files have all of it."""
_TITLES = {"low": "95 % from", "high": "to", "n": "measured", "guest_bytes": "guest", "step_bytes": "step"}
_NO_STEP = "whole"
_TABLE = "font:13px system-ui,'DejaVu Sans',sans-serif;border-collapse:collapse;margin:0.5em 0"
_HEAD = "padding:4px 8px;font-weight:normal;border-bottom:2px solid #b8c0ca;vertical-align:bottom"
_RULE = "padding:3px 8px;border-bottom:1px solid #e6eaee"
_NOTE = "padding:4px 8px;text-align:left;font-size:12px"
_DOUBT = f"background:{OVERSUBSCRIBED}"


class Sure:
    """A frame as a table: configuration, figures to four digits, warnings; doubtful rows on another ground.

    Args:
        frame: what `pyworkbench.stats` answers, or any other frame of a report.
        name: what its file is called when it is exported.
        note: what stands below it.
        columns: what is shown of it, all if not said; the export has all.

    Example:
        >>> frame = pd.DataFrame({"threads": [1], "median": [12345.678], "warnings": ["noisy"]})
        >>> "12,350" in Sure(frame, "throughput").html
        True
    """

    def __init__(self, frame: pd.DataFrame, name: str, note: str = "", columns: Sequence[str] | None = None) -> None:
        self.frame = frame
        self.name = name
        chosen = [each for each in columns or frame.columns if each != "warnings"]
        shown = frame.head(MOST_ROWS)[[*chosen, *(["warnings"] if "warnings" in frame else [])]]
        self.html = _html(shown, [note, _left_out(len(frame))])

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        data = {"text/html": self.html, "text/plain": f"table {self.name}", PARQUET: parquet_text(self.frame)}
        return data, {PARQUET: {"name": self.name}}


def parquet_text(frame: pd.DataFrame) -> str:
    """A frame as Parquet, base64."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)
    import pyarrow.parquet as pq  # noqa: PLC0415

    # Arrow's own buffer: a file of Python's may be let go by one of its threads, which aborts a process that is ending.
    data = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(plain(frame), preserve_index=False), data)
    return base64.b64encode(data.getvalue()).decode()


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with names as text instead of categories, which not every reader of Parquet takes back."""
    named = [
        name
        for name, kind in frame.dtypes.items()
        if isinstance(kind, pd.CategoricalDtype) or str(kind).startswith("dictionary")
    ]
    return frame.astype(dict.fromkeys(named, object))


def frame_of_parquet(text: str) -> pd.DataFrame:
    """The frame of `parquet_text`."""
    import pyarrow as pa  # noqa: PLC0415 (see _frames)

    return pd.read_parquet(pa.BufferReader(base64.b64decode(text)), dtype_backend="pyarrow")


def _left_out(rows: int) -> str:
    return f"{rows - MOST_ROWS:,} more rows are in the exported files" if rows > MOST_ROWS else ""


def _html(frame: pd.DataFrame, notes: Sequence[str]) -> str:
    texts = {name: _texts(name, frame[name]) for name in frame.columns}
    figures = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    for name in [name for name in figures if f"{name}_low" in texts and f"{name}_high" in texts]:
        bounds = zip(texts.pop(f"{name}_low"), texts.pop(f"{name}_high"), strict=True)
        texts[name] = [f"{text} ({low} to {high})" for text, (low, high) in zip(texts[name], bounds, strict=True)]
    aligned = {name: "right" if name in figures else "left" for name in texts}
    rows = [_row("th", {name: _TITLES.get(name, str(name).replace("_", " ")) for name in texts}, aligned, "")]
    doubtful = list(frame["warnings"].astype(bool)) if "warnings" in frame else [False] * len(frame)
    for at, doubt in enumerate(doubtful):
        rows.append(_row("td", {name: column[at] for name, column in texts.items()}, aligned, _DOUBT if doubt else ""))
    said = ["Shaded: the figure has a warning." if any(doubtful) else "", *notes]
    below = "<br>".join(escape(note) for note in said if note)
    foot = f'<tfoot><tr><td colspan="{len(texts)}" style="{_NOTE}">{below}</td></tr></tfoot>' if below else ""
    head, body = rows[0], "\n".join(rows[1:])
    return f'<table style="{_TABLE}"><thead>{head}</thead><tbody>\n{body}\n</tbody>{foot}</table>'


def _row(cell: str, texts: dict[str, str], aligned: dict[str, str], ground: str) -> str:
    rule = _HEAD if cell == "th" else _RULE
    cells = "".join(
        f'<{cell} style="text-align:{aligned[name]};{rule}">{escape(text)}</{cell}>' for name, text in texts.items()
    )
    return f'<tr style="{ground}">{cells}</tr>'


def _texts(name: str, values: pd.Series[Any]) -> list[str]:
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return ["" if pd.isna(value) else str(value) for value in values]
    if name.endswith("_bytes"):
        missing = _NO_STEP if name == "step_bytes" else ""
        return [missing if pd.isna(value) else size_text(int(value)) for value in values]
    return ["" if pd.isna(value) else number_text(float(value)) for value in values]


def number_text(value: float) -> str:
    """A number to four digits, with thousands apart.

    >>> number_text(1234567.0), number_text(0.0012345), number_text(8.0), number_text(float("inf"))
    ('1,235,000', '0.001234', '8', '∞')
    """
    if value in {float("inf"), float("-inf")}:
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{DIGITS}g}")
    return f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.{DIGITS}g}"


def or_why(make: Callable[[], T]) -> T | Markdown:
    """What a call gives, or the sentence that says why there is nothing: fewer values than a fit needs, for example.

    For notebooks, whose cells are there whatever was measured.

    Example:
        >>> from pyworkbench import stats
        >>> or_why(lambda: stats.knee(pd.DataFrame({"threads": [1], "ops_per_s": [1e6]}))).data
        '*Not here: 3 values of threads are needed: the frame has 1.*'
    """
    from IPython.display import Markdown  # noqa: PLC0415 (in a notebook, it is there)

    try:
        return make()
    except InputError as error:
        return Markdown(f"*Not here: {error}.*")  # type: ignore[no-untyped-call]

"""The tables of a report as files: Parquet with types and every digit, or CSV.

Guaranteed: a file that exists is whole (it is written aside and renamed), and two tables of one name have two files. A
table that a notebook showed as HTML alone, such as a plain frame, is exported as it was shown: rounded, and as text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from pyworkbench.sure import PARQUET, frame_of_parquet, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import nbformat


def write_tables(tables: Mapping[str, pd.DataFrame], parquet: Path | None, csv: Path | None) -> list[Path]:
    """Writes each table as `NAME.parquet` and `NAME.csv` into the folders that are given, made if need be."""
    written = []
    for folder, suffix in ((parquet, "parquet"), (csv, "csv")):
        if folder is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in tables.items():
            file = folder / f"{name}.{suffix}"
            aside = folder / f".{file.name}.part"
            if suffix == "parquet":
                plain(frame).to_parquet(aside, index=False)
            else:
                frame.to_csv(aside, index=False)
            aside.replace(file)
            written.append(file)
    return written


def tables_of(notebook: nbformat.NotebookNode) -> dict[str, pd.DataFrame]:
    """The tables among the outputs of a notebook, in their order.

    Those that bring their values have their own name; of the others, a table is called after its cell.
    """
    found: dict[str, pd.DataFrame] = {}
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if PARQUET in data:
                name = output["metadata"].get(PARQUET, {}).get("name", f"cell-{number:02}")
                found[_free(found, name)] = frame_of_parquet(_joined(data[PARQUET]))
            elif "<table" in (html := _joined(data.get("text/html", ""))) and _is_table(data):
                for frame in frames_of_html(html):
                    found[_free(found, f"cell-{number:02}")] = frame
    return found


def frames_of_html(html: str) -> list[pd.DataFrame]:
    """The tables of a piece of HTML, as text.

    Example:
        >>> html = "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>x</td></tr></table>"
        >>> frames_of_html(html)[0].to_dict("records")
        [{'a': '1', 'b': 'x'}]
    """
    from bs4 import BeautifulSoup  # noqa: PLC0415 (comes with nbconvert)

    frames = []
    for table in BeautifulSoup(html, "html.parser").find_all("table"):
        lines = [
            [" ".join(cell.get_text(" ").split()) for cell in row.find_all(["th", "td"])]
            for row in table.find_all("tr")
            if row.find_parent("tfoot") is None
        ]
        width = max(map(len, lines), default=0)
        full = [line for line in lines if len(line) == width]  # spanning rows are titles of groups
        if not full:
            continue
        head, *body = full if table.find("th") else [[f"column_{at}" for at in range(width)], *full]
        frames.append(pd.DataFrame(body, columns=_distinct(head)))
    return frames


def _is_table(data: Mapping[str, Any]) -> bool:
    """Whether an output is a frame or a table, and no widget's picture."""
    return not any(mime.startswith("application/vnd.jupyter.widget") for mime in data)


def _distinct(names: list[str]) -> list[str]:
    return [
        (name or f"column_{at}") + (f"_{names[:at].count(name)}" if name in names[:at] else "")
        for at, name in enumerate(names)
    ]


def _free(taken: Mapping[str, object], name: str) -> str:
    """The name, or the name with the first number that is free, fit for a file."""
    name = re.sub(r"[^\w.-]+", "-", name)
    candidates = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    return next(each for each in candidates if each not in taken)


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)

"""Notebooks and stores as reports: one HTML file each, with everything inside and nothing left to load.

Guaranteed: the file asks the network for nothing, widgets are there as their static twins, and a file that
exists is whole (it is written aside and renamed). A parameter that the notebook does not have, or of another
type, is an error before anything runs. A notebook that fails leaves no report, but a copy of itself as far as
it came, beside where the report would be. Not guaranteed: that a notebook's own HTML outputs load nothing;
the report's policy forbids it, so they would be incomplete.
"""

from __future__ import annotations

import ast
import logging
import tempfile
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from pyworkbench.errors import InputError, WorkbenchError
from pyworkbench.exported import tables_of, write_tables
from pyworkbench.sweep.spec import SweepSpec, spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent

# Static forms only, the one that shows most first.
_PRIORITY = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain"]


class ReportError(WorkbenchError):
    """A cell of a notebook failed: the message says which, and where its traceback is kept."""


def report_store(directory: Path, out: Path, *, parquet: Path | None = None, csv: Path | None = None) -> None:
    """Writes what a store has as a report: figures, tables, where and how they came about, and how sure they are.

    Args:
        directory: the store.
        out: the report, an HTML file; its folder is made if need be.
        parquet: a folder for every table of the report, and the measurements themselves, as Parquet.
        csv: the same, as CSV.

    Raises:
        StoreError: there is no store, or nothing in it can be read.
    """
    from pyworkbench.store_report import report_of_store  # noqa: PLC0415 (plots, only for stores)

    _check_places(out, parquet, csv)
    notebook, frames = report_of_store(directory)
    _export(notebook, out)
    write_tables(frames | tables_of(notebook), parquet, csv)


def run_notebook(
    path: Path,
    parameters: Mapping[str, Any],
    out: Path,
    *,
    parquet: Path | None = None,
    csv: Path | None = None,
) -> None:
    """Runs a notebook, in its own folder and a kernel of its own, and writes its report.

    Args:
        path: the notebook; it is not changed.
        parameters: values for names of its cell tagged `parameters`.
        out: the report, an HTML file; its folder is made if need be.
        parquet: a folder for every table of the report, as Parquet.
        csv: the same, as CSV.

    Raises:
        InputError: a parameter is unknown or of another type than its default. Nothing was run.
        ReportError: a cell failed.
    """
    _check_places(out, parquet, csv)
    notebook = _read(path)
    check_parameters(notebook, parameters)
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = out.with_name(f"{out.stem}.failed.ipynb")
    kept.unlink(missing_ok=True)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / path.name
        try:
            papermill.execute_notebook(
                path.resolve(),
                executed,
                dict(parameters),
                cwd=path.resolve().parent,
                progress_bar=False,
                iopub_timeout=120,  # a control of many widgets, on a busy machine
                # Sockets in a folder of its own instead of ports: notebooks that run side by side cannot take one
                # another's. (`ip` is the beginning of their names; by default it is the same for all in one folder.)
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}}),
            )
        except (PapermillExecutionError, DeadKernelError) as error:
            kept.write_bytes(executed.read_bytes())
            raise ReportError(f"{path}: {_what_failed(error)}; {kept} has what was run") from None
        write_report(executed, out)
        write_tables(tables_of(_read(executed)) if parquet or csv else {}, parquet, csv)


def write_report(path: Path, out: Path) -> None:
    """Writes a notebook that has been run as a report.

    Args:
        path: the notebook, with its outputs.
        out: the report, an HTML file.
    """
    _export(_read(path), out)


def _export(notebook: nbformat.NotebookNode, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    notebook.metadata.pop("widgets", None)  # state for a script that a report does not have
    for cell in notebook.cells:  # a line of progress that is over is an empty output
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("data") != {"text/plain": ""}]
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": _PRIORITY}}),
        extra_template_basedirs=[str(HERE)],
        template_name="report_template",
        exclude_anchor_links=True,
    )
    html, _ = exporter.from_notebook_node(notebook)
    aside = out.with_name(f".{out.name}.part")
    aside.write_text(html)
    aside.replace(out)


def check_parameters(notebook: nbformat.NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Compares parameters with those of a notebook: papermill itself only logs what it does not know.

    Where the notebook's metadata say that its parameters are a sweep's (`pyworkbench.parameters` is `SweepSpec`), every
    field of the spec is one, and the spec checks the values.

    Raises:
        InputError: one is unknown, of another type than its default, or no value of its field.
    """
    known = parameters_of(notebook)
    if notebook.metadata.get("pyworkbench", {}).get("parameters") == "SweepSpec":
        fields = {name: value for name, value in {**known, **parameters}.items() if name in SweepSpec.model_fields}
        spec_of(fields)
        parameters = {name: value for name, value in parameters.items() if name not in fields}
        known |= fields
    for name, value in parameters.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
            raise InputError(f"the notebook has no parameter {name}: {hint}")
        if not _fits(value, known[name]):
            raise InputError(f"parameter {name} is {value!r}: a value like {known[name]!r} would be right")


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The names that the cell tagged `parameters` assigns, with their values there, which are literals.

    Raises:
        InputError: the cell holds something else than assignments of literals.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    found: dict[str, Any] = {}
    for statement in ast.parse("\n".join(cell.source for cell in cells)).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = ast.literal_eval(value)
            case _:
                raise InputError(
                    f"{ast.unparse(statement)!r} in the parameters cell: only `name = literal` can be overridden"
                )
    return found


def parameter_of_text(text: str) -> tuple[str, Any]:
    """Name and value of `name=value`; a value that is no Python literal is a string.

    Example:
        >>> parameter_of_text("threads=[1, 2]"), parameter_of_text("captures=../data")
        (('threads', [1, 2]), ('captures', '../data'))
    """
    name, separator, value = text.partition("=")
    if not separator:
        raise InputError(f"parameter {text!r} has no value: {text}=VALUE would be right")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, list):
        kinds = {type(each) for each in default}
        return isinstance(value, list) and bool(value) and {type(each) for each in value} <= kinds
    return type(value) is type(default)


def _what_failed(error: PapermillExecutionError | DeadKernelError) -> str:
    if isinstance(error, PapermillExecutionError):
        return f"cell {error.cell_index + 1} failed with {error.ename}: {error.evalue}"
    return "the kernel died"


def _check_places(out: Path, *folders: Path | None) -> None:
    """Refuses, before anything runs, what cannot be written afterwards."""
    if out.is_dir():
        raise InputError(f"{out} is a folder: a file such as {out / 'report.html'} would be right")
    for folder in (out.parent, *(each for each in folders if each)):
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir():
            raise InputError(
                f"{there} is a file, so that nothing can be written into {folder}: a folder would be right"
            )


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, UnicodeDecodeError, AttributeError, nbformat.ValidationError):
        raise InputError(
            f"{path} is not a notebook: a notebook (.ipynb), or a folder that `pwb sweep --out` wrote, would be right"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}: a notebook, or a folder that `pwb sweep --out` wrote, would be right"
        ) from None
    return notebook

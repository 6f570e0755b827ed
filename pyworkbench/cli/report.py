"""Commands that write reports."""

from pathlib import Path
from typing import Annotated

import typer

from pyworkbench.errors import InputError

commands = typer.Typer()


@commands.command()
def report(
    source: Annotated[
        Path,
        typer.Argument(metavar="DIR|NOTEBOOK", help="A store of a sweep, or a notebook to run; neither is changed."),
    ],
    out: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The report: one HTML file that loads nothing.")
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A value for a name of the parameters cell."),
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write every table of the report as Parquet too.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="DIR", help="Write every table of the report as CSV too.")] = None,
) -> None:
    """Write a report: of a store what was measured and how sure it is, of a notebook what it says when it is run."""
    from pyworkbench.report import parameter_of_text, report_store, run_notebook  # noqa: PLC0415 (half a second)

    parameters = dict(parameter_of_text(text) for text in parameter or [])
    if not source.is_dir():
        run_notebook(source, parameters, out, parquet=parquet, csv=csv)
    elif parameters:
        raise InputError(f"{source} is a store, which has no parameter {next(iter(parameters))}: a notebook has them")
    else:
        report_store(source, out, parquet=parquet, csv=csv)
    print(f"wrote {out}")

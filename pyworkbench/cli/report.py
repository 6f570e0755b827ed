"""Commands that write reports."""

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def report(
    notebook: Annotated[Path, typer.Argument(help="The notebook; it is not changed.")],
    out: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The report: one HTML file that loads nothing.")
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A value for a name of the parameters cell."),
    ] = None,
) -> None:
    """Run a notebook and write it as a report."""
    from pyworkbench.report import parameter_of_text, run_notebook  # noqa: PLC0415 (half a second)

    run_notebook(notebook, dict(parameter_of_text(text) for text in parameter or []), out)
    print(f"wrote {out}")

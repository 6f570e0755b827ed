"""Commands that measure."""

from pathlib import Path
from typing import Annotated

import typer

from pyworkbench._options import takes_fields_of
from pyworkbench.sweep import SweepSpec, spec_of, sweep

commands = typer.Typer()


@commands.command("sweep")
@takes_fields_of(SweepSpec)
def sweep_command(
    parquet: Annotated[
        Path | None, typer.Option(help="Write the measurements there, the lock's sites beside it.")
    ] = None,
    **fields: str,
) -> None:
    """Let threads fault a guest's memory into one table, tear it down, and print medians for each point."""
    from pyworkbench._show import counting, show_sweep  # noqa: PLC0415 (a command that prints text does without)

    spec = spec_of(fields, text=True)
    with counting("measuring") as progress:
        result = sweep(spec, progress=progress)
    show_sweep(result)
    for file in result.to_parquet(parquet) if parquet else []:
        print(f"wrote {file}")

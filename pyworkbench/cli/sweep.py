"""Commands that measure."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pyworkbench._options import takes_fields_of
from pyworkbench.errors import InputError
from pyworkbench.sweep import (
    SweepSpec,
    compact,
    executor_named,
    fields_of_text,
    read_spec,
    read_status,
    spec_of,
    sweep,
)
from pyworkbench.sweep.run import REFUSES_EXECUTORS

commands = typer.Typer()

Store = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that `pwb sweep --out` wrote.")]


@commands.command("sweep")
@takes_fields_of(SweepSpec)
def sweep_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="[SPEC.toml]", help="The fields below, as TOML; options go before them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The store: only what is missing in it is measured.")
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="For --kind explore: local, dask (a cluster of its own), or a Dask scheduler's address."),
    ] = None,
    strict_build: Annotated[
        bool, typer.Option("--strict-build", help="Refuse a store with rows of another build of the core.")
    ] = False,
    fresh_process: Annotated[
        bool, typer.Option("--fresh-process", help="A new process for each measurement, not a warm one.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Measure again what crashed or failed, as after more memory or time.")
    ] = False,
    **fields: str | list[str],
) -> None:
    """Measure, or explore, every combination of the fields, and print the medians; run again, go on from there."""
    from pyworkbench._show import show_sweep, sweeping  # noqa: PLC0415 (a command that prints text does without)

    spec = read_spec(file, fields) if file else spec_of(fields_of_text(fields))
    if executor is not None and spec.kind == "measure":
        raise InputError(f"--executor {executor}: {REFUSES_EXECUTORS}")
    with executor_named(executor) if executor else nullcontext(None) as pool, sweeping() as progress:
        result = sweep(
            spec, out, progress, executor=pool, strict_build=strict_build, fresh_process=fresh_process, retry=retry
        )
    show_sweep(result)


@commands.command("status", epilog="Exit codes: 0 running or done, 1 it ended before it was done.")
def status_command(
    directory: Store,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say how far a sweep is, and whether it runs."""
    from pyworkbench._show import show_status  # noqa: PLC0415 (see above)

    status = read_status(directory)
    if as_json:
        print(json.dumps(status.as_json()))
    else:
        show_status(status)
    raise typer.Exit(0 if status.running or status.state == "done" else 1)


@commands.command("compact")
def compact_command(directory: Store) -> None:
    """Merge the many small files of a store, which is read faster then; it can be killed at any moment."""
    before, after = compact(directory)
    print(f"{directory}: {before} segments became {after}")

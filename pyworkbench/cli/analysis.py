"""Commands that show what a sweep has recorded, in the forms of the kernel's own tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

commands = typer.Typer()

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Where a sweep has put its measurements.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="COLUMN=VALUE", help="Only these measurements; again for another column."),
]


@commands.command("lock-stat")
def lock_stat_command(directory: Directory, where: Where = None) -> None:
    """Print the counters of every lock as /proc/lock_stat would."""
    from pyworkbench.lockstat import lock_stat  # noqa: PLC0415 (a second)

    print(lock_stat(_sites(directory, where)))


@commands.command("perf-lock")
def perf_lock_command(directory: Directory, where: Where = None) -> None:
    """Print where locks were waited for as `perf lock contention` would."""
    from pyworkbench.lockstat import perf_lock  # noqa: PLC0415 (a second)

    print(perf_lock(_sites(directory, where)))


def _sites(directory: Path, where: list[str] | None) -> "pd.DataFrame":
    """The store's sites, those in which each column reads as it should."""
    from pyworkbench.errors import InputError  # noqa: PLC0415
    from pyworkbench.stats._frame import check_column  # noqa: PLC0415
    from pyworkbench.sweep import load  # noqa: PLC0415

    sites = load(directory, "sites")
    for condition in where or []:
        name, separator, value = condition.partition("=")
        if not separator:
            raise InputError(f"--where {condition!r} has no value: {condition}=VALUE would be right")
        check_column(sites, name)
        texts = sites[name].astype("str")
        if not (texts == value).any():
            raise InputError(f"--where {condition}: {name} is {', '.join(sorted(texts.unique()))}")
        sites = sites[texts == value]
    return sites

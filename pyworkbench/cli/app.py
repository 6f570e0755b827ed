"""The command `pwb`: the commands of each topic, in the order of its help."""

import typer

from pyworkbench.cli import analysis, capture, explore, report, sweep

app = typer.Typer(
    help="A workbench for KVM/arm64 stage-2 teardown.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def workbench() -> None:
    """A workbench for KVM/arm64 stage-2 teardown."""


for topic in (capture, explore, sweep, analysis, report):
    app.add_typer(topic.commands)

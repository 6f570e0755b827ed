"""A line in a notebook about what is running, gone at the end; outside of notebooks there is none.

Guaranteed: the line is an output of the cell that began the work, updated in place, whichever thread tells of
progress; work that is over in half a second leaves no trace of it.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AFTER_S = 0.5  # what is shorter shows nothing


@contextmanager
def exploring() -> Iterator[Callable[[int, int, float], None] | None]:
    """Yields what `explore` takes as `progress`."""
    with _line() as show:
        yield show and (lambda *now: show(exploring_text(*now)))


@contextmanager
def counting() -> Iterator[Callable[[int, int], None] | None]:
    """Yields what `verdict_matrix` and `orderings` take as `progress`."""
    with _line() as show:
        yield show and (lambda done, total: show(f"explored {done} of {total}"))


@contextmanager
def sweeping() -> Iterator[Callable[[object], None] | None]:
    """Yields what `sweep` takes as `progress`."""
    with _line() as show:
        if show is None:
            yield None
            return
        drawn = 0.0

        def progress(status: object) -> None:
            nonlocal drawn
            if time.monotonic() - drawn >= 1:  # what is shown takes time from what is measured
                drawn = time.monotonic()
                show(str(status))

        yield progress


def exploring_text(executions: int, frontier: int, elapsed_s: float) -> str:
    """How far an exploration has come, in a line.

    >>> exploring_text(3000, 12, 1.5)
    '3,000 executions, 2,000 a second, 12 open choices, 2 s'
    """
    rate = executions / max(elapsed_s, 1e-9)
    return f"{executions:,} executions, {rate:,.0f} a second, {frontier} open choices, {elapsed_s:.0f} s"


@contextmanager
def _line() -> Iterator[Callable[[str], None] | None]:
    if not _in_notebook():
        yield None
        return
    from IPython.display import display  # noqa: PLC0415 (there is a notebook, so it is there)

    # Which cell an output belongs to is a context variable, which threads of the core do not have.
    context = copy_context()
    line = uuid4().hex
    began = time.monotonic()
    shown = False

    def show(text: str) -> None:
        nonlocal shown
        if shown or time.monotonic() - began >= _AFTER_S:
            context.run(display, {"text/plain": text}, raw=True, display_id=line, update=shown)
            shown = True

    try:
        yield show
    finally:
        if shown:
            display({"text/plain": ""}, raw=True, display_id=line, update=True)  # type: ignore[no-untyped-call]


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython  # noqa: PLC0415 (only where it is loaded)

    return getattr(get_ipython(), "kernel", None) is not None

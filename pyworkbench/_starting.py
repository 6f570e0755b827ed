"""Ctrl-C while the command `pwb` still imports: one line and exit code 130, rather than a traceback of imports.

Imported first, so that nothing else has to be. In any other process that imports the package, it does nothing.
"""

from __future__ import annotations

import os
import signal
import sys

STOPPED = 130


def _end(*_: object) -> None:
    os.write(2, b"pwb: stopped\n")
    os._exit(STOPPED)


def _is_the_command() -> bool:
    # While `python -m` finds its module, "-m" is all that there is.
    return sys.argv[:1] == ["-m"] or os.path.basename(sys.argv[0] if sys.argv else "") == "pwb"  # noqa: PTH119 (early)


def started() -> None:
    """From here on, Ctrl-C is a `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if _is_the_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)

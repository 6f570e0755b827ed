"""The command `pwb`. Each command is a thin layer over a function of the package; a module a topic.

Exit codes: 0 it is so, 1 it is not (a difference was found), 2 the input is wrong: one line on standard
error says how. `explore` has two more, so that no script takes one for another: 0 `Proved`, 10 `Bug`, 11 `Exhausted`.
130: Ctrl-C came before everything was answered; what is known was printed.
"""

import gc
import sys

from pyworkbench._starting import STOPPED, started


def main() -> None:
    """Runs the command line; an error of the package or of a file, and Ctrl-C, are one line, not a traceback."""
    # What takes time to import is imported here, where Ctrl-C is a line.
    from pyworkbench.cli.app import app  # noqa: PLC0415
    from pyworkbench.errors import WorkbenchError  # noqa: PLC0415

    try:
        started()
        app()
    except (WorkbenchError, OSError, UnicodeDecodeError) as error:
        print(f"pwb: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _say_stopped()
    except SystemExit as ended:
        if ended.code == STOPPED:  # what typer makes of Ctrl-C
            _say_stopped()
        raise
    finally:
        gc.freeze()  # nothing is gained from taking everything that was imported apart again


def _say_stopped() -> None:
    print("pwb: stopped", file=sys.stderr)
    sys.exit(STOPPED)

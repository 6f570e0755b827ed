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
    from typer.exceptions import TyperException  # noqa: PLC0415

    from pyworkbench.cli.app import app  # noqa: PLC0415
    from pyworkbench.errors import WorkbenchError  # noqa: PLC0415

    code = STOPPED
    try:
        started()
        code = app(prog_name="pwb", standalone_mode=False) or 0
    except OSError as error:
        # Python's own text begins with a number that says nothing to who typed a name wrong.
        code = _say(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (WorkbenchError, UnicodeDecodeError) as error:
        code = _say(str(error))
    except TyperException as error:  # a command or an option that is none, or a value that is not one of its values
        said = " ".join(getattr(error, "format_message", error.__str__)().split())
        code = _say(said) if said else 2  # without a command the help was printed
    except KeyboardInterrupt:
        pass
    finally:
        gc.freeze()  # nothing is gained from taking everything that was imported apart again
    if code == STOPPED:
        print("pwb: stopped", file=sys.stderr)
    sys.exit(code)


def _say(what: str) -> int:
    print(f"pwb: {what}", file=sys.stderr)
    return 2

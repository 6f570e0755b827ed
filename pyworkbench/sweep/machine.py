"""The machine as a sweep sees it: what it is, and the lock that gives it to one sweep at a time.

Guaranteed: of all sweeps of this user that measure, one at a time does (`alone`); the lock is held until the sweep
and its worker are both gone, however they end. Not guaranteed: anything about other users' work, or about programs
that do not ask.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pyworkbench._environment import environment
from pyworkbench.errors import WorkbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL_S = 0.05
"""How often a sweep that waits for the machine asks again: it can be interrupted between."""


@cache
def machine_identity() -> dict[str, Any]:
    """What must be equal for figures to be of the same machine: its processor, cores, memory and kernel."""
    facts = environment()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    names = ("cpu", "cores", "machine", "kernel")
    return {name: facts[name] for name in names} | {"memory_gib": round(total / (1 << 30))}


@contextmanager
def alone(what: str, waiting: Callable[[str], object]) -> Iterator[IO[str]]:
    """Holds the machine for timed work; yields the lock's file, to be inherited by those who measure.

    Args:
        what: who holds it, for those who wait meanwhile.
        waiting: called with a sentence while another holds it, again and again; what it raises ends the wait.
    """
    path = runtime_directory() / "measuring.lock"
    held = None
    while held is None:
        held = try_lock(path)
        if held is None:
            waiting(f"the machine is taken by {holder(path)}; two timed points never share it")
            time.sleep(POLL_S)
    with held:
        write_holder(held, what)
        yield held


def runtime_directory() -> Path:
    """A folder for this user's locks, the same for every process; `PYWORKBENCH_RUNTIME_DIR` names another."""
    # Not $XDG_RUNTIME_DIR: a session has it and a batch job has not, and they must meet.
    chosen = os.environ.get("PYWORKBENCH_RUNTIME_DIR")
    path = Path(chosen) if chosen else Path("/tmp") / f"pyworkbench-{os.getuid()}"  # noqa: S108 (its owner is checked)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise WorkbenchError(f"{path} belongs to another user: PYWORKBENCH_RUNTIME_DIR can name another folder")
    return path


def try_lock(path: Path) -> IO[str] | None:
    """An open file that holds the lock, or nothing if another has it. Its file may be deleted meanwhile."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # somebody cleaned up between: what is locked has no name any more


def write_holder(file: IO[str], what: str) -> None:
    """Notes in a lock's file who holds it."""
    file.seek(0)
    file.truncate()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    file.write(json.dumps({"pid": os.getpid(), "since": now, "what": what}))
    file.flush()


def holder(path: Path) -> str:
    """Who holds a lock, as its file says it."""
    try:
        said = json.loads(path.read_text())
        return f"{said['what']}, pid {said['pid']}, since {said['since']}"
    except (OSError, ValueError, KeyError):
        return "another sweep"

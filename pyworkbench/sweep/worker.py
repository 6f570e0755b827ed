"""The process that measures: it imports the compiled core and nothing else, and measures what it is told, in turn.

Run as a file, by `pyworkbench.sweep.measuring`, which sends a frame (length, then JSON) for each measurement on
standard input, and reads one (length, whether it was measured, then an Arrow stream or the error) from standard
output. The first frame out says the core's build. Guaranteed: the process ends with the one that started it,
however that ends; Ctrl-C is left to that one; what the core prints goes to standard error, not between the frames.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
import types
from contextlib import suppress
from pathlib import Path

FRAME = struct.Struct("<I?")
"""What a reply begins with: its length, and whether it was measured."""
_PR_SET_PDEATHSIG = 1


def main(parent: int) -> None:
    """Measures until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        sys.exit(1)
    _kill_me_first()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer

    core = _core_alone()
    _send(replies, True, core.build_id().encode())
    while head := requests.read(4):
        asked = json.loads(requests.read(int.from_bytes(head, "little")))
        try:
            reply, measured = core.measure(asked["point"], asked["repeat"], asked["run"]), True
        except Exception as error:  # what a measurement raises is its result
            reply, measured = f"{type(error).__name__}: {error}".encode(), False
        _send(replies, measured, reply)


def _core_alone() -> types.ModuleType:
    """The core, as a member of a package that was not run: pandas and all the rest are not imported."""
    package = types.ModuleType("pyworkbench")
    package.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["pyworkbench"] = package
    from pyworkbench import _core  # noqa: PLC0415 (see above)

    return _core


def _kill_me_first() -> None:
    """When memory runs out, the sweep is to survive, and write a row about it."""
    with suppress(OSError):  # where this is not allowed, the kernel chooses
        Path("/proc/self/oom_score_adj").write_text("1000")


def _send(replies: object, measured: bool, payload: bytes) -> None:
    replies.write(FRAME.pack(len(payload), measured) + payload)  # type: ignore[attr-defined]
    replies.flush()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(int(sys.argv[1]))

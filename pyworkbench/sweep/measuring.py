"""Measurements in a process of their own: one warm worker, replaced when it dies.

Guaranteed: a measurement that kills its process, or takes too long, is answered by how; the next one has a new
process. The process inherits the lock of the machine, so that nobody else measures while it still runs.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from pyworkbench import _core
from pyworkbench.errors import WorkbenchError
from pyworkbench.sweep import worker as program

if TYPE_CHECKING:
    from collections.abc import Callable

TELL_S = 0.2
"""How often who waits for a measurement is told that it still runs."""
START_S = 60.0
"""How long a worker may take to start, on a machine that is busy."""
START_TRIES = 10
"""How often a worker that is killed while it starts is started again."""


@dataclass(frozen=True)
class Measured:
    """What a measurement gave."""

    row: bytes | None
    """An Arrow stream of one row."""
    status: str = "ok"
    """`ok`, `failed` (it raised an error) or `crashed` (its process died, or took too long)."""
    error: str | None = None
    """What went wrong."""


class Worker:
    """A warm process that measures; started at the first measurement."""

    def __init__(self, *, log: IO[bytes], inherit: IO[str] | None = None, fresh: bool = False) -> None:
        self._log = log
        self._inherit = inherit
        self._fresh = fresh
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process that measures, if there is one."""
        return self._process.pid if self._process else None

    def measure(
        self, point: str, repeat: int, run: int, *, timeout_s: float, waiting: Callable[[], object]
    ) -> Measured:
        """Measures a point.

        Args:
            point: in canonical form.
            repeat: which of its repeats.
            run: the number of the row.
            timeout_s: after which it is given up.
            waiting: called every `TELL_S` seconds; what it raises ends the measurement and its process.
        """
        request = json.dumps({"point": point, "repeat": repeat, "run": run}).encode()
        try:
            process = self._ask(request)
            reply = self._reply(process, time.monotonic() + timeout_s, waiting)
            if reply is None:
                crashed = Measured(None, "crashed", self._how_it_died(timeout_s))
                self.stop()
                return crashed
        except BaseException:  # an interrupt above all: the answer would be taken for the next one's
            self.stop()
            raise
        measured, payload = reply
        if self._fresh:
            self.stop()
        return Measured(payload) if measured else Measured(None, "failed", payload.decode(errors="replace"))

    def stop(self) -> None:
        """Ends the process, at once."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _close(_pipe(pipe))

    def _ask(self, request: bytes) -> subprocess.Popen[bytes]:
        """Sends a request, to a new process if there is none or it died while it had nothing to do."""
        while True:
            process = self._process or self._start()
            try:
                _pipe(process.stdin).write(len(request).to_bytes(4, "little") + request)
            except BrokenPipeError:
                self.stop()
            else:
                return process

    def _start(self, tries: int = START_TRIES) -> subprocess.Popen[bytes]:
        """Starts a process, and waits until it has imported the core."""
        self._process = process = subprocess.Popen(  # noqa: S603 (this interpreter, and a file of this package)
            # Without site-packages: it needs none, and starts in a third of the time.
            [sys.executable, "-I", "-S", str(Path(program.__file__).resolve()), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            pass_fds=[self._inherit.fileno()] if self._inherit else [],
        )
        reply = self._reply(process, time.monotonic() + START_S, lambda: None)
        if reply is None:
            how = self._how_it_died(START_S)
            self.stop()
            if process.returncode < 0 and tries > 1:  # killed by somebody, not by itself
                return self._start(tries - 1)
            raise WorkbenchError(f"the measuring process does not start: {how}; the log says more")
        build_id = reply[1].decode()
        if build_id != _core.build_id():
            self.stop()
            raise WorkbenchError(
                f"the compiled core was built again meanwhile: this sweep began with {_core.build_id()}, now it is "
                f"{build_id}; start the sweep again"
            )
        return process

    def _reply(
        self, process: subprocess.Popen[bytes], deadline: float, waiting: Callable[[], object]
    ) -> tuple[bool, bytes] | None:
        """The next frame; nothing if the process died or the deadline passed."""
        pipe = _pipe(process.stdout)
        received = bytearray()
        wanted = program.FRAME.size
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while len(received) < wanted:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                if not selector.select(min(left, TELL_S)):
                    waiting()
                    continue
                chunk = os.read(pipe.fileno(), 1 << 20)
                if not chunk:
                    return None
                received += chunk
                if len(received) >= program.FRAME.size:
                    wanted = program.FRAME.size + program.FRAME.unpack_from(received)[0]
        return bool(program.FRAME.unpack_from(received)[1]), bytes(received[program.FRAME.size :])

    def _how_it_died(self, timeout_s: float | None = None) -> str:
        process = self._process
        if process is None:
            return "it had ended"
        try:
            code = process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return f"it took longer than timeout_s {timeout_s:g} and was killed"
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        why = " (from outside, or because memory ran out)" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{why}"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "both pipes are asked for"  # noqa: S101 (a fact about the call above)
    return pipe


def _close(pipe: IO[Any]) -> None:
    with suppress(OSError):  # what was not sent is of no interest any more
        pipe.close()

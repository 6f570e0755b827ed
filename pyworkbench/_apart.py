"""Work in parts that share nothing, on threads, in processes or on other machines: how far it is, and how it stops.

Guaranteed: Ctrl-C, an error of a part, and whoever is told of progress can stop it; parts on this machine hear of that
within a twentieth of a second or the execution that they are in, and what they answer then is kept. Parts on other
machines go on to their end, unheard: only what is done counts.
"""

from __future__ import annotations

import os
import struct
import tempfile
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

Answer = TypeVar("Answer")

_NUMBERS = struct.Struct("<QQ")  # of a part: executions, open choices
_EVERY_S = 0.1
_GRACE_S = 2.0  # for parts that were told to stop


@dataclass
class Teller:
    """The `progress` of a part, wherever it runs: tells how far it is, and answers `False` when it should stop."""

    board: str
    part: int
    heard: bool = False
    """Whether somebody is there."""

    def __call__(self, executions: int, frontier: int, _elapsed_s: float) -> bool:
        """What `explore` calls."""
        try:
            with Path(self.board).open("r+b", buffering=0) as board:
                goes_on = board.read(1) == b"\0"
                board.seek(1 + _NUMBERS.size * self.part)
                board.write(_NUMBERS.pack(executions, frontier))
        except OSError:
            return not self.heard  # on another machine nobody hears; here it is over
        self.heard = True
        return goes_on


@dataclass
class Parts(Generic[Answer]):
    """How far a work in parts is."""

    board: Path
    answers: list[Answer | None]
    """Of each part, once it is done."""
    running: set[int] = field(default_factory=set)
    """Parts that are not done."""
    stopped: bool = False
    """Whether it was told to stop before every part was done."""

    @property
    def done(self) -> int:
        """How many parts are done."""
        return len(self.answers) - len(self.running)

    def told(self) -> list[tuple[int, int]]:
        """Executions and open choices of each part that is not done, none of one that has not begun."""
        numbers = self.board.read_bytes()[1:]
        return [_NUMBERS.unpack_from(numbers, _NUMBERS.size * part) for part in sorted(self.running)]

    def stop(self) -> None:
        """Tells all parts to stop."""
        with self.board.open("r+b") as board:
            board.write(b"\1")


def run_apart(
    works: Sequence[Callable[[Teller], Answer]],
    executor: Executor | None,
    progress: Callable[[Parts[Answer]], object],
) -> Parts[Answer]:
    """Runs every work, each given its `Teller`; `progress` is called after each and ten times a second.

    `executor` is threads, as many as there are processors, if not said. When `progress` answers `False`, or Ctrl-C
    comes, parts that have not begun have no answer.
    """
    with tempfile.TemporaryDirectory(prefix="pyworkbench-", ignore_cleanup_errors=True) as folder:
        board = Path(folder) / "board"
        board.write_bytes(bytes(1 + _NUMBERS.size * len(works)))
        parts: Parts[Answer] = Parts(board, [None] * len(works), set(range(len(works))))
        pool = executor or ThreadPoolExecutor(os.cpu_count())
        of: dict[Future[Answer], int] = {}
        try:
            with suppress(KeyboardInterrupt):
                of |= {pool.submit(work, Teller(str(board), part)): part for part, work in enumerate(works)}
                _collect(parts, of, progress)
            if parts.running:
                parts.stopped = True
                parts.stop()
                _collect_the_rest(parts, of)
        finally:
            parts.stop()
            wait([future for future in of if not future.cancel()], timeout=_GRACE_S)
            if executor is None:
                pool.shutdown(wait=False, cancel_futures=True)
        return parts


def _collect(parts: Parts[Answer], of: dict[Future[Answer], int], progress: Callable[[Parts[Answer]], object]) -> None:
    pending = set(of)
    while pending:
        done, pending = wait(pending, timeout=_EVERY_S, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=of.__getitem__):
            parts.answers[of[future]] = future.result()
            parts.running.discard(of[future])
            if progress(parts) is False:
                return
        if not done and progress(parts) is False:
            return


def _collect_the_rest(parts: Parts[Answer], of: dict[Future[Answer], int]) -> None:
    """What parts answer that were told to stop; those that were not begun are left out, and those that broke."""
    running = {future for future in of if not future.cancel()}
    done, _ = wait(running, timeout=_GRACE_S)
    for future in done:
        if of[future] in parts.running and not future.cancelled() and future.exception() is None:
            parts.answers[of[future]] = future.result()
            parts.running.discard(of[future])

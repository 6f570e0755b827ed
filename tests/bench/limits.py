"""The limits in seconds that the project has set itself, measured: `make bench` runs this.

Each row is a figure, its limit, and whether it is within; figures without a limit stand for themselves. No
test depends on them: they are of this machine, in this minute.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pyworkbench import Stage2, replay, run_ops
from pyworkbench.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "data" / "captures"
GIB = 1 << 30
INTERRUPT_AFTER_S = 0.25


def best_of(runs: int, work: Callable[[], object]) -> float:
    """The least seconds that `work` took."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def worst_interrupt(runs: int, work: Callable[[], object]) -> float:
    """The most seconds from an interrupt to the `KeyboardInterrupt` that ends `work`."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    latencies = []
    for _ in range(runs):
        due = time.perf_counter() + INTERRUPT_AFTER_S
        signal.setitimer(signal.ITIMER_REAL, INTERRUPT_AFTER_S)
        try:
            work()
        except KeyboardInterrupt:
            latencies.append(time.perf_counter() - due)
        else:
            sys.exit("the work ended before it was interrupted: give it more")
    signal.signal(signal.SIGALRM, before)
    return max(latencies)


def replay_all() -> None:
    """Replays every capture of the repository."""
    for environment in sorted(CAPTURES.rglob("env.json")):
        found = replay(environment.parent)
        if found.differing:
            sys.exit(f"{environment.parent}: {found.differing} differences")


def map_a_tebibyte() -> None:
    """Maps more pages than can be mapped in a second, none of them part of a block."""
    Stage2().map(0, 512 * GIB, 0x1000)


def look_at_a_tebibyte() -> Callable[[], object]:
    """Dumps a table that takes longer to dump than `INTERRUPT_AFTER_S`."""
    table = Stage2()
    table.map(0, 768 * GIB, 0x1000)
    return table.dump


def run_a_long_script() -> None:
    """Runs a script that takes seconds."""
    lines = ["# granule 4k args --ipa-bits=40", "map 0x0 0x4000000000 0x1000 rw normal", "unmap 0x0 0x4000000000"]
    run_ops("\n".join(lines + lines[1:] * 20))


def sweep_a_big_guest() -> None:
    """Measures a guest that takes seconds to fill."""
    sweep(threads=1, guest="512G", repeats=1, warmup=0)


def command(*arguments: str) -> Callable[[], object]:
    """A command, as a whole process."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)


def main() -> None:
    """Prints the rows."""
    rows: list[tuple[str, float, float | None]] = [
        ("replay of all captures", best_of(5, replay_all), 1.0),
        (
            "pwb replay data/captures, whole process",
            best_of(3, command("-m", "pyworkbench", "replay", "data/captures")),
            None,
        ),
        ("import pyworkbench, whole process", best_of(5, command("-c", "import pyworkbench")), None),
        ("Ctrl-C in Stage2.map, worst of 5", worst_interrupt(5, map_a_tebibyte), 0.1),
        ("Ctrl-C in Stage2.dump, worst of 5", worst_interrupt(5, look_at_a_tebibyte()), 0.1),
        ("Ctrl-C in run_ops, worst of 5", worst_interrupt(5, run_a_long_script), 0.1),
        ("Ctrl-C in sweep, worst of 5", worst_interrupt(5, sweep_a_big_guest), 0.1),
    ]
    print(f"{'seconds':44}{'measured':>10}{'limit':>8}")
    for name, seconds, limit in rows:
        verdict = "" if limit is None or seconds <= limit else "  above the limit"
        print(f"{name:44}{seconds:>10.3f}{limit if limit is not None else '':>8}{verdict}")


if __name__ == "__main__":
    main()

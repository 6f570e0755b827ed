"""The machine, the kernel, the versions and the build that a measurement belongs to."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyworkbench import _core


def environment() -> dict[str, Any]:
    """Facts about this machine and this build, as they are now.

    `git_revision` is that of the checkout the package is imported from, `-dirty` if it was changed; `None`
    without one.

    Example:
        >>> sorted(environment())[:5]
        ['build_id', 'build_profile', 'cores', 'cpu', 'git_revision']
    """
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "pyworkbench": version("pyworkbench"),
        "build_id": _core.build_id(),
        "build_profile": _core.build_profile(),
        "git_revision": _git_revision(),
    }


def steal_seconds() -> float:
    """Seconds that a hypervisor has taken from this machine's CPUs since boot (`steal` in /proc/stat)."""
    ticks = int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])
    return ticks / os.sysconf("SC_CLK_TCK")


def _cpu() -> str:
    """The CPU's name; on arm64, which has none there, implementer and part as the kernel prints them."""
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    facts = {key.strip(): value.strip() for key, _, value in lines}
    arm = f"implementer {facts.get('CPU implementer', '?')}, part {facts.get('CPU part', '?')}"
    return facts.get("model name", arm)


def _git_revision() -> str | None:
    root = Path(__file__).parent.parent
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (fixed words)
    return described.stdout.strip() or None

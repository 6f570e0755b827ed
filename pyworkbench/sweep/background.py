"""Sweeps as processes of their own: started, cancelled and resumed from anywhere, by the store's folder alone.

    DIR/spec.toml    what was started here last
    DIR/sweep.log    what its command said

Guaranteed: what `start` begins is `pwb sweep DIR/spec.toml --out DIR`, and outlives the process that started it, its
kernel and its browser tab; `cancel` interrupts only a process that holds the store's lock now. Not guaranteed: that a
sweep has begun when `start` returns; `read_status` says when it has.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyworkbench.errors import StoreError
from pyworkbench.sweep.machine import holder
from pyworkbench.sweep.spec import SweepSpec, read_spec, spec_of
from pyworkbench.sweep.status import Status, read_status
from pyworkbench.sweep.store import is_locked, read_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAM = (
    # A kernel ignores SIGINT while it is idle, and what it starts would inherit that: then nothing could cancel it.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from pyworkbench.cli import main; main()"
)


def start(spec: SweepSpec, directory: Path | str) -> subprocess.Popen[bytes]:
    """Starts a sweep in the background, into a store that is made if need be; returns at once.

    Args:
        spec: what to sweep.
        directory: the store; what it has already is not measured again.

    Returns:
        The process, of a session of its own. Who asks whether it has ended also clears it away.

    Raises:
        StoreError: another process writes into the store, or the spec cannot be written there.
    """
    directory = Path(directory)
    if is_locked(directory):
        raise StoreError(f"in use by {holder(directory / 'lock')}: cancel it, or choose another folder", str(directory))
    file = directory / "spec.toml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        aside = directory / ".spec.toml.part"
        aside.write_text(spec_text(spec))
        aside.replace(file)
        log = (directory / "sweep.log").open("ab")
    except OSError as error:
        raise StoreError(f"cannot be written: {error.strerror or error}", str(file)) from error
    with log:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        log.write(f"--- {now} pwb sweep {file} --out {directory}\n".encode())
        log.flush()
        command = [sys.executable, "-c", _PROGRAM, "sweep", str(file.resolve()), "--out", str(directory.resolve())]
        return subprocess.Popen(  # noqa: S603 (this interpreter, and this package)
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": _path_to_this_package(), "COLUMNS": "120"},
        )


def resume(directory: Path | str) -> subprocess.Popen[bytes]:
    """Starts again what was last asked of a store; only what is missing is measured.

    Raises:
        StoreError: there is no store, or another process writes into it.
    """
    return start(last_spec(directory), directory)


def cancel(directory: Path | str) -> bool:
    """Interrupts the sweep that writes into a store, as Ctrl-C would; says whether there was one.

    What was measured is kept. It returns at once: the status says `interrupted` a moment later.
    """
    lock = Path(directory) / "lock"
    if not is_locked(Path(directory)):
        return False
    try:
        os.kill(int(json.loads(lock.read_text())["pid"]), signal.SIGINT)
    except (OSError, ValueError, KeyError):
        return False  # it ended meanwhile
    return True


def look(directory: Path | str) -> Status | None:
    """How far the sweep of a store is, as `read_status` says it, but quick while it runs: not counting rows.

    Returns:
        Nothing where there is no store yet.
    """
    directory = Path(directory)
    if not (directory / "manifest.json").exists():
        return None
    if is_locked(directory):
        try:
            return Status(**json.loads((directory / "status.json").read_text()))
        except (OSError, ValueError, TypeError):
            return Status("planning")  # there is none yet
    return read_status(directory)


def last_spec(directory: Path | str) -> SweepSpec:
    """What was last asked of a store.

    Raises:
        StoreError: there is no store.
        InputError: its spec is of another version of the package, and has a field that this one does not have.
    """
    directory = Path(directory)
    if (directory / "spec.toml").exists():
        return read_spec(directory / "spec.toml")
    fields: Mapping[str, Any] = read_manifest(directory)["sessions"][-1]["spec"]
    return spec_of(fields)


def what_it_said(directory: Path | str) -> str:
    """The error that the last command ended with, or else the last line it printed."""
    try:
        lines = (Path(directory) / "sweep.log").read_text(errors="replace").split("--- ")[-1].splitlines()[1:]
    except FileNotFoundError:
        return ""
    errors = [line for line in lines if line.startswith("pwb: ")]
    return next((line for line in reversed(errors or lines) if line.strip()), "")


def spec_text(spec: SweepSpec) -> str:
    """A spec as TOML, with the fields that were given; a preset's are among them.

    Example:
        >>> print(spec_text(SweepSpec(threads=[1, 2], guest="64M")), end="")
        threads = [1, 2]
        guest = ["64M"]
    """
    given = spec.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    ordered = [name for name in SweepSpec.model_fields if name in given]
    # Strings, numbers, truth values and lists of them are written alike in JSON and in TOML.
    return "".join(f"{name} = {json.dumps(given[name])}\n" for name in ordered)


def _path_to_this_package() -> str:
    """The same package for the process, also where this one found it by its own working directory."""
    root = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH", "")
    return root if not before else f"{root}{os.pathsep}{before}"

"""How far a sweep is: told while it runs, and read from its store by anybody, whether it runs or not.

Guaranteed: `done` counts rows that are in the store, so that nothing of it is lost when the sweep is killed; a
sweep counts as running only while it holds its store's lock, whatever the file says.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyworkbench.errors import StoreError
from pyworkbench.sweep import segments
from pyworkbench.sweep.store import is_locked, read_manifest, write_json

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Status:
    """How far a sweep is. Counts are of measurements: points times repeats."""

    state: str
    """`planning`, `waiting`, `running`, `done`, `interrupted`, `failed`; or `killed`, which only a reader can
    know."""
    planned: int = 0
    """What the sweep is to have in the end."""
    done: int = 0
    """What the store has of it, `reused` among it."""
    reused: int = 0
    """What was there before."""
    crashed: int = 0
    """Measurements of this session whose process died, or that took too long."""
    failed: int = 0
    """Measurements of this session that raised an error."""
    measured: int = 0
    """Measurements of this session, also those that are not in the store yet."""
    elapsed_s: float = 0.0
    """Since this session began to measure."""
    what: str = ""
    """What it waits for, or how it ended."""
    last_error: str | None = None
    """What the last crash or failure said."""
    pid: int | None = None
    """The process of the sweep."""
    session: int = 0
    """Which session of the store it is."""
    updated_at: str = ""
    """When this was true."""
    plan: str = ""
    """The points in a sentence, with what was dropped."""
    stored: int = 0
    """Rows of the store, of every sweep that wrote into it (only when read from a store)."""
    damaged: tuple[str, ...] = field(default=())
    """Files of the store that cannot be read (only when read from a store)."""

    @property
    def running(self) -> bool:
        """Whether the sweep goes on."""
        return self.state in {"planning", "waiting", "running"}

    @property
    def rate_per_s(self) -> float | None:
        """Measurements a second in this session."""
        return self.measured / self.elapsed_s if self.measured and self.elapsed_s > 0 else None

    @property
    def remaining_s(self) -> float | None:
        """An estimate, by the measurements so far, which are a random sample of all."""
        rate = self.rate_per_s
        return (self.planned - self.reused - self.measured) / rate if rate else None

    def as_json(self) -> dict[str, Any]:
        """The status as one JSON object, the estimates among it."""
        return asdict(self) | {
            "running": self.running,
            "rate_per_s": self.rate_per_s,
            "remaining_s": self.remaining_s,
        }

    def __str__(self) -> str:
        said = f"{self.reused + self.measured if self.running else self.done:,} of {self.planned:,} measurements"
        if self.reused:
            said += f", {self.reused:,} reused"
        for name, count in (("crashed", self.crashed), ("failed", self.failed)):
            said += f", {count:,} {name}" if count else ""
        if self.state == "running" and self.rate_per_s is not None and self.remaining_s is not None:
            said += f", {self.rate_per_s:.3g} a second, about {duration(self.remaining_s)} left"
        return f"{self.state}: {said}" + (f"; {self.what}" if self.what else "")


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.2), duration(75), duration(7500), duration(200_000)
    ('1 s', '75 s', '2 h 05 min', '2 d 8 h')
    """
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 100:  # noqa: PLR2004
        return f"{max(round(seconds), 1)} s"
    if minutes < 100:  # noqa: PLR2004
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"  # noqa: PLR2004


def write_status(directory: Path, status: Status) -> None:
    """Writes the status file; where it cannot be (a full disk), the old one stays, and readers count rows instead."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        write_json(directory / "status.json", asdict(replace(status, updated_at=now)), synchronised=False)
    except StoreError:
        return


def read_status(directory: Path) -> Status:
    """How far the sweep of a store is, as far as its files and its lock say.

    Raises:
        StoreError: there is no store, or one of another format.
    """
    read_manifest(directory)
    locked = is_locked(directory)
    try:
        status = Status(**json.loads((directory / "status.json").read_text()))
    except FileNotFoundError:
        status = Status("planning" if locked else "killed", what="" if locked else "it ended before it measured")
    except (ValueError, TypeError) as error:
        raise StoreError(f"is damaged: {error}", str(directory / "status.json")) from None
    if status.running and not locked:
        # Killed, perhaps between a segment and the status that tells of it.
        saved = segments.reading(lambda: _rows_of_session(directory, status.session))
        status = replace(
            status,
            state="killed",
            measured=saved,
            done=status.reused + saved,
            what=f"its process {status.pid} is gone; the same command goes on from here",
        )
    damaged = tuple(_damaged(directory))
    stored = segments.total_rows(segments.standing(directory / "segments"))
    return replace(status, stored=stored, damaged=damaged)


def _rows_of_session(directory: Path, session: int) -> int:
    import pyarrow.compute as pc  # noqa: PLC0415 (see _frames)
    import pyarrow.parquet as pq  # noqa: PLC0415

    def read(file: Path) -> Any:
        return pq.read_table(file, columns=["session"], page_checksum_verification=True)

    of_all = segments.read_each(directory / "segments", read, None, [])
    return sum(pc.sum(pc.equal(table["session"], session)).as_py() or 0 for _, table in of_all)


def _damaged(directory: Path) -> list[str]:
    """Segments whose end cannot be read; a damaged page in their middle is found when it is read."""
    return [
        f"{segment.file} is damaged; its rows are left out"
        for segment in segments.standing(directory / "segments")
        if not segments.is_whole(segment)
    ]

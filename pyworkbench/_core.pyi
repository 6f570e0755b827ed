"""The boundary to the compiled core. Private: the public functions and classes wrap it, and document it.

Every call lets other Python threads run, and raises `InputError` for a wrong argument and `CorePanic` for a
defect of the core.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, final

from pyworkbench._arrays import Addresses
from pyworkbench._frames import ArrowBatch

__all__ = [
    "Stage2",
    "build_id",
    "build_profile",
    "check_point",
    "check_points",
    "compare_chains",
    "does_not_apply",
    "explore",
    "first_harm",
    "kasan",
    "measure",
    "measurement_schema",
    "named_cases",
    "orderings",
    "overlaps",
    "panic_in_core",
    "read_lock_stat",
    "replay",
    "replay_schedule",
    "run_ops",
    "source_id",
    "subtrees",
]

def build_id() -> str:
    """The identity of the sources this extension was built from, 16 hex digits."""

def build_profile() -> str:
    """`release` or `debug`."""

def source_id(core: str | PathLike[str]) -> str:
    """The identity of the sources in the cargo workspace `core`."""

def panic_in_core(message: str, long: bool) -> None:
    """Panics inside the core, in a short or a long call: how the conversion to `CorePanic` is tested."""

def read_lock_stat(contents: bytes, name: str) -> dict[str, Any]:
    """See `pyworkbench.lockstat.read_lock_stat`: version, warnings, rows and points, as dicts and lists."""

def replay(
    directory: str | PathLike[str], *, source: str, keep_differences: int, keep_dumps: bool, walker: str
) -> dict[str, Any]:
    """See `pyworkbench.replay`: the fields of a `Replay`, as dicts and lists."""

def compare_chains(
    one: Sequence[str], other: Sequence[str], modelled: Sequence[str]
) -> tuple[list[str], list[str], int]:
    """See `pyworkbench.compare_chains`: the fields of a `ChainComparison`."""

def does_not_apply(*, scenario: str, variant: str, strategy: str) -> str | None:
    """Why a combination has no meaning, such as a strategy for an object that a kernel does not have."""

def explore(
    *,
    scenario: str,
    variant: str,
    strategy: str,
    search: str,
    seed: int,
    preemptions: int | None,
    actions: int | None,
    executions: int | None,
    time_s: float | None,
    checkers: Sequence[str] | None,
    within: Sequence[int],
    stop_at_first: bool,
    minimise: int,
    progress: Callable[[int, int, float], object] | None,
) -> dict[str, Any]:
    """See `pyworkbench.explore`: the fields of a `Verdict`, as dicts and lists.

    `progress(executions, frontier, elapsed_s)` is called about twenty times a second; when it answers `False`, or a
    signal comes, the exploration stops and answers with what it has found.
    """

def first_harm(
    *,
    scenario: str,
    variant: str,
    strategy: str,
    search: str,
    seeds: Sequence[int],
    executions: int,
    progress: Callable[[int, int, float], object] | None,
) -> list[int | None]:
    """For each seed the number of the first execution that does harm, if one of the first `executions` does.

    A signal, or `progress` as in `explore`, stops it: then there are answers for the first seeds only.
    """

def named_cases() -> dict[str, Any]:
    """What has a name: `scenarios` (`name`, `about`, `text`), `kernels`, `variants`, `strategies`, `calls`, `corpus`.

    The corpus is that of regressions: `name`, `when`, and the cases `before` and `after` the fix.
    """

def orderings(scenario: str, *, limit: int) -> tuple[list[dict[str, Any]], bool, bool]:
    """See `pyworkbench.orderings`: a dict an order (`order`, `scenario`, `vms`, `paths`), and whether these are all.

    Last, whether a signal stopped it.
    """

def replay_schedule(schedule: str, *, every_action: bool) -> dict[str, Any]:
    """See `pyworkbench.replay_schedule`: the case, `actions`, `threads`, `findings` and `changes`."""

def kasan(console: str | PathLike[str], *, trace: str | PathLike[str] | None) -> list[dict[str, Any]]:
    """See `pyworkbench.kasan`: the fields of each `KasanReport`, as dicts and lists."""

def overlaps(trace: str | PathLike[str], *, source: str) -> list[dict[str, Any]]:
    """See `pyworkbench.find_overlaps`: a dict a trace, also with the caches that one side found empty."""

def run_ops(text: str, walker: str) -> str:
    """See `pyworkbench.run_ops`."""

def subtrees(*, scenario: str, variant: str, strategy: str, depth: int) -> list[list[int]]:
    """Parts of a case's executions that can be explored apart: what `explore` takes as `within`."""

def measure(point: str, repeat: int, run: int) -> bytes:
    """Measures a point, given as JSON, once: an Arrow IPC stream of one row, with the columns of `measurement_schema`.

    `repeat` seeds what is random in the measurement; `run` is only a column. A measurement that runs out of table pages
    is a row whose `status` is `failed`. Ctrl-C ends it.
    """

def check_point(point: str) -> str:
    """The canonical JSON of a point: a field without effect is null, every other one is filled."""

def check_points(points: list[str]) -> list[tuple[str | None, str | None]]:
    """For each point its canonical JSON and None, or None and why it cannot be measured."""

def measurement_schema() -> bytes:
    """The columns of a measurement, all nullable: an Arrow IPC stream without a row.

    The schema's metadata has `pyworkbench.measurement`, the version of what is measured.
    """

@final
class Stage2:
    """See `pyworkbench.Stage2`, whose methods of the same names explain these."""

    def __new__(
        cls,
        granule: str,
        ipa_bits: int,
        *,
        start_level: int | None,
        level_bits: int | None,
        fwb: bool,
        xnx: bool,
        tlb_range: bool,
        lpa2: bool,
        as_s1: bool,
        force_pte: bool,
        cmo: bool,
        walker: str,
        strict: bool,
    ) -> Stage2: ...
    @property
    def walker(self) -> str: ...
    @property
    def granule(self) -> str: ...
    @property
    def ipa_bits(self) -> int: ...
    @property
    def start_level(self) -> int: ...
    @property
    def root_pages(self) -> int: ...
    @property
    def level_bits(self) -> int: ...
    @property
    def page_size(self) -> int: ...
    @property
    def live_pages(self) -> int: ...
    def map(self, ipa: int, size: int, pa: int, prot: str, memtype: str, shared: bool) -> int: ...
    def unmap(self, ipa: int, size: int) -> int: ...
    def wrprotect(self, ipa: int, size: int) -> int: ...
    def flush(self, ipa: int, size: int) -> int: ...
    def mkyoung(self, ipa: int) -> None: ...
    def test_clear_young(self, ipa: int, size: int, mkold: bool) -> bool: ...
    def relax_perms(self, ipa: int, prot: str) -> int: ...
    def split(self, ipa: int, size: int, cache_pages: int | None) -> int: ...
    def annotate(self, ipa: int, size: int, kind: int, value: int) -> int: ...
    def destroy(self) -> None: ...
    def lookup(self, ipa: int) -> dict[str, Any] | None: ...
    def map_many(self, ipas: Addresses, pas: Addresses, prot: str, memtype: str, shared: bool) -> int: ...
    def unmap_many(self, ipas: Addresses) -> int: ...
    def lookup_many(self, ipas: Addresses) -> ArrowBatch: ...
    def leaves(self) -> ArrowBatch: ...
    def invalidations(self) -> ArrowBatch: ...
    def dump(self) -> str: ...
    def stats(self) -> dict[str, int]: ...

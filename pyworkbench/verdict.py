"""What explorations say: verdicts, the findings in them, and what a schedule shows when it is run again.

Guaranteed: a proof holds for every interleaving within what `Verdict.scope` names; an exploration that was cut short is
never called one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

Answer = Literal["Proved", "Bug", "Exhausted"]


def counted(executions: int, actions: int, classes: int, search: str) -> str:
    """What was seen, in numbers: only a reduction sees one execution of each equivalence class.

    >>> counted(63, 6123, 51, "dpor")
    '63 executions, 6,123 actions, 51 equivalence classes'
    """
    of = "equivalence classes" if search == "dpor" else "whole executions"
    return f"{executions:,} executions, {actions:,} actions, {classes:,} {of}"


@dataclass(frozen=True)
class Finding:
    """Something wrong that some execution shows."""

    kind: str
    """`use-after-free`, `double-free`, `deadlock`, `leak`, ..., `data-race`, `lock-order`, ..."""
    harm: bool
    """Whether it decides a verdict; data races and broken rules without harm do not."""
    object: str
    """The object, lock or domain, by its name in the kernel."""
    what: str
    """What is wrong, in a sentence."""
    steps: tuple[dict[str, Any], ...]
    """Where it comes from, as KASAN or lockdep tell it: `role` (used, allocated, freed, took, waits), `thread`, `site`,
    `action`, and `inside`, the functions around it, innermost first."""
    schedule: str
    """The schedule that shows it, for `replay_schedule` and `pwb explore --replay`."""
    switches: int
    """How often that schedule goes from one thread to another."""
    first_execution: int
    """The number of the first execution that showed it."""
    executions: int
    """How many executions showed it."""
    ladder: str
    """One column a thread, time downwards: text for a commit message; empty if no single execution shows it."""
    lines: tuple[dict[str, Any], ...] = field(repr=False)
    """The ladder line by line: `action`, `thread`, `function`, `text`, `note`."""
    columns: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """The ladder's columns from left to right: `thread`, `head`, and `calls`, outermost first, that all its lines are
    inside of."""

    def frame(self) -> pd.DataFrame:
        """The ladder as a frame, a row a line."""
        import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

        return pd.DataFrame(list(self.lines), columns=["action", "thread", "function", "text", "note"])

    def svg(self) -> str:
        """The ladder as a drawing that loads nothing."""
        from pyworkbench.ladder import svg  # noqa: PLC0415 (only notebooks and reports draw)

        return svg(self.lines, title=f"{self.kind}: {self.object}", columns=self.columns)

    def inside(self, role: str) -> list[str]:
        """Inside which functions the step of a role (`used`, `freed`, ...) is, innermost first."""
        return next((step["inside"] for step in self.steps if step["role"] == role), [])

    def as_json(self) -> dict[str, Any]:
        """The finding as one JSON object, without its ladder."""
        return {
            one.name: getattr(self, one.name) for one in fields(self) if one.name not in {"ladder", "lines", "columns"}
        }

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """What an exploration says, and what it holds for."""

    answer: Answer
    """`Proved`: no execution does harm. `Bug`: `bug` shows one. `Exhausted`: the budget ended before either."""
    why: str | None
    """What ended an exploration that is `Exhausted`."""
    says: str | None
    """What an exhausted budget says beyond what was seen, such as PCT's bound."""
    complete: bool
    """Whether every execution up to equivalence was seen."""
    scenario: str
    """The scenario's name, or its text."""
    scenario_text: str
    """Its text: the set-up, and what each task does."""
    guest_pages: int
    """How many pages the guest has."""
    walker: str
    """How the table is walked: `upstream`, unless the set-up says `walker=fast`."""
    geometry: str
    """The table's shape; explorations use small ones."""
    variant: str
    """The kernel's."""
    strategy: str
    """The locking strategy."""
    program: str
    """The three together, as schedules name them."""
    findings: tuple[Finding, ...] = field(repr=False)
    """What was found, harm first."""
    first_kinds: tuple[str, ...]
    """Kinds of harm that can come first in an execution; all of them if the exploration is `complete`."""
    executions: int
    """Executions that were begun."""
    classes: int
    """Those that came to an end: with a reduction, the number of equivalence classes seen."""
    redundant: int
    """Those that were given up, as equivalent to others."""
    cut: int
    """Those that were cut at a bound."""
    actions: int
    """Actions of all executions."""
    longest: int
    """The most actions of one."""
    elapsed_s: float
    """The time it took; no part of the answer."""
    threads: tuple[str, ...]
    """The tasks, and `RCU` where its work is one."""
    search: str
    """The way through the executions."""
    bounds: str
    """How far it went."""
    checkers: tuple[str, ...]
    """What looked at the executions."""
    memory: str
    """The memory model."""

    @property
    def bug(self) -> Finding | None:
        """The finding that decides, if one does."""
        return self.findings[0] if self.findings and self.findings[0].harm else None

    @property
    def ladder(self) -> str | None:
        """The bug's ladder."""
        return self.bug.ladder if self.bug else None

    @property
    def schedule(self) -> str | None:
        """The bug's schedule, to be replayed."""
        return self.bug.schedule if self.bug else None

    @property
    def scope(self) -> dict[str, Any]:
        """What the verdict holds for."""
        names = [
            "scenario_text",
            "guest_pages",
            "walker",
            "geometry",
            "variant",
            "strategy",
            "threads",
            "search",
            "bounds",
            "checkers",
            "memory",
        ]
        return {name: getattr(self, name) for name in names}

    def frame(self) -> pd.DataFrame:
        """The findings as a frame, a row each, without their ladders."""
        import pandas as pd  # noqa: PLC0415 (a command that prints text does without)

        names = ["kind", "harm", "object", "what", "switches", "first_execution", "executions", "schedule"]
        rows = [{name: getattr(one, name) for name in names} for one in self.findings]
        return pd.DataFrame(rows, columns=names)

    def as_json(self) -> dict[str, Any]:
        """The verdict as one JSON object."""
        names = [one.name for one in fields(self) if one.name != "findings"]
        ladder = [] if self.bug is None else self.bug.ladder.splitlines()
        return {
            **{name: getattr(self, name) for name in names},
            "schedule": self.schedule,
            "ladder": ladder,
            "findings": [one.as_json() for one in self.findings],
        }

    def __repr__(self) -> str:
        answer = f"{self.answer} {self.bug.kind} of {self.bug.object}" if self.bug else self.answer
        why = f" ({self.why})" if self.why else ""
        return f"<Verdict {answer}{why}: {self.program}, {self._counts()}>"

    def __str__(self) -> str:
        head = self.answer + (f": {self.bug}" if self.bug else f" ({self.why})" if self.why else "")
        lines = [head, *self._facts()]
        if self.bug:
            lines += ["", self.bug.ladder.rstrip(), "", f"replay: {self.bug.schedule}"]
        beside = [one for one in self.findings if not one.harm]
        if beside:
            lines += ["", "without harm:", *(f"  {one}" for one in beside)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from pyworkbench.ladder import verdict_html  # noqa: PLC0415 (only notebooks and reports draw)

        return verdict_html(self, self._facts())

    def _counts(self) -> str:
        return counted(self.executions, self.actions, self.classes, self.search)

    def _facts(self) -> list[str]:
        seen = "all of them up to equivalence" if self.complete else "not all there are"
        return [
            f"{self._counts()} ({self.redundant} redundant, {self.cut} cut), {self.elapsed_s:.2f} s; {seen}",
            *([self.says] if self.says else []),
            f"{self.scenario}, {self.variant}, strategy {self.strategy}",
            f"walker {self.walker}, {self.geometry}, guest pages: {self.guest_pages}",
            f"threads {', '.join(self.threads)}; search {self.search}; {self.bounds}",
            f"checkers {', '.join(self.checkers)}; {self.memory}",
        ]


@dataclass(frozen=True)
class Replayed:
    """What a schedule shows when it is run again."""

    program: str
    """The case: scenario, variant and strategy."""
    actions: int
    """How many actions the execution had."""
    findings: tuple[Finding, ...]
    """What is wrong in it, harm first."""
    changes: tuple[str, ...] = ()
    """What is not as it was when the schedule was written, in sentences."""

    @property
    def bug(self) -> Finding | None:
        """The first harm, if there is any."""
        return self.findings[0] if self.findings and self.findings[0].harm else None

    def as_json(self) -> dict[str, Any]:
        """What it shows as one JSON object."""
        ladder = [] if self.bug is None else self.bug.ladder.splitlines()
        findings = [one.as_json() for one in self.findings]
        return {
            "program": self.program,
            "actions": self.actions,
            "changes": list(self.changes),
            "ladder": ladder,
            "findings": findings,
        }

    def __str__(self) -> str:
        said = str(self.bug) if self.bug else f"the schedule runs ({self.actions} actions), and shows no harm"
        lines = [f"{self.program}: {said}", *(f"changed: {one}" for one in self.changes)]
        if self.bug:
            lines += ["", self.bug.ladder.rstrip()]
        return "\n".join(lines)

"""A kernel's own complaint beside the explorer's finding: same kind, same object, same two call chains, or not.

Guaranteed: nothing is said to agree that was not compared; the chains are compared on the functions that the model
has, because a kernel's stack shows more. Not claimed: that both happened in the same order: which of two racing
tasks comes second is chance on the machine, and a choice of the explorer's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyworkbench.console import ChainComparison, compare_chains
from pyworkbench.explore import calls_modelled, variants

if TYPE_CHECKING:
    from pyworkbench.console import KasanReport
    from pyworkbench.verdict import Finding, Verdict


@dataclass(frozen=True)
class Beside:
    """A report and a finding, compared."""

    program: str
    """What was explored: scenario, variant and strategy."""
    kinds: tuple[str, str | None]
    """KASAN's, in the explorer's words, and the finding's."""
    objects: tuple[str | None, str | None]
    """The object's name, from the trace and from the model."""
    chains: tuple[tuple[str, ChainComparison], ...]
    """For each stack of the report (`freed again`, `freed`, ...), how it compares with the finding's."""
    crossed: bool
    """The finding has the two tasks the other way round: the one that came second in the kernel comes first."""

    @property
    def agrees(self) -> bool:
        """Whether kind, object and all call chains are the same, and there are such."""
        same = self.kinds[0] == self.kinds[1] and None not in self.objects and self.objects[0] == self.objects[1]
        return same and bool(self.chains) and all(chain.agrees for _, chain in self.chains)

    def as_json(self) -> dict[str, Any]:
        """The comparison as one JSON object."""
        chains = [
            {"stack": name, "agrees": chain.agrees, "kernel": chain.one, "model": chain.other, "common": chain.common}
            for name, chain in self.chains
        ]
        names = ["program", "agrees", "kinds", "objects", "crossed"]
        return {**{name: getattr(self, name) for name in names}, "chains": chains}

    def __str__(self) -> str:
        lines = [f"beside {self.program}: " + ("the same" if self.agrees else "not the same")]
        for name, (kernel, model) in (("kind", self.kinds), ("object", self.objects)):
            lines.append(f"  {name}: {kernel}" if kernel == model else f"  {name}: kernel {kernel} | model {model}")
        lines += [f"  {name}: {chain}" for name, chain in self.chains]
        if self.crossed:
            lines.append("  (the model's tasks are the other way round: which comes second is chance)")
        return "\n".join(lines)


def set_beside(report: KasanReport, verdict: Verdict) -> Beside:
    """Compares a report of KASAN's with that finding of a verdict which is most like it.

    Example:
        >>> from pyworkbench import explore, kasan
        >>> report = kasan("data/captures/race/own-b1")[0]
        >>> verdict = explore("flush-race-filled", variant=variant_of(report), stop_at_first=False)
        >>> set_beside(report, verdict).agrees
        True
    """
    kind = _KINDS.get(report.kind, report.kind)
    compared = [_compare(report, kind, finding, verdict) for finding in verdict.findings if finding.harm]
    if not compared:
        return Beside(verdict.program, (kind, None), (report.object, None), (), crossed=False)
    return max(compared, key=_likeness)


def variant_of(report: KasanReport) -> str | None:
    """The kernel variant that a report comes from, by its release and its stacks, if the model has it.

    Example:
        >>> from pyworkbench import kasan
        >>> variant_of(kasan("data/captures/race/own-b1")[0])
        'arm64-7.3'
    """
    release = re.match(r"\d+\.\d+", report.kernel or "")
    stacks = [report.stack, *(track.stack for track in (report.allocated, report.freed) if track)]
    is_arm64 = any(name.startswith(("__arm64_", "el0", "el1")) for stack in stacks for name in stack)
    named = f"arm64-{release[0]}" if release and is_arm64 else None
    return named if named in variants() else None


# KASAN's names of kinds, and the explorer's.
_KINDS = {
    "slab-use-after-free": "use-after-free",
    "invalid-free": "bad-free",
    "double-free or invalid-free": "double-free",
}


def _compare(report: KasanReport, kind: str, finding: Finding, verdict: Verdict) -> Beside:
    stacks = {"freed again" if report.access == "free" and report.freed else report.access or "accessed": report.stack}
    if report.freed:
        stacks["freed"] = report.freed.stack
    ours = [finding.inside("used"), finding.inside("freed")][: len(stacks)]
    ways = [
        tuple(
            (name, compare_chains(stack, own, calls_modelled()))
            for (name, stack), own in zip(stacks.items(), way, strict=True)
        )
        for way in (ours, ours[::-1])
    ]
    crossed = _common(ways[1]) > _common(ways[0])
    return Beside(
        verdict.program, (kind, finding.kind), (report.object, finding.object), ways[crossed], crossed=crossed
    )


def _common(chains: tuple[tuple[str, ChainComparison], ...]) -> int:
    return sum(chain.common for _, chain in chains)


def _likeness(one: Beside) -> tuple[bool, bool, bool, int]:
    return one.agrees, one.kinds[0] == one.kinds[1], one.objects[0] == one.objects[1], _common(one.chains)

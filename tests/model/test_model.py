"""The independent model and `explore` must give one verdict, and the same kinds of harm that can come first.

The model takes another way to its answers than the project's explorer (README.md, here); a difference is a defect of
one of them, or a fact that can be read in two ways.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import configurations as model
import pytest
from lifecycle import Tasks
from teardown import Kernel

from pyworkbench import explore

if TYPE_CHECKING:
    from actions import Program
    from checker import Answer

OBJECTS = {
    "kvm-objects": "kvm.arch.split_page_cache.objects",
    "kvm-nested": "kvm.arch.nested_mmus",
    "kvm-page": "table page",
}
"""What the project calls objects of the model."""


@cache
def _answer(configuration: model.Configuration) -> Answer:
    return model.answer(configuration)


@pytest.mark.parametrize("configuration", model.CONFIGURATIONS, ids=str)
def test_the_model_and_the_explorer_agree(configuration: model.Configuration) -> None:
    ours = _answer(configuration)
    theirs = explore(
        configuration.scenario,
        variant=configuration.variant,
        strategy=configuration.strategy,
        stop_at_first=False,
        minimise=0,
    )
    assert theirs.answer == ours.verdict, ours.ladders
    assert set(theirs.first_kinds) == ours.kinds, ours.ladders
    harm = {(one.kind, one.object) for one in theirs.findings if one.harm}
    assert {(kind, OBJECTS[one]) for kind, one in ours.objects if one in OBJECTS} <= harm
    if not ours.kinds:
        assert {one.kind for one in theirs.findings if not one.harm} - {"data-race"} == ours.rules


def _row(configuration: model.Configuration) -> str:
    ours = _answer(configuration)
    said = ", ".join([*sorted(ours.kinds), *(f"({rule})" for rule in sorted(ours.rules) if not ours.kinds)])
    return (
        f"| {configuration.scenario} | {configuration.variant} | {configuration.strategy} | {ours.verdict} | {said} |"
    )


def test_the_table_of_the_readme_is_what_the_model_says() -> None:
    rows = re.findall(r"^\| .* (?:Bug|Proved) \| .*\|$", Path(__file__).with_name("README.md").read_text(), re.M)
    assert rows == [_row(one) for one in model.CONFIGURATIONS]


class _ForgetsOneLock(Kernel):
    """Claims the cache without the lock."""

    def split_cache(self, vm: str) -> Program:
        yield from self.free_claimed((yield from self.claim_memory_cache(vm)))


def test_a_strategy_that_forgets_its_lock_is_found() -> None:
    cell = model.Configuration("flush-race-filled", "arm64-7.3", "claim-under-lock")
    assert _answer(cell).verdict == "Proved"
    assert "double-free" in model.answer(cell, _ForgetsOneLock(strategy="claim-under-lock")).kinds


class _ForgetsCache(Kernel):
    def split_cache(self, vm: str) -> Program:  # noqa: ARG002
        yield from ()


def test_a_kernel_that_forgets_to_free_leaks() -> None:
    assert model.answer(model.Configuration("kill", "arm64-7.3"), _ForgetsCache()).kinds == {"leak"}


def test_a_notifier_that_waits_for_nobody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: Tasks, _: str) -> Program:
        yield from self.mmdrop()

    monkeypatch.setattr(Tasks, "notifier_unregister", forgetful)
    kinds = model.answer(model.Configuration("flush-race", "arm64-7.3", "claim-under-lock")).kinds
    assert "use-after-free" in kinds


def test_a_ladder_is_the_shortest_way_to_the_harm() -> None:
    ladder = _answer(model.Configuration("flush-race-used-up", "arm64-7.3")).ladders["double-free"]
    assert ladder[-1].endswith("free kvm-objects")
    assert {line[:2] for line in ladder} == {"T1", "T2"}

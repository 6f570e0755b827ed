"""A real kernel's double frees beside what the explorer finds in the model of that kernel."""

from dataclasses import replace
from pathlib import Path

import pytest

from pyworkbench import KasanReport, Verdict, calls_modelled, explore, kasan, set_beside, variant_of

from .test_cli import pwb

CONSOLE = Path(__file__).parents[2] / "data" / "captures" / "race" / "own-b1" / "console.txt.gz"


@pytest.fixture(scope="module")
def reports() -> list[KasanReport]:
    """The twelve reports of one boot."""
    return kasan(CONSOLE)


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    """All that the unfixed race leads to in the model of that kernel."""
    return explore("flush-race-filled", variant="arm64-7.3", stop_at_first=False)


def test_every_report_is_the_explorers_finding(reports: list[KasanReport], verdict: Verdict) -> None:
    assert {variant_of(report) for report in reports} == {"arm64-7.3"}
    compared = [set_beside(report, verdict) for report in reports]
    assert [one.agrees for one in compared] == [True] * 12
    assert {one.crossed for one in compared} == {True, False}  # on the machine, either task came second
    for one in compared:
        ends = {chain.one[0] for _, chain in one.chains}
        assert ends == {"do_exit", "kvm_vm_release"}
        assert all(chain.one[-1] == "kvm_mmu_free_memory_cache" for _, chain in one.chains)
        assert str(one).startswith("beside flush-race-filled arm64-7.3 none: the same")


def test_what_differs_is_said(reports: list[KasanReport], verdict: Verdict) -> None:
    report = reports[0]
    assert report.freed is not None
    other_kind = set_beside(replace(report, kind="slab-out-of-bounds"), verdict)
    assert not other_kind.agrees
    assert "kind: kernel slab-out-of-bounds | model " in str(other_kind)
    nameless = set_beside(replace(report, known=None), verdict)
    assert not nameless.agrees
    assert "object: kernel None | model kvm.arch.split_page_cache.objects" in str(nameless)
    elsewhere = [name for name in report.freed.stack if name != "__mmu_notifier_release"]
    other_chain = set_beside(replace(report, freed=replace(report.freed, stack=tuple(elsewhere))), verdict)
    assert not other_chain.agrees
    assert "do_exit > mmput > exit_mmap in common, then kvm_mmu_notifier_release > " in str(other_chain)


def test_a_proof_has_nothing_to_set_beside(reports: list[KasanReport]) -> None:
    fixed = explore("flush-race-filled", strategy="claim-under-lock")
    beside = set_beside(reports[0], fixed)
    assert (beside.agrees, beside.kinds, beside.chains) == (False, ("double-free", None), ())


def test_a_kernel_that_is_not_modelled_has_no_variant(reports: list[KasanReport]) -> None:
    assert variant_of(replace(reports[0], kernel="5.10.0")) is None
    assert variant_of(replace(reports[0], kernel=None)) is None
    assert variant_of(replace(reports[0], kernel="6.12.9-amd64", stack=(), freed=None, allocated=None)) is None
    assert {"kvm_destroy_vm", "exit_mmap", "kvm_mmu_free_memory_cache"} <= set(calls_modelled())


def test_the_command_sets_each_report_beside_the_finding() -> None:
    code, out, err = pwb("kasan", str(CONSOLE))
    assert (code, err) == (0, "")
    assert out.count("beside flush-race-filled arm64-7.3 none: the same\n") == 12
    code, out, err = pwb("kasan", str(CONSOLE), "--scenario", "flush-race-nested", "--variant", "arm64-6.12")
    assert (code, err) == (0, "")
    assert out.count("beside flush-race-nested arm64-6.12 none: not the same\n") == 12

"""The golden cases: scripts of table operations with the answers of upstream's own code."""

import re
from pathlib import Path

import pytest

import pyworkbench

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
CASES = sorted(GOLDEN.glob("*.ops"))


def test_there_are_golden_cases() -> None:
    assert len(CASES) == 81


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_script_gives_exactly_what_upstream_gave(case: Path) -> None:
    assert pyworkbench.run_ops(case.read_text()) == case.with_suffix(".out").read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_fast_walker_gives_the_same_but_for_invalidations(case: Path) -> None:
    def without_invalidations(report: str) -> list[str]:
        return [re.sub(r" tlbi \d+", "", line) for line in report.splitlines() if not line.startswith("  TLBI")]

    fast = pyworkbench.run_ops(case.read_text(), walker="fast")
    assert without_invalidations(fast) == without_invalidations(case.with_suffix(".out").read_text())

"""The golden cases: scripts of table operations with the answers of upstream's own code."""

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

"""What several modules of tests look at."""

import pytest

from pyworkbench import Verdict, explore


@pytest.fixture(scope="session")
def bug() -> Verdict:
    """The race of May 2026, unfixed."""
    return explore("flush-race-filled")

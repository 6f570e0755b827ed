"""For all tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_machine_lock(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Sweeps of tests do not wait for one that measures in earnest, nor for those of other test processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYWORKBENCH_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield

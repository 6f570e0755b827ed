"""How much a sweep is, before it starts."""

from pathlib import Path
from typing import Any

import pytest

from pyworkbench.errors import InputError
from pyworkbench.sweep import spec_of, sweep
from pyworkbench.sweep.estimate import MOST, estimate


def test_what_a_store_has_is_not_counted_again_and_is_the_basis(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"threads": [1, 2], "guest": ["2M", "16M"], "warmup": 0}
    sweep(out=tmp_path, **fields, repeats=3)
    found = estimate(spec_of(fields | {"repeats": 5}), tmp_path)
    assert (found.measurements, found.missing) == (40, 16)
    assert "as the store's rows took" in found.basis
    assert found.seconds is not None
    assert found.seconds > 0
    assert "24 of them are there" in str(found)
    assert estimate(spec_of(fields | {"repeats": 3}), tmp_path).missing == 0


def test_more_memory_is_estimated_to_take_longer() -> None:
    small, big = (estimate(spec_of({"guest": size})).seconds for size in ("64M", "64G"))
    assert small is not None
    assert big is not None
    assert big > 20 * small  # not 1000: a measurement has a cost of its own


def test_too_many_combinations_are_counted_and_not_planned() -> None:
    found = estimate(spec_of({"threads": list(range(1, 129)), "delay_ns": list(range(200)), "repeats": 2}))
    assert found.planned is None
    assert found.combinations == 128 * 200 * 2 > MOST
    assert "at most 102,400 measurements" in str(found)


def test_an_exploration_is_counted_without_the_dimensions_of_measurements() -> None:
    found = estimate(spec_of({"kind": "explore", "strategy": ["none", "claim-under-lock"]}))
    assert (found.combinations, found.measurements, found.seconds) == (2, 2, None)


def test_a_value_without_meaning_is_an_error() -> None:
    with pytest.raises(InputError):
        estimate(spec_of({"guest": "3"}))

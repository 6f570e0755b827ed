"""Plans: every combination is accounted for, and a key is of what a point does, however it was asked for."""

import json
from typing import Any

from hypothesis import given, reject
from hypothesis import strategies as st

from pyworkbench import InputError
from pyworkbench.sweep import Plan, plan, spec_of

VALUES: dict[str, list[Any]] = {
    "threads": [1, 2, 3, 64],
    "walk": ["shared", "exclusive"],
    "lock": ["qrwlock", "mutex", "std"],
    "granule": ["4K", "16K", "64K"],
    "leaf": ["page", "block", "2M"],
    "guest": ["64M", "1G"],
    "step": ["whole", "kernel", "64M"],
    "place": ["under-lock", "taken-out"],
    "breaks": [False, True],
    "delay_ns": [0, 50],
    "variant": ["arm64-7.3", "arm64-6.12"],
}


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """Some dimensions, with some of their values, in some order."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=4))
    chosen: dict[str, Any] = {}
    for name in names:
        values = draw(st.permutations(VALUES[name]))
        chosen[name] = values[: draw(st.integers(1, len(values)))]
    # At least one leaf that every granule has, so that some combination has a meaning.
    if "leaf" in chosen and "page" not in chosen["leaf"]:
        chosen["leaf"].append("page")
    return chosen | {"delay_site": "kvm_handle_guest_abort"}


def planned(chosen: dict[str, Any]) -> Plan:
    """The plan; a spec with a value that has a meaning nowhere is not what is looked at here."""
    try:
        return plan(spec_of(chosen))
    except InputError:
        reject()


@given(fields())
def test_every_combination_is_a_point_the_same_as_another_or_dropped_with_a_reason(chosen: dict[str, Any]) -> None:
    found = planned(chosen)
    assert len(found.points) + found.same + sum(found.dropped.values()) == found.combinations
    assert len(set(found.points)) == len(set(found.keys)) == len(found.points)
    assert all(found.dropped)


@given(fields(), st.randoms(use_true_random=False))
def test_the_order_of_values_and_what_else_is_asked_for_change_no_key(chosen: dict[str, Any], random: Any) -> None:
    whole = planned(chosen)
    shuffled = {name: random.sample(values, len(values)) for name, values in chosen.items() if name != "delay_site"}
    assert set(planned(chosen | shuffled).keys) == set(whole.keys)
    one = {name: values[0] for name, values in chosen.items() if name not in {"leaf", "delay_site"}}
    part = planned(chosen | one | {"repeats": 9, "seed": 5, "timeout_s": 1.0})
    assert set(part.keys) <= set(whole.keys)


@given(fields())
def test_a_canonical_point_stays_as_it_is(chosen: dict[str, Any]) -> None:
    from pyworkbench import _core  # noqa: PLC0415 (the boundary itself is looked at)

    points = list(planned(chosen).points)
    assert [point for point, _ in _core.check_points(points)] == points
    assert all(isinstance(json.loads(point), dict) for point in points)


def test_what_has_no_effect_is_in_no_key() -> None:
    with_effect = plan(spec_of({"threads": 1, "walk": "shared", "delay_ns": 0}))
    without = plan(spec_of({"threads": 1, "walk": "shared", "delay_ns": 0, "variant": ["arm64-7.3", "arm64-6.12"]}))
    assert without.keys == with_effect.keys
    assert without.same == 1

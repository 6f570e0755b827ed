"""From a spec to its points: every combination, in canonical form, each once.

Guaranteed: two combinations that differ only in what has no effect are one point, and one key, whatever spec they
come from; a combination without meaning is counted, with the reason; a value of a measurement that has a meaning in
no combination is an error, as it is most likely a mistake. A key is of the point, the version of the measurement,
and the machine: what must be equal for two rows to be repeats of one measurement.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import product
from typing import TYPE_CHECKING, Any

from pyworkbench import _core
from pyworkbench.errors import InputError
from pyworkbench.sweep.machine import machine_identity
from pyworkbench.sweep.schema import measurement_version
from pyworkbench.sweep.spec import size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyworkbench.sweep.spec import SweepSpec

BLOCK_BYTES = {"4K": 2 << 20, "16K": 32 << 20, "64K": 512 << 20}
"""What an entry of the last level but one maps."""


@dataclass(frozen=True)
class Plan:
    """The points of a sweep."""

    points: tuple[str, ...]
    """Each point in canonical form, as JSON."""
    keys: tuple[str, ...]
    """Each point's key."""
    combinations: int
    """How many combinations of values the spec has."""
    same: int = 0
    """How many of them are the same as another, because what they differ in has no effect."""
    dropped: dict[str, int] = field(default_factory=dict)
    """How many have no meaning, by the reason."""

    def __str__(self) -> str:
        said = [f"{len(self.points):,} points"]
        if len(self.points) != self.combinations:
            said[0] += f" of {self.combinations:,} combinations"
        if self.same:
            said.append(f"{self.same:,} are the same as others")
        said += [f"{count:,} have no meaning ({reason})" for reason, count in self.dropped.items()]
        return "; ".join(said)


def plan(spec: SweepSpec) -> Plan:
    """The points of a spec.

    Raises:
        InputError: a value has no meaning in any combination; the message names it.

    Example:
        >>> from pyworkbench.sweep import SweepSpec
        >>> print(plan(SweepSpec(threads=[1, 2], step=["whole", "kernel"])))
        8 points
    """
    axes = _explored_axes(spec) if spec.kind == "explore" else _measured_axes(spec)
    combinations = list(product(*axes))
    texts = ["{" + ",".join(each) + "}" for each in combinations]
    checked = _check_explored(texts) if spec.kind == "explore" else _core.check_points(texts)
    refused = [at for at, (canonical, _) in enumerate(checked) if canonical is None]
    if len(refused) == len(checked):
        raise InputError(f"no combination has a meaning: {checked[0][1]}")
    if refused and spec.kind == "measure":
        _refuse_values_without_meaning(axes, combinations, checked)
    canonical = [point for point, _ in checked if point is not None]
    points = tuple(dict.fromkeys(canonical))
    key_of = key_maker(spec.kind)
    return Plan(
        points,
        tuple(map(key_of, points)),
        len(combinations),
        len(canonical) - len(points),
        dict(Counter(checked[at][1] or "" for at in refused)),
    )


def key_maker(kind: str) -> Callable[[str], str]:
    """What gives a canonical point its key, here and now."""
    # A verdict is of the model, whichever machine finds it.
    about: dict[str, Any] = (
        {"version": measurement_version(), "machine": machine_identity()} if kind == "measure" else {}
    )
    base = blake2b(json.dumps({"kind": kind} | about, sort_keys=True).encode(), digest_size=12)

    def key_of(point: str) -> str:
        digest = base.copy()
        digest.update(point.encode())
        return digest.hexdigest()

    return key_of


Axis = dict[str, dict[str, Any]]
"""A dimension of the product: for each of its pieces of JSON, the fields of the spec that it comes from."""


def _measured_axes(spec: SweepSpec) -> list[Axis]:
    def axis(name: str, point_field: str = "", value: Callable[[Any], Any] = lambda given: given) -> Axis:
        key = json.dumps(point_field or name)
        return {f"{key}:{json.dumps(value(given))}": {name: given} for given in getattr(spec, name)}

    def unless(word: str) -> Callable[[Any], Any]:
        return lambda given: None if given == word else given

    def size_unless(word: str, **words: int) -> Callable[[str], int | None]:
        return lambda given: None if given == word else words[given] if given in words else size_bytes(given)

    return [
        axis("threads"),
        axis("lock"),
        axis("walk"),
        axis("walker"),
        axis("counters"),
        _geometry_axis(spec),
        axis("ipa_bits"),
        axis("guest", "guest_bytes", size_bytes),
        axis("touch", "touch_bytes", size_unless("leaf")),
        axis("pattern"),
        axis("locality"),
        axis("sparsity"),
        axis("populate"),
        axis("mix"),
        axis("ops_per_thread", value=unless("pass")),
        axis("op", "op_bytes", size_unless("auto")),
        axis("write_percent"),
        axis("logging", value=unless("auto")),
        axis("rate_per_s", value=unless("closed")),
        axis("background"),
        axis("background_pause_ns"),
        axis("delay_ns"),
        axis("delay_site", value=unless("none")),
        axis("teardown"),
        axis("step", "step_bytes", size_unless("whole", kernel=0)),
        axis("place"),
        axis("breaks"),
        axis("free"),
        axis("defer"),
        axis("during"),
        axis("variant"),
        axis("strategy"),
        axis("cache"),
    ]


def _geometry_axis(spec: SweepSpec) -> Axis:
    """Granule and leaf together: what a page and a block are depends on the granule."""
    pieces: Axis = {}
    for granule in spec.granule:
        words = {"page": size_bytes(granule), "block": BLOCK_BYTES[granule]}
        for leaf in spec.leaf:
            leaf_bytes = words[leaf] if leaf in words else size_bytes(leaf)
            piece = f'"granule":{json.dumps(granule)},"leaf_bytes":{leaf_bytes}'
            pieces.setdefault(piece, {"granule": granule, "leaf": leaf})
    return pieces


def _explored_axes(spec: SweepSpec) -> list[Axis]:
    bounds = {
        "executions_limit": spec.executions,
        "time_limit_s": spec.time_s,
        "preemptions_limit": spec.preemptions,
    }
    axes = [
        {f"{json.dumps(name)}:{json.dumps(value)}": {name: value} for value in getattr(spec, name)}
        for name in ("scenario", "variant", "strategy", "search", "seed")
    ]
    return [*axes, {json.dumps(bounds)[1:-1]: {}}]


def _check_explored(texts: list[str]) -> list[tuple[str | None, str | None]]:
    """As `_core.check_points`: a seed has no effect on a search that is not random."""
    checked: list[tuple[str | None, str | None]] = []
    reasons: dict[tuple[str, str, str], str | None] = {}
    for text in texts:
        point = json.loads(text)
        case = (point["scenario"], point["variant"], point["strategy"])
        if case not in reasons:
            reasons[case] = _core.does_not_apply(scenario=case[0], variant=case[1], strategy=case[2])
        if point["search"] in {"dpor", "dfs"}:
            point["seed"] = None
        reason = reasons[case]
        checked.append((None, reason) if reason else (json.dumps(point), None))
    return checked


def _refuse_values_without_meaning(
    axes: list[Axis], combinations: list[tuple[str, ...]], checked: list[tuple[str | None, str | None]]
) -> None:
    for at, axis in enumerate(axes):
        used = {each[at] for each, (canonical, _) in zip(combinations, checked, strict=True) if canonical is not None}
        good = {named for piece, values in axis.items() if piece in used for named in values.items()}
        for piece, values in axis.items():
            for name, value in values.items():
                if (name, value) not in good:
                    pairs = zip(combinations, checked, strict=True)
                    reason = next(reason for each, (_, reason) in pairs if each[at] == piece)
                    raise InputError(f"{name} {value!r} has a meaning in no combination: {reason}")

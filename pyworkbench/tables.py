"""Tables for notebooks and reports (great-tables): plain HTML, no script, nothing to load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from great_tables import GT, loc, style

from pyworkbench.plots import OVERSUBSCRIBED
from pyworkbench.sweep import SUMMARY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyworkbench.capture import Replay
    from pyworkbench.sweep import SweepResult

COMPACT: dict[str, Any] = {
    "table_font_size": "13px",
    "table_font_names": ["system-ui", "DejaVu Sans", "sans-serif"],
    "data_row_padding": "3px",
    "heading_align": "left",
    "table_margin_left": "0",
}


def medians(result: SweepResult) -> GT:
    """The medians of a sweep: a row a point, those with more threads than cores on another ground."""
    summary = result.summary().sort_values(["pattern", "walk", "threads", "order"], ignore_index=True)
    over = summary["oversubscribed"].astype(bool).to_numpy()
    pattern, walk = (summary[name].astype(object).fillna(word) for name, word in (("pattern", "all"), ("walk", "no")))
    group = pattern + " ranges, " + walk + " walk"
    shown = summary.drop(columns=["oversubscribed", "pattern", "walk"]).astype({"order": str}).assign(group=group)
    table = (
        GT(shown, groupname_col="group")
        .cols_label(dict(SUMMARY), order="teardown")
        .fmt_number(list(SUMMARY), decimals=2)
        .sub_missing(missing_text="not recorded")
        .tab_options(**COMPACT)
        .tab_style(style.fill(OVERSUBSCRIBED), loc.body(rows=[int(at) for at in over.nonzero()[0]]))
    )
    if over.any():
        table = table.tab_source_note(
            f"Shaded: more threads than the {result.environment['cores']} cores. It says something about the "
            "scheduler, not about the lock."
        )
    if "exclusive" in set(summary["walk"]):
        table = table.tab_source_note(
            "With the exclusive walk the longest write hold is the teardown's or a fault's, whichever was longer."
        )
    return table


def replays(found: Mapping[str, Replay]) -> GT:
    """What the replays of some captures found: a row a capture."""
    rows = [
        {
            "capture": name,
            "kernel": replay.kernel.removeprefix("Linux version ").split(" ", 1)[0],
            "walker": replay.walker,
            "VMs": len(replay.vms),
            "operations": sum(vm["operations"] for vm in replay.vms),
            "snapshots": len(replay.snapshots),
            "entries": replay.entries,
            "exact": replay.exact,
            "but for AF": replay.af_only,
            "differing": replay.differing,
            "invalidations": replay.invalidations_agreed,
        }
        for name, replay in found.items()
    ]
    frame = pd.DataFrame(rows)
    return GT(frame).fmt_integer(list(frame.columns[3:])).tab_options(**COMPACT)


def facts(named: Mapping[str, object]) -> GT:
    """Names and values, a row each."""
    frame = pd.DataFrame({"fact": list(named), "value": [str(value) for value in named.values()]})
    return GT(frame).tab_options(**COMPACT, column_labels_hidden=True)


_GROUNDS = {"Proved": "#e3f3e8", "Bug": "#fbe3e3", "Exhausted": "#f7f0d8"}


def verdicts(matrix: pd.DataFrame) -> GT:
    """A verdict matrix: a row a strategy on a kernel, a column a scenario, with what was seen, in numbers."""
    scenarios = list(dict.fromkeys(matrix["scenario"]))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in matrix.to_dict("records"):
        key = (row["variant"], row["strategy"])
        rows.setdefault(key, {"variant": key[0], "strategy": key[1]})[row["scenario"]] = _cell(row)
    table = GT(pd.DataFrame(list(rows.values())), groupname_col="variant").tab_options(**COMPACT)
    for verdict, ground in _GROUNDS.items():
        for scenario in scenarios:
            marked = [at for at, row in enumerate(rows.values()) if row.get(scenario, "").startswith(verdict)]
            if marked:
                table = table.tab_style(style.fill(ground), loc.body(columns=scenario, rows=marked))
    without = matrix[matrix["verdict"] == "n/a"]
    for reason, cells in without.groupby("what", sort=False):
        names = ", ".join(dict.fromkeys(cells["strategy"]))
        table = table.tab_source_note(f"n/a for {names}: {reason}")
    return table


def _cell(row: Mapping[Any, Any]) -> str:
    """The verdict; for a bug the kinds of harm that can come first, and what was seen, in numbers."""
    if row["verdict"] == "n/a":
        return "n/a"
    said = {"Bug": row["kinds"], "Exhausted": row["what"]}.get(row["verdict"])
    verdict = f"{row['verdict']}: {said}" if said else row["verdict"]
    if pd.isna(row["executions"]):
        return verdict
    return f"{verdict} ({row['executions']:,} executions, {row['actions']:,} actions, {row['classes']:,} classes)"

"""What a store says about itself, in words for a report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from pyworkbench.sweep import spec_of
from pyworkbench.sweep.background import spec_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyworkbench.sweep import Status


def summary(measured: pd.DataFrame, status: Status) -> str:
    """How many measurements there are, of when, and how the sweep ended."""
    if measured.empty:
        return f"No measurement yet. The last sweep is {status}."
    first, last = (f"{at:%d %B %Y, %H:%M}" for at in (measured["measured_at"].min(), measured["measured_at"].max()))
    return (
        f"{len(measured):,} rows of {measured['key'].nunique():,} points, from {first} to {last} UTC. "
        f"The last sweep into this store: {status}."
    )


def doubts(measured: pd.DataFrame, status: Status, manifest: Mapping[str, Any]) -> str:
    """What can be said against the store as a whole; nothing if there is nothing."""
    said = list(measured.attrs.get("warnings", status.damaged))
    if status.running or status.state in {"interrupted", "killed", "failed"}:
        said.append(f"The last sweep is not done: {status.done:,} of {status.planned:,} measurements are there.")
    for state in ("crashed", "failed"):
        bad = measured[measured["status"] == state]
        if len(bad):
            reasons = "; ".join(
                f"{count} times {reason}" for reason, count in bad["error"].value_counts().head(3).items()
            )
            said.append(f"{len(bad):,} measurements {state}: {reasons}.")
    builds = measured["build_id"].nunique()
    if builds > 1:
        said.append(f"The rows are of {builds} builds of the core: `--strict-build` refuses to mix them.")
    facts = [session["environment"] for session in manifest["sessions"]]
    if any(fact["build_profile"] != "release" for fact in facts):
        said.append("A build was not optimised: its times mean nothing.")
    if any((fact.get("git_revision") or "").endswith("-dirty") for fact in facts):
        said.append("The sources were changed beyond their git revision.")
    stolen = sum(fact.get("steal_s") or 0 for fact in facts)
    if stolen >= 0.1:  # noqa: PLR2004 (less is not seen in what is printed)
        said.append(f"A hypervisor took {stolen:.1f} s of CPU time from the machine while it measured.")
    if "oversubscribed" in measured and measured["oversubscribed"].fillna(value=False).any():
        cores = ", ".join(str(cores) for cores in sorted({fact["cores"] for fact in facts}))
        over = sorted(measured.loc[measured["oversubscribed"].fillna(value=False), "threads"].unique())
        said.append(
            f"With {', '.join(map(str, over))} threads there were more threads than the {cores} cores: those rows say "
            "something about the scheduler, not about the lock."
        )
    return "\n".join(["**Mind:**\n", *(f"- {sentence}" for sentence in said)]) if said else ""


def asked(directory: Path, manifest: Mapping[str, Any]) -> str:
    """The specs of the sweeps into a store, each once, and the commands that measure and show the same."""
    texts: dict[str, int] = {}
    for session in manifest["sessions"]:
        text = spec_text(spec_of(session["spec"]))
        texts[text] = texts.get(text, 0) + 1
    parts = []
    for text, sessions in texts.items():
        times = f" (run {sessions} times into this store)" if sessions > 1 else ""
        parts.append(f"A spec, `SPEC.toml`{times}:\n\n```toml\n{text or '# every field has its default'}\n```")
    name = directory.resolve().name
    commands = [f"pwb sweep SPEC.toml --out {name}", f"pwb status {name}", f"pwb report {name} -o {name}.html"]
    return "\n\n".join(
        [*parts, "The commands that measure it, go on where it stopped, and write this page:", _code(commands)]
    )


def environments(manifest: Mapping[str, Any]) -> pd.DataFrame:
    """The environment of each session, a column each; sessions that agree in all but time are one."""
    columns: dict[str, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for number, session in enumerate(manifest["sessions"], 1):
        facts = dict(session["environment"])
        began = facts.pop("measured_at", "")
        same = json.dumps({name: value for name, value in facts.items() if name != "steal_s"}, sort_keys=True)
        if same not in seen:
            seen[same] = f"session {number}"
            columns[seen[same]] = facts | {"began": began}
    frame = pd.DataFrame(columns).rename_axis("fact").reset_index()
    return frame.astype("str").replace({"nan": "", "None": ""})


def _code(lines: list[str]) -> str:
    return "\n".join(["```sh", *lines, "```"])

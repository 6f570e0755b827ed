"""Ladders and verdicts as drawings for notebooks and reports: plain SVG and HTML that load nothing.

Guaranteed: what stands in the text stands in the drawing, in the same order, with every name escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyworkbench.verdict import Verdict

_LINE = 18  # pixels between two lines
_LETTER = 7.3  # width of a letter of the 12-pixel monospace font
_SMALL = 15  # pixels between two lines of a call path
_SMALL_LETTER = 6.7  # width of a letter of it, which is 11 pixels
_HEAD = 30
_NARROWEST = 40  # letters of a column that has a call path
_COLOURS = ["#1f5fa8", "#a8501f", "#2f7d4f", "#7a3fa0", "#806a00"]


def svg(lines: Sequence[dict[str, Any]], *, title: str, columns: Sequence[dict[str, Any]] = ()) -> str:
    """A ladder as a drawing: a life line for each thread, a mark for each step, harm in red.

    Args:
        lines: `Finding.lines`.
        title: what stands above.
        columns: `Finding.columns`; a column for each thread, as they come, if not said.

    Example:
        >>> lines = [{"action": 0, "thread": "T1", "function": "f", "text": "frees <x>", "note": ""}]
        >>> columns = [{"thread": "T1", "head": "T1 (exit)", "calls": ["do_exit", "exit_mmap"]}]
        >>> drawn = svg(lines, title="double-free", columns=columns)
        >>> "frees &lt;x&gt;" in drawn, "do_exit &gt; exit_mmap" in drawn
        (True, True)
    """
    if not columns:
        columns = [{"thread": one, "head": one, "calls": ()} for one in dict.fromkeys(line["thread"] for line in lines)]
    threads = [column["thread"] for column in columns]
    rows = _rows(lines)
    widest = {
        thread: max(len(text) + (len(note) + 4 if note else 0) for of, text, note, _ in rows if of == thread)
        for thread in threads
    }
    paths = {
        column["thread"]: _wrapped(column["calls"], max(widest[column["thread"]], _NARROWEST) * _LETTER / _SMALL_LETTER)
        for column in columns
    }
    lefts: dict[str, float] = {}
    width = 12.0
    for column in columns:
        thread = column["thread"]
        lefts[thread] = width
        path = max([0, *map(len, paths[thread])]) * _SMALL_LETTER
        width += max((widest[thread] + 3) * _LETTER, path, len(column["head"]) * _LETTER) + 24
    top = _HEAD + _SMALL * max([0, *map(len, paths.values())]) + 10
    height = top + _LINE * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" role="img" font-family="monospace" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
    ]
    for number, column in enumerate(columns):
        colour = _COLOURS[number % len(_COLOURS)]
        x, head = lefts[column["thread"]], escape(column["head"])
        parts.append(f'<text x="{x:.0f}" y="22" font-weight="bold" fill="{colour}">{head}</text>')
        for at, line in enumerate(paths[column["thread"]]):
            y = _HEAD + _SMALL * (at + 1) - 5
            parts.append(f'<text x="{x:.0f}" y="{y}" font-size="11" fill="#666666">{escape(line)}</text>')
        parts.append(
            f'<line x1="{x:.0f}" y1="{top - 6}" x2="{x:.0f}" y2="{height - 8}" stroke="{colour}" stroke-width="2"/>'
        )
    for number, (thread, text, note, is_function) in enumerate(rows):
        x, y = lefts[thread], top + _LINE * number + 8
        colour = _COLOURS[threads.index(thread) % len(_COLOURS)]
        if is_function:
            parts.append(f'<text x="{x + 8:.0f}" y="{y + 4}" fill="{colour}">{escape(text)}</text>')
            continue
        fill = "#c00000" if note else "#222222"
        said = f"{text}  ← {note}" if note else text
        parts += [
            f'<circle cx="{x:.0f}" cy="{y}" r="4" fill="{fill if note else colour}"/>',
            f'<text x="{x + 20:.0f}" y="{y + 4}" fill="{fill}">{escape(said)}</text>',
        ]
    return "".join([*parts, "</svg>"])


def _rows(lines: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, bool]]:
    """Thread, text, note, and whether it is a function's name, which stands above the first of its lines in a row."""
    rows: list[tuple[str, str, str, bool]] = []
    functions: dict[str, str] = {}
    for line in lines:
        if functions.get(line["thread"]) != line["function"]:
            functions[line["thread"]] = line["function"]
            rows.append((line["thread"], line["function"], "", True))
        rows.append((line["thread"], line["text"], line["note"], False))
    return rows


def _wrapped(path: Sequence[str], width: float) -> list[str]:
    """A call path in lines of so many letters at most, broken between two calls."""
    written: list[str] = []
    for at, name in enumerate(path):
        if written and len(f"{written[-1]} > {name}") <= width:
            written[-1] += f" > {name}"
        else:
            written.append(f"> {name}" if at else name)
    return written


_BADGES = {"Proved": "#2f7d4f", "Bug": "#c00000", "Exhausted": "#806a00"}


def verdict_html(verdict: Verdict, facts: Sequence[str]) -> str:
    """A verdict for a notebook: the answer, what it holds for, the ladder as a drawing and as text."""
    bug = verdict.bug
    said = str(bug) if bug else verdict.why or ""
    parts = [
        '<div style="max-width:100%">',
        f'<p><span style="background:{_BADGES[verdict.answer]};color:#fff;border-radius:4px;padding:2px 8px">'
        f"{verdict.answer}</span> {escape(said)}</p>",
        '<p style="font-size:90%;color:#555">' + "<br>".join(map(escape, facts)) + "</p>",
    ]
    if bug:
        text = f'<pre style="white-space:pre-wrap">{escape(bug.ladder)}</pre>'
        parts += [
            f'<div style="overflow-x:auto">{bug.svg()}</div>' if bug.lines else "",
            f"<details><summary>As text</summary>{text}</details>",
            f'<p>Replay: <code style="overflow-wrap:anywhere">{escape(bug.schedule)}</code></p>',
        ]
    beside = [one for one in verdict.findings if not one.harm]
    if beside:
        items = "".join(f"<li>{escape(str(one))}</li>" for one in beside)
        parts.append(f"<details><summary>Without harm: {len(beside)}</summary><ul>{items}</ul></details>")
    return "".join([*parts, "</div>"])

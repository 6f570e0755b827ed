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
_HEAD = 44
_COLOURS = ["#1f5fa8", "#a8501f", "#2f7d4f", "#7a3fa0", "#806a00"]


def svg(lines: Sequence[dict[str, Any]], *, title: str) -> str:
    """A ladder as a drawing: a life line for each thread, a mark for each step, harm in red.

    Args:
        lines: `Finding.lines`.
        title: what stands above.

    Example:
        >>> lines = [{"action": 0, "thread": "T1", "function": "f", "text": "frees <x>", "note": ""}]
        >>> "frees &lt;x&gt;" in svg(lines, title="double-free")
        True
    """
    threads = list(dict.fromkeys(line["thread"] for line in lines))
    rows: list[tuple[str, str, str, bool]] = []  # thread, text, note, whether it is a function's name
    functions: dict[str, str] = {}
    for line in lines:
        if functions.get(line["thread"]) != line["function"]:
            functions[line["thread"]] = line["function"]
            rows.append((line["thread"], line["function"], "", True))
        rows.append((line["thread"], line["text"], line["note"], False))
    widths = {
        thread: max(
            [len(thread) + 4, *(len(text) + len(note) + 6 for of, text, note, _ in rows if of == thread)], default=8
        )
        * _LETTER
        for thread in threads
    }
    lefts: dict[str, float] = {}
    width = 12.0
    for thread in threads:
        lefts[thread] = width
        width += widths[thread] + 16
    height = _HEAD + _LINE * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" role="img" font-family="monospace" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
    ]
    for number, thread in enumerate(threads):
        colour = _COLOURS[number % len(_COLOURS)]
        x, own = lefts[thread], f"T{number + 1}"
        head = own if thread == own else f"{own} ({escape(thread)})"
        parts += [
            f'<text x="{x:.0f}" y="24" font-weight="bold" fill="{colour}">{head}</text>',
            f'<line x1="{x:.0f}" y1="34" x2="{x:.0f}" y2="{height - 8}" stroke="{colour}" stroke-width="2"/>',
        ]
    for number, (thread, text, note, is_function) in enumerate(rows):
        x, y = lefts[thread], _HEAD + _LINE * number + 8
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

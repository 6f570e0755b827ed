"""Which marks of a figure belong together, and what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pyworkbench.errors import InputError
from pyworkbench.plots._style import SERIES
from pyworkbench.plots._text import qualified_text

if TYPE_CHECKING:
    from collections.abc import Sequence

PANELS = 12


def told_apart(summary: pd.DataFrame, by: Sequence[str], *, panels: bool = True) -> pd.DataFrame:
    """The frame with the columns `series` and `panel`, categories in the order of the rows.

    All of `by` tells series apart if there are colours enough; otherwise one column does, and the rest panels.

    Raises:
        InputError: there are more configurations than a figure can tell apart.
    """
    series, apart = list(by), list[str]()
    if len(summary[series].drop_duplicates()) > len(SERIES):
        counts = {name: summary[name].nunique(dropna=False) for name in by}
        fitting = [name for name in by if counts[name] <= len(SERIES)] if panels else []
        series = sorted(fitting, key=lambda name: -counts[name])[:1]
        apart = [name for name in by if name not in series]
        if not series or len(summary[apart].drop_duplicates()) > PANELS:
            many = ", ".join(f"{count} of {name}" for name, count in counts.items())
            most = f"{len(SERIES)} series" + (f" in {PANELS} panels" if panels else "")
            raise InputError(
                f"a figure tells {most} apart, and there are more configurations ({many}): fewer rows, or fewer "
                "columns in `by`, would be right"
            )
    return summary.assign(
        **{name: _texts(summary, columns) for name, columns in (("series", series), ("panel", apart))}
    )


def _texts(summary: pd.DataFrame, columns: Sequence[str]) -> pd.Categorical[Any]:
    texts = (
        [
            ", ".join(qualified_text(name, value) for name, value in zip(columns, row, strict=True))
            for row in summary[list(columns)].itertuples(index=False, name=None)
        ]
        if columns
        else [""] * len(summary)
    )
    return pd.Categorical(texts, categories=list(dict.fromkeys(texts)))

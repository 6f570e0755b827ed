"""What has no effect on a point is missing in its rows; for curves it has to stand where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyworkbench.sweep.schema import configuration

if TYPE_CHECKING:
    import pandas as pd

_SAY_SOMETHING = frozenset({"step_bytes", "ops_per_thread", "rate_per_s", "delay_site"})
"""Columns in which nothing is a value: whole, one pass, a closed loop, no site."""


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose configurations differ only in what differs: for curves and tables, not for counting measurements.

    One thread has no pattern: its rows stand under each. Where other rows have one value, such as no lock breaks, and
    some have none, as a teardown in one walk cannot break, all have that one.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"threads": [2, 2], "pattern": "disjoint", "breaks": [False, None]})
        >>> comparable(rows)["breaks"].tolist()
        [False, False]
    """
    rows = under_every_pattern(rows)
    filled = {}
    for name in configuration("measure"):
        if name in rows and name not in _SAY_SOMETHING and rows[name].isna().any() and rows[name].nunique() == 1:
            filled[name] = rows[name].where(rows[name].notna(), rows[name].dropna().iloc[0])
    attrs = rows.attrs
    rows = rows.assign(**filled) if filled else rows
    rows.attrs = attrs
    return rows


def under_every_pattern(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one thread, which has no pattern, under each pattern that the rows of several threads have.

    So that a curve over threads begins at one thread, whichever pattern it is of. A row appears as often as there are
    patterns: for counting measurements, the rows as they were loaded are right.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"threads": [1, 2, 2], "pattern": [None, "disjoint", "overlapping"]})
        >>> under_every_pattern(rows)[["threads", "pattern"]].to_numpy().tolist()
        [[1, 'disjoint'], [2, 'disjoint'], [1, 'overlapping'], [2, 'overlapping']]
    """
    import pandas as pd  # noqa: PLC0415 (see _frames)

    single = rows["pattern"].isna() & (rows["threads"] == 1)
    patterns = list(rows.loc[~single, "pattern"].dropna().unique())
    if not single.any() or not patterns:
        return rows
    parts = [
        rows[single | (rows["pattern"] == pattern)].assign(
            pattern=lambda mine, pattern=pattern: mine["pattern"].fillna(pattern)
        )
        for pattern in patterns
    ]
    others = rows[~single & rows["pattern"].isna()]
    joined: pd.DataFrame = pd.concat([*parts, *([others] if len(others) else [])], ignore_index=True)
    joined.attrs = rows.attrs
    return joined

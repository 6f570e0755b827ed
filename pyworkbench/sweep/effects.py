"""What has no effect on a point is missing in its rows; for curves it has to stand where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


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

"""A patch as a table, for people who look at it with pandas."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bgd.patch.parts import Part, unravelled

if TYPE_CHECKING:
    import pandas as pd


def table(parts: Sequence[Part]) -> "pd.DataFrame":
    """Return a row for each changed parameter, see `Patch.to_frame`.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a patch as a table needs pandas: pip install pandas") from error
    rows = [row for part in parts for row in _rows(part)]
    return pd.DataFrame(rows, columns=["parameter", "index", "flat", "old", "new", "change"])


def _rows(part: Part) -> list[tuple[str, tuple[int, ...], int, float, float, float]]:
    flat, old, new = part.indices.tolist(), part.old.tolist(), part.new.tolist()
    places = [each.tolist() for each in unravelled(part.indices, part.shape)][: len(part.shape)]
    index = list(zip(*places, strict=True)) if places else [()] * len(flat)
    return [
        (part.name, where, at, before, after, after - before)
        for where, at, before, after in zip(index, flat, old, new, strict=True)
    ]

"""The rows of a run turned to columns, and back: what is alike stands together, so that it packs well."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.records.schema import Measurement, Row, Run, plain, row_from, understood

Columns = dict[str, list[Any]]

NESTED = (
    "figures",
    "side_effects",
    "accumulated",
    "generality",
    "survival",
    "patch",
    "values",
)  # objects within a row
PLACE = "position"  # 0, 1, 2, ... in every run: it is no column

# What a sweep leaves out, and what its rows have in its place: nothing that could be taken for a measured value.
LEFT_OUT: Mapping[str, Any] = {
    "patch": None,
    "layers": {},
    "logits_after": [],
    "l1": None,
    "linf": None,
    "evaluation_seconds": None,
    "figures.released_before": None,
    "side_effects.confusion": [],
}

# What a sweep keeps to `COARSE_DIGITS`, as `coarse` rounds it: no table shows a difference of two.
COARSE = {"l2", "sample_loss_before", "sample_loss_after"}
COARSE_DIGITS = 6

# What a row has that no column is of: its setting or its kind has none.
ABSENT_ROW = {**LEFT_OUT, "accumulated": None}
ABSENT_MEASUREMENT: Mapping[str, Any] = {"values": {}}


def columns_of(records: Sequence[Row | Measurement], slim: bool = False) -> Columns:
    """Turn rows to columns by name, each a list with a value for each row.

    A column of a nested object has both names, `figures.train_loss`. Its value is None for a row without the object.

    Args:
        records: In order of position.
        slim: Whether to leave out what is in `LEFT_OUT`, and keep `COARSE_DIGITS` of what is in `COARSE`.
    """
    rows = [dict(_flat(plain(record), slim)) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def slimmed(run: Run) -> Run:
    """Return a run as a sweep is committed: without what is in `LEFT_OUT`, most of what it takes in memory."""
    records: Sequence[Row | Measurement] = (*run.rows, *run.measurements)
    return Run.of(run.header, map(row_from, _rows(columns_of(records, slim=True), len(records))))


def _flat(row: dict[str, Any], slim: bool) -> Iterator[tuple[str, Any]]:
    """Yield the values of a row by the name of their column."""
    for name, value in _columns(row):
        if not slim:
            yield name, value
        elif name not in LEFT_OUT and name.partition(".")[0] not in LEFT_OUT:
            yield name, coarse(value) if name in COARSE else value


def _columns(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if key in NESTED and value is not None:
            yield from ((f"{key}.{part}", item) for part, item in value.items())
        elif key not in NESTED and key != PLACE:
            yield key, value


def coarse(value: Any) -> Any:
    """Round a number as what is in `COARSE` is kept, to compare a run of a sweep with one that is kept whole."""
    return float(f"{value:.{COARSE_DIGITS}g}") if isinstance(value, float) else value


def records_in(line: bytes | str, count: int) -> list[Row | Measurement]:
    """Turn the columns of a run back to its rows.

    Args:
        line: Of JSON, with what `columns_of` returned.
        count: Number of rows.

    Raises:
        RecordError: There are no columns of so many rows in it.
    """
    return understood(line, lambda columns: list(map(row_from, _rows(columns, count))), "rows")


def _rows(columns: Columns, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows as JSON objects."""
    absent = ABSENT_ROW if "outcome" in columns else ABSENT_MEASUREMENT
    columns = {**{name: [value] * count for name, value in absent.items() if name not in columns}, **columns}
    whole: Columns = {PLACE: list(range(count))}
    nested: dict[str, Columns] = {}
    for name, column in columns.items():
        parent, _, part = name.partition(".")
        if part:
            nested.setdefault(parent, {})[part] = column
        else:
            whole[name] = column
    objects = {parent: [_object(parent, row) for row in _dicts(parts)] for parent, parts in nested.items()}
    return _dicts({**whole, **objects})


def _dicts(columns: Columns) -> Iterator[dict[str, Any]]:
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _object(parent: str, values: dict[str, Any]) -> dict[str, Any] | None:
    """Return a nested object; None where it has no value."""
    if parent == "values":
        return {name: value for name, value in values.items() if value is not None}
    return values if any(value is not None for value in values.values()) else None

"""A patch for people and for programs: what it changes from what to what."""

from typing import Any

from bgd.cli.words import ROWS, counted, place, table
from bgd.patch import Patch


def record(patch: Patch) -> dict[str, Any]:
    """Return a patch as programs read it."""
    l1, l2, linf = patch.norms()
    tensors = {
        name: {"parameters": int(count), "l2": size, "linf": largest}
        for name, (count, size, largest) in patch.layers().items()
    }
    changes = [
        {"parameter": name, "index": index, "old": old, "new": new}
        for name, index, old, new in _changes(patch)
    ]
    return {
        "parameters": len(patch),
        "tensors": tensors,
        "l1": l1,
        "l2": l2,
        "linf": linf,
        "changes": changes,
    }


def words(patch: Patch) -> str:
    """Return a patch as people read it: a line, and a table of its changes, of many the largest."""
    changes = _changes(patch)
    if len(changes) > ROWS:
        changes.sort(key=lambda change: -abs(change[3] - change[2]))
    rows = [(place(name, index), old, new, new - old) for name, index, old, new in changes]
    count = counted(len(patch), "parameter")
    return f"{count} of {', '.join(patch.tensors)}:\n{table(('parameter', 'old', 'new', 'change'), rows)}"


def _changes(patch: Patch) -> list[tuple[str, list[int], float, float]]:
    return [
        (part.name, list(part.place(at)), old, new)
        for part in patch.parts()
        for at, (old, new) in enumerate(zip(part.old.tolist(), part.new.tolist(), strict=True))
    ]

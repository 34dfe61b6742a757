"""Two sets of records side by side: what a change of the code changed in the results.

    python scripts/compare.py OLD NEW

OLD and NEW are folders of committed records (outputs/reference/laptop) or outputs folders with runs. Runs are the same
where all but the versions of the components and the number of samples is; of those, the rows of the same samples are
compared. Prints a table, a line for each network, setting and method.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bgd.errors import nearest
from experiments.records.archive import PRESETS, load
from experiments.records.columns import coarse
from experiments.records.schema import RecordError, Row, Run, subject
from experiments.records.store import Store
from experiments.report.render import markdown

Pair = tuple[Row, Row]
LOSSES = ("train_loss", "test_loss")
ACCURACIES = ("train_accuracy", "test_accuracy")


@dataclass
class Comparison:
    """Rows of one kind of run.

    Attributes:
        runs: Number of runs in both sets.
        same: Rows with the same outcome, size of the change, steps and passes.
        other: Rows without.
    """

    runs: int = 0
    same: list[Pair] = field(default_factory=list)
    other: list[Pair] = field(default_factory=list)

    def cells(self) -> list[str]:
        """Return their cells of the table."""
        return [
            f"{self.runs:,}",
            f"{len(self.same) + len(self.other):,}",
            f"{len(self.other):,}",
            f"{sum(coarse(one.sample_loss_after) == coarse(two.sample_loss_after) for one, two in self.same):,}",
            f"{max(self._losses(), default=0.0):.1e}",
            f"{sum(self._accuracies()):,}",
        ]

    def _losses(self) -> Iterator[float]:
        """Yield by how much the losses of the same rows differ, relative to the older."""
        for one, two in self.same:
            for name in LOSSES:
                old, new = getattr(one.figures, name), getattr(two.figures, name)
                if old and new is not None:
                    yield abs(new - old) / abs(old)

    def _accuracies(self) -> Iterator[bool]:
        """Yield whether an accuracy of a row is another one, for a prediction is."""
        for one, two in self.same:
            yield any(getattr(one.figures, name) != getattr(two.figures, name) for name in ACCURACIES)


def runs_of(folder: Path) -> list[Run]:
    """Return the runs in a folder of records or outputs."""
    if (folder / PRESETS).exists():
        return list(load(folder).runs.values())
    store = Store(folder / "runs")
    for fault in store.faults():
        print(f"left out: {fault}", file=sys.stderr)
    return [store.read(header.run_id) for header in store.headers()]


def identity(run: Run) -> str:
    """Return the key that two runs to compare share."""
    spec = {**run.header.spec, "versions": None, "N0": run.header.base["sha256"]}
    spec["scale"] = {**spec["scale"], "samples": None}
    return json.dumps(spec, sort_keys=True)


def compare(old: list[Run], new: list[Run]) -> dict[tuple[str, ...], Comparison]:
    """Return the comparison of each network, setting and method."""
    before = {identity(run): run for run in old}
    found: dict[tuple[str, ...], Comparison] = defaultdict(Comparison)
    for run in new:
        other = before.get(identity(run))
        if other is None or not run.rows:
            continue
        comparison = found[subject(run.header.spec)]
        comparison.runs += 1
        rows = {row.position: row for row in other.rows}
        for row in run.rows:
            if row.position in rows:
                pair = rows[row.position], row
                (comparison.same if signature(pair[0]) == signature(row) else comparison.other).append(pair)
    return dict(sorted(found.items()))


def signature(row: Row) -> tuple[object, ...]:
    """Return the part of a row that must be equal for its figures to be comparable."""
    return row.index, row.outcome, row.altered, row.l0, row.steps, row.forward_passes, row.layers


def main() -> int:
    """Print the comparison; the exit status is 1 where no run is in both."""
    folders = [Path(argument) for argument in sys.argv[1:]]
    if len(folders) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    for folder in folders:
        if not (folder / PRESETS).exists() and not (folder / "runs").is_dir():
            known = [path.parent.as_posix() for path in Path("outputs").rglob(PRESETS)]
            print(f"error: {folder}: no records there; {nearest(str(folder), known)}", file=sys.stderr)
            return 2
    try:
        found = compare(*map(runs_of, folders))
    except RecordError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    header = ["network", "setting", "method", "runs in both", "rows in both", "other change",
              "same sample loss", "largest difference of a loss", "other accuracy"]  # fmt: skip
    print(markdown(header, [[*key, *each.cells()] for key, each in found.items()], texts=3))
    return 0 if found else 1


if __name__ == "__main__":
    raise SystemExit(main())

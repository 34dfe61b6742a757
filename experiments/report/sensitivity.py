"""What n, T, x and the probability of Replace do (section 3.4.1): a full grid, as heat maps and a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.records.schema import Run
from experiments.report.canvas import Picture, blank, lettered
from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.frames import Frames, ReportError, corrections_of
from experiments.report.metrics import MISSING, corrected, parameters_altered, test_accuracy_change
from experiments.report.numbers import format_number, format_spread, listing
from experiments.report.part import Made, Study, file_names, words
from experiments.report.sheet import Block, Sheet
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label

AXES = {  # key of the spec -> symbol of section 3.4.1; the thesis has no symbol for the last
    "method.subset_size": "n",
    "method.iterations": "T",
    "method.expansion": "x",
    "method.replace_probability": "p",
}
KEYS = tuple(AXES)
LABELS = words("sensitivity")["labels"]  # by metric

Cell = tuple[Any, ...]  # a value of each of KEYS


@dataclass(frozen=True)
class Sensitivity(Study):
    """Heat maps of a grid of hyper-parameters, one figure per method, and a table.

    `default` is what the tables of the thesis are run with; `example` is what section 3.4.1 names as too low,
    {n, T, x} = {5, 5, 5}, with the default's p.
    """

    presets: tuple[str, ...] = ("sensitivity",)
    networks: tuple[str, ...] = ("mlp",)
    methods: tuple[str, ...] = ("bgd_ii", "bgd_i")
    default: Cell = (5, 20, 10, 0.7)
    example: Cell = (5, 5, 5, 0.7)
    tables = ("sensitivity",)

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part: a figure for each method."""
        return file_names(self.tables, [f"sensitivity_{method}" for method in self.methods])

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figures."""
        frames = corrections_of(runs, KEYS, network=self.network, setting="reloading")
        cells = cells_of(frames)
        yield self._sheet(frames, cells)
        for method in self.methods:
            own = cells[cells["method"] == method]
            yield Picture(f"sensitivity_{method}", partial(self._paint, frames, own, method))

    def _about(self, frames: Frames) -> str:
        if frames.runs.empty:
            return f"{network_label(self.network)}: missing, no run of this grid is among the records."
        base = describe_base(frames.runs, self.thesis.errors_of(self.network))
        return f"{network_label(self.network)}, reloading setting. {base} {describe_scale(frames.runs)}"

    def _sheet(self, frames: Frames, cells: pd.DataFrame) -> Sheet:
        lines: list[list[str]] = []
        for method in self.methods:
            own = cells[cells["method"] == method]
            found = self._lines(own) if len(own) else [[MISSING] * (2 + len(LABELS))]
            lines += [[method_style(method).label, *line] for line in found]
        return self.sheet(
            [],
            warnings(frames.runs),
            [Block("", words("sensitivity")["header"], lines)],
            list(cells.itertuples(index=False, name=None)),
            symbols=", ".join(f"{symbol}: {key}" for key, symbol in AXES.items()),
            about=self._about(frames),
            unsolved=self._unsolved(cells),
        )

    def _unsolved(self, cells: pd.DataFrame) -> str:
        """Return for how many samples the thesis' example and the default find no solution."""
        texts = []
        for method in self.methods:
            own = cells[cells["method"] == method]
            example, default = (_missed(_at(own, cell)) for cell in (self.example, self.default))
            texts.append(f"{method_style(method).label} {example} (default: {default})")
        return f"Samples without a solution there: {listing(texts)}."

    def _lines(self, cells: pd.DataFrame) -> list[list[str]]:
        """Return the named cells, those with the highest and lowest POC, and the effect of each value."""
        named = [("default", self.default), ("thesis' example", self.example)]
        lines = [_line(f"{_cell_text(cell)} ({name})", _at(cells, cell)) for name, cell in named]
        for name, place in (("highest", cells["POC"].idxmax()), ("lowest", cells["POC"].idxmin())):
            cell = cells.loc[[place]]
            text = _cell_text(tuple(cell.iloc[0][list(KEYS)]))
            lines.append(_line(f"{text} ({name} POC, first of those that tie)", cell))
        for key, symbol in AXES.items():
            for value, part in cells.groupby(cells[key].astype(float)):
                lines.append(_line(f"all with {symbol} = {format_number(value)}", part))
        return lines

    def _paint(self, frames: Frames, cells: pd.DataFrame, method: str, figure: Figure) -> list[str]:
        figure.set_size_inches(DOUBLE_COLUMN, 6.6)
        label = method_style(method).label
        for (letter, axes), (name, of) in zip(lettered(figure.subplots(2, 2)), LABELS.items(), strict=True):
            axes.set_title(f"{letter} {label}: {of}")
            if cells.empty:
                blank(axes, f"missing: no run of {label}\namong the records")
            else:
                self._heat(axes, cells, name)
        return [words("sensitivity")["figure"], self._about(frames), *warnings(frames.runs)]

    def _heat(self, axes: Axes, cells: pd.DataFrame, name: str) -> None:
        """Draw one metric: rows (n, p), columns (T, x)."""
        n, t, x, p = KEYS
        table = cells.pivot_table(index=[n, p], columns=[t, x], values=name, aggfunc="first", dropna=False)
        values = table.to_numpy(dtype=np.float64) * (100 if name == "dTA" else 1)
        finite = values[np.isfinite(values)]
        scale = Normalize(finite.min(), finite.max()) if finite.size else Normalize(0, 1)
        axes.imshow(values, cmap="cividis", norm=scale, aspect="auto")
        axes.grid(visible=False)
        rows, columns = [tuple(each) for each in table.index], [tuple(each) for each in table.columns]
        for ticks, pairs, size in ((axes.set_xticks, columns, 5.5), (axes.set_yticks, rows, 6)):
            ticks(range(len(pairs)), [f"{first:g}, {second:g}" for first, second in pairs], fontsize=size)
        axes.set_xlabel("T, x")
        axes.set_ylabel("n, p")
        for (row, column), value in np.ndenumerate(values):
            dark = np.isfinite(value) and scale(value) < 0.55
            look: dict[str, Any] = {"ha": "center", "va": "center", "color": "white" if dark else "black"}
            axes.text(column, row, _short(value), fontsize=5.2, **look)
        for cell, line in ((self.default, "-"), (self.example, (0, (2, 1.2)))):
            if (cell[0], cell[3]) in rows and (cell[1], cell[2]) in columns:
                corner = (columns.index((cell[1], cell[2])) - 0.5, rows.index((cell[0], cell[3])) - 0.5)
                for look in ({"edgecolor": "white", "linewidth": 2.6}, {"linewidth": 1.3, "linestyle": line}):
                    axes.add_patch(Rectangle(corner, 1, 1, fill=False, **look))


def cells_of(frames: Frames) -> pd.DataFrame:
    """Return a line per method and cell of the grid: `method`, `KEYS`, and mean, sd and n of each metric.

    Raises:
        ReportError: A cell has runs of several seeds: which one is meant?
    """
    if frames.runs.duplicated(["method", *KEYS]).any():
        raise ReportError("sensitivity: a cell of the grid has more than one run")
    samples, right = frames.samples, corrected(frames.samples)
    values = samples[["method", *KEYS, "forward_passes"]].assign(
        POC=100.0 * right,
        POPA=np.where(right, parameters_altered(samples), np.nan),
        dTA=np.where(right, test_accuracy_change(samples), np.nan),
    )
    groups = values.groupby(["method", *KEYS], sort=True)
    cells = groups.size().rename("samples").to_frame().assign(corrected=groups["POPA"].count())
    for name in LABELS:
        cells[name] = groups[name].mean()
        if name != "POC":
            cells[f"{name}_sd"] = groups[name].std()
    return cells.reset_index()


def _at(cells: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return the line of a cell, if it is there."""
    return cells[(cells[list(KEYS)] == list(cell)).all(axis=1)]


def _missed(cells: pd.DataFrame) -> str:
    samples, right = cells["samples"].sum(), cells["corrected"].sum()
    return MISSING if cells.empty else f"{samples - right} of {samples}"


def _cell_text(cell: Cell) -> str:
    n, t, x, p = (format_number(float(value)) for value in cell)
    return f"{{{n}, {t}, {x}}}, {p}"


def _line(name: str, cells: pd.DataFrame) -> list[str]:
    """Return a line of the table: of one cell with its sd over samples, of several with that over cells."""
    if cells.empty:
        return [name, *[MISSING] * (1 + len(LABELS))]
    spreads = [cells[each].std() if len(cells) > 1 else cells.iloc[0].get(f"{each}_sd") for each in LABELS]
    texts = [_text(cells[each].mean(), spread) for each, spread in zip(LABELS, spreads, strict=True)]
    return [name, str(len(cells)), *texts]


def _text(mean: float, sd: float | None) -> str:
    if not np.isfinite(mean):
        return "none corrected"
    return format_spread(float(mean), None if sd is None or not np.isfinite(sd) else float(sd))


def _short(value: float) -> str:
    """Return a number in at most five characters, for a cell of a heat map."""
    if not np.isfinite(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"{value:.{digits}f}"

"""What a correction did to the confusion matrix of the test images."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm, SymLogNorm

from experiments.report.gallery.look import HARM, INK, SIZE, Panel, box, legible_on
from experiments.report.gallery.scene import CLASSES, Scene, is_corrected
from experiments.report.numbers import format_count
from experiments.report.style import method_style

LEFT, TOP, SIDE = 0.2, 0.34, 1.62  # inches: of the matrix in its panel
CELL = SIDE / CLASSES
WRITTEN = 9  # cells with their number, those with the largest
LARGEST = 1000  # images: the end of the scale, about a class of the test set

Counts = npt.NDArray[np.int64]


def matrix(cells: Iterable[Sequence[int]]) -> tuple[Counts, int]:
    """Return cells `[label, prediction, count]` as a matrix, and the count of images without a prediction (-1)."""
    counts = np.zeros((CLASSES, CLASSES + 1), dtype=np.int64)
    for label, prediction, count in cells:
        counts[label, prediction] += count  # -1 is the last column
    return counts[:, :-1], int(counts[:, -1].sum())


def harm(change: Counts) -> Counts:
    """Return a change of the matrix, above 0 where right predictions were lost, on the diagonal, or wrong ones won."""
    return np.where(np.eye(CLASSES, dtype=np.bool_), -change, change)


def paint_base(panel: Panel, scene: Scene) -> None:
    """Draw N0's mistakes; the diagonal, its right predictions, is left empty, the sample's own cell has a frame."""
    counts, without = matrix(scene.header.baseline.confusion)
    mistakes = counts - np.diag(np.diag(counts))
    total = format_count(int(mistakes.sum()) + without)
    panel.write(LEFT, 0.1, "N0's mistakes", 8.5, fontweight="bold")
    panel.note(LEFT, 0.24, f"{total} of {format_count(scene.header.test_images)} images")
    _paint_matrix(panel, scene, SIZE(LogNorm(1, LARGEST, clip=True)(np.maximum(mistakes, 1))), mistakes)
    panel.note(LEFT - 0.19, TOP + SIDE / 2, "label", 6.5, rotation=90, ha="center")
    panel.note(LEFT + SIDE / 2, TOP + SIDE + 0.19, "prediction", 6.5, ha="center")
    for number in range(CLASSES):  # the rows of the other matrices stand at the same height
        panel.note(LEFT - 0.07, TOP + (number + 0.5) * CELL, str(number), 6, ha="center")


def paint_change(panel: Panel, scene: Scene, method: str) -> None:
    """Draw what a method's correction changed: orange where it did harm, blue where it did good."""
    style, row = method_style(method), scene.rows.get(method)
    panel.chip(LEFT, 0.1, style.colour)
    panel.write(LEFT + 0.13, 0.1, style.short, 8.5)
    change, without = matrix([] if row is None else row.side_effects.confusion)
    norm = SymLogNorm(1, vmin=-LARGEST, vmax=LARGEST, base=10, clip=True)
    _paint_matrix(panel, scene, HARM(norm(harm(change))), change)
    text = "missing" if row is None else "not corrected"
    if row is not None and is_corrected(row):
        broken, fixed = (format_count(count) for count in (row.side_effects.broken, row.side_effects.fixed))
        lost = f", {format_count(without)} without a prediction" if without else ""
        text = f"{broken} broken, {fixed} fixed{lost}"
    panel.note(LEFT, 0.24, text)


def _paint_matrix(panel: Panel, scene: Scene, shades: npt.NDArray[np.float64], counts: Counts) -> None:
    shades[counts == 0] = 1.0
    panel.image(shades, LEFT, TOP, SIDE, SIDE)
    edges = np.arange(CLASSES + 1) * CELL
    lines = [[(LEFT + edge, TOP), (LEFT + edge, TOP + SIDE)] for edge in edges]
    lines += [[(LEFT, TOP + edge), (LEFT + SIDE, TOP + edge)] for edge in edges]
    panel.lines(lines, "#ECEEF0", 0.5)
    for number in range(CLASSES):
        panel.note(LEFT + (number + 0.5) * CELL, TOP + SIDE + 0.07, str(number), 6, ha="center")
    for place in np.argsort(-np.abs(counts), axis=None, kind="stable")[:WRITTEN]:
        label, prediction = divmod(int(place), CLASSES)
        count = abs(int(counts[label, prediction]))
        if count:
            x, y = LEFT + (prediction + 0.5) * CELL, TOP + (label + 0.5) * CELL
            style = {"color": legible_on(shades[label, prediction, :3]), "ha": "center"}
            panel.write(x, y, str(count), 6, **style)
    if scene.row.prediction_before >= 0:  # the cell that the sample itself is in before a correction
        corners = box(LEFT + scene.row.prediction_before * CELL, TOP + scene.row.label * CELL, CELL, CELL)
        panel.shapes([corners], "none", edgecolors=INK, linewidths=1.0)

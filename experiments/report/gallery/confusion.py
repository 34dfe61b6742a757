"""What a correction did to the confusion matrix of the test images."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm, SymLogNorm

from experiments.report.gallery.look import HARM, INK, QUIET, SIZE, Panel, box, legible_on
from experiments.report.gallery.scene import CLASSES, Scene, is_corrected
from experiments.report.numbers import format_count
from experiments.report.style import method_style

WIDTH, HEIGHT = 1.86, 2.26  # inches, of a panel
LEFT, TOP, SIDE = 0.2, 0.34, 1.62  # of the matrix in it
WRITTEN = 9  # cells with their number, those with the largest
LARGEST = 1000  # images: the end of the scale, about a class of the test set

Counts = npt.NDArray[np.int64]


def matrix(cells: Iterable[Sequence[int]]) -> tuple[Counts, int]:
    """Return cells `[label, prediction, count]` as a matrix.

    Returns:
        (label, prediction) counts, and the sum of the counts of images that have no prediction (-1).
    """
    counts = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    without = 0
    for label, prediction, count in cells:
        if prediction < 0:
            without += count
        else:
            counts[label, prediction] += count
    return counts, without


def harm(change: Counts) -> Counts:
    """Return a change of the confusion matrix (label, prediction) with the sign of its harm.

    Above 0 where right predictions were lost, on the diagonal, or wrong ones won.
    """
    return np.where(np.eye(CLASSES, dtype=np.bool_), -change, change)


def paint_base(panel: Panel, scene: Scene) -> None:
    """Draw N0's mistakes; the diagonal, its right predictions, is left empty.

    Args:
        panel: Of `WIDTH` by `HEIGHT` inches.
        scene: The sample; its own cell has a frame.
    """
    counts, without = matrix(scene.header.baseline.confusion)
    mistakes = counts - np.diag(np.diag(counts))
    shades = SIZE(LogNorm(1, LARGEST, clip=True)(np.maximum(mistakes, 1)))
    shades[mistakes == 0] = (1, 1, 1, 1)
    total = format_count(int(mistakes.sum()) + without)
    panel.write(LEFT, 0.1, "N0's mistakes", 8.5, fontweight="bold")
    panel.write(LEFT, 0.24, f"{total} of {format_count(scene.header.test_images)} images", 7, color=QUIET)
    _paint_matrix(panel, scene, shades, mistakes)
    panel.write(LEFT - 0.19, TOP + SIDE / 2, "label", 6.5, color=QUIET, rotation=90, ha="center")
    panel.write(LEFT + SIDE / 2, TOP + SIDE + 0.19, "prediction", 6.5, color=QUIET, ha="center")
    for number in range(CLASSES):  # the rows of the other matrices stand at the same height
        middle = TOP + (number + 0.5) * SIDE / CLASSES
        panel.write(LEFT - 0.07, middle, str(number), 6, color=QUIET, ha="center")


def paint_change(panel: Panel, scene: Scene, method: str) -> None:
    """Draw what a method's correction changed: orange where it did harm, blue where it did good.

    Args:
        panel: Of `WIDTH` by `HEIGHT` inches.
        scene: The sample.
        method: One of `METHODS`.
    """
    style, row = method_style(method), scene.rows.get(method)
    panel.chip(LEFT, 0.1, style.colour)
    panel.write(LEFT + 0.13, 0.1, style.short, 8.5)
    change, without = matrix([] if row is None else row.side_effects.confusion)
    shades = HARM(SymLogNorm(1, vmin=-LARGEST, vmax=LARGEST, base=10, clip=True)(harm(change)))
    shades[change == 0] = (1, 1, 1, 1)
    _paint_matrix(panel, scene, shades, change)
    if row is None or not is_corrected(row):
        text = "missing" if row is None else "not corrected"
        panel.write(LEFT, 0.24, text, 7, color=QUIET)
        return
    lost = f", {format_count(without)} without a prediction" if without else ""
    effects = row.side_effects
    text = f"{format_count(effects.broken)} broken, {format_count(effects.fixed)} fixed{lost}"
    panel.write(LEFT, 0.24, text, 7, color=QUIET)


def _paint_matrix(panel: Panel, scene: Scene, shades: npt.ArrayLike, counts: Counts) -> None:
    cell = SIDE / CLASSES
    panel.image(shades, LEFT, TOP, SIDE, SIDE)
    edges = np.arange(CLASSES + 1) * cell
    lines = [[(LEFT + edge, TOP), (LEFT + edge, TOP + SIDE)] for edge in edges]
    lines += [[(LEFT, TOP + edge), (LEFT + SIDE, TOP + edge)] for edge in edges]
    panel.lines(lines, "#ECEEF0", 0.5)
    for number in range(CLASSES):
        centre = (number + 0.5) * cell
        panel.write(LEFT + centre, TOP + SIDE + 0.07, str(number), 6, color=QUIET, ha="center")
    colours = np.asarray(shades)
    for place in np.argsort(-np.abs(counts), axis=None, kind="stable")[:WRITTEN]:
        label, prediction = divmod(int(place), CLASSES)
        count = int(counts[label, prediction])
        if count == 0:
            break
        x, y = LEFT + (prediction + 0.5) * cell, TOP + (label + 0.5) * cell
        style = {"color": legible_on(colours[label, prediction, :3]), "ha": "center"}
        panel.write(x, y, str(abs(count)), 6, **style)
    _frame(panel, scene, cell)


def _frame(panel: Panel, scene: Scene, cell: float) -> None:
    """Draw a frame round the cell that the sample itself is in before a correction."""
    if scene.prediction < 0:
        return
    corners = box(LEFT + scene.prediction * cell, TOP + scene.label * cell, cell, cell)
    panel.shapes([corners], "none", edgecolors=INK, linewidths=1.0)

"""The samples of a network at a glance: a tile for each, with the accuracy that each method's correction cost."""

import math
from collections.abc import Sequence

from experiments.report.gallery.look import FAINT, Panel, box, draw_png
from experiments.report.gallery.scene import METHODS, Scene, is_corrected, loss_text
from experiments.report.numbers import format_count
from experiments.report.style import UNCORRECTED_COLOUR, method_style, network_label

MARGIN, TILE, FACE = 0.3, 1.92, 1.2  # inches: round the sheet, a tile's width, a digit's side
TILE_HEIGHT, HEAD, FOOT = 3.0, 0.75, 0.62
BARS_TOP, BARS_HEIGHT = 2.06, 0.62  # of a tile's bars: from no change to the end of the scale
BARS_WIDTH = TILE - 0.25
NARROWEST = 9.0  # a sheet's width, for the names of the methods
THINNEST = 0.012  # a bar of no change
MOST_UP = 0.45  # where a bar of a gain ends: below the title, a gain of 0.006
DECADES = 4  # of the scale of accuracies, from 0.0001 to 1


def contact_sheet(found: Sequence[Scene]) -> bytes:
    """Return the tiles of a network's scenes, one at least, as a png."""
    across = math.ceil(len(found) / 2)
    down = math.ceil(len(found) / across)
    width = max(2 * MARGIN + TILE * across, NARROWEST)
    height = HEAD + TILE_HEIGHT * down + FOOT
    return draw_png(width, height, lambda page: _paint(page, found, across, height))


def drop(change: float) -> float:
    """Return how far a bar goes down for a change of the test accuracy, in [-1, 1]; above 0 for a loss.

    Logarithmic: 0 up to 0.0001, 1 at a loss of all the accuracy, below 0 for a gain, which ends at `MOST_UP`.
    """
    size = max(0.0, 1 + math.log10(max(abs(change), 1e-12)) / DECADES)
    return size if change < 0 else -min(size, MOST_UP)


def _paint(page: Panel, found: Sequence[Scene], across: int, height: float) -> None:
    title = f"{network_label(found[0].network)}: {len(found)} mistakes and what it cost to correct them"
    page.write(MARGIN, 0.3, title, 14, fontweight="bold")
    text = (
        "Bars: test accuracy lost by each method's correction, on a logarithmic scale; upwards where it rose."
    )
    page.note(MARGIN, 0.57, text, 8)
    for place, scene in enumerate(found):
        row, column = divmod(place, across)
        _paint_tile(page.part(MARGIN + TILE * column, HEAD + TILE_HEIGHT * row), scene)
    _paint_methods(page.part(MARGIN, height - FOOT))


def _paint_tile(panel: Panel, scene: Scene) -> None:
    panel.lines([[(0, 0.02), (TILE - 0.15, 0.02)]], width=0.8)
    panel.note(0, 0.15, f"{scene.number}  {scene.rule.name}", 8)
    if scene.portrait is not None:
        panel.digit(scene.portrait.pixels, 0, 0.28, FACE)
    panel.write(0, 1.66, scene.title, 11, fontweight="bold")
    row = scene.row
    changed = f"{format_count(row.altered)} par." if is_corrected(row) else "failed"
    facts = (("N0's loss", loss_text(row, "{:.2f}".format)), ("BGD-II", changed))
    for line, (name, value) in enumerate(facts):
        panel.note(FACE + 0.08, 0.55 + 0.48 * line, name, 6.5)
        panel.write(FACE + 0.08, 0.72 + 0.48 * line, value, 8.5)
    _paint_bars(panel, scene)


def _paint_bars(panel: Panel, scene: Scene) -> None:
    step = BARS_WIDTH / len(METHODS)
    for place in range(1, DECADES + 1):
        y = BARS_TOP + BARS_HEIGHT * place / DECADES
        panel.lines([[(0, y), (BARS_WIDTH, y)]], zorder=0.5)
        panel.note(TILE - 0.22, y, f"{10.0 ** (place - DECADES):g}", 5.5)
    panel.lines([[(0, BARS_TOP), (BARS_WIDTH, BARS_TOP)]], FAINT, 0.9)
    boxes, colours = [], []
    for place, method in enumerate(METHODS):
        row, middle = scene.rows.get(method), step * (place + 0.5)
        if row is None:
            panel.note(middle, BARS_TOP + 0.08, "?", ha="center")
        elif not is_corrected(row):
            panel.write(middle, BARS_TOP + 0.08, "✗", 8, color=UNCORRECTED_COLOUR, ha="center")
        else:
            depth = BARS_HEIGHT * drop(scene.accuracy_change(row)) or THINNEST
            boxes.append(box(middle - step * 0.36, BARS_TOP, step * 0.72, depth))
            colours.append(method_style(method).colour)
    panel.shapes(boxes, colours)


def _paint_methods(panel: Panel) -> None:
    """Draw the methods' colours, and what stands in the place of a bar."""
    step = (NARROWEST - 2 * MARGIN) / len(METHODS)
    for place, style in enumerate(map(method_style, METHODS)):
        panel.shapes([box(step * place, 0.07, 0.11, 0.11)], style.colour)
        panel.write(step * place + 0.17, 0.125, style.short, 8)
    panel.write(0, 0.34, "✗", 8, color=UNCORRECTED_COLOUR)
    panel.note(0.17, 0.34, "not corrected      ?  missing", 8)

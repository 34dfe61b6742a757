"""The upper part of a card: a line per method with its outcome, class probabilities, numbers and layers."""

from collections.abc import Sequence
from typing import Any

from experiments.records.schema import Row
from experiments.report.gallery.layers import layer_names, layer_norms
from experiments.report.gallery.look import (
    INK,
    OTHER,
    QUIET,
    RIGHT,
    WRONG,
    Panel,
    box,
    legible_on,
    minus,
    pale,
    shade,
    short,
)
from experiments.report.gallery.scene import (
    CLASSES,
    METHODS,
    Scene,
    Values,
    class_name,
    is_corrected,
    probabilities,
)
from experiments.report.numbers import format_count
from experiments.report.style import UNCORRECTED_COLOUR, method_style

WIDTH, TOP, LINE = 9.05, 0.5, 0.335  # inches: of the lines, of their head, of one
HEIGHT = TOP + LINE * (len(METHODS) + 1)

SAYS = 1.28  # where the columns are, in inches
BARS, BAR = 1.72, 0.292
PARAMETERS, CHANGE, BROKEN = 5.55, 6.18, 6.72  # right ends
LAYERS = 6.9
TALLEST = 0.26  # a bar of probability 1
VISIBLE = 0.02  # a probability whose tick stands clear of the line

Bars = tuple[Values, Sequence[Any], float]  # probabilities, their colours, the middle of the line


def paint_outcomes(panel: Panel, scene: Scene) -> None:
    """Draw the lines of N0 and of each of `METHODS`.

    Args:
        panel: Of `WIDTH` by `HEIGHT` inches.
        scene: The sample.
    """
    _paint_head(panel, scene)
    before = scene.base_probabilities
    bars: list[Bars] = []
    _paint_name(panel, _middle(0), "N0", INK, bold=True)
    panel.write(SAYS + 0.16, _middle(0), class_name(scene.prediction), 9, color=WRONG, ha="center")
    if before is None:
        panel.write(BARS, _middle(0), "missing: no portrait of the sample", 7, color=QUIET)
    else:
        bars.append((before, _colours(scene), _middle(0)))
    for place, method in enumerate(METHODS, 1):
        style, row = method_style(method), scene.rows.get(method)
        _paint_name(panel, _middle(place), style.short, style.colour)
        if row is None:
            panel.write(SAYS + 0.08, _middle(place), "missing: no run among the records", 7, color=QUIET)
            continue
        after = _paint_row(panel, scene, row, _middle(place))
        if after is not None:
            colours = _colours(scene)
            bars.append((after, colours if is_corrected(row) else list(map(pale, colours)), _middle(place)))
    _paint_bars(panel, bars, before)


def _signed(change: float) -> str:
    return minus(f"{change:+.4f}") if change else "0"


def _middle(place: int) -> float:
    return TOP + LINE * (place + 0.5)


def _colours(scene: Scene) -> list[str]:
    roles = {scene.prediction: WRONG, scene.label: RIGHT}
    return [roles.get(number, OTHER) for number in range(CLASSES)]


def _paint_head(panel: Panel, scene: Scene) -> None:
    roles = {scene.prediction: WRONG, scene.label: RIGHT}
    for number in range(CLASSES):
        colour = roles.get(number, QUIET)
        weight = "bold" if number in roles else "normal"
        centre = BARS + BAR * (number + 0.5)
        panel.write(centre, TOP - 0.1, str(number), 8.5, color=colour, ha="center", fontweight=weight)
    panel.write(BARS, TOP - 0.33, "class probabilities (black tick: before, by N0)", 7, color=QUIET)
    panel.write(SAYS + 0.16, TOP - 0.1, "says", 7, color=QUIET, ha="center")
    numbers = ((PARAMETERS, "parameters\naltered"), (CHANGE, "ΔTA"), (BROKEN, "images\nbroken"))
    for right, text in numbers:
        panel.write(right, TOP - 0.04, text, 7, color=QUIET, ha="right", va="bottom", linespacing=1.05)
    names = layer_names(scene.header.base["tensors"])
    panel.write(LAYERS, TOP - 0.33, "how far each layer moved (L2 norm)", 7, color=QUIET)
    for left, width, name in _cells(names):
        panel.write(left + width / 2, TOP - 0.1, name, 5.6 if len(names) > 5 else 7, color=QUIET, ha="center")
    lines = [[(0, TOP + LINE * place), (WIDTH, TOP + LINE * place)] for place in range(len(METHODS) + 2)]
    panel.lines(lines)


def _cells(names: Sequence[str]) -> list[tuple[float, float, str]]:
    """Return where each layer's column begins, how wide it is, and its name."""
    width = min(0.6, (WIDTH - LAYERS) / max(len(names), 1))
    return [(LAYERS + width * place, width, name) for place, name in enumerate(names)]


def _paint_name(panel: Panel, y: float, text: str, colour: str, bold: bool = False) -> None:
    panel.chip(0, y, colour)
    panel.write(0.16, y, text, 9, fontweight="bold" if bold else "normal")


def _paint_row(panel: Panel, scene: Scene, row: Row, y: float) -> Values | None:
    """Write what is known of a row; return the probabilities after it, None where they are not finite."""
    done = is_corrected(row)
    mark, colour = ("✓", RIGHT) if done else ("✗", UNCORRECTED_COLOUR)
    panel.write(SAYS, y, mark, 9, color=colour, ha="center")
    panel.write(SAYS + 0.16, y, class_name(row.prediction_after), 9, color=colour, ha="center")
    panel.write(PARAMETERS, y, format_count(row.altered if done else 0), 8, ha="right")
    panel.write(CHANGE, y, _signed(scene.accuracy_change(row)), 8, ha="right")
    panel.write(BROKEN, y, format_count(row.side_effects.broken), 8, ha="right")
    norms = layer_norms(row) if done else {}
    names = layer_names(scene.header.base["tensors"])
    boxes, colours = [], []
    for left, width, name in _cells(names):
        norm = norms.get(name, 0.0)
        boxes.append(box(left + 0.012, y - LINE / 2 + 0.025, width - 0.024, LINE - 0.05))
        colours.append(shade(norm) if norm else (1.0, 1.0, 1.0))
        if norm:
            size = 6 if len(names) > 5 else 7
            panel.write(left + width / 2, y, short(norm), size, color=legible_on(colours[-1]), ha="center")
    panel.shapes(boxes, colours)
    after = probabilities(row.logits_after)
    if after is None:
        panel.write(BARS, y, "a logit is not finite", 7, color=QUIET)
    return after


def _paint_bars(panel: Panel, bars: Sequence[Bars], before: Values | None) -> None:
    """Draw every method's bars at once, and N0's probabilities as ticks over those that are not N0's own."""
    boxes, colours, ticks = [], [], []
    for values, of_bars, y in bars:
        base = y + LINE / 2 - 0.03
        for number, value in enumerate(values):
            left = BARS + BAR * number + 0.035
            boxes.append(box(left, base - TALLEST * value, BAR - 0.07, TALLEST * float(value)))
            colours.append(of_bars[number])
            if before is not None and y > _middle(0) and before[number] > VISIBLE:
                height = base - TALLEST * float(before[number])
                ticks.append([(left - 0.02, height), (left + BAR - 0.05, height)])
    panel.shapes(boxes, colours)
    panel.lines(ticks, INK, 0.9)

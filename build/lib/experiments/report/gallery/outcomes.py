"""The upper part of a card: a line per method with its outcome, class probabilities, numbers and layers."""

from collections.abc import Sequence
from typing import Any

from experiments.records.schema import Row
from experiments.report.gallery import look
from experiments.report.gallery.look import RIGHT, WRONG, Panel, box
from experiments.report.gallery.network_map import layer_names, layer_norms
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

SAYS = 1.28  # where the columns are, in inches
BARS, BAR = 1.72, 0.292
PARAMETERS, CHANGE, BROKEN = 5.55, 6.18, 6.72  # right ends
LAYERS = 6.9
TALLEST = 0.26  # a bar of probability 1
VISIBLE = 0.02  # a probability whose tick stands clear of the line
UNCHANGED = 0.35  # of a bar's colour, the rest white, where the network did not change

Bars = tuple[Values, Sequence[Any], float]  # probabilities, their colours, the middle of the line


def paint_outcomes(panel: Panel, scene: Scene) -> None:
    """Draw the lines of N0 and of each of `METHODS`."""
    roles = {scene.row.prediction_before: WRONG, scene.row.label: RIGHT}
    colours = [roles.get(number, look.OTHER) for number in range(CLASSES)]
    _paint_head(panel, scene, roles)
    _paint_name(panel, _middle(0), "N0", look.INK, "bold")
    panel.write(SAYS + 0.16, _middle(0), class_name(scene.row.prediction_before), 9, color=WRONG, ha="center")
    before = scene.base_probabilities
    bars: list[Bars] = []
    if before is None:
        panel.note(BARS, _middle(0), "missing: no portrait of the sample")
    else:
        bars.append((before, colours, _middle(0)))
    for place, method in enumerate(METHODS, 1):
        style, row = method_style(method), scene.rows.get(method)
        _paint_name(panel, _middle(place), style.short, style.colour)
        if row is None:
            panel.note(SAYS + 0.08, _middle(place), "missing: no run among the records")
            continue
        _paint_row(panel, scene, row, _middle(place))
        after = probabilities(row.logits_after)
        if after is None:
            panel.note(BARS, _middle(place), "a logit is not finite")
            continue
        share = 1.0 if is_corrected(row) else UNCHANGED
        bars.append((after, [look.blend(colour, share) for colour in colours], _middle(place)))
    _paint_bars(panel, bars, before)


def _middle(place: int) -> float:
    return TOP + LINE * (place + 0.5)


def _paint_head(panel: Panel, scene: Scene, roles: dict[int, str]) -> None:
    for number in range(CLASSES):
        colour, weight = roles.get(number, look.QUIET), "bold" if number in roles else "normal"
        centre = BARS + BAR * (number + 0.5)
        panel.write(centre, TOP - 0.1, str(number), 8.5, color=colour, ha="center", fontweight=weight)
    panel.note(BARS, TOP - 0.33, "class probabilities (black tick: before, by N0)")
    panel.note(SAYS + 0.16, TOP - 0.1, "says", ha="center")
    numbers = ((PARAMETERS, "parameters\naltered"), (CHANGE, "ΔTA"), (BROKEN, "images\nbroken"))
    for right, text in numbers:
        panel.note(right, TOP - 0.04, text, ha="right", va="bottom", linespacing=1.05)
    panel.note(LAYERS, TOP - 0.33, "how far each layer moved (L2 norm)")
    cells = _cells(scene)
    for left, width, name in cells:
        panel.note(left + width / 2, TOP - 0.1, name, 5.6 if len(cells) > 5 else 7, ha="center")
    levels = [TOP + LINE * place for place in range(len(METHODS) + 2)]
    panel.lines([[(0, y), (WIDTH, y)] for y in levels])


def _cells(scene: Scene) -> list[tuple[float, float, str]]:
    """Return where each layer's column begins, how wide it is, and its name."""
    names = layer_names(scene.header.base["tensors"])
    width = min(0.6, (WIDTH - LAYERS) / max(len(names), 1))
    return [(LAYERS + width * place, width, name) for place, name in enumerate(names)]


def _paint_name(panel: Panel, y: float, text: str, colour: str, weight: str = "normal") -> None:
    panel.chip(0, y, colour)
    panel.write(0.16, y, text, 9, fontweight=weight)


def _paint_row(panel: Panel, scene: Scene, row: Row, y: float) -> None:
    """Write what came of the sample, and how far each layer moved."""
    done = is_corrected(row)
    mark, colour = ("✓", RIGHT) if done else ("✗", UNCORRECTED_COLOUR)
    panel.write(SAYS, y, mark, 9, color=colour, ha="center")
    panel.write(SAYS + 0.16, y, class_name(row.prediction_after), 9, color=colour, ha="center")
    change = scene.accuracy_change(row)
    for right, text in (
        (PARAMETERS, format_count(row.altered if done else 0)),
        (CHANGE, look.minus(f"{change:+.4f}") if change else "0"),
        (BROKEN, format_count(row.side_effects.broken)),
    ):
        panel.write(right, y, text, 8, ha="right")
    norms, cells = layer_norms(row) if done else {}, _cells(scene)
    shades = [look.shade(norms[name]) if norms.get(name) else (1.0, 1.0, 1.0) for _, _, name in cells]
    for (left, width, name), shade in zip(cells, shades, strict=True):
        if norms.get(name):
            style = {"color": look.legible_on(shade), "ha": "center"}
            panel.write(left + width / 2, y, look.short(norms[name]), 6 if len(cells) > 5 else 7, **style)
    top, height = y - LINE / 2 + 0.025, LINE - 0.05
    panel.shapes([box(left + 0.012, top, width - 0.024, height) for left, width, _ in cells], shades)


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
    panel.lines(ticks, look.INK, 0.9)

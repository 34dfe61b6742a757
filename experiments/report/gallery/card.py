"""A card: one sample on one page."""

import numpy as np

from experiments.records.schema import Run
from experiments.report.gallery import look
from experiments.report.gallery.confusion import paint_base, paint_change
from experiments.report.gallery.look import RIGHT, WRONG, Panel, box, draw_png
from experiments.report.gallery.network_map import dot_area, paint_map
from experiments.report.gallery.outcomes import paint_outcomes
from experiments.report.gallery.scene import REFERENCE_SEED, Scene, class_name, loss_text
from experiments.report.numbers import format_count, format_number
from experiments.report.style import network_label
from experiments.report.surveys import bold, scale

WIDTH, HEIGHT = 12.0, 10.1  # inches
MARGIN = 0.3
INNER = WIDTH - 2 * MARGIN
TABLE_LEFT, TABLE_TOP = 2.65, 0.72
MAPS_TOP, CONFUSION_TOP = 5.08, 7.33
MAPPED = ("bgd_ii", "bgd_i", "top_k", "retrain")
CONFUSED = (*MAPPED, "l1")
FACE = 2.0  # inches, the digit's side


def card(scene: Scene) -> bytes:
    """Return the card of a sample as a png of 1,320 pixels' width."""
    return draw_png(WIDTH, HEIGHT, lambda page: _paint(page, scene))


def absent_card(text: str) -> bytes:
    """Return the placeholder of a card that cannot be made."""
    width, height = WIDTH / 2, 1.2
    return draw_png(width, height, lambda page: page.note(width / 2, height / 2, text, 10, ha="center"))


def _paint(page: Panel, scene: Scene) -> None:
    _paint_title(page, scene)
    _paint_sample(page.part(MARGIN, TABLE_TOP + 0.1), scene)
    paint_outcomes(page.part(TABLE_LEFT, TABLE_TOP), scene)
    _paint_legend(page.part(MARGIN, MAPS_TOP - 0.3))
    step = (INNER + 0.1) / len(MAPPED)
    for place, method in enumerate(MAPPED):
        paint_map(page.part(MARGIN + step * place, MAPS_TOP + 0.05), scene, method)
    _paint_confusions(page.part(MARGIN, CONFUSION_TOP), scene)
    run = Run(scene.header)
    warnings = bold(scene.network, run)
    colour, weight = (look.INK, "bold") if warnings else (look.QUIET, "normal")
    text = " ".join([*warnings, scale(scene.network, run), f"Reloading, seed {REFERENCE_SEED}."])
    page.note(MARGIN, HEIGHT - 0.17, text, color=colour, fontweight=weight)


def _paint_title(panel: Panel, scene: Scene) -> None:
    panel.write(MARGIN, 0.34, scene.title, 20, fontweight="bold")
    image = f"{network_label(scene.network)}, test image {format_count(scene.row.index)}"
    panel.write(TABLE_LEFT, 0.27, f"{image} · {scene.rule.name}: {scene.rule.words}", 10)
    start = "one sample, every method starting from the same network N0"
    panel.note(TABLE_LEFT, 0.48, f"{start} · card {scene.number} of {scene.count}", 8)
    panel.lines([[(MARGIN, TABLE_TOP - 0.04), (WIDTH - MARGIN, TABLE_TOP - 0.04)]], width=0.8)


def _paint_sample(panel: Panel, scene: Scene) -> None:
    """Draw the digit and what N0 makes of it."""
    if scene.portrait is None:
        panel.note(FACE / 2, FACE / 2, "missing: no portrait", 9, ha="center")
    else:
        panel.digit(scene.portrait.pixels, 0, 0, FACE)
    panel.shapes([box(0, 0, FACE, FACE)], "none", edgecolors=look.RULE, linewidths=1.0)
    before = scene.base_probabilities
    lines = (("right", scene.row.label, RIGHT), ("N0 says", scene.row.prediction_before, WRONG))
    for y, (role, number, colour) in zip((FACE + 0.3, FACE + 0.72), lines, strict=True):
        panel.note(0, y, role, 9)
        panel.write(0.85, y, class_name(number), 20, color=colour, fontweight="bold", ha="center")
        if before is not None and number >= 0:
            panel.write(1.1, y, f"p = {format_number(float(np.round(before[number], 6)))}", 9, color=colour)
    loss = loss_text(scene.row, lambda value: f"{format_number(value)} nats")
    panel.note(0, FACE + 1.12, f"N0's loss on it: {loss}", 8.5)
    for x, colour, text in ((0, RIGHT, "right"), (0.55, WRONG, "N0's"), (1.07, look.OTHER, "other class")):
        panel.shapes([box(x, FACE + 1.375, 0.09, 0.09)], colour)
        panel.note(x + 0.14, FACE + 1.425, text)
    panel.note(0, FACE + 1.62, "pale bars: not corrected, as N0")


def _paint_legend(panel: Panel) -> None:
    """Say how to read the maps of the network."""
    panel.write(0, 0.1, "Which parameters changed", 10, fontweight="bold")
    for x, colour, text in ((2.6, look.RISES, "raised"), (3.28, look.FALLS, "lowered")):
        panel.dots([x], [0.11], 26, colour)
        panel.note(x + 0.08, 0.11, text, 7.5)
    for x, size in ((4.06, 0.001), (4.78, 0.1), (5.5, 10.0)):
        panel.dots([x], [0.11], dot_area(np.array([size])), look.OTHER)
        panel.note(x + 0.1, 0.11, f"by {size:g}", 7.5)
    panel.note(6.37, 0.11, "shaded: all of a layer moved, by its L2 norm", 7.5)
    panel.lines([[(0, -0.05), (INNER, -0.05)]], width=0.8)


def _paint_confusions(panel: Panel, scene: Scene) -> None:
    panel.lines([[(0, -0.17), (INNER, -0.17)]], width=0.8)
    panel.write(0, -0.02, "What it did to the other images", 10, fontweight="bold")
    text = (
        "change of the confusion matrix, in test images: orange did harm (right ones lost, wrong ones won), blue did"
        " good; the frame: where the sample was"
    )
    panel.note(2.55, -0.01, text, 7.5)
    step = (INNER + 0.05) / (len(CONFUSED) + 1)
    paint_base(panel.part(0, 0.2), scene)
    for place, method in enumerate(CONFUSED, 1):
        paint_change(panel.part(step * place, 0.2), scene, method)

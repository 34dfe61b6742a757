"""A card: one sample on one page."""

import numpy as np

import experiments.report.gallery.confusion as confusion
import experiments.report.gallery.network_map as network_map
import experiments.report.gallery.outcomes as outcomes
from experiments.records.schema import Run
from experiments.report.gallery.look import (
    FALLS,
    INK,
    OTHER,
    QUIET,
    RIGHT,
    RISES,
    RULE,
    WRONG,
    Panel,
    box,
    draw_png,
)
from experiments.report.gallery.scene import Scene, class_name
from experiments.report.gallery.selection import REFERENCE_SEED
from experiments.report.numbers import format_count, format_number
from experiments.report.style import network_label
from experiments.report.surveys import loud, scale

WIDTH, HEIGHT = 12.0, 10.1  # inches
MARGIN = 0.3
INNER = WIDTH - 2 * MARGIN
TABLE_LEFT, TABLE_TOP = 2.65, 0.72
MAPS_TOP, CONFUSION_TOP = 5.08, 7.33
MAPPED = ("bgd_ii", "bgd_i", "top_k", "retrain")
CONFUSED = ("bgd_ii", "bgd_i", "top_k", "retrain", "l1")
FACE = 2.0  # inches, the digit's side


def card(scene: Scene) -> bytes:
    """Return the card of a sample as a png of 1,320 pixels' width."""
    return draw_png(WIDTH, HEIGHT, lambda page: _paint(page, scene))


def absent_card(text: str) -> bytes:
    """Return the placeholder of a card that cannot be made."""
    width, height = WIDTH / 2, 1.2
    style = {"color": QUIET, "ha": "center"}
    return draw_png(width, height, lambda page: page.write(width / 2, height / 2, text, 10, **style))


def _paint(page: Panel, scene: Scene) -> None:
    _paint_title(page, scene)
    _paint_sample(page.part(MARGIN, TABLE_TOP + 0.1), scene)
    outcomes.paint_outcomes(page.part(TABLE_LEFT, TABLE_TOP), scene)
    _paint_legend(page.part(MARGIN, MAPS_TOP - 0.3))
    step = (INNER + 0.1) / len(MAPPED)
    for place, method in enumerate(MAPPED):
        network_map.paint_map(page.part(MARGIN + step * place, MAPS_TOP + 0.05), scene, method)
    _paint_confusions(page.part(MARGIN, CONFUSION_TOP), scene)
    _paint_foot(page.part(MARGIN, HEIGHT - 0.17), scene)


def _paint_title(panel: Panel, scene: Scene) -> None:
    panel.write(MARGIN, 0.34, scene.title, 20, fontweight="bold")
    about = (
        f"{network_label(scene.network)}, test image {format_count(scene.choice.row.index)}"
        f" · {scene.choice.rule.name}: {scene.choice.rule.words}"
    )
    panel.write(TABLE_LEFT, 0.27, about, 10)
    words = (
        f"one sample, every method starting from the same network N0 · card {scene.number} of {scene.count}"
    )
    panel.write(TABLE_LEFT, 0.48, words, 8, color=QUIET)
    panel.lines([[(MARGIN, TABLE_TOP - 0.04), (WIDTH - MARGIN, TABLE_TOP - 0.04)]], width=0.8)


def _paint_sample(panel: Panel, scene: Scene) -> None:
    """Draw the digit and what N0 makes of it."""
    if scene.portrait is None:
        panel.write(FACE / 2, FACE / 2, "missing: no portrait", 9, color=QUIET, ha="center")
    else:
        panel.digit(scene.portrait.pixels, 0, 0, FACE)
    panel.shapes([box(0, 0, FACE, FACE)], "none", edgecolors=RULE, linewidths=1.0)
    loss = scene.choice.row.sample_loss_before
    before = scene.base_probabilities
    lines = [("right", scene.label, RIGHT), ("N0 says", scene.prediction, WRONG)]
    for place, (role, number, colour) in enumerate(lines):
        y = FACE + 0.3 + 0.42 * place
        panel.write(0, y, role, 9, color=QUIET)
        panel.write(0.85, y, class_name(number), 20, color=colour, fontweight="bold", ha="center")
        if before is not None and number >= 0:
            panel.write(1.1, y, f"p = {format_number(float(np.round(before[number], 6)))}", 9, color=colour)
    value = "not finite" if loss is None else f"{format_number(loss)} nats"
    panel.write(0, FACE + 1.12, f"N0's loss on it: {value}", 8.5, color=QUIET)
    for place, (colour, text) in enumerate(((RIGHT, "right"), (WRONG, "N0's"), (OTHER, "other class"))):
        x = (0, 0.55, 1.07)[place]
        panel.shapes([box(x, FACE + 1.375, 0.09, 0.09)], colour)
        panel.write(x + 0.14, FACE + 1.425, text, 7, color=QUIET)
    panel.write(0, FACE + 1.62, "pale bars: not corrected, as N0", 7, color=QUIET)


def _paint_legend(panel: Panel) -> None:
    """Say how to read the maps of the network."""
    panel.write(0, 0.1, "Which parameters changed", 10, fontweight="bold")
    x = 2.6
    for colour, text in ((RISES, "raised"), (FALLS, "lowered")):
        panel.dots([x], [0.11], 26, colour)
        panel.write(x + 0.08, 0.11, text, 7.5, color=QUIET)
        x += 0.68
    x += 0.1
    sizes = (0.001, 0.1, 10.0)
    areas = network_map.dot_area(np.array(sizes))
    for size, area in zip(sizes, areas, strict=True):
        panel.dots([x], [0.11], area, OTHER)
        panel.write(x + 0.1, 0.11, f"by {size:g}", 7.5, color=QUIET)
        x += 0.72
    text = "shaded: all of a layer moved, by its L2 norm"
    panel.write(x + 0.15, 0.11, text, 7.5, color=QUIET)
    panel.lines([[(0, -0.05), (INNER, -0.05)]], width=0.8)


def _paint_foot(panel: Panel, scene: Scene) -> None:
    """Write the scale, or what is wrong with N0."""
    run = Run(scene.header)
    warnings = loud(scene.network, run)
    style = {"color": INK, "fontweight": "bold"} if warnings else {"color": QUIET}
    text = " ".join([*warnings, scale(scene.network, run), f"Reloading, seed {REFERENCE_SEED}."])
    panel.write(0, 0, text, 7, **style)


def _paint_confusions(panel: Panel, scene: Scene) -> None:
    panel.lines([[(0, -0.17), (INNER, -0.17)]], width=0.8)
    panel.write(0, -0.02, "What it did to the other images", 10, fontweight="bold")
    text = (
        "change of the confusion matrix, in test images: orange did harm (right ones lost, wrong ones won), blue did"
        " good; the frame: where the sample was"
    )
    panel.write(2.55, -0.01, text, 7.5, color=QUIET)
    step = (INNER + 0.05) / (len(CONFUSED) + 1)
    confusion.paint_base(panel.part(0, 0.2), scene)
    for place, method in enumerate(CONFUSED, 1):
        confusion.paint_change(panel.part(step * place, 0.2), scene, method)

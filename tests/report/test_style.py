import itertools
import re

import numpy as np

from experiments.report.style import (
    FALLBACK_COLOURS,
    METHODS,
    UNCORRECTED_COLOUR,
    method_order,
    method_style,
    network_order,
)

# Viénot, Brettel and Mollon (1999): linear RGB as seen without long- or middle-wave cones.
DICHROMATS = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def seen(colour, matrix):
    """The colour as a dichromat sees it, in CIE Lab."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(np.array(matrix) @ linear, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_every_method_of_the_thesis_has_a_style():
    assert set(METHODS) == {
        *("bgd_ii", "bgd_i", "bgd_c", "bgd_norm", "retrain", "fine_tune", "top_k", "l1", "random"),
        "idealized",
    }


def test_methods_differ_for_dichromats_in_colour_or_else_in_line():
    for matrix in DICHROMATS.values():
        for one, other in itertools.combinations(METHODS.values(), 2):
            distance = np.linalg.norm(seen(one.colour, matrix) - seen(other.colour, matrix))
            assert distance > 10 or one.line != other.line, (one.label, other.label, distance)


def test_red_is_kept_for_uncorrected_samples():
    used = {style.colour for style in METHODS.values()} | set(FALLBACK_COLOURS)
    assert UNCORRECTED_COLOUR not in used
    assert len(used) == len(METHODS) + len(FALLBACK_COLOURS)


def test_an_unknown_method_has_a_stable_colour_of_its_own():
    style = method_style("my_method")
    assert style == method_style("my_method")
    assert (style.label, style.colour) == ("my_method", "#661100")
    assert re.fullmatch("#[0-9A-F]{6}", style.colour)
    assert len({method_style(f"method_{number}").colour for number in range(50)}) == len(FALLBACK_COLOURS)


def test_order_is_that_of_the_thesis_then_by_name():
    assert method_order(["zeta", "top_k", "alpha", "bgd_ii", "top_k"]) == ["bgd_ii", "top_k", "alpha", "zeta"]
    assert network_order(["tiny", "mlp", "alexnet"]) == ["alexnet", "mlp", "tiny"]

"""A network drawn as its layers, with the weights that a correction changed as dots upon them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.records.schema import Row
from experiments.report.gallery.layers import Tensors, layer_norms, layer_of
from experiments.report.gallery.look import (
    FAINT,
    FALLS,
    QUIET,
    RISES,
    Panel,
    Points,
    box,
    legible_on,
    shade,
    share_of_scale,
    short,
)
from experiments.report.gallery.scene import Scene, Values, is_corrected
from experiments.report.numbers import format_count
from experiments.report.style import method_style

WIDTH, HEIGHT = 2.78, 2.0  # inches, of a panel
TITLE, NAMES, GAP = 0.27, 0.26, 0.07  # its head, the names below the blocks, between blocks
BIAS = 0.05  # the width of a bias's strip
FIELDS = 0.64  # the share of the width that receptive fields get
SMALLEST_DOT, LARGEST_DOT = 2.0, 62.0  # area in square points


@dataclass(frozen=True)
class Block:
    """Where a tensor is drawn.

    Attributes:
        name: Of the tensor.
        shape: Two-dimensional: (rows, columns), a bias (n, 1), a convolution (out, in * height * width).
        first: Of its values in the flat vector of all parameters.
        left, top, width, height: In inches.
        grid: For weights that see the image: (columns, rows) of receptive fields, one for each unit, each laid out
            as the image is. None for a matrix.
    """

    name: str
    shape: tuple[int, int]
    first: int
    left: float
    top: float
    width: float
    height: float
    grid: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """How many values the tensor has."""
        return self.shape[0] * self.shape[1]

    @property
    def corners(self) -> Points:
        """The corners of the rectangle."""
        return box(self.left, self.top, self.width, self.height)

    def places(self, offsets: Values) -> tuple[Values, Values]:
        """Return x and y in inches of the values at some offsets into the tensor."""
        rows, columns = self.shape
        row, column = np.divmod(offsets, columns)
        if self.grid is None:
            x, y = (column + 0.5) / columns, (row + 0.5) / rows
        else:
            across, down = self.grid
            side = math.isqrt(columns)
            lower, left = np.divmod(row, across)
            pixel_row, pixel_column = np.divmod(column, side)
            x = (left + (pixel_column + 0.5) / side) / across
            y = (lower + (pixel_row + 0.5) / side) / down
        return self.left + x * self.width, self.top + y * self.height


def lay_out(tensors: Tensors, pixels: int) -> list[Block]:
    """Return a block for each tensor.

    A first layer that sees the image becomes receptive fields, with the other layers stacked at their right. Otherwise
    the layers stand in a row, as high as the logarithm of their size.

    Args:
        tensors: Shapes in the order of the flat vector.
        pixels: How many the image has.
    """
    shapes = {name: _matrix(shape) for name, shape in tensors.items()}
    first = dict(zip(shapes, np.cumsum([0, *(math.prod(shape) for shape in shapes.values())]), strict=False))
    weights = [name for name in shapes if len(tensors[name]) > 1]
    boxes = _with_fields(weights, shapes) if _sees_image(weights, shapes, pixels) else _row(weights, shapes)
    blocks = []
    for name, (left, top, width, height) in boxes.items():
        rows, columns = shapes[name]
        sees = name == weights[0] and columns == pixels
        grid = _grid(rows) if sees else None
        blocks.append(Block(name, shapes[name], int(first[name]), left, top, width, height, grid))
        for other in shapes:
            if other not in weights and layer_of(other) == layer_of(name):
                strip = (left + width + 0.025, top, BIAS, height)
                blocks.append(Block(other, shapes[other], int(first[other]), *strip))
    return blocks


Box = tuple[float, float, float, float]  # left, top, width, height
Shapes = dict[str, tuple[int, int]]


def _matrix(shape: Sequence[int]) -> tuple[int, int]:
    return (shape[0], math.prod(shape[1:]))


def _sees_image(weights: Sequence[str], shapes: Shapes, pixels: int) -> bool:
    return bool(weights) and shapes[weights[0]][1] == pixels and math.isqrt(pixels) ** 2 == pixels


def _grid(units: int) -> tuple[int, int]:
    across = math.ceil(math.sqrt(units * 4 / 3))
    return across, math.ceil(units / across)


def _with_fields(weights: Sequence[str], shapes: Shapes) -> dict[str, Box]:
    across, down = _grid(shapes[weights[0]][0])
    side = min(WIDTH * FIELDS / across, (HEIGHT - TITLE - NAMES) / down)
    boxes = {weights[0]: (0.0, TITLE, side * across, side * down)}
    others = weights[1:]
    if not others:
        return boxes
    left = side * across + 0.3
    room = (HEIGHT - TITLE - NAMES - 0.22 * (len(others) - 1)) / len(others)
    for place, name in enumerate(others):
        rows, columns = shapes[name]
        cell = min((WIDTH - left - BIAS - GAP) / columns, room / rows)
        boxes[name] = (left, TITLE + (room + 0.22) * place, cell * columns, cell * rows)
    return boxes


def _row(weights: Sequence[str], shapes: Shapes) -> dict[str, Box]:
    width = WIDTH / max(len(weights), 1) - BIAS - GAP
    floor = HEIGHT - NAMES
    digits = {name: 1 + math.log10(math.prod(shapes[name])) for name in weights}
    tallest = max(digits.values(), default=1.0)
    boxes = {}
    for place, name in enumerate(weights):
        height = (floor - TITLE) * digits[name] / tallest
        boxes[name] = ((WIDTH / len(weights)) * place, floor - height, width, height)
    return boxes


def dot_area(change: Values) -> Values:
    """Return a dot's area in square points: linear in the logarithm of the size of a change."""
    shares = np.array([share_of_scale(abs(float(value))) for value in np.atleast_1d(change)])
    return np.asarray(SMALLEST_DOT + (LARGEST_DOT - SMALLEST_DOT) * shares**2, dtype=np.float64)


def paint_map(panel: Panel, scene: Scene, method: str) -> None:
    """Draw the network and what a method changed in it.

    Args:
        panel: Of `WIDTH` by `HEIGHT` inches.
        scene: The sample.
        method: Dots where the row has its patch, else each layer shaded by the L2 norm of its change.
    """
    style, row = method_style(method), scene.rows.get(method)
    panel.chip(0, 0.105, style.colour)
    panel.write(0.14, 0.105, f"{style.short}: {_what(row)}", 8.5)
    pixels = 784 if scene.portrait is None else scene.portrait.pixels.size
    blocks = lay_out(scene.header.base["tensors"], pixels)
    dense = row is not None and is_corrected(row) and row.patch is None
    norms = layer_norms(row) if row is not None and dense else {}
    _paint_blocks(panel, scene, blocks, norms)
    if row is not None and is_corrected(row) and row.patch is not None:
        _paint_dots(panel, blocks, row.patch)


def _what(row: Row | None) -> str:
    if row is None:
        return "missing"
    if not is_corrected(row):
        return "not corrected, nothing changed"
    return f"{format_count(row.l0)} parameter{'' if row.l0 == 1 else 's'} changed"


def _paint_blocks(panel: Panel, scene: Scene, blocks: Sequence[Block], norms: dict[str, float]) -> None:
    faces = [shade(norms.get(layer_of(block.name), 0.0)) if norms else "#F4F5F7" for block in blocks]
    corners = [block.corners for block in blocks]
    panel.shapes(corners, faces, edgecolors=FAINT, linewidths=0.5)
    fields = any(block.grid for block in blocks)
    for block in blocks:
        if block.grid is not None:
            _paint_fields(panel, scene, block, block.grid, bool(norms))
        if block.shape[1] > 1:
            rows = format_count(block.size) if block.size < 1e5 else f"{block.size / 1e6:.2g}M"
            text = f"{layer_of(block.name)}{' ' if fields else chr(10)}{rows}"
            bottom = block.top + block.height + 0.03
            panel.write(block.left, bottom, text, 6, color=QUIET, va="top", linespacing=1.05)
        norm = norms.get(layer_of(block.name), 0.0)
        if norm and block.shape[1] > 1:
            x, y = block.left + block.width / 2, block.top + block.height / 2
            style = {"color": legible_on(shade(norm)), "ha": "center", "zorder": 4}
            panel.write(x, y, short(norm), 7, rotation=0 if block.width > 0.35 else 90, **style)


def _paint_fields(panel: Panel, scene: Scene, block: Block, grid: tuple[int, int], shaded: bool) -> None:
    """Draw the digit as a ghost in each receptive field."""
    across, down = grid
    units = block.shape[0]
    edges = [(block.left + block.width * place / across) for place in range(1, across)]
    levels = [(block.top + block.height * place / down) for place in range(1, down)]
    bottom, right = block.top + block.height, block.left + block.width
    lines = [[(x, block.top), (x, bottom)] for x in edges] + [[(block.left, y), (right, y)] for y in levels]
    panel.lines(lines, "white", 1.2)
    if scene.portrait is None or shaded:
        return
    ghost = np.ones((*scene.portrait.pixels.shape, 4))
    ghost[..., :3] = 0.55
    ghost[..., 3] = scene.portrait.pixels / 255 * 0.45
    side = scene.portrait.pixels.shape[0]
    sheet = np.zeros((down * side, across * side, 4))
    for unit in range(units):
        y, x = divmod(unit, across)
        sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = ghost
    panel.image(sheet, block.left, block.top, block.width, block.height, zorder=1.5)


def _paint_dots(panel: Panel, blocks: Sequence[Block], patch: dict[str, list[float]]) -> None:
    index = np.array(patch["index"], dtype=np.int64)
    change = np.array(patch["new"], dtype=np.float64) - np.array(patch["old"], dtype=np.float64)
    x, y = np.full(index.size, np.nan), np.full(index.size, np.nan)
    for block in blocks:
        own = (index >= block.first) & (index < block.first + block.size)
        x[own], y[own] = block.places((index[own] - block.first).astype(np.float64))
    order = np.argsort(-np.abs(change), kind="stable")  # the large ones first, below the small ones
    colours = np.where(change > 0, RISES, FALLS)
    style = {"linewidths": 0.4, "edgecolors": "white", "zorder": 3}
    panel.dots(x[order], y[order], dot_area(change[order]), list(colours[order]), **style)

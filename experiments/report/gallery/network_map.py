"""A network drawn as its layers, with the weights that a correction changed as dots upon them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from experiments.records.schema import Row
from experiments.report.gallery import look
from experiments.report.gallery.look import Panel
from experiments.report.gallery.scene import Scene, Values, is_corrected
from experiments.report.numbers import format_count
from experiments.report.style import method_style

WIDTH, HEIGHT = 2.78, 2.0  # inches, of a panel
TITLE, NAMES, GAP = 0.27, 0.26, 0.07  # its head, the names below the blocks, between blocks
BIAS = 0.05  # the width of a bias's strip
FIELDS = 0.64  # the share of the width that receptive fields get
BETWEEN = 0.22  # inches, between layers that are stacked
SMALLEST_DOT, LARGEST_DOT = 2.0, 62.0  # area in square points

Tensors = Mapping[str, Sequence[int]]  # shapes in the order of the flat vector
Shapes = Mapping[str, tuple[int, int]]
Box = tuple[float, float, float, float]  # left, top, width, height


def layer_of(tensor: str) -> str:
    """Return the layer of a tensor: "lin1" of "lin1.bias"."""
    return tensor.rpartition(".")[0] or tensor


def layer_names(tensors: Tensors) -> list[str]:
    """Return the layers in the order of the flat vector."""
    return list(dict.fromkeys(map(layer_of, tensors)))


def layer_norms(row: Row) -> dict[str, float]:
    """Return the L2 norm of the change of each layer that changed, weight and bias together."""
    squares: dict[str, float] = {}
    for tensor, (_, norm, _) in row.layers.items():
        squares[layer_of(tensor)] = squares.get(layer_of(tensor), 0.0) + norm**2
    return {layer: math.sqrt(square) for layer, square in squares.items()}


@dataclass(frozen=True)
class Block:
    """Where a tensor is drawn, in inches.

    Attributes:
        name: Of the tensor.
        shape: Two-dimensional: (rows, columns), a bias (n, 1), a convolution (out, in * height * width).
        first: Of its values in the flat vector of all parameters.
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
        return math.prod(self.shape)

    @property
    def box(self) -> Box:
        """Its rectangle."""
        return self.left, self.top, self.width, self.height

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
    the layers stand in a row, as high as the logarithm of their size. The image is a square of so many pixels.
    """
    shapes = {name: (shape[0], math.prod(shape[1:])) for name, shape in tensors.items()}
    firsts = dict(zip(shapes, accumulate(map(math.prod, shapes.values()), initial=0), strict=False))
    weights = {name: shapes[name] for name, shape in tensors.items() if len(shape) > 1}
    sees = next(iter(weights), "") if next(iter(weights.values()), (0, 0))[1] == pixels else ""
    blocks = []
    for name, box in (_with_fields(weights) if sees else _in_a_row(weights)).items():
        grid = _grid(shapes[name][0]) if name == sees else None
        blocks.append(Block(name, shapes[name], firsts[name], *box, grid))
        left, top, width, height = box
        for other in shapes:
            if other not in weights and layer_of(other) == layer_of(name):
                strip = (left + width + 0.025, top, BIAS, height)
                blocks.append(Block(other, shapes[other], firsts[other], *strip))
    return blocks


def _grid(units: int) -> tuple[int, int]:
    across = math.ceil(math.sqrt(units * 4 / 3))
    return across, math.ceil(units / across)


def _with_fields(weights: Shapes) -> dict[str, Box]:
    (first, (units, _)), *others = weights.items()
    across, down = _grid(units)
    side = min(WIDTH * FIELDS / across, (HEIGHT - TITLE - NAMES) / down)
    boxes = {first: (0.0, TITLE, side * across, side * down)}
    left = side * across + 0.3
    room = (HEIGHT - TITLE - NAMES - BETWEEN * (len(others) - 1)) / max(len(others), 1)
    for place, (name, (rows, columns)) in enumerate(others):
        cell = min((WIDTH - left - BIAS - GAP) / columns, room / rows)
        boxes[name] = (left, TITLE + (room + BETWEEN) * place, cell * columns, cell * rows)
    return boxes


def _in_a_row(weights: Shapes) -> dict[str, Box]:
    digits = [1 + math.log10(math.prod(shape)) for shape in weights.values()]
    boxes = {}
    for place, (name, size) in enumerate(zip(weights, digits, strict=True)):
        height = (HEIGHT - NAMES - TITLE) * size / max(digits)
        width = WIDTH / len(weights)
        boxes[name] = (width * place, HEIGHT - NAMES - height, width - BIAS - GAP, height)
    return boxes


def dot_area(change: Values) -> Values:
    """Return a dot's area in square points: linear in the logarithm of the size of a change."""
    shares = np.array([look.share_of_scale(abs(float(value))) for value in np.atleast_1d(change)])
    return np.asarray(SMALLEST_DOT + (LARGEST_DOT - SMALLEST_DOT) * shares**2, dtype=np.float64)


def paint_map(panel: Panel, scene: Scene, method: str) -> None:
    """Draw the network and what a method changed in it, into `WIDTH` by `HEIGHT` inches.

    Dots stand where the row has its patch; otherwise each layer is shaded by the L2 norm of its change.
    """
    style, row = method_style(method), scene.rows.get(method)
    what, patch, norms = "missing", None, {}
    if row is not None and is_corrected(row):
        what, patch = f"{format_count(row.l0)} parameter{'' if row.l0 == 1 else 's'} changed", row.patch
        norms = layer_norms(row) if patch is None else {}
    elif row is not None:
        what = "not corrected, nothing changed"
    panel.chip(0, 0.105, style.colour)
    panel.write(0.14, 0.105, f"{style.short}: {what}", 8.5)
    pixels = 784 if scene.portrait is None else scene.portrait.pixels.size
    blocks = lay_out(scene.header.base["tensors"], pixels)
    _paint_blocks(panel, scene, blocks, norms)
    if patch is not None:
        _paint_dots(panel, blocks, patch)


def _paint_blocks(panel: Panel, scene: Scene, blocks: Sequence[Block], norms: dict[str, float]) -> None:
    of_block = [norms.get(layer_of(block.name), 0.0) for block in blocks]
    faces = [look.shade(norm) if norms else "#F4F5F7" for norm in of_block]
    corners = [look.box(*block.box) for block in blocks]
    panel.shapes(corners, faces, edgecolors=look.FAINT, linewidths=0.5)
    gap = " " if any(block.grid for block in blocks) else "\n"
    for block, norm in zip(blocks, of_block, strict=True):
        if block.grid is not None:
            _paint_fields(panel, scene, block, block.grid, bool(norms))
        if block.shape[1] == 1:
            continue
        size = format_count(block.size) if block.size < 1e5 else f"{block.size / 1e6:.2g}M"
        below = (block.left, block.top + block.height + 0.03)
        panel.note(*below, f"{layer_of(block.name)}{gap}{size}", 6, va="top", linespacing=1.05)
        if norm:
            x, y = block.left + block.width / 2, block.top + block.height / 2
            style = {"color": look.legible_on(look.shade(norm)), "ha": "center", "zorder": 4}
            panel.write(x, y, look.short(norm), 7, rotation=0 if block.width > 0.35 else 90, **style)


def _paint_fields(panel: Panel, scene: Scene, block: Block, grid: tuple[int, int], shaded: bool) -> None:
    """Draw the digit as a ghost in each receptive field."""
    across, down = grid
    bottom, right = block.top + block.height, block.left + block.width
    edges = [block.left + block.width * place / across for place in range(1, across)]
    levels = [block.top + block.height * place / down for place in range(1, down)]
    lines = [[(x, block.top), (x, bottom)] for x in edges] + [[(block.left, y), (right, y)] for y in levels]
    panel.lines(lines, "white", 1.2)
    if scene.portrait is None or shaded:
        return
    pixels = scene.portrait.pixels
    ghost = np.dstack([np.full((*pixels.shape, 3), 0.55), pixels / 255 * 0.45])
    units = np.arange(down * across).reshape(down, across)
    panel.image(np.kron((units < block.shape[0])[..., None], ghost), *block.box, zorder=1.5)


def _paint_dots(panel: Panel, blocks: Sequence[Block], patch: dict[str, list[float]]) -> None:
    index = np.array(patch["index"], dtype=np.int64)
    change = np.array(patch["new"], dtype=np.float64) - np.array(patch["old"], dtype=np.float64)
    x, y = np.full(index.size, np.nan), np.full(index.size, np.nan)
    for block in blocks:
        own = (index >= block.first) & (index < block.first + block.size)
        x[own], y[own] = block.places((index[own] - block.first).astype(np.float64))
    order = np.argsort(-np.abs(change), kind="stable")  # the large ones first, below the small ones
    colours = list(np.where(change > 0, look.RISES, look.FALLS)[order])
    style = {"linewidths": 0.4, "edgecolors": "white", "zorder": 3}
    panel.dots(x[order], y[order], dot_area(change[order]), colours, **style)

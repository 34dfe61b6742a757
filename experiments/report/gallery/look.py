"""What the panels of a card have in common: colours, scales, and a place measured in inches."""

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from experiments.report.style import METHODS, RC, UNCORRECTED_COLOUR

DPI = 110  # of a card 12 inches wide: 1,320 pixels

INK, QUIET, FAINT, RULE = "#1A1A1A", "#5F6368", "#B8BCC2", "#E3E5E8"
# Blue is right or better, orange is wrong or worse: apart for a colour-blind reader too (Okabe and Ito).
RIGHT, WRONG, OTHER = "#0072B2", "#D9730D", "#A9AEB5"
# A weight that rises or falls is neither: green and purple, safe by the same test (ColorBrewer's PRGn).
RISES, FALLS = "#1B7837", "#762A83"

HARM = LinearSegmentedColormap.from_list("harm", ("#08519C", "#6BAED6", "#FFFFFF", "#FDAE6B", "#B33C00"))
SIZE = LinearSegmentedColormap.from_list("size", ("#F4F5F7", "#9AA5B1", "#2E3A47"))
SMALLEST, LARGEST = -4.0, 2.0  # log10 of the L2 norms and changes that the scales tell apart


Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A part of a figure, measured in inches from its upper left corner: it begins at (left, top).

    All panels of a figure share its one axes, whose units are inches: axes are slow to make.
    """

    axes: Axes
    left: float = 0.0
    top: float = 0.0

    def part(self, left: float, top: float) -> "Panel":
        """Return the panel that begins at a place of this one."""
        return Panel(self.axes, self.left + left, self.top + top)

    def write(self, x: float, y: float, text: str, size: float = 8, **style: Any) -> None:
        """Write a text, vertically centred unless said otherwise."""
        style = {"fontsize": size, "color": INK, "va": "center", **style}
        self.axes.text(self.left + x, self.top + y, text, **style)

    def note(self, x: float, y: float, text: str, size: float = 7, **style: Any) -> None:
        """Write a text that is read second."""
        self.write(x, y, text, size, **{"color": QUIET, **style})

    def shapes(self, corners: Sequence[Points], colours: Any, **style: Any) -> None:
        """Fill polygons."""
        moved = [[(self.left + x, self.top + y) for x, y in each] for each in corners]
        self.axes.add_collection(PolyCollection(moved, facecolors=colours, **{"linewidths": 0, **style}))

    def lines(self, ends: Sequence[Points], colours: Any = RULE, width: float = 0.6, **style: Any) -> None:
        """Draw lines."""
        moved = [[(self.left + x, self.top + y) for x, y in each] for each in ends]
        self.axes.add_collection(LineCollection(moved, colors=colours, linewidths=width, **style))

    def image(
        self, pixels: npt.ArrayLike, left: float, top: float, width: float, height: float, **style: Any
    ) -> None:
        """Draw an image (rows, columns[, 4]), its pixels with sharp edges."""
        x, y = self.left + left, self.top + top
        extent = (x, x + width, y + height, y)
        self.axes.imshow(pixels, extent=extent, interpolation="nearest", aspect="auto", **style)

    def digit(self, pixels: npt.NDArray[np.float64], left: float, top: float, side: float) -> None:
        """Draw a portrait, ink black."""
        self.image(255 - pixels, left, top, side, side, cmap="gray", vmin=0, vmax=255)

    def dots(self, x: Any, y: Any, area: Any, colours: Any, **style: Any) -> None:
        """Draw dots; areas in square points."""
        across, down = np.add(self.left, x), np.add(self.top, y)
        self.axes.scatter(across, down, s=area, c=colours, **{"linewidths": 0, **style})

    def chip(self, x: float, y: float, colour: str) -> None:
        """Draw the small block of a method's colour, its left end and middle at (x, y)."""
        self.shapes([box(x, y - 0.075, 0.07, 0.15)], colour)


def box(left: float, top: float, width: float, height: float) -> Points:
    """Return the corners of a rectangle."""
    right, bottom = left + width, top + height
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def share_of_scale(size: float) -> float:
    """Return where a size lies on the logarithmic scale, in [0, 1]."""
    if size <= 0:
        return 0.0
    return float(np.clip((np.log10(size) - SMALLEST) / (LARGEST - SMALLEST), 0.0, 1.0))


def shade(size: float) -> tuple[float, float, float]:
    """Return the colour of an L2 norm."""
    red, green, blue, _ = SIZE(share_of_scale(size))
    return (red, green, blue)


def legible_on(colour: Any) -> str:
    """Return black or white, whichever is read more easily on a colour."""
    red, green, blue = to_rgb(colour)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def blend(colour: Any, share: float) -> tuple[float, float, float]:
    """Return a mixture of `share` of a colour and the rest of white."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return (red, green, blue)


def short(size: float) -> str:
    """Return a size above 0 in at most five characters: 120, 1.2, 0.003, 2e-4."""
    if 10 <= size < 1e5:
        return f"{size:.0f}"
    text = f"{size:.1g}" if size < 0.1 else f"{size:.2g}"
    return minus(text.replace("e-0", "e-").replace("e+0", "e"))


def minus(text: str) -> str:
    """Return a number's text with a true minus sign."""
    return text.replace("-", "−")


@functools.cache
def _palette() -> Image.Image:
    """Return the 256 colours of every card, white first: a third of the bytes of true colour.

    The greys of the texts, the scales, and each flat colour with three steps towards white for its smooth edges. A
    palette of its own for each card would lose the colours that only a few pixels have.
    """
    flat = [style.colour for style in METHODS.values()]
    flat += [RIGHT, WRONG, OTHER, RISES, FALLS, UNCORRECTED_COLOUR]
    colours: list[tuple[float, ...]] = [(grey, grey, grey) for grey in np.linspace(1, 0, 64)]
    colours += [blend(colour, share) for colour in flat for share in (1, 0.7, 0.35, 0.15)]
    colours += [to_rgb(SIZE(place)) for place in np.linspace(0, 1, 40)]
    colours += [to_rgb(HARM(place)) for place in np.linspace(0, 1, 80)]
    colours += [to_rgb(colour) for colour in (INK, QUIET, FAINT, RULE)]
    image = Image.new("P", (1, 1))
    image.putpalette([round(255 * part) for colour in colours for part in colour])
    return image


def draw_png(width: float, height: float, paint: Callable[[Panel], None]) -> bytes:
    """Return a figure of a size in inches as a png with a palette; the same painting gives the same bytes."""
    shape = (round(height * DPI), round(width * DPI), 4)
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the caller's own settings are
        matplotlib.rcParams.update({**RC, "figure.constrained_layout.use": False, "axes.grid": False})
        figure = Figure(figsize=(shape[1] / DPI, shape[0] / DPI), dpi=DPI, facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        paint(Panel(axes))
        figure.savefig(buffer, format="rgba", dpi=DPI)
    pixels = np.frombuffer(buffer.getvalue(), dtype=np.uint8).reshape(shape)[:, :, :3]
    return _png(np.ascontiguousarray(pixels))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    indices = np.array(Image.fromarray(pixels).quantize(palette=_palette(), dither=Image.Dither.NONE))
    # The nearest colour is looked up coarsely: white would turn grey.
    indices[(pixels == 255).all(axis=2)] = 0
    reduced = Image.fromarray(indices)
    reduced.putpalette(_palette().getpalette() or [])
    buffer = io.BytesIO()
    reduced.save(buffer, format="png", compress_level=7)  # 9 saves 5 % in five times the time
    return buffer.getvalue()

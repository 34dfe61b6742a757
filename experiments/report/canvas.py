"""From a painter of a figure to png and svg: the house look, and the same bytes from the same painting.

The png is for the report and the repository, the svg for a paper: git leaves it out.
"""

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase
from typing import Any, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from experiments.report.style import RC

Row = TypeVar("Row")
Column = TypeVar("Column")
Paint = Callable[[Figure], Sequence[str]]

# What leaves dates and versions out of a file.
METADATA: Mapping[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
COLOURS = 256  # of a png: the shades at edges and in bands are more, but none that anyone would miss
# A colour of the palette is a mean; the paper would be a shade darker than the page around it.
WHITE, NEARLY = (255, 255, 255), 253
FOOTNOTE_WIDTH = 135  # characters of 7 pt in a double column


@dataclass(frozen=True)
class Picture:
    """A figure of a study: the name of its files, and what paints it."""

    name: str
    paint: Paint

    def files(self) -> dict[str, bytes]:
        """Draw both files under `figures/`."""
        return {f"figures/{self.name}.{kind}": image for kind, image in draw(self.paint).items()}


def draw(paint: Paint) -> dict[str, bytes]:
    """Return a figure as files: `{"png": ..., "svg": ...}`.

    Args:
        paint: Sets the figure's size, draws into it and returns the lines of its footnote; a line that comes
            twice is written once.
    """
    files = {}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the caller's own settings are
        matplotlib.rcParams.update(RC)
        figure = Figure()
        notes = paint(figure)
        figure.supxlabel(footnote(notes), fontsize=7, color="#333333", ha="left", x=0.01)
        for kind, metadata in METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata)
            files[kind] = buffer.getvalue()
    return {**files, "png": with_palette(files["png"])}


def with_palette(png: bytes) -> bytes:
    """Return an opaque png with a palette of at most `COLOURS`: a quarter of the bytes."""
    with Image.open(io.BytesIO(png)) as image:
        # The octree is four times as fast as the median cut and errs less on the colours of thin lines.
        few = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    triples = zip(*[iter(few.getpalette() or [])] * 3, strict=True)
    few.putpalette([value for triple in triples for value in (WHITE if min(triple) >= NEARLY else triple)])
    buffer = io.BytesIO()
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def footnote(lines: Sequence[str]) -> str:
    """Return lines as one text no wider than a double column, each once."""
    return "\n".join(textwrap.fill(line, FOOTNOTE_WIDTH) for line in dict.fromkeys(lines))


def legend_above(figure: Figure, handles: Sequence[Line2D], **look: Any) -> None:
    """Explain lines and marks above the panels; nothing where there is none."""
    if handles:
        look = {"ncols": len(handles), "frameon": False, **look}
        figure.legend(handles=handles, loc="outside upper center", **look)


def dots(marker: str, label: str, colour: str) -> Line2D:
    """Return the handle of a legend for marks that no line joins."""
    return Line2D([], [], marker=marker, linewidth=0, markersize=4, color=colour, label=label)


def blank(axes: Axes, text: str) -> None:
    """Write a text into a panel instead of data."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555")


def grid(
    figure: Figure, size: tuple[float, float], rows: Sequence[Row], columns: Sequence[Column], **look: Any
) -> Iterator[tuple[str, Axes, Row, Column]]:
    """Set a figure's size in inches and go through its panels: the letter of each, its row and its column."""
    figure.set_size_inches(*size)
    panels = figure.subplots(len(rows), len(columns), squeeze=False, **look)
    for (letter, axes), (row, column) in zip(lettered(panels), product(rows, columns), strict=True):
        yield letter, axes, row, column


def lettered(panels: Any) -> Iterator[tuple[str, Axes]]:
    """Go through an array of panels row by row, each with its letter: "(a)"."""
    return zip((f"({letter})" for letter in ascii_lowercase), panels.flat, strict=False)

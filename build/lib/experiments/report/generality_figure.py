"""The figure of generality and cost: a line a method, a panel a kind of image."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.report.canvas import blank
from experiments.report.figures import absent_text
from experiments.report.held import KINDS, Held
from experiments.report.knowledge import LEVELS
from experiments.report.numbered import short_label
from experiments.report.style import DOUBLE_COLUMN, network_label

LINE = 0.118  # inches, of a method
READING = (
    "Dots: share of the images of a kind that the corrected network gets right, over the corrected samples; bars: that"
    " N0 gets right. Same confusion: other test images of the sample's label that N0 takes for the same wrong class."
    " Seconds: of the search, the median over samples. Of a method under many budgets two are"
    " here; the table has all."
)


def draw_generality(figure: Figure, shown: Mapping[str, Sequence[Held]]) -> list[str]:
    """Draw a row of panels for each network; return notes."""
    heights = [LINE * max(6, len(items)) + 0.55 for items in shown.values()]
    figure.set_size_inches(DOUBLE_COLUMN, sum(heights) + 0.9)
    panels = figure.subplots(len(shown), len(KINDS) + 1, squeeze=False, height_ratios=heights)
    for row, (network, items) in zip(panels, shown.items(), strict=True):
        _draw_network(row, network, items)
    handles = [_handle("o", "after the correction"), _handle("|", "N0")]
    handles += [_handle("s", f"knows {level.label}", level.colour) for level in LEVELS.values()]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, columnspacing=1.1
    )
    return [READING]


def _handle(marker: str, label: str, colour: str = "#333333") -> Line2D:
    return Line2D([], [], marker=marker, linewidth=0, markersize=4, color=colour, label=label)


def _draw_network(row: Sequence[Axes], network: str, items: Sequence[Held]) -> None:
    """Draw a panel for each kind of image and one for the seconds, a line of all of them a method."""
    columns: dict[str, Callable[[Held], tuple[float | None, float | None]]] = {
        **{label: _shares(kind) for kind, label in KINDS.items()},
        "seconds": lambda item: (item.seconds, None),
    }
    for axes, (label, values) in zip(row, columns.items(), strict=True):
        axes.set_title(f"{network_label(network)}: {label}" if axes is row[0] else label)
        if not items:
            blank(axes, "" if axes is not row[0] else absent_text(network, "reloading"))
            continue
        for place, item in enumerate(items):
            colour = LEVELS[item.level].colour
            after, before = values(item)
            if after is not None:
                axes.plot(after, place, "o", markersize=3.2, color=colour, markeredgewidth=0)
            if before is not None:
                axes.plot(before, place, "|", markersize=5, color="#333333", markeredgewidth=0.8)
        axes.set_ylim(len(items) - 0.4, -0.6)
        axes.grid(visible=True, axis="both")
        axes.tick_params(axis="y", length=0, labelleft=axes is row[0])
        axes.set_yticks(range(len(items)), [_name(item) for item in items], fontsize=5.5)
        if label == "seconds":
            axes.set_xscale("log")
            axes.set_xlabel("a sample")
        else:
            axes.set_xlim(-4, 104)
            axes.set_xlabel("% right")


def _shares(kind: str) -> Callable[[Held], tuple[float | None, float | None]]:
    return lambda item: (item.share(kind, 2), item.share(kind, 1))


def _name(item: Held) -> str:
    budget = f"budget {item.contender.budget}" if item.contender.budget else ""
    options = ", ".join(filter(None, (budget, item.contender.options)))
    return short_label(item.contender.method, options)

"""The frontier: what a correction costs other images, against how many parameters it changes and what it knows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from experiments.records.schema import Run
from experiments.report.canvas import Picture
from experiments.report.contenders import ALL, frames_of
from experiments.report.frontier_figure import draw_frontier
from experiments.report.knowledge import LEVELS, SET_ASIDE
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study
from experiments.report.scope import Scope
from experiments.report.sheet import Block, bracketed
from experiments.report.standings import (
    FRONTIER,
    Aim,
    Standing,
    describe_same_samples,
    met,
    named,
    number_text,
    same_samples,
    standings,
)
from experiments.report.style import network_label

BY_CONSTRUCTION = "by construction, not measured"
BUDGETS = ("1", "2", "5", "10", "20", "50", "200", ALL)  # of which curves are made


def _mean(item: Standing) -> str:
    if item.dTA_mean is None or item.dTA_interval is None:
        return NONE_CORRECTED
    return bracketed(*map(format_number, (item.dTA_mean, item.dTA_interval.low, item.dTA_interval.high)))


# The columns of numbers: for people, and of the csv file.
CELLS: dict[str, Callable[[Standing], str]] = {
    "POC (%)": lambda item: format_number(item.POC),
    "n": lambda item: format_count(item.corrected),
    "changed, median": lambda item: number_text(item.changed_median),
    "changed, most": lambda item: number_text(item.changed_max),
    "mean ΔTA [95 %]": _mean,
    "ΔTA, 5th percentile": lambda item: number_text(item.dTA_p5),
    "worst ΔTA": lambda item: number_text(item.dTA_worst),
    "negative flips": lambda item: number_text(item.broken),
    "seconds": lambda item: number_text(item.seconds),
}
QUANTITIES = tuple(
    item.name for item in fields(Standing) if item.name not in ("contender", "level", "dTA_interval")
)
LOOKUP = {"POC": 100, "changed_median": 0, "changed_max": 0, "broken": 0}
LOOKUP_LINE = [
    *(f"Lookup table ({BY_CONSTRUCTION})", LEVELS["nothing"].label, ""),
    *("100", "", "0", "0", "none", "none", "none", "0", "", ""),
]


@dataclass(frozen=True)
class Frontier(Study):
    """A table and a figure: every method against every other, at equal samples.

    Attributes:
        aims: What a correction should reach.
    """

    presets: tuple[str, ...] = FRONTIER
    aims: tuple[Aim, ...] = ()
    tables = ("frontier",)
    figures = ("frontier",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        frames, _ = frames_of(runs, "reloading", self.networks)
        scope = Scope("reloading", self.networks, self.methods)
        found = {
            network: standings(same_samples(frames.select(network=network)), self.thesis.knowledge)
            for network in self.networks
        }
        about, loud = describe_same_samples(scope, frames), scope.warnings(frames)
        yield self.sheet(
            [SET_ASIDE, *about],
            loud,
            [self._block(network, items) for network, items in found.items()],
            [record for network, items in found.items() for record in _records(network, items)],
        )
        yield Picture(
            "frontier", lambda figure: [*draw_frontier(figure, found, self.aims, BUDGETS), *about, *loud]
        )

    def _block(self, network: str, items: Sequence[Standing]) -> Block:
        aims = [aim for aim in self.aims if aim.network == network]
        lines = [
            [
                *(item.contender.label, LEVELS[item.level].label, item.contender.budget),
                *(cell(item) for cell in CELLS.values()),
                f"{met(item, aims)} of {len(aims)}" if aims else "",
            ]
            for item in items
        ]
        header = ["method", "knows", "budget", *CELLS, "aims met"]
        return Block(f"{network_label(network)}.", header, [LOOKUP_LINE, *lines])


def _records(network: str, items: Sequence[Standing]) -> Iterator[tuple[object, ...]]:
    """Yield a line for the lookup table, then one for each standing."""
    lookup = (LOOKUP.get(name) for name in QUANTITIES)
    yield (network, "lookup", "", "nothing", "", *lookup, None, None, BY_CONSTRUCTION)
    for item in items:
        ends = (item.dTA_interval.low, item.dTA_interval.high) if item.dTA_interval else (None, None)
        numbers = (getattr(item, name) for name in QUANTITIES)
        yield (*named(network, item), *numbers, *ends, "" if item.corrected else NONE_CORRECTED)

"""What a correction costs other images, against how many parameters it changes and what it knows; and the aims."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from experiments.records.schema import Run
from experiments.report.canvas import Picture
from experiments.report.contenders import ALL, frames_of
from experiments.report.frontier_figure import draw_frontier
from experiments.report.knowledge import LEVELS, SET_ASIDE
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study, Text, words
from experiments.report.render import markdown
from experiments.report.scope import Scope
from experiments.report.sheet import Block, bracketed
from experiments.report.standings import (
    FRONTIER,
    Aim,
    Standing,
    describe_same_samples,
    met,
    number_text,
    same_samples,
    standings,
)
from experiments.report.style import network_label
from experiments.report.survivors import looked_elsewhere, survived

SURVIVAL = "survival"  # the preset that looks at every method's corrections in other arithmetics
BY_CONSTRUCTION = "by construction, not measured"
BUDGETS = ("1", "2", "5", "10", "20", "50", "200", ALL)  # of which curves are made

BESIDE = ("untouched", "survived", "seconds")  # the aims
QUANTITIES = [  # of the csv file
    item.name for item in fields(Standing) if item.name not in ("contender", "level", "dTA_interval")
]
SHORT_NETWORK, SHORT = "mlp", ("POC", "changed_median", "dTA_mean", "untouched", "dTA_worst")
LOOKUP = {"POC": 100, "changed_median": 0, "changed_max": 0, "broken": 0}


@dataclass(frozen=True)
class Contest(Study):
    """Every method against every other, at equal samples, and what a correction should reach."""

    aims: tuple[Aim, ...] = ()

    def standings(self, runs: Sequence[Run]) -> tuple[dict[str, list[Standing]], list[str], list[str]]:
        """Return the standings of each network, what they are over, and what is wrong with an N0.

        Runs that looked at their corrections in other arithmetics give one number alone: how many survived there.
        """
        frames, _ = frames_of([run for run in runs if not looked_elsewhere(run)], "reloading", self.networks)
        scope = Scope("reloading", self.networks, self.methods)
        elsewhere = survived(runs)
        found = {
            network: standings(same_samples(frames.select(network=network)), self.thesis.knowledge, elsewhere)
            for network in self.networks
        }
        return found, describe_same_samples(scope, frames), scope.warnings(frames)

    def aims_of(self, network: str) -> dict[str, Aim]:
        """Return the aims for a network by their quantity."""
        return {aim.quantity: aim for aim in self.aims if aim.network == network}


@dataclass(frozen=True)
class Frontier(Contest):
    """A table of all numbers, and a figure of the methods with names."""

    names_drawn: tuple[tuple[str, str], ...] = ()
    presets: tuple[str, ...] = (*FRONTIER, SURVIVAL)
    tables = ("frontier",)
    figures = ("frontier",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        found, about, bold = self.standings(runs)
        blocks = [self._block(network, items) for network, items in found.items()]
        records = [record for network, items in found.items() for record in _records(network, items)]
        yield self.sheet([SET_ASIDE, *about], bold, blocks, records)
        names = dict(self.names_drawn)
        yield Picture(
            "frontier",
            lambda figure: [*draw_frontier(figure, found, self.aims, BUDGETS, names), *about, *bold],
        )

    def _block(self, network: str, items: Sequence[Standing]) -> Block:
        aims, told = list(self.aims_of(network).values()), words("frontier")
        lines = [told["lookup"]]
        for item in items:
            about = (item.contender.label, LEVELS[item.level].label, item.contender.budget)
            reached = f"{met(item, aims)} of {len(aims)}" if aims else ""
            lines.append([*about, *(_cell(item, name) for name in told["labels"]), reached])
        numbers = told["labels"] | {"dTA_mean": "mean ΔTA [95 %]"}
        header = ["method", "knows", "budget", *numbers.values(), "aims met"]
        return Block(f"{network_label(network)}.", header, lines)


def _cell(item: Standing, name: str) -> str:
    value = getattr(item, name)
    if name == "dTA_mean" and item.dTA_interval:
        return bracketed(*map(format_number, (value, item.dTA_interval.low, item.dTA_interval.high)))
    if name == "survived" and value is None:
        return ""  # nobody looked
    return format_count(value) if name == "corrected" else number_text(value)


def _records(network: str, items: Sequence[Standing]) -> Iterator[tuple[object, ...]]:
    """Yield a line for the lookup table, then one for each standing."""
    lookup = (LOOKUP.get(name) for name in QUANTITIES)
    yield (network, "lookup", "", "nothing", "", *lookup, None, None, BY_CONSTRUCTION)
    for item in items:
        ends = (item.dTA_interval.low, item.dTA_interval.high) if item.dTA_interval else (None, None)
        numbers = (getattr(item, name) for name in QUANTITIES)
        yield (*item.named(network), *numbers, *ends, "" if item.corrected else NONE_CORRECTED)


@dataclass(frozen=True)
class Aims(Contest):
    """A table of every method against the aims, and a short one of the methods with names, for the MLP."""

    presets: tuple[str, ...] = ("every_error_mlp", "every_error_alexnet", SURVIVAL)
    methods_named: tuple[str, ...] = ()
    tables = ("aims",)
    texts = ("report/aims_named.md",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        found, about, bold = self.standings(runs)
        blocks = [self._block(network, items) for network, items in found.items()]
        records = [
            (*item.named(network), *_judged(item, aim))
            for network, items in found.items()
            for item in items
            for aim in self.aims_of(network).values()
        ]
        yield self.sheet([SET_ASIDE, *about], bold, blocks, records)
        by_name = {item.contender.method: item for item in found.get(SHORT_NETWORK, [])}
        short = [by_name[name] for name in self.methods_named if name in by_name]
        labels = words("frontier")["labels"]
        lines = [
            [item.contender.label, LEVELS[item.level].label, *(_cell(item, name) for name in SHORT)]
            for item in short
        ]
        header = ["method", "knows", *(labels[name] for name in SHORT)]
        yield Text(self.texts[0], markdown(header, lines, texts=2))

    def _block(self, network: str, items: Sequence[Standing]) -> Block:
        columns, own = list(dict.fromkeys(aim.quantity for aim in self.aims)), self.aims_of(network)
        wanted = [f"{own[name].kind} {own[name].bound:g}" if name in own else "no aim" for name in columns]
        lines = [["aim", "", *wanted, *("" for _ in BESIDE), ""]]
        for item in items:
            cells = [f"{number_text(getattr(item, name))}{_mark(item, own.get(name))}" for name in columns]
            count = f"{met(item, list(own.values()))} of {len(own)}"
            label, knows = item.contender.label, LEVELS[item.level].label
            lines.append([label, knows, *cells, *(_cell(item, name) for name in BESIDE), count])
        labels = words("frontier")["labels"]
        header = ["method", "knows", *(labels[name] for name in (*columns, *BESIDE)), "aims met"]
        return Block(f"{network_label(network)}.", header, lines)


def _mark(item: Standing, aim: Aim | None) -> str:
    return "" if aim is None else " ✓" if met(item, [aim]) else " ✗"


def _judged(item: Standing, aim: Aim) -> tuple[object, ...]:
    value = getattr(item, aim.quantity)
    shown = NONE_CORRECTED if value is None else value
    return (aim.quantity, aim.kind, aim.bound, shown, aim.met_by(value))

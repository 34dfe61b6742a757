"""What a correction should reach, and which method does: over every misclassified sample."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.records.schema import Run
from experiments.report.contenders import frames_of
from experiments.report.knowledge import LEVELS, SET_ASIDE
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.part import Made, Study
from experiments.report.scope import Scope
from experiments.report.sheet import Block
from experiments.report.standings import (
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

# For people: of an aim's quantity.
LABELS = {
    "POC": "POC (%)",
    "changed_median": "changed, median",
    "changed_max": "changed, most",
    "dTA_mean": "mean ΔTA",
    "dTA_p5": "ΔTA, 5th percentile",
    "dTA_worst": "worst ΔTA",
}


@dataclass(frozen=True)
class Aims(Study):
    """A table of every method against the aims.

    Attributes:
        aims: What a correction should reach.
    """

    presets: tuple[str, ...] = ("every_error_mlp", "every_error_alexnet")
    aims: tuple[Aim, ...] = ()
    tables = ("aims",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        frames, _ = frames_of(runs, "reloading", self.networks)
        scope = Scope("reloading", self.networks, ())
        found = {
            network: standings(same_samples(frames.select(network=network)), self.thesis.knowledge)
            for network in self.networks
        }
        yield self.sheet(
            [SET_ASIDE, *describe_same_samples(scope, frames)],
            scope.warnings(frames),
            [self._block(network, items) for network, items in found.items()],
            [
                _record(network, item, aim)
                for network, items in found.items()
                for item in items
                for aim in self._of(network).values()
            ],
        )

    def _of(self, network: str) -> dict[str, Aim]:
        return {aim.quantity: aim for aim in self.aims if aim.network == network}

    def _block(self, network: str, items: Sequence[Standing]) -> Block:
        columns, own = list(dict.fromkeys(aim.quantity for aim in self.aims)), self._of(network)
        wanted = [f"{own[name].kind} {own[name].bound:g}" if name in own else "no aim" for name in columns]
        lines = [["aim", "", *wanted, "", ""]]
        for item in items:
            judged = [_judged(item, name, own.get(name)) for name in columns]
            count = f"{met(item, list(own.values()))} of {len(own)}"
            lines.append(
                [item.contender.label, LEVELS[item.level].label, *judged, number_text(item.seconds), count]
            )
        header = ["method", "knows", *(LABELS[name] for name in columns), "seconds", "aims met"]
        return Block(f"{network_label(network)}.", header, lines)


def _judged(item: Standing, quantity: str, aim: Aim | None) -> str:
    value = getattr(item, quantity)
    mark = "" if aim is None else " ✓" if aim.met_by(value) else " ✗"
    return f"{number_text(value)}{mark}"


def _record(network: str, item: Standing, aim: Aim) -> tuple[object, ...]:
    value = getattr(item, aim.quantity)
    shown = NONE_CORRECTED if value is None else value
    return (*named(network, item), aim.quantity, aim.kind, aim.bound, shown, aim.met_by(value))

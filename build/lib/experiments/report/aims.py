"""What a correction should reach, and which method does: over every misclassified sample."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.records.schema import Run
from experiments.report.contenders import frames_of
from experiments.report.knowledge import LEVELS, SET_ASIDE, Knowledge
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.scope import Scope
from experiments.report.sheet import Block, Sheet, sheet_names
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
from experiments.report.style import NETWORKS, network_label

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
class Aims:
    """A table of every method against the aims.

    Attributes:
        knowledge: The level of each method.
        aims: What a correction should reach.
        presets: Whose runs.
        networks: In the order that they are shown.
        name: Of the files.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
    """

    knowledge: Knowledge
    aims: tuple[Aim, ...]
    presets: tuple[str, ...] = ("every_error_mlp", "every_error_alexnet")
    networks: tuple[str, ...] = tuple(NETWORKS)
    name: str = "aims"
    thesis_errors: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return sheet_names(self.name)

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        frames, _ = frames_of(runs, "reloading", self.networks)
        scope = Scope("reloading", self.networks, (), self.thesis_errors)
        columns = list(dict.fromkeys(aim.quantity for aim in self.aims))
        header = ["method", "knows", *(LABELS[name] for name in columns), "seconds", "aims met"]
        blocks, records = [], []
        for network in self.networks:
            own = {aim.quantity: aim for aim in self.aims if aim.network == network}
            items = standings(same_samples(frames.select(network=network)), self.knowledge)
            wanted = [
                f"{own[name].kind} {own[name].bound:g}" if name in own else "no aim" for name in columns
            ]
            lines = [["aim", "", *wanted, "", ""]]
            for item in items:
                judged = [_judged(item, name, own.get(name)) for name in columns]
                count = f"{met(item, list(own.values()))} of {len(own)}"
                lines.append(
                    [
                        item.contender.label,
                        LEVELS[item.level].label,
                        *judged,
                        number_text(item.seconds),
                        count,
                    ]
                )
            blocks.append(Block(f"{network_label(network)}.", header, lines))
            records += [_record(network, item, aim) for item in items for aim in own.values()]
        return Sheet(
            name=self.name,
            heading="Aims",
            caption=" ".join([_CAPTION, SET_ASIDE, *describe_same_samples(scope, frames)]),
            warnings=scope.warnings(frames),
            blocks=blocks,
            columns=_COLUMNS,
            records=records,
        ).files()


def _judged(item: Standing, quantity: str, aim: Aim | None) -> str:
    value = getattr(item, quantity)
    mark = "" if aim is None else " ✓" if aim.met_by(value) else " ✗"
    return f"{number_text(value)}{mark}"


def _record(network: str, item: Standing, aim: Aim) -> tuple[object, ...]:
    value = getattr(item, aim.quantity)
    shown = NONE_CORRECTED if value is None else value
    return (*named(network, item), aim.quantity, aim.kind, aim.bound, shown, aim.met_by(value))


_COLUMNS = ("network", "method", "options", "knows", "budget", "aim", "kind", "bound", "value", "met")
_CAPTION = (
    "What this project wants of a correction, in the reloading setting, over more samples than the frontier has:"
    " ✓ reached, ✗ not. Methods are as their yaml has them; what takes seconds a sample to search for or to evaluate is"
    " left to the frontier. Seconds: of the search, the median over samples. Sorted by what a method knows, then by"
    " its mean ΔTA."
)

"""Whether a correction survives where the network is deployed: other arithmetics, by method and by what was asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.records.schema import Run
from experiments.report.contenders import frames_of
from experiments.report.frames import Frames
from experiments.report.frontier import Contest
from experiments.report.knowledge import LEVELS
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Text, words
from experiments.report.render import markdown
from experiments.report.scope import Scope
from experiments.report.sheet import Block, bracketed
from experiments.report.standings import Standing, describe_same_samples, number_text, same_samples, standings
from experiments.report.statistics import Interval, bootstrap_mean
from experiments.report.style import network_label
from experiments.report.survivors import OWN

COST = ("changed_median", "dTA_mean", "dTA_worst")  # of a standing
AS_IT_IS = "Each method as its yaml has it"


@dataclass(frozen=True)
class Survivor:
    """How the corrections of a contender do in other arithmetics.

    Attributes:
        standing: What they cost, over all samples that every contender met.
        leads: By arithmetic, by how many logits the label leads, a value per correction: -inf where a logit is not
            finite.
    """

    standing: Standing
    leads: Mapping[str, np.ndarray]

    @property
    def arithmetics(self) -> list[str]:
        """Where the corrections were looked at, without the network's own arithmetic."""
        return [name for name in self.leads if name != OWN]

    def share(self, arithmetic: str) -> float | None:
        """Return how many of the corrections survive, in %; None where there is none."""
        leads = self.leads.get(arithmetic)
        return None if leads is None or not leads.size else 100 * float((leads > 0).mean())

    def interval(self, arithmetic: str) -> Interval:
        """Return the 95 % interval of the share, from a bootstrap over samples."""
        leads = self.leads[arithmetic]
        name = ("survival", arithmetic, self.standing.contender.method)
        found = bootstrap_mean(leads > 0, np.zeros(leads.size), np.arange(leads.size), *name)
        return replace(found, low=100 * found.low, high=100 * found.high)

    def value(self, quantity: str) -> float | None:
        """Return the share in an arithmetic, or a number of the standing."""
        return self.share(quantity) if quantity in self.leads else getattr(self.standing, quantity, None)


def asked_of(run: Run) -> str:
    """Return what a run's corrections were asked for beyond the largest logit, in words."""
    goal = run.header.spec.get("goal", {})
    words = [f"with {goal['margin']:g} logits more"] if goal.get("margin") else []
    words += [f"to hold in {', '.join(goal['where'])}"] if goal.get("where") else []
    return f"Asked {' and '.join(words)}" if words else AS_IT_IS


@dataclass(frozen=True)
class Survival(Contest):
    """A table of every method in every arithmetic, and against the aims; a short one of the methods with names."""

    presets: tuple[str, ...] = ("survival", "survival_everywhere")
    methods_named: tuple[str, ...] = ()
    tables = ("survival",)
    texts = ("report/survival_named.md",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make both tables."""
        blocks, short, records, about, bold = [], [], [], [], []
        for asked in sorted({asked_of(run) for run in runs}, key=lambda text: (text != AS_IT_IS, text)):
            frames, own = frames_of(
                [run for run in runs if asked_of(run) == asked], "reloading", self.networks
            )
            scope = Scope("reloading", self.networks, self.methods if asked == AS_IT_IS else ())
            about += [f"{asked}: {' '.join(describe_same_samples(scope, frames))}"]
            bold += [text for text in scope.warnings(frames) if text not in bold]
            for network in self.networks:
                items = self._survivors(own, same_samples(frames.select(network=network)))
                if items:
                    blocks.append(self._block(network, asked, items))
                    named = [item for item in items if item.standing.contender.method in self.methods_named]
                    short.append(self._block(network, asked, named))
                    records += [line for item in items for line in _records(network, asked, item)]
        if not blocks:
            about = ["No run among the records measures it."]
            blocks = [Block("", ["method", "knows"], [])]
        yield self.sheet(about, bold, blocks, records)
        tables = [f"{block.title}\n\n{markdown(block.header, block.lines, texts=2)}" for block in short]
        yield Text(self.texts[0], "\n".join(tables))

    def _survivors(self, runs: Sequence[Run], frames: Frames) -> list[Survivor]:
        rows = {run.header.run_id: run.rows for run in runs}
        last = int(frames.samples["position"].max()) if len(frames.samples) else -1
        found = []
        for standing in standings(frames, self.thesis.knowledge):
            ids = frames.runs["run_id"][frames.runs["contender"] == standing.contender]
            measured = [
                row.survival
                for run_id in ids
                for row in rows[run_id]
                if row.position <= last and row.survival
            ]
            names = dict.fromkeys(name for each in measured for name in each)
            leads = {
                name: np.array(
                    [-np.inf if each[name] is None else each[name] for each in measured], dtype=float
                )
                for name in names
            }
            found.append(Survivor(standing, leads))
        return found

    def _block(self, network: str, asked: str, items: Sequence[Survivor]) -> Block:
        own = self.aims_of(network)
        places = list(dict.fromkeys(name for item in items for name in item.arithmetics))
        wanted = [f"{own[name].kind} {own[name].bound:g}" if name in own else "" for name in (*places, *COST)]
        lines = [["aim", "", "", "", "", *wanted, ""]] if own else []
        for item in items:
            met = sum(aim.met_by(item.value(aim.quantity)) for aim in own.values())
            leads = item.leads.get(OWN, np.zeros(0))
            lines.append(
                [
                    item.standing.contender.whole,
                    LEVELS[item.standing.level].label,
                    format_count(leads.size),
                    *(
                        [format_number(leads.min()), format_number(np.median(leads))]
                        if leads.size
                        else ["", ""]
                    ),
                    *(_share(item, name) for name in places),
                    *(number_text(getattr(item.standing, name)) for name in COST),
                    f"{met} of {len(own)}",
                ]
            )
        header = [
            "method",
            "knows",
            "n",
            "margin, least",
            "margin, median",
            *(f"{words('survival')['labels'].get(name, name)} (%)" for name in places),
        ]
        header += [*(words("frontier")["labels"][name] for name in COST), "aims met"]
        return Block(f"{network_label(network)}. {asked}.", header, lines)


def _share(item: Survivor, arithmetic: str) -> str:
    share = item.share(arithmetic)
    if share is None:
        return NONE_CORRECTED
    interval = item.interval(arithmetic)
    return bracketed(*(f"{round(value, 1):g}" for value in (share, interval.low, interval.high)))


def _records(network: str, asked: str, item: Survivor) -> Iterator[tuple[object, ...]]:
    """Yield a line for each arithmetic: of its leads and of what survives there."""
    for name, leads in item.leads.items():
        if leads.size:
            ends = item.interval(name)
            numbers = (float(leads.min()), float(np.median(leads)), item.share(name), ends.low, ends.high)
            yield (*item.standing.named(network), asked, name, leads.size, *numbers)

"""Methods under different options: which runs are of the same one, and what each is called.

A method can be in the records under several budgets, keep-sets or rules. What tells its runs apart is found in the
records: the options in which runs of one method and network differ.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.records.schema import PROBE, Run, subject
from experiments.report.frames import Frames, build_frames, option
from experiments.report.knowledge import Knowledge, level_of, level_rank
from experiments.report.style import method_order, method_style

BUDGET, ALL = "budget", "all"
EVERY = "every"  # in the place of a budget: a method under several, as one


@dataclass(frozen=True)
class Contender:
    """A method under one choice of options.

    Attributes:
        method: Its name.
        budget: How many parameters it may change, as text; "all" for no limit, empty for no such option.
        varied: Name and value of the other options in which runs of the method differ.
    """

    method: str
    budget: str = ""
    varied: tuple[tuple[str, str], ...] = ()

    @property
    def options(self) -> str:
        """The options other than the budget in words; empty where the method's runs do not differ."""
        return ", ".join(f"{key} {value}" for key, value in self.varied)

    @property
    def label(self) -> str:
        """The method and its options, without the budget."""
        return ", ".join(filter(None, (method_style(self.method).label, self.options)))

    @property
    def limit(self) -> str:
        """The budget in words; empty where there is none."""
        return "by budget" if self.budget == EVERY else f"budget {self.budget}" if self.budget else ""

    @property
    def whole(self) -> str:
        """The method, its options and its budget."""
        return ", ".join(filter(None, (self.label, self.limit)))

    @property
    def short(self) -> str:
        """The same, as in figures."""
        return ", ".join(filter(None, (method_style(self.method).short, self.limit, self.options)))


def contenders_of(runs: Sequence[Run]) -> dict[str, Contender]:
    """Return the contender that each run of corrections is of, by run id."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        network, _, method = subject(run.header.spec)
        groups.setdefault((network, method), []).append(run)
    found = {}
    for (_, method), own in groups.items():
        flat = {run.header.run_id: _flat(run.header.spec["method"]) for run in own}
        varied = [key for key in _differing(list(flat.values())) if key != BUDGET]
        for run_id, options in flat.items():
            budget = _text(options[BUDGET], ALL) if BUDGET in options else ""
            values = tuple((key, _text(options.get(key), "none")) for key in varied)
            found[run_id] = Contender(method, budget, values)
    return found


def on_curves(contenders: Iterable[Contender], budgets: Sequence[str]) -> list[Contender]:
    """Return those that lie on a curve: a method under the same options with two or more of the budgets."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Contender]] = {}
    for contender in contenders:
        if contender.budget in budgets:
            groups.setdefault((contender.method, contender.varied), []).append(contender)
    return [contender for group in groups.values() if len(group) > 1 for contender in group]


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested options by dotted key."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def _differing(options: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for each in options for key in each)
    return sorted(key for key in keys if len({repr(each.get(key)) for each in options}) > 1)


def _text(value: Any, nothing: str) -> str:
    return nothing if value is None else str(value)


def frames_of(runs: Sequence[Run], setting: str, networks: Sequence[str]) -> tuple[Frames, list[Run]]:
    """Return the frames of the runs of a setting, with a column `contender`, and these runs.

    Only runs in the test set's order and from the N0 of seed 0 are looked at.
    """
    own = []
    for run in sorted(runs, key=lambda run: run.header.run_id):
        spec = run.header.spec
        plain = PROBE not in spec and not spec.get("order") and not option(spec, "scale.recipe.seed")
        if plain and subject(spec)[1] == setting and subject(spec)[0] in networks:
            own.append(run)
    named = contenders_of(own)
    keys = _differing([_flat(run.header.spec["method"]) for run in own])
    frames = build_frames(own, [f"method.{key}" for key in keys])
    return Frames(_named(frames.samples, named), _named(frames.runs, named)), own


def _named(frame: pd.DataFrame, named: Mapping[str, Contender]) -> pd.DataFrame:
    return frame.assign(contender=frame["run_id"].map(named).astype(object))


@dataclass(frozen=True)
class Levelled:
    """A contender and the level of what it knows."""

    contender: Contender
    level: str

    def named(self, network: str) -> tuple[str, ...]:
        """Identify it by the first columns of a csv file: network, method, options, knowledge, budget."""
        contender = self.contender
        return (network, contender.method, contender.options, self.level, contender.budget)


@dataclass(frozen=True)
class Entrant(Levelled):
    """A contender on a network, with the frames of its runs."""

    part: Frames


def entrants(frames: Frames, knowledge: Knowledge) -> list[Entrant]:
    """Return the contenders of a network, those that know least first, then by method and budget."""
    found = [
        Entrant(contender, level_of(contender.method, knowledge), frames.select(contender=contender))
        for contender in dict.fromkeys(frames.runs["contender"])
    ]
    order = method_order(item.contender.method for item in found)

    def place(item: Entrant) -> tuple[object, ...]:
        method, budget, options = item.contender.method, item.contender.budget, item.contender.options
        limit = float(budget) if budget.isdigit() else math.inf if budget else -1.0
        return level_rank(item.level), order.index(method), limit, budget, options

    return sorted(found, key=place)

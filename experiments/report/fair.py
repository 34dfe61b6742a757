"""Methods compared with equal layers, images and trials, over base networks and orders: what they reach; a frontier."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import CORRECTED, NON_RELOADING, UNCORRECTED, Row, Run, subject
from experiments.report.canvas import Picture, blank, dots, legend_above
from experiments.report.contenders import Contender, Levelled, contenders_of
from experiments.report.frames import option
from experiments.report.knowledge import LEVELS, SET_ASIDE, level_of, level_rank
from experiments.report.part import Made, Study, Text, words
from experiments.report.render import markdown
from experiments.report.sheet import Block
from experiments.report.standings import DIGITS, Aim
from experiments.report.style import DOUBLE_COLUMN, setting_label

LIKE = ("rotations", "noise")  # kinds of images like the sample
HEIGHT = 2.8  # inches
NOT_RUN = "not run"
AHEAD = 4  # contenders in the short table of a goal
LINEAR = 1e-3  # accuracy within which the axis of harm is linear
NAMES = 0.055  # of the height from one name to the next


@dataclass(frozen=True)
class Goal:
    """What a method should reach with every base network and in every order.

    Attributes:
        name: In words.
        setting: Of its runs.
        wanted: Bounds on numbers of a run (`numbers_of`).
        knows: The most that a method may know.
    """

    name: str
    setting: str
    wanted: tuple[Aim, ...]
    knows: str = "keep_set"

    def rank(self, item: "Fielded") -> tuple[int, float]:
        """Return what contenders are put in order by: how many bounds they miss, then by what share of them."""
        missed = [aim for aim in self.wanted if not item.meets(aim)]
        return len(missed), sum(item.shortfall(aim) for aim in missed)


@dataclass(frozen=True)
class Fielded(Levelled):
    """A contender in a setting, with the numbers of each of its runs.

    Attributes:
        remembers: Whether it looks at the samples that were corrected before.
        setting: By name.
        seeds, orders: How many base networks and orders of the samples its runs have.
        runs: Numbers by quantity.
    """

    remembers: bool
    setting: str
    seeds: int
    orders: int
    runs: Sequence[Mapping[str, float]]

    def values(self, quantity: str) -> list[float]:
        """Return a number of each run that has it."""
        return [numbers[quantity] for numbers in self.runs if quantity in numbers]

    def meets(self, aim: Aim) -> bool:
        """Return whether every run meets an aim."""
        return all(aim.met_by(numbers.get(aim.quantity)) for numbers in self.runs)

    def shortfall(self, aim: Aim) -> float:
        """Return by what share of a bound the mean over runs misses it, infinite where there is none."""
        values = self.values(aim.quantity)
        return abs(float(np.mean(values)) / aim.bound - 1) if values else float("inf")

    def cell(self, aim: Aim) -> str:
        """Return the mean over runs, their range where they differ, and whether all meet the aim."""
        values = self.values(aim.quantity)
        mark = "✓" if self.meets(aim) else "✗"
        if not values:
            return f"none corrected {mark}"
        low, mean, high = (f"{of(values):.4g}" for of in (min, np.mean, max))
        spread = f" [{low}, {high}]" if low != high else ""
        return f"{mean}{spread} {mark}"


def numbers_of(run: Run) -> dict[str, float]:
    """Return the numbers of a run: shares in %, accuracies in [0, 1]; few of one that corrected nothing."""
    rows, baseline = run.rows, run.header.baseline
    done = [row for row in rows if row.outcome == CORRECTED]
    if not done:
        return {"POC": 100 * _share([row.outcome != UNCORRECTED for row in rows])}
    found = {
        "POC": 100 * _share([row.outcome != UNCORRECTED for row in rows]),
        "changed_median": float(np.median([row.l0 for row in done])),
        "changed_max": float(max(row.l0 for row in done)),
    }
    if subject(run.header.spec)[1] == NON_RELOADING:
        state = rows[-1].accumulated
        if state is not None and state.earlier:
            found["retention"] = 100 * state.earlier_right / state.earlier
        found["untouched_accuracy"] = rows[-1].side_effects.untouched_right / baseline.untouched_images
        return found
    before = run.header.figures.test_accuracy
    changes = [round(row.figures.test_accuracy - before, DIGITS) for row in done]
    right = [row.side_effects.untouched_right - baseline.untouched_right for row in done]
    found |= {"dTA_worst": min(changes), "untouched": float(np.mean(right)) / baseline.untouched_images}
    return found | {kind: share for kind in LIKE if (share := _held(done, kind)) is not None}


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _held(rows: Sequence[Row], kind: str) -> float | None:
    """Return the per cent of the images like the samples that are right; None where none was looked at."""
    counts = [getattr(row.generality, kind) for row in rows if row.generality is not None]
    images = sum(each[0] for each in counts)
    return 100 * sum(each[2] for each in counts) / images if images else None


@dataclass(frozen=True)
class Fair(Study):
    """A table of every contender against every goal, a short one of those ahead, a figure of harm against generality.

    Attributes:
        goals: What should be reached.
        remembering: Names of the methods that look at the samples corrected before.
    """

    goals: tuple[Goal, ...] = ()
    remembering: tuple[str, ...] = ()
    tables = ("fair",)
    figures = ("fair",)
    texts = ("report/fair_named.md",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the tables and the figure."""
        found = self.fielded(runs)
        blocks, ahead, records = [], [], []
        for goal in self.goals:
            own = [item for item in found if self._may(item, goal)]
            blocks.append(self._block(goal, own))
            ahead.append(self._block(goal, sorted(own, key=goal.rank)[:AHEAD]))
            records += [
                (
                    *item.named("mlp"),
                    int(item.remembers),
                    goal.name,
                    aim.quantity,
                    number,
                    value,
                    aim.kind,
                    aim.bound,
                )
                for item in own
                for aim in goal.wanted
                for number, value in enumerate(item.values(aim.quantity))
            ]
        yield self.sheet([SET_ASIDE], [], blocks, records)
        yield Picture("fair", lambda figure: _draw(figure, found))
        short = [f"{block.title}\n\n{markdown(block.header, block.lines, texts=2)}" for block in ahead]
        yield Text(self.texts[0], "\n".join(short))

    def _block(self, goal: Goal, items: Sequence[Fielded]) -> Block:
        told = words("fair")
        wanted = [f"{told['labels'][aim.quantity]} {_bound(aim)}" for aim in goal.wanted]
        header = [*told["header"], *wanted]
        lines = [self._line(item, goal) for item in items] or [[NOT_RUN, *[""] * (len(header) - 1)]]
        return Block(f"{goal.name[0].upper()}{goal.name[1:]}.", header, lines)

    def fielded(self, runs: Sequence[Run]) -> list[Fielded]:
        """Return the contenders, those that know least first."""
        groups: dict[tuple[str, Contender], list[Run]] = {}
        for setting in dict.fromkeys(subject(run.header.spec)[1] for run in runs):
            own = [run for run in runs if subject(run.header.spec)[1] == setting]
            named = contenders_of(own)
            for run in own:
                groups.setdefault((setting, named[run.header.run_id]), []).append(run)
        found = [self._of(contender, setting, own) for (setting, contender), own in groups.items()]
        return sorted(found, key=lambda item: (item.setting, level_rank(item.level), item.contender.whole))

    def _of(self, contender: Contender, setting: str, runs: Sequence[Run]) -> Fielded:
        specs = [run.header.spec for run in runs]
        return Fielded(
            contender,
            level_of(contender.method, self.thesis.knowledge),
            contender.method in self.remembering,
            setting,
            len({option(spec, "scale.recipe.seed") or 0 for spec in specs}),
            len({spec.get("order", 0) for spec in specs}),
            [numbers_of(run) for run in sorted(runs, key=lambda run: run.header.run_id)],
        )

    def _may(self, item: Fielded, goal: Goal) -> bool:
        return item.setting == goal.setting and level_rank(item.level) <= level_rank(goal.knows)

    def _line(self, item: Fielded, goal: Goal) -> list[str]:
        knows = LEVELS[item.level].label + (", earlier samples" if item.remembers else "")
        over = f"{item.seeds} × {item.orders}"
        return [item.contender.whole, knows, over, *(item.cell(aim) for aim in goal.wanted)]


def _bound(aim: Aim) -> str:
    return f"({'≥' if aim.kind == 'at least' else '≤'} {aim.bound:g})"


def _is_ahead(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether a place is better than another one in both ways."""
    return one[0] > other[0] and one[1] > other[1]


def _name(axes: Axes, named: Sequence[tuple[tuple[float, float], str]]) -> None:
    """Write names beside the panel, one below the other, each with a line to its place."""
    (low, high), (_, right) = axes.get_ylim(), axes.get_xlim()
    below = high
    for place, name in sorted(named, key=lambda each: -each[0][1]):
        below = min(place[1], below - NAMES * (high - low))
        axes.annotate(
            name, place, (right, below), fontsize=6, va="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.3, "color": "0.6"},
        )  # fmt: skip


def _draw(figure: Figure, found: Sequence[Fielded]) -> list[str]:
    """Draw a panel for each kind of image like the sample: the share that is right against the harm to others."""
    figure.set_size_inches(DOUBLE_COLUMN, HEIGHT)
    own = [item for item in found if item.values("untouched")]
    for axes, kind in zip(figure.subplots(1, len(LIKE)), LIKE, strict=True):
        axes.set_title(kind)
        shown = [item for item in own if item.values(kind)]
        if not shown:
            blank(axes, f"no run in the {setting_label('reloading')} setting")
            continue
        places = [
            (float(np.mean(each.values("untouched"))), float(np.mean(each.values(kind)))) for each in shown
        ]
        for level in dict.fromkeys(item.level for item in shown):
            of_level = [place for item, place in zip(shown, places, strict=True) if item.level == level]
            axes.plot(*zip(*of_level, strict=True), "o", markersize=3.5, color=LEVELS[level].colour)
        axes.set_xscale("symlog", linthresh=LINEAR)
        axes.set_xlim(right=max(0.0, *(harm for harm, _ in places)))
        named = [
            (place, item.contender.short)
            for item, place in zip(shown, places, strict=True)
            if not any(_is_ahead(other, place) for other in places)
        ]
        _name(axes, named)
        axes.set_xlabel("mean change of untouched accuracy")
        axes.set_ylabel("% right")
    levels = [LEVELS[name] for name in dict.fromkeys(item.level for item in own)]
    legend_above(figure, [dots("o", level.label, level.colour) for level in levels])
    return [words("fair")["figure"]]

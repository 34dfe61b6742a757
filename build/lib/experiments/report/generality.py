"""Whether a correction holds for images like the sample, and what it takes to find one: a table and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.records.schema import Run
from experiments.report.canvas import draw
from experiments.report.contenders import ALL, frames_of, on_curves
from experiments.report.frames import Frames
from experiments.report.generality_figure import draw_generality
from experiments.report.held import KINDS, Held, held
from experiments.report.knowledge import LEVELS, SET_ASIDE, Knowledge
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.numbers import format_count, format_number
from experiments.report.scope import Scope
from experiments.report.sheet import Block, Sheet, sheet_names
from experiments.report.standings import FRONTIER, describe_same_samples, same_samples
from experiments.report.style import NETWORKS, network_label

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Generality:
    """A table and a figure of generality and cost.

    Attributes:
        knowledge: The level of each method.
        presets: Whose runs.
        networks: In the order that they are shown.
        methods: Those that should be there.
        budgets: Those that make a curve of the frontier; the table has them all.
        drawn: Those of a curve that the figure has.
        name: Of the files.
    """

    knowledge: Knowledge
    presets: tuple[str, ...] = FRONTIER
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ("1", "2", "5", "10", "20", "50", "200", ALL)
    drawn: tuple[str, ...] = ("10", ALL)
    name: str = "generality"

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names(self.name), *(f"figures/{self.name}.{kind}" for kind in ("png", "svg")))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        frames, own = frames_of(runs, "reloading", self.networks)
        scope = Scope("reloading", self.networks, self.methods)
        found = {
            network: held(own, same_samples(frames.select(network=network)), self.knowledge)
            for network in self.networks
        }
        about = [*describe_same_samples(scope, frames), *scope.warnings(frames)]
        shown = {network: self._shown(items) for network, items in found.items()}
        images = draw(lambda figure: [*draw_generality(figure, shown), *about])
        return {
            **self._sheet(scope, frames, found).files(),
            **{f"figures/{self.name}.{kind}": image for kind, image in images.items()},
        }

    def _shown(self, items: Sequence[Held]) -> list[Held]:
        """Return the figure's standings: every method, of one under many budgets some."""
        curves = on_curves([item.contender for item in items], self.budgets)
        return [item for item in items if item.contender not in curves or item.contender.budget in self.drawn]

    def _sheet(self, scope: Scope, frames: Frames, found: dict[str, list[Held]]) -> Sheet:
        header = ["method", "knows", "budget", "n", *(f"{label} (%)" for label in KINDS.values())]
        header += ["images of the same confusion", "seconds", "passes"]
        return Sheet(
            name=self.name,
            heading="Generality and cost",
            caption=" ".join([_CAPTION, SET_ASIDE, *describe_same_samples(scope, frames)]),
            warnings=scope.warnings(frames),
            blocks=[
                Block(f"{network_label(network)}.", header, [_LOOKUP, *map(_line, items)])
                for network, items in found.items()
            ],
            columns=_COLUMNS,
            records=[
                record
                for network, items in found.items()
                for item in items
                for record in _records(network, item)
            ],
        )


def _cell(item: Held, kind: str) -> str:
    if not item.corrected:
        return NONE_CORRECTED
    before, after = item.share(kind, 1), item.share(kind, 2)
    if before is None or after is None:
        return "no images" if item.measured else NOT_MEASURED
    shown = format_number(round(after, 2))
    return shown if kind == "same_confusion" else f"{shown} ({format_number(round(before, 2))})"


def _line(item: Held) -> list[str]:
    about = [item.contender.label, LEVELS[item.level].label, item.contender.budget]
    images = format_count(item.counts["same_confusion"][0]) if item.counts else ""
    cells = [_cell(item, kind) for kind in KINDS]
    return [
        *about,
        format_count(item.corrected),
        *cells,
        images,
        format_number(item.seconds),
        format_number(item.passes),
    ]


_LOOKUP = [
    *("Lookup table (by construction, not measured)", LEVELS["nothing"].label, "", ""),
    *("as N0", "as N0", "as N0", "0"),
    *("", "", ""),
]
_COLUMNS = (
    *("network", "method", "options", "knows", "budget", "corrected", "kind"),
    *("images", "right_N0", "right_after", "seconds", "passes", "note"),
)


def _records(network: str, item: Held) -> list[tuple[object, ...]]:
    """Return a line for each kind of image."""
    contender = item.contender
    about = (
        network,
        contender.method,
        contender.options,
        item.level,
        contender.budget,
        item.corrected,
    )
    note = "" if item.measured else NOT_MEASURED if item.corrected else NONE_CORRECTED
    return [
        (*about, kind, *item.counts.get(kind, (None, None, None)), item.seconds, item.passes, note)
        for kind in KINDS
    ]


_CAPTION = (
    "Reloading setting, the same samples for all methods: how many images like the n corrected samples the corrected"
    " network gets right, in brackets how many N0 does. Shifts: the sample moved by one pixel in 8 directions."
    " Rotations: turned by 5 and 10 degrees either way. Noise: 8 draws of Gaussian noise. Same confusion: the other"
    " test images of the sample's label that N0 takes for the same wrong class; N0 gets none of them right. All images"
    " of a kind count alike. Seconds and passes: what the search takes, the median over all samples; passes through"
    " the network on that one sample, forward and backward, without those on a keep-set or on the training data."
)

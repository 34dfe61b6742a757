"""The frontier: what a correction costs other images, against how many parameters it changes and what it knows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from experiments.records.schema import Run
from experiments.report.canvas import draw
from experiments.report.contenders import ALL, frames_of
from experiments.report.frames import Frames
from experiments.report.frontier_figure import draw_frontier
from experiments.report.knowledge import LEVELS, SET_ASIDE, Knowledge
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.numbers import format_count, format_number
from experiments.report.scope import Scope
from experiments.report.sheet import Block, Sheet, bracketed, sheet_names
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
from experiments.report.style import NETWORKS, network_label

LOOKUP = "Lookup table"
BY_CONSTRUCTION = "by construction, not measured"


def _mean(item: Standing) -> str:
    if item.dTA_mean is None or item.dTA_interval is None:
        return NONE_CORRECTED
    ends = (format_number(item.dTA_interval.low), format_number(item.dTA_interval.high))
    return bracketed(format_number(item.dTA_mean), *ends)


# The columns of numbers: for people, and of the csv file.
_CELLS: dict[str, Callable[[Standing], str]] = {
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
_QUANTITIES = tuple(
    item.name for item in fields(Standing) if item.name not in ("contender", "level", "dTA_interval")
)
COLUMNS = ("network", "method", "options", "knows", "budget", *_QUANTITIES, "dTA_low", "dTA_high", "note")


@dataclass(frozen=True)
class Frontier:
    """A table and a figure: every method against every other, at equal samples.

    Attributes:
        knowledge: The level of each method.
        presets: Whose runs.
        networks: In the order that they are shown.
        methods: Those that should be there; what is missing is named.
        aims: What a correction should reach.
        budgets: Those that curves are made of.
        name: Of the files.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
    """

    knowledge: Knowledge
    presets: tuple[str, ...] = FRONTIER
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = ()
    aims: tuple[Aim, ...] = ()
    budgets: tuple[str, ...] = ("1", "2", "5", "10", "20", "50", "200", ALL)
    name: str = "frontier"
    thesis_errors: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        figure = (f"figures/{self.name}.{kind}" for kind in ("png", "svg"))
        return (*sheet_names(self.name), *figure)

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        frames, _ = frames_of(runs, "reloading", self.networks)
        scope = Scope("reloading", self.networks, self.methods, self.thesis_errors)
        found = {
            network: standings(same_samples(frames.select(network=network)), self.knowledge)
            for network in self.networks
        }
        about = [*describe_same_samples(scope, frames), *scope.warnings(frames)]
        images = draw(lambda figure: [*draw_frontier(figure, found, self.aims, self.budgets), *about])
        return {
            **self._sheet(scope, frames, found).files(),
            **{f"figures/{self.name}.{kind}": image for kind, image in images.items()},
        }

    def _own_aims(self, network: str) -> list[Aim]:
        return [aim for aim in self.aims if aim.network == network]

    def _sheet(self, scope: Scope, frames: Frames, found: dict[str, list[Standing]]) -> Sheet:
        header = ["method", "knows", "budget", *_CELLS, "aims met"]
        blocks = [
            Block(f"{network_label(network)}.", header, [_lookup_line(), *map(self._line_of(network), items)])
            for network, items in found.items()
        ]
        return Sheet(
            name=self.name,
            heading="What a correction costs, by what it may know and change",
            caption=" ".join([_CAPTION, SET_ASIDE, *describe_same_samples(scope, frames)]),
            warnings=scope.warnings(frames),
            blocks=blocks,
            columns=COLUMNS,
            records=[
                record
                for network, items in found.items()
                for record in (_lookup_record(network), *(_record(network, item) for item in items))
            ],
        )

    def _line_of(self, network: str) -> Callable[[Standing], list[str]]:
        aims = self._own_aims(network)

        def line(item: Standing) -> list[str]:
            about = [item.contender.label, LEVELS[item.level].label, item.contender.budget]
            cells = [cell(item) for cell in _CELLS.values()]
            return [*about, *cells, f"{met(item, aims)} of {len(aims)}" if aims else ""]

        return line


def _lookup_line() -> list[str]:
    cells = ["100", "", "0", "0", "none", "none", "none", "0", ""]
    return [f"{LOOKUP} ({BY_CONSTRUCTION})", LEVELS["nothing"].label, "", *cells, ""]


def _lookup_record(network: str) -> tuple[object, ...]:
    known = {"POC": 100, "changed_median": 0, "changed_max": 0, "broken": 0}
    values = (known.get(name) for name in _QUANTITIES)
    return (network, "lookup", "", "nothing", "", *values, None, None, BY_CONSTRUCTION)


def _record(network: str, item: Standing) -> tuple[object, ...]:
    ends = (item.dTA_interval.low, item.dTA_interval.high) if item.dTA_interval else (None, None)
    note = "" if item.corrected else NONE_CORRECTED
    return (*named(network, item), *(getattr(item, name) for name in _QUANTITIES), *ends, note)


_CAPTION = (
    "Reloading setting: each sample is corrected on N0 itself, all methods on the same samples. Knows: what a"
    " method may use beyond the network and the sample; each level has what the ones before it have, and a method"
    " that asks for more is refused. Budget: the number of parameters that it may change. POC counts all samples;"
    " every other number but the seconds is over the n corrected ones alone, so that a method that leaves the hard"
    " samples uncorrected looks better there: read the two together. Changed: parameters whose value differs from"
    " N0's. ΔTA: change of the test accuracy, in which a corrected sample that is a test image itself counts as one"
    " image gained; the interval of its mean is a bootstrap over samples and seeds. Negative flips: test images that"
    " go from right to wrong, the mean over corrections. Seconds: of the search, the median over samples. Sorted by"
    " what a method knows, then by its mean ΔTA. A lookup table in front of the network, which answers for the"
    " sample by its pixels alone, has no side effect and does not generalise to any other image: it stands here as a"
    " reminder that neither number is enough by itself."
)

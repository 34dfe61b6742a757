"""Every number of the thesis' result tables beside ours, with an interval and a verdict: `report/cells`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from experiments.records.schema import NON_RELOADING, PROBE, Run
from experiments.report.frames import NETWORK, Frames, by_recipe, drawn
from experiments.report.gradient_ranks import GradientRanksPart
from experiments.report.metrics import METRICS, MISSING
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Part, words
from experiments.report.rank_cells import ONE_PARAMETER, RankCells
from experiments.report.render import markdown
from experiments.report.sheet import records_csv
from experiments.report.style import method_style, network_label, setting_label
from experiments.report.surveys import RESAMPLES
from experiments.report.table_cells import Intervals, TableCells
from experiments.report.tables import TableSpec
from experiments.report.variation import SEED
from experiments.report.verdicts import AGREES, RANK, SHARE, VERDICTS, Compared, rule

NUMBERS = {  # of a cell's record, and what they are called in the Markdown tables
    **{"low": "low", "high": "high", "difference": "ours - thesis", "ratio": "ours / thesis"},
    **{"other_reading": "other reading", "sd_over_networks": "sd over N0"},
}
HEADER = ("metric", "method", "verdict", "thesis", "its ±", "ours", *NUMBERS.values(), "n", "notes")
METRIC_LABELS = {RANK: "gradient rank", SHARE: "share of samples (%)"}


@dataclass(frozen=True)
class Comparison:
    """All cells as Markdown and csv: of tables of methods, whose thesis' values are in a file, and of gradient ranks.

    Attributes:
        tables, ranks: Whose cells.
        reference: The file with the thesis' values.
        wider: Tables of the same number at a larger scale: a cell is theirs where they have runs of its method.
        networks: Preset with runs from N0 of several seeds.
    """

    tables: tuple[TableSpec, ...]
    ranks: tuple[GradientRanksPart, ...]
    reference: Path
    wider: tuple[TableSpec, ...] = ()
    networks: str = "base_networks"
    names = ("report/cells.md", "report/cells.csv")

    @property
    def presets(self) -> tuple[str, ...]:
        """Whose runs."""
        parts: tuple[Part, ...] = (*self.tables, *self.wider, *self.ranks)
        return tuple(dict.fromkeys(chain(*(part.presets for part in parts), (self.networks,))))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        cells = self.cells(runs)
        texts = (_markdown(cells), records_csv(words("cells")["columns"], map(_record, cells)))
        return {name: text.encode() for name, text in zip(self.names, texts, strict=True)}

    def cells(self, runs: Sequence[Run]) -> list[Compared]:
        """Return every cell, in the order of the thesis' tables.

        Raises:
            ReportError: The thesis prints a number that no table here has.
        """
        scales = {
            network: [(drawn(own), Intervals()) for own in parts]
            for network, parts in by_recipe(run for run in runs if PROBE not in run.header.spec).items()
        }
        found: list[Compared] = []
        for spec in self.tables:
            *larger, last = scales.get(spec.network, [(drawn(()), Intervals())])
            own = list(self._cells(spec, *last))
            methods = {name for wide in self.wider if wide.number == spec.number for name in wide.methods}
            if larger and methods:
                methods &= set(larger[0][0].select(setting=spec.setting).runs["method"])
                pairs = zip(self._cells(spec, *larger[0]), own, strict=True)
                own = [wide if wide.method in methods else narrow for wide, narrow in pairs]
            found += own
        found += [cell for part in self.ranks for cell in RankCells(part, runs).compared()]
        return sorted(found, key=lambda cell: [int(number) for number in cell.table.split(".")])

    def _cells(self, spec: TableSpec, every: Frames, known: Intervals) -> Iterator[Compared]:
        own = every.select(network=spec.network, setting=spec.setting)
        frames, others = own, {}
        if spec.setting != NON_RELOADING:  # there a run from another N0 is one more draw
            frames, others = own.select(network_seed=0), _by_network_seed(own)
        return TableCells(spec, frames, others, self.reference, known).compared()


def _by_network_seed(frames: Frames) -> dict[int, Frames]:
    """Return frames of one seed of the method by seed of N0; nothing where there is one N0."""
    seeds = sorted(set(frames.runs["network_seed"].tolist()))
    own = frames.select(seed=tuple(seed for seed in frames.runs["seed"] if seed % NETWORK == SEED))
    return {seed: own.select(network_seed=seed) for seed in seeds} if len(seeds) > 1 else {}


def _record(cell: Compared) -> dict[str, object]:
    ends = vars(cell.interval) if cell.interval else {}
    texts = {"thesis": cell.printed.text, "thesis_sd": cell.printed.sd, "note": "; ".join(cell.notes)}
    about = {"interval": cell.kind, "networks": cell.networks or None}
    return vars(cell) | ends | {"difference": cell.difference, "ratio": cell.ratio} | texts | about


def _markdown(cells: Sequence[Compared]) -> str:
    by_table: dict[str, list[Compared]] = {}
    for cell in cells:
        by_table.setdefault(cell.table, []).append(cell)
    meaning = words("cells")["about"].format(resamples=RESAMPLES)
    about = f"**Cell by cell.** {meaning}\n\n{rule()} {_about_networks(cells)}\n"
    return "\n".join([about, _counts(by_table), *(_table(number, own) for number, own in by_table.items())])


def _about_networks(cells: Sequence[Compared]) -> str:
    """Return how large the chance of N0 is beside the intervals of the reloading setting, which do not hold it."""
    ratios = [
        cell.sd_over_networks / half
        for cell in cells
        if cell.sd_over_networks is not None and cell.interval is not None
        if (half := (cell.interval.high - cell.interval.low) / 2) > 0
    ]
    if not ratios:
        return "The records have no runs from other N0 in the reloading setting."
    text: str = words("cells")["networks"]
    return text.format(
        most=max(cell.networks for cell in cells),
        seed=SEED,
        wider=format_count(sum(ratio > 1 for ratio in ratios)),
        all=format_count(len(ratios)),
        median=format_number(float(np.median(ratios))),
    )


def _counts(by_table: dict[str, list[Compared]]) -> str:
    """Return how often each verdict falls, by table and over all."""
    groups = [((number, *_where(own[0])), own) for number, own in by_table.items()]
    lines = []
    for head, own in [*groups, (("all", "", ""), list(chain(*by_table.values())))]:
        counts = [sum(cell.verdict == verdict for cell in own) for verdict in VERDICTS]
        lines.append([*head, *map(format_count, (len(own), *counts))])
    return markdown(("table", "network", "setting", "cells", *VERDICTS), lines, texts=3)


def _where(cell: Compared) -> tuple[str, str]:
    """Return the network and the setting for people."""
    setting = "single updates" if cell.setting == ONE_PARAMETER else setting_label(cell.setting)
    return network_label(cell.network), setting


def _table(number: str, cells: Sequence[Compared]) -> str:
    """Return a table, its notes by letter beneath."""
    notes = dict.fromkeys(note for cell in cells for note in cell.notes)
    letters = {note: _letter(place) for place, note in enumerate(notes)}
    agreeing = sum(cell.verdict == AGREES for cell in cells)
    title = f"**Table {number}.** {', '.join(_where(cells[0]))}: {agreeing} of {len(cells)} cells agree."
    lines = [_line(cell, " ".join(letters[note] for note in cell.notes)) for cell in cells]
    legend = "".join(f"- {letter}: {note}\n" for note, letter in letters.items())
    return f"{title}\n\n{markdown(HEADER, lines, texts=3)}" + (f"\n{legend}" if legend else "")


def _letter(place: int) -> str:
    """Return a, b, ..., z, a2, b2, ..."""
    again, letter = divmod(place, len(ascii_lowercase))
    return ascii_lowercase[letter] + (str(again + 1) if again else "")


def _line(cell: Compared, letters: str) -> list[str]:
    record = _record(cell)
    ours, *others = (_number(record.get(name)) for name in ("ours", *NUMBERS))
    metric = METRIC_LABELS.get(cell.metric) or METRICS[cell.metric].label
    method = method_style(cell.method).label
    if cell.setting == ONE_PARAMETER:
        criterion, place = cell.method.split()
        method = f"{criterion.replace('_', ' ')}, place {place}"
    about = [metric, method, cell.verdict, cell.printed.text, cell.printed.sd]
    return [*about, ours or MISSING, *others, format_count(cell.n), letters]


def _number(value: object) -> str:
    """Return a number without the digits that a difference or a percentage leaves behind."""
    return format_number(float(f"{value:.10g}")) if isinstance(value, float) else ""

"""The numbers of the thesis' tables of methods beside ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.records.schema import NON_RELOADING
from experiments.report.captions import describe_scale_briefly, is_reduced
from experiments.report.frames import Frames, ReportError
from experiments.report.metrics import METRICS, Summary, correct, of_population, rounding_is_known, summarize
from experiments.report.statistics import Interval, bootstrap_mean, wilson
from experiments.report.tables import Cell, TableSpec, common_samples, evaluate, read_reference, read_texts
from experiments.report.verdicts import NOT_COMPARABLE, Compared, Printed, verdict

COLUMNS = ["table", "metric", "method", "printed_mean", "printed_sd", "note"]

WITHOUT_SIGN = "printed without its sign: sizes are compared; ours is a {} of accuracy"
RELEASED = "compared with ours by the released accounting; the other reading is the definition's"
OTHER_ACCOUNTING = (
    "not compared: the released accounting, which ours is by, gives the other sign whatever the correction does;"
    " how the printed value was accounted for is not known; the other reading is the definition's"
)
NO_REPLICA = "not compared: no replica of N0 is among the records, and rounding alone may move such a value"
LEFT_OUT = "rows left out because a loss is not finite: {:,}"

Intervals = dict[tuple[str, ...], Interval]


@dataclass(frozen=True)
class TableCells:
    """A table of the thesis and what ours is made from.

    Attributes:
        frames: Of the runs of its network and setting from the N0 of seed 0.
        by_network: By the seed of N0, frames of the method's seed 0; empty where the records have one N0.
        reference: The file that `experiments.report.tables.read_reference` reads, with `COLUMNS`.
        known: Intervals found before: the same rows in two tables are not resampled twice.
    """

    spec: TableSpec
    frames: Frames
    by_network: Mapping[int, Frames]
    reference: Path
    known: Intervals

    def compared(self) -> Iterator[Compared]:
        """Give each number of the table, in the order of the reference file.

        Raises:
            ReportError: The table has no cell for a number, or the reference lacks a column.
        """
        texts = read_texts(self.reference, COLUMNS)
        lines = texts.loc[texts["table"] == self.spec.number, COLUMNS[1:]]
        for metric, method, mean, sd, note in lines.itertuples(index=False, name=None):
            yield self._cell(metric, method, Printed(mean, sd), note)

    @cached_property
    def _ours(self) -> dict[tuple[str, str], Cell]:
        return evaluate(self.spec, self.frames, read_reference(self.reference)).cells

    @cached_property
    def _from_each(self) -> list[dict[tuple[str, str], Cell]]:
        """Our cells from each N0."""
        reference = read_reference(self.reference)
        return [evaluate(self.spec, own, reference).cells for own in self.by_network.values()]

    def _rows(self, method: str) -> pd.DataFrame:
        """Return the samples of a method."""
        return self.frames.samples[self.frames.samples["method"] == method]

    @cached_property
    def _shared(self) -> pd.DataFrame:
        """The samples behind the means per sample."""
        samples = self.frames.select(method=self.spec.methods).samples
        return common_samples(samples, self.spec.methods) if self.spec.common_samples else samples

    def _cell(self, metric: str, method: str, printed: Printed, note: str) -> Compared:
        measured = "dTL_released" if metric == "dTL" else metric
        if (measured, method) not in self._ours:
            raise ReportError(f"{self.spec.name} has no {measured} of {method}, which the thesis prints")
        summary = self._ours[measured, method].ours
        sign = -1.0 if metric == "dTA" and summary.mean is not None and summary.mean < 0 else 1.0
        ours = None if summary.mean is None else sign * summary.mean
        interval, kind, n = self._interval(measured, method, summary, sign)
        found, remark = judge(metric, printed, ours, interval, sign)
        if ours is not None and not rounding_is_known(self._rows(method)):
            found, interval, kind, remark = NOT_COMPARABLE, None, "", NO_REPLICA
        means = [cells[measured, method].ours.mean for cells in self._from_each]
        networks = summarize(np.array(means, dtype=np.float64), "networks")
        name = (self.spec.number, self.spec.network, self.spec.setting, metric, method)
        return Compared(
            *(*name, printed, ours, found, interval, kind, n),
            other_reading=self._ours["dTL", method].ours.mean if metric == "dTL" else None,
            networks=networks.n if networks.sd is not None else 0,
            sd_over_networks=networks.sd,
            notes=tuple(filter(None, (note, remark, *self._about(method, summary)))),
        )

    def _interval(
        self, metric: str, method: str, summary: Summary, sign: float
    ) -> tuple[Interval | None, str, int]:
        """Return the interval of a mean, of what kind it is, and how many pairs are behind the mean."""
        if summary.mean is None:
            return None, "", 0
        rows = self._rows(method)
        if self.spec.setting == NON_RELOADING and METRICS[metric].over == "seeds":
            values = METRICS[metric].values(rows)
            return Interval(float(values.min()), float(values.max())), "range", summary.n
        if metric == "POC":
            right = correct(rows)
            return wilson(int(right.sum()), right.size).times(100), "wilson", right.size
        if METRICS[metric].over == "seeds":
            return None, "", summary.n
        common = self.spec.methods if self.spec.common_samples else ()
        name = (self.spec.network, self.spec.setting, metric, method, *common)
        if name not in self.known:
            rows = of_population(self._shared[self._shared["method"] == method])
            values = METRICS[metric].values(rows)
            self.known[name] = bootstrap_mean(values, rows["seed"], rows["index"], *name)
        return self.known[name].times(sign), "bootstrap", summary.n

    def _about(self, method: str, summary: Summary) -> Iterator[str]:
        if summary.left_out:
            yield LEFT_OUT.format(summary.left_out)
        runs = self.frames.runs[self.frames.runs["method"] == method]
        if len(runs) and is_reduced(runs):
            yield describe_scale_briefly(runs)


def judge(
    metric: str, printed: Printed, ours: float | None, interval: Interval | None, sign: float
) -> tuple[str, str]:
    """Return the verdict on a cell, and what must be said of it.

    `ours` is what is compared: of dTL by the released accounting, of dTA the size, `sign` -1 where it was turned.
    """
    found = verdict(printed, ours, interval, points=metric == "POC")
    if ours is None:
        return found, ""
    if metric == "dTA":
        return found, WITHOUT_SIGN.format("loss" if sign < 0 else "gain")
    if metric == "dTL":
        return (NOT_COMPARABLE, OTHER_ACCOUNTING) if ours * printed.value < 0 else (found, RELEASED)
    return found, ""

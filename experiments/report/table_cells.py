"""The numbers of the thesis' tables of methods beside ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

import experiments.report.metrics as metrics
from experiments.records.schema import NON_RELOADING
from experiments.report.captions import describe_scale_briefly, is_partial
from experiments.report.frames import Frames, ReportError
from experiments.report.metrics import (
    METRICS,
    Summary,
    corrected,
    is_distribution,
    of_population,
    summarize,
)
from experiments.report.statistics import Interval, bootstrap_mean, share_of_samples
from experiments.report.surveys import HIGH, LOW
from experiments.report.tables import Cell, TableSpec, common_samples, evaluate, read_reference, read_texts
from experiments.report.verdicts import NOT_COMPARABLE, Compared, Printed, verdict

COLUMNS = ["table", "metric", "method", "printed_mean", "printed_sd", "note"]

WITHOUT_SIGN = "printed without its sign: sizes are compared; ours is a {} of accuracy"
RELEASED = "compared with ours by the released accounting; the other reading is the definition's"
OTHER_ACCOUNTING = (
    "not compared: the released accounting, which ours is by, gives the other sign whatever the correction does;"
    " how the printed value was accounted for is not known; the other reading is the definition's"
)
FEW_RUNS = f"not compared: fewer than {metrics.ENOUGH_RUNS} different runs, or none from a replica of N0"
NOT_THE_END = "not compared: the sequence stops before N0's last error, and such a value depends on it"
FEW_SAMPLES = f"not compared: fewer than {metrics.ENOUGH_SAMPLES} different samples are behind the mean"
FIXED = (
    "a share that is fixed in advance, of corrections alone: with an empty subset where the sample stays wrong ours is"
    " {:.1f}"
)
LEFT_OUT = "rows left out because a loss is not finite: {:,}"

Intervals = dict[tuple[str, ...], Interval]


@dataclass(frozen=True)
class TableCells:
    """A table of the thesis and what ours is made from.

    Attributes:
        frames: Of the runs of its network and setting; in the reloading setting those from the N0 of seed 0.
        by_network: In the reloading setting by the seed of N0, frames of the method's seed 0; empty with one N0.
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
        summary, remarks = self._ours[measured, method].ours, [note]
        fixed = self._ours.get(("POPA_corrected", method))
        if metric == "POPA" and fixed and fixed.ours.n and fixed.ours.sd is None and summary.mean is not None:
            remarks.append(FIXED.format(summary.mean))
            measured, summary = "POPA_corrected", fixed.ours
        over_runs = summary.over == "runs"
        middle = summary.median if over_runs else summary.mean
        sign = -1.0 if metric == "dTA" and middle is not None and middle < 0 else 1.0
        ours = None if middle is None else sign * middle
        interval, kind, n = self._interval(measured, method, summary, sign)
        found, remark = judge(metric, printed, ours, interval, sign)
        unfit = self._unfit(method, metric)
        if ours is not None and unfit:
            found, remark = NOT_COMPARABLE, unfit
        means = [cells[measured, method].ours.mean for cells in self._from_each]
        networks = summarize(np.array(means, dtype=np.float64), "networks")
        name = (self.spec.number, self.spec.network, self.spec.setting, metric, method)
        return Compared(
            *(*name, printed, ours, found, interval, kind, n),
            other_reading=self._other_reading(metric, method),
            networks=networks.n if networks.sd is not None else 0,
            sd_over_networks=networks.sd,
            notes=tuple(filter(None, (*remarks, remark, *self._about(method, summary)))),
        )

    def _other_reading(self, metric: str, method: str) -> float | None:
        """Return ours by the other reading of a number that has two."""
        other = self._ours.get(({"POPA": "POPA_corrected"}.get(metric, metric), method))
        return other.ours.mean if other and (metric == "dTL" or other.metric == "POPA_corrected") else None

    def _unfit(self, method: str, metric: str) -> str:
        """Return why a number of ours cannot be held against the thesis'; empty where it can."""
        rows = self._rows(method)
        if self.spec.setting == NON_RELOADING:
            if (rows["run_samples"] < rows["errors"]).any():
                return NOT_THE_END
            return "" if is_distribution(rows) else FEW_RUNS
        if METRICS[metric].over == "samples":
            rows = self._shared[(self._shared["method"] == method) & corrected(self._shared)]
        return FEW_SAMPLES if rows["index"].nunique() < metrics.ENOUGH_SAMPLES else ""

    def _interval(
        self, metric: str, method: str, summary: Summary, sign: float
    ) -> tuple[Interval | None, str, int]:
        """Return the interval of a value, of what kind it is, and how many pairs are behind the value."""
        if summary.mean is None:
            return None, "", 0
        rows = self._rows(method)
        if self.spec.setting == NON_RELOADING:
            values = METRICS[metric].values(rows)
            if METRICS[metric].over == "samples":
                chosen = of_population(rows, "corrected" if metric == "POPA_corrected" else "all")
                by_run = pd.Series(METRICS[metric].values(chosen)).groupby(chosen["seed"].to_numpy())
                values = np.asarray(by_run.mean(), dtype=np.float64)
            low, high = np.percentile(values, (LOW, HIGH))
            return Interval(float(low), float(high)), "runs", summary.n
        if metric == "POC":
            return share_of_samples(rows).times(100), "wilson", rows["index"].nunique()
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
        if len(runs) and is_partial(runs):
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

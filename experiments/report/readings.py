"""Other readings of the thesis than the default ones, each as its own runs: see docs/deviations.md."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from experiments.records.schema import Run
from experiments.report.frames import corrections_of
from experiments.report.metrics import METRICS, measure
from experiments.report.numbers import format_count, format_summary
from experiments.report.part import Made, Study, words
from experiments.report.render import summary_values
from experiments.report.sheet import Block
from experiments.report.style import method_order, method_style, network_label, setting_label

RATE = "scale.recipe.learning_rate"
READ = {  # options that a reading is of, and the value that says nothing about one
    "method.prior.class": "",
    "method.stop": "when_right",
    "method.replace": "swap",
}
KEYS = ["network", "setting", "errors", *READ, "method"]
SHOWN = ("POC", "POPA", "dTL", "dTA", "untouched_dTA", "final_test_accuracy", "final_untouched_accuracy")


class Readings(Study):
    """A table: a line for each method, network and setting of the runs of some presets."""

    tables = ("readings",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        frames, told = corrections_of(runs, (*READ, RATE)), words("readings")
        lines, records = [], []
        order = method_order(frames.runs["method"])
        groups: dict[Any, pd.DataFrame] = dict(iter(frames.samples.fillna(READ).groupby(KEYS)))
        for key in sorted(groups, key=lambda key: (*key[:-1], order.index(key[-1]))):
            samples, (network, setting, errors, *read, method) = groups[key], key
            label = ", ".join(
                [method_style(method).label, *(told["read"][one] for one in read if one in told["read"])]
            )
            cells = {
                name: measure(samples, METRICS[name])
                for name in SHOWN
                if METRICS[name].setting in (None, setting)
            }
            about = [network_label(network), label, setting_label(setting), format_count(errors)]
            shown = (format_summary(cells[name]) if name in cells else "" for name in SHOWN)
            lines.append([*about, format_count(samples["run_id"].nunique()), *shown])
            records += [(*key[:3], label, name, *summary_values(one)) for name, one in cells.items()]
        header = [*told["header"], *(METRICS[name].label for name in SHOWN)]
        yield self.sheet([], [], [Block("", header, lines, texts=3)], records)

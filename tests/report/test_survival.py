"""What survives deployment: shares by hand, what was asked for, and what is missing."""

import csv
import io
from dataclasses import replace

import pytest

from experiments.report.part import Thesis
from experiments.report.standings import Aim
from experiments.report.survival import AS_IT_IS, Survival, asked_of
from tests.records_factory import CORRECTED, UNCORRECTED, row, run

TOLD = Thesis(knowledge=(("bgd_ii", "nothing"), ("least_harm", "keep_set")))
AIMS = (
    Aim("mlp", "bfloat16", "at least", 75.0),
    Aim("mlp", "int8", "at least", 99.0),
    Aim("mlp", "changed_median", "at most", 3.0),
)
STUDY = Survival(
    TOLD, networks=("mlp",), methods=("bgd_ii", "least_harm"), aims=AIMS, methods_named=("least_harm",)
)
LEADS = [
    {"own": 0.5, "bfloat16": 0.25, "int8": -0.1},
    {"own": 0.25, "bfloat16": 0.0, "int8": 0.1},  # a tie is wrong
    {"own": 1.0, "bfloat16": 0.75, "int8": None},  # not finite
    {"own": 2.0, "bfloat16": 2.0, "int8": 1.5},
]


def made(method="bgd_ii", leads=LEADS, **changes):
    rows = [row(place, CORRECTED, survival=each) for place, each in enumerate(leads)]
    return replace_spec(run((*rows, row(len(rows), UNCORRECTED)), method=method), **changes)


def replace_spec(found, **changes):
    suffix = "-".join(map(str, changes))
    header = replace(found.header, spec=found.header.spec | changes, run_id=f"{found.header.run_id}-{suffix}")
    return replace(found, header=header)


def lines_of(runs):
    files = STUDY.files(runs)
    table = list(csv.DictReader(io.StringIO(files["tables/survival.csv"].decode())))
    return {(line["method"], line["asked"], line["arithmetic"]): line for line in table}, files[
        "tables/survival.md"
    ].decode()


def test_shares_and_margins_are_over_the_corrected_samples():
    lines, text = lines_of([made()])
    own, bfloat16, int8 = (lines["bgd_ii", AS_IT_IS, name] for name in ("own", "bfloat16", "int8"))
    assert (own["corrected"], own["lead_least"], own["lead_median"]) == ("4", "0.25", "0.75")
    assert [float(each["survived"]) for each in (own, bfloat16, int8)] == [100, 75, 50]
    assert float(int8["low"]) <= 50 <= float(int8["high"])
    assert "75 [" in text
    assert "2 of 3" in text, "bfloat16 and the median of what changes"
    assert "at least 99" in text


def test_what_was_asked_for_stands_apart():
    goal = {"margin": 0.1, "where": ["bfloat16", "int8"]}
    asked = made("least_harm", [{"own": 1.0, "bfloat16": 1.0, "int8": 1.0}], goal=goal)
    assert asked_of(asked) == "Asked with 0.1 logits more and to hold in bfloat16, int8"
    lines, text = lines_of([asked, made(), made("least_harm")])
    assert float(lines["least_harm", asked_of(asked), "int8"]["survived"]) == 100
    assert float(lines["least_harm", AS_IT_IS, "int8"]["survived"]) == 50
    assert text.index(f"MLP. {AS_IT_IS}.") < text.index(f"MLP. {asked_of(asked)}.")
    assert "3 of 3" in text


def test_the_short_table_has_the_methods_with_names_and_the_cells_of_the_long_one():
    goal = {"margin": 0.1, "where": ["bfloat16"]}
    files = STUDY.files([made(), made("least_harm"), made("least_harm", goal=goal)])
    short = files["report/survival_named.md"].decode()
    lines = [
        line for line in files["tables/survival.md"].decode().splitlines() if line.startswith("| Least harm")
    ]
    assert [line for line in short.splitlines() if line.startswith("| Least harm")] == lines
    assert len(lines) == 2
    assert "BGD-II" not in short
    assert short.index(f"MLP. {AS_IT_IS}.") < short.index("MLP. Asked with 0.1 logits more")


@pytest.mark.parametrize("runs", [[], [run((row(0), row(1)))]])
def test_records_without_the_column_read_as_missing(runs):
    lines, text = lines_of(runs)
    assert not lines
    assert ("none corrected" in text) or ("No run among the records" in text) or ("| BGD-II" in text)
    STUDY.files(runs)

"""The grid of hyper-parameters: every cell by hand."""

import csv
import io
import random
from itertools import product

import numpy as np
import pytest

from experiments.report.frames import ReportError, build_frames
from experiments.report.sensitivity import KEYS, Sensitivity, cells_of
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run


def options(n, t, x, p):
    return {"subset_size": n, "iterations": t, "expansion": x, "replace_probability": p}


def grid(method="bgd_ii"):
    """Cell by cell: 4 samples, of which as many are corrected as the cell's place modulo 5 says."""
    runs = []
    for place, cell in enumerate(product((5, 20), (5, 20), (5, 10), (0.3, 0.7))):
        right = place % 5
        rows = tuple(
            row(
                sample,
                CORRECTED if sample < right else UNCORRECTED,
                altered=sample + 1,
                forward_passes=10 * place + sample,
                figures=figures(test_accuracy=0.8 - sample / 100),
            )
            for sample in range(4)
        )
        runs.append(run(rows, method=method, options=options(*cell)))
    return runs


def test_every_cell_is_the_mean_of_its_rows():
    runs = grid()
    cells = cells_of(build_frames(runs, KEYS)).set_index(list(KEYS))
    assert len(cells) == len(runs) == 16
    for one in runs:
        method = one.header.spec["method"]
        cell = cells.loc[tuple(method[key.split(".")[1]] for key in KEYS)]
        right = [item for item in one.rows if item.outcome == CORRECTED]
        assert (cell["samples"], cell["corrected"]) == (4, len(right))
        assert cell["POC"] == 25 * len(right)
        assert cell["forward_passes"] == np.mean([item.forward_passes for item in one.rows])
        if right:
            assert cell["POPA"] == pytest.approx(np.mean([item.altered / 1000 * 100 for item in right]))
            drop = [item.figures.test_accuracy - 0.8 for item in right]
            assert cell["dTA"] == pytest.approx(np.mean(drop))
        else:
            assert np.isnan(cell["POPA"])
            assert np.isnan(cell["dTA"])


def lines_of(files):
    lines = [line for line in files["tables/sensitivity.md"].decode().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_named_cells_and_the_effect_of_each_value():
    files = Sensitivity(methods=("bgd_ii",)).files(grid())
    lines = {line[1]: line[2:] for line in lines_of(files)}
    # {5, 20, 10}, 0.7 is the 8th cell, {5, 5, 5}, 0.7 the 2nd: 7 % 5 = 2 and 1 of 4 samples are corrected.
    assert lines["{5, 20, 10}, 0.70 (default)"][:2] == ["1", "50"]
    assert lines["{5, 5, 5}, 0.70 (thesis' example)"][:2] == ["1", "25"]
    poc = {place: 25 * (place % 5) for place in range(16)}
    low, high = (np.mean([poc[place] for place in part]) for part in (range(8), range(8, 16)))
    assert lines["all with n = 5"][:2][0] == "8"
    assert float(lines["all with n = 5"][1].split(" ± ")[0]) == pytest.approx(low, abs=0.01)
    assert float(lines["all with n = 20"][1].split(" ± ")[0]) == pytest.approx(high, abs=0.01)
    assert "none corrected" in lines["{5, 5, 5}, 0.30 (lowest POC, first of those that tie)"]
    text = files["tables/sensitivity.md"].decode()
    assert "Samples without a solution there: BGD-II 3 of 4 (default: 2 of 4)." in text


@pytest.mark.slow
def test_the_same_bytes_in_any_order_in_every_file_named():
    part, runs = Sensitivity(), [*grid(), *grid("bgd_i")]
    files = part.files(runs)
    assert set(files) == set(part.names)
    random.Random(1).shuffle(runs)
    assert part.files(runs) == files
    text = files["tables/sensitivity.csv"].decode()
    assert len(list(csv.DictReader(io.StringIO(text)))) == 32


def test_what_is_missing_says_so_and_twins_are_refused():
    part = Sensitivity()
    nothing = part.files([])
    assert nothing["tables/sensitivity.md"].decode().count("missing") >= 3
    some = part.files(grid()[:1])
    assert "missing" in {cell for line in lines_of(some) for cell in line}, "the default is not there"
    with pytest.raises(ReportError):
        part.files([*grid(), run((row(0),), seed=1, options=options(5, 5, 5, 0.3))])

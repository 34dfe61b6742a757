"""Rows of public bugs, and the table and figure of them."""

import csv
import io
from dataclasses import replace

import pytest

from experiments.records.public_bugs import COMMITTED, BugRow, Job, line_of, read_rows, write_rows
from experiments.records.schema import RecordError
from experiments.report.public_bugs import AIMS, PublicBugs, at

SOME = ("magika", "mash_1249", "1.0", "a" * 64)


def row(method="output_bias", options="{}", of=SOME, **values):
    given = {
        "said": ("ignorefile", "ignorefile", "csv"), "already": (False,) * 3, "parameters": (1, 2, 3),
        "flips": (0, 1, 3), "broken": (None,) * 3, "library": (True,) * 3, "reasons": ("",) * 3,
        "seconds": (0.5, 0.1, 0.2), "keep": 10, "inputs": 20, "kinds": "20 files",
        "provenance": {"torch": "2", "revision": "abc", "dirty": "False"},
    }  # fmt: skip
    return BugRow(Job(*of, method, options, "held_out", 3, 10, 20, 0), **{**given, **values})


def before(**values):
    return BugRow(
        row(method="").job, ("ignorefile", "csv", "ignorefile"), **{"provenance": {"torch": "2"}, **values}
    )


@pytest.fixture
def made(tmp_path):
    def make(*rows):
        path = tmp_path / "rows.jsonl"
        write_rows(path, rows)
        return PublicBugs(records=path).files(())

    return make


def test_rows_are_read_as_they_were_written(tmp_path):
    rows = [
        before(),
        row(),
        row("least_harm", '{"budget": 3}', right=19, broken=(0, 1, 2), library=(True, None, False)),
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows
    assert read_rows(tmp_path / "none.jsonl") == []
    assert len({each.job.id for each in rows}) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 2: no row of a public bug"),
        (line_of(row()).replace(b'"keep"', b'"kept"', 1), "unknown key; did you mean 'keep'"),
        (line_of(replace(row(), job=replace(row().job, version=0))), "version 0, and 1 is read here"),
    ],
)
def test_what_is_no_row_is_named_by_its_line(tmp_path, line, said):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line_of(row()) + line)
    with pytest.raises(RecordError, match=said):
        read_rows(path)


def test_a_block_for_each_package_and_a_line_for_each_method(made):
    other = ("torchcrepe", "octaves", "2.0", "b" * 64)
    text = made(
        before(), row(), row("least_harm", '{"budget": 3}'), row(of=other, right=18, broken=(0, 0, 31))
    )["tables/public_bugs.md"].decode()
    assert "magika 1.0 (SHA-256 aaaaaaaa)." in text
    assert "torchcrepe 2.0 (SHA-256 bbbbbbbb)." in text
    assert "| magika | #1249: keyboard mash | ignorefile (2), csv (1) | 3 |  |" in text
    cells = "3 of 3 | 3 of 3 | 2 | 3 | 1 | 2.80 | 3 |  |  |  | 0.20 |"
    assert f"| #1249: keyboard mash | Output bias ✓ | {cells}" in text
    assert "Least harm (budget 3) ✓" in text
    assert (
        "| #15, crepe #78: octave errors | Output bias (2 of 3 within the aim) | 3 of 3 |" in text
    )  # one breaks 31


@pytest.mark.parametrize(
    ("values", "met"),
    [
        ({}, True),
        ({"parameters": (1, 2, 4)}, False),
        ({"flips": (0, 1, 4)}, False),
        ({"library": (True, True, False)}, False),
        ({"library": (True, True, None)}, False),
        ({"parameters": (1, None, 2), "flips": (1, None, 1), "library": (True, None, True)}, False),
    ],
)
def test_an_aim_is_met_by_every_mistake_or_not(values, met):
    assert AIMS[0].met_by(row(**values)) == met


def test_what_cannot_be_corrected_is_among_the_reports_and_not_among_the_methods(made):
    impossible = replace(
        row(), impossible="no class", parameters=(), flips=(), broken=(), library=(), seconds=()
    )
    files = made(before(impossible="no class"), impossible)
    text = files["tables/public_bugs.md"].decode()
    assert "| 3 | no class |" in text
    assert "Output bias" not in text
    (line,) = csv.DictReader(io.StringIO(files["tables/public_bugs.csv"].decode()))
    assert (line["method"], line["reasons"], line["parameters_median"]) == ("output_bias", "no class", "")


def test_the_same_records_give_the_same_files_and_none_say_so(made):
    rows = (before(), row(), row("bgd_ii", flips=(0, 0, 0)))
    assert made(*rows) == made(*rows)
    none = made()
    assert set(none) == set(PublicBugs().names)
    assert "There are no records: make public-bugs." in none["tables/public_bugs.md"].decode()


def test_a_percentile_of_nothing_is_none():
    assert at((None, 1, 3), 50) == 2
    assert at((None,), 50) != at((None,), 50)


def test_the_committed_records_are_small_and_of_held_out_inputs():
    rows = read_rows(COMMITTED)
    assert COMMITTED.stat().st_size < 200_000
    assert {row.job.split for row in rows} == {"held_out"}
    assert {row.provenance["dirty"] for row in rows} == {"False"}

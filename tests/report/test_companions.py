"""Rows of the companion studies, their tables and claims."""

import csv
import io
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.companions.study import study_of
from experiments.records.companions import (
    CompanionJob,
    CompanionRow,
    line_of,
    read_rows,
    rounded,
    study_file,
    write_rows,
)
from experiments.records.schema import RecordError
from experiments.report.companions import gradient, others, pictures, rules
from experiments.report.companions.claims import Claim, Comparison, read_claims, rule
from experiments.report.companions.evidence import MISSING, SECOND, Evidence, Spread, gap_of, printed
from experiments.report.companions.part import FIGURES, Companions
from experiments.report.part import words


def row(study, arm, seed=0, curves=None, vectors=None, **values):
    job = CompanionJob(study, arm, "laptop", "author", "0" * 16, seed)
    return CompanionRow(job, {"steps": 10.0, **values}, curves or {}, vectors or {}, 1.0, {"torch": "2"})


@pytest.fixture
def evidence(tmp_path):
    def make(*rows):
        for study in {each.job.study for each in rows}:
            write_rows(study_file(tmp_path, study), [each for each in rows if each.job.study == study])
        return Evidence(tmp_path)

    return make


def test_rows_come_back_as_they_were(tmp_path):
    rows = [
        row("c2", "baseline/none", 3, {"step": (0.0, None)}, {"eigenvalues_end": (1.0,)}, test_accuracy=0.5)
    ]
    for name in ("rows.jsonl", "rows.jsonl.xz"):
        write_rows(tmp_path / name, rows)
        assert read_rows(tmp_path / name) == rows
    assert read_rows(tmp_path / "none.jsonl") == []
    assert math.isnan(rows[0].value("norm"))
    assert rounded(1 / 3) == 0.333333
    assert rounded(math.inf) is None


def test_a_row_that_is_none_is_said(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(line_of(row("c2", "a")) + "\n{\n")
    with pytest.raises(RecordError, match="line 2: no row of a companion study"):
        read_rows(path)
    path.write_text(line_of(row("c2", "a")).replace('"version": 1', '"version": 2'))
    with pytest.raises(RecordError, match="version 2, and 1 is read here"):
        read_rows(path)


def test_what_diverged_is_counted_and_not_averaged(evidence):
    found = evidence(
        *(row("xor", "tanh/large_sgd", seed, norm=value) for seed, value in enumerate((1.0, 3.0, None)))
    )
    spread = found.spread("xor", "tanh/large_sgd", "norm", 2.0)
    assert (spread.values, spread.failed, spread.text) == ((2.0, 6.0), 1, "4 ± 2.83, 1 diverged")
    assert Spread((), 2).text == "2 diverged"
    assert Spread(()).text == MISSING


def test_a_gap_is_over_the_seeds_that_both_have():
    gap = gap_of({0: 1.0, 1: 2.0, 2: 9.0}, {0: 0.0, 1: 0.5})
    assert (gap.mean, gap.n) == (1.25, 2)
    half = 12.706 * np.std([1.0, 1.5], ddof=1) / 2**0.5  # t of one degree of freedom
    assert gap.interval.high - 1.25 == pytest.approx(half, rel=1e-4)
    assert gap_of({0: 1.0}, {0: 0.5}).interval is None
    assert gap_of({}, {}).text == MISSING


def test_printed_values_stand_beside_ours(evidence):
    found = evidence(
        *(row("c2", f"baseline/{arm}", seed, test_accuracy=value + 0.01 * seed)
          for arm, value in (("none", 0.95), ("spectreg", 0.96)) for seed in range(2)),
    )  # fmt: skip
    block, records = gradient.block(found, "c2")
    lines = {line[0]: line for line in block.lines}
    assert lines["baseline/spectreg"][2:5] == ["97.59 ± 0.13", "96.61 ± 0.67", "96.50 ± 0.71"]
    assert lines["baseline/spectreg"][5].startswith("+1.00")
    assert len(records[0]) == len(words("companions_gradient")["columns"])
    assert lines["dropout/none"][3:5] == ["91.90 ± 0.28", gradient.LEFT_OUT], "digit by digit, and no record"
    assert len(lines) == 9
    none, _ = gradient.block(found, "c6")
    assert [line[4] for line in none.lines] == [MISSING] * 3


def test_arms_of_our_own_stand_beside_those_of_their_size(evidence):
    found = evidence(
        row("c4", "500/jacreg_untuned", test_accuracy=0.9), row("c4", "500/none", test_accuracy=0.8)
    )
    lines = gradient.block(found, "c4")[0].lines
    assert [line[:4] for line in lines[4:6]] == [
        ["500/jacreg_untuned", "0.03", "", ""],
        ["500/none", "", "", ""],
    ]
    assert lines[6][0] == "1000/doubleback"
    assert len(lines) == 38


def test_the_scale_says_how_much_of_the_source_it_is(evidence):
    found = evidence(row("c2", "baseline/none"), row("toy", "l2"))
    assert found.scale("c2") == "c2: scale laptop, profile author, 1 seed, 10 of the source's 10,001 steps"
    assert found.scale("toy").endswith("1 seed, 10 steps")


def test_runs_at_chance_are_counted(evidence):
    found = evidence(
        row("c2", "baseline/none", 0, test_accuracy=0.1), row("c2", "baseline/none", 1, test_accuracy=0.9)
    )
    assert gradient.block(found, "c2")[0].lines[0][4].endswith(", 1 collapsed")


def test_xord_is_printed_as_a_sum_over_its_samples(evidence):
    found = evidence(row("xord", "relu/small_sgd", test_loss=0.66, train_loss=0.1))
    blocks, records, notes = rules.blocks(found)
    (ours,) = [each[6] for each in records if each[:4] == ["xord", "relu", "small_sgd", "test"]]
    assert ours == pytest.approx(6.6)
    assert [block.title for block in blocks] == ["Table 5.1, tanh.", "Table 5.2, ReLU."]
    assert len(notes) == 9
    doubtful = [line for line in blocks[0].lines if line[3].endswith("?")]
    assert ["XOR", "SGD, small", "train", "1.0 ± 0", MISSING, "0"] in blocks[0].lines
    assert len(doubtful) == 7
    assert len(records[0]) == len(words("companions_rules")["columns"])


def test_sources_are_whole():
    assert [len(printed(name)) for name in ("c2", "c4", "c6")] == [9, 36, 3]
    cells = printed("rules")
    assert {cell["study"] for cell in cells} == set(rules.SETS)
    assert len(cells) == 8 * (2 * (2 + 3 + 4 + 4 + 4))


MORE = Comparison("c2", "a", "test_accuracy", "more", "b", factor=100.0)


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [
        ((0.010, 0.011, 0.012), "reproduced"),
        ((0.010, -0.009, 0.012), "direction only"),
        ((-0.01,) * 3, "not reproduced"),
    ],
)
def test_a_claim_has_the_verdict_of_its_worst_test(evidence, apart, verdict):
    found = evidence(
        *(row("c2", arm, seed, test_accuracy=0.9 + (value if arm == "a" else 0.0))
          for arm in "ab" for seed, value in enumerate(apart)),
    )  # fmt: skip
    (ruled,) = rule([Claim("C1", "words", "where", (MORE,))], found)
    assert ruled.verdict == verdict
    assert len(ruled.records[0]) == len(words("companions_claims")["columns"])
    assert len(ruled.lines[0]) == len(words("companions_claims")["tests"])


def test_as_much_is_an_interval_within_the_margin(evidence):
    found = evidence(*(row("c6", arm, seed, norm=1 + 0.01 * seed) for arm in "ab" for seed in range(3)))
    same = Comparison("c6", "a", "norm", "same", "b", margin=0.1)
    other = Comparison("c6", "b", "steps", "less", "a", other="norm")
    ruled = rule([Claim("x", "", "", (same,)), Claim("y", "", "", (other,))], found)
    assert [each.verdict for each in ruled] == ["reproduced", "not reproduced"]


@pytest.mark.parametrize(("against", "verdict"), [(0.0, "reproduced"), (0.9, "not reproduced")])
def test_a_number_may_stand_in_place_of_an_arm(evidence, against, verdict):
    """One eigenvalue dominates: the second over the largest is near 0; a run that diverged has none."""
    values = [(-10.0, 1.0), (10.0, 1.1), (10.0, -0.9), ()]
    found = evidence(
        *(row("synthetic", "a", seed, None, {"eigenvalues_end": each}) for seed, each in enumerate(values))
    )
    assert found.spread("synthetic", "a", SECOND).values == pytest.approx((0.1, 0.11, 0.09))
    test = Comparison("synthetic", "a", SECOND, "same", against=against, margin=0.2)
    (ruled,) = rule([Claim("x", "", "", (test,))], found)
    assert ruled.verdict == verdict
    assert test.subject == f"synthetic: a has the {SECOND} of {against:g}, within 0.2"


def test_every_claim_is_of_arms_and_values_that_are_there():
    """A name that no study has would be "missing" for ever, and nobody would see it."""
    values = {"test_accuracy", "test_loss", "train_accuracy", "train_loss", "norm", "eigenvalue", SECOND}
    tests = [test for claim in read_claims() for test in claim.tests]
    studies = {name: study_of(name) for name in {test.study for test in tests}}
    for test in tests:
        study = studies[test.study]
        arms = {name for name, _ in study.each_arm(study.scale("document"))}
        if test.side in ("falling", "unrelated"):
            assert any(arm.startswith(f"{test.first}/") for arm in arms), test
        else:
            assert {test.first, test.second} <= arms | {""}, test
        own = {"test_accuracy_dropout_on"} if test.study == "c2" else set()
        assert test.study == "corrections" or test.name in values | own, test


def test_norm_and_test_fall_together(evidence):
    arms = [row("xord", f"relu/{number}", norm=float(number), test_loss=2.0 * number) for number in range(6)]
    falling = Comparison("xord", "relu", "test_loss", "falling")
    unrelated = Comparison("xord", "relu", "test_loss", "unrelated")
    ruled = rule([Claim("x", "", "", (falling,)), Claim("y", "", "", (unrelated,))], evidence(*arms))
    assert [each.verdict for each in ruled] == ["reproduced", "not reproduced"]


def test_without_records_nothing_is_comparable(tmp_path):
    ruled = rule(read_claims(), Evidence(tmp_path))
    assert {each.verdict for each in ruled} == {"not comparable"}
    assert len({each.claim.id for each in ruled}) == len(ruled)


def test_corrections_are_compared_with_plain_training(evidence):
    values = {f"bgd_ii.{name}": place for place, name in enumerate(others.COLUMNS)}
    found = evidence(
        *(
            row("corrections", arm, seed, test_accuracy=0.9, **values)
            for arm in ("none", "l2")
            for seed in (0, 1)
        )
    )
    blocks, records = others.corrections(found)
    assert [line[0] for line in blocks[0].lines] == ["none", "l2"]
    cells = dict(zip(others.HEADER, blocks[0].lines[1], strict=True))
    assert cells["ΔTA (points)"] == "2 ± 0"
    assert cells["ΔTA less plain training's"].startswith("+0.00")
    assert cells["worst ΔTA"] == "3 ± 0"
    assert all(len(line) == len(others.HEADER) for line in blocks[0].lines)
    assert len(records[0]) == len(words("companions_corrections")["columns"])


def test_metric_takes_what_the_hessian_says():
    one, two = np.array([[0.7]]), np.array([[-1.2]])
    loss = lambda a, b: (b * np.tanh(a) - 1) ** 2  # noqa: E731
    h, e = np.zeros((2, 2)), 1e-4
    for i, (di, dj) in enumerate(((e, 0), (0, e))):
        for j, (ei, ej) in enumerate(((e, 0), (0, e))):
            parts = [
                s * t * loss(0.7 + s * di + t * ei, -1.2 + s * dj + t * ej) for s in (1, -1) for t in (1, -1)
            ]
            h[i, j] = sum(parts) / (4 * e * e)
    felt = h @ np.array([0.7, -1.2])
    found = np.array([float(part[0, 0]) for part in pictures.metric_field(one, two)])
    np.testing.assert_allclose(found, -np.abs(felt) * np.sign([0.7, -1.2]), rtol=1e-4)


def test_files_without_records_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.report.companions.part.FIGURES", {})
    files = Companions(records=tmp_path).files(())
    assert set(files) == {name for name in Companions().names if name.startswith("tables/")}
    assert "no records (make companions)" in files["tables/companions_rules.md"].decode()
    lines = list(csv.DictReader(io.StringIO(files["tables/companions_claims.csv"].decode())))
    assert {line["result"] for line in lines} == {"missing"}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_painted_with_records_and_without(name, evidence):
    curve = {"step": (0.0, 5.0), "train_accuracy": (0.1, 0.9), "norm": (1.0, 2.0)}
    pairs = {"weights_0": tuple(np.arange(24.0))}
    found = evidence(
        row("xor", "tanh/small_sgd", 0, curve, pairs, norm=2.0, eigenvalue=3.0),
        row("xord", "tanh/small_sgd", norm=2.0, test_loss=1.0),
        row("eigenvalues", "tanh", vectors={key: (2.0, 1.0) for key in ("dense", "power", "lanczos")}),
        row("corrections", "none", **{"bgd_ii.accuracy": -0.1}),
    )
    if name == "companions_curves":
        found._read.update({"xord": [], "synthetic": [], "mnist": []})
    notes = FIGURES[name](Figure(), found)
    assert notes[0] == " ".join(notes)
    FIGURES[name](Figure(), Evidence(found.folder / "none"))

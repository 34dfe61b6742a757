import io
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from experiments.report.frames import ReportError
from experiments.report.gradient_ranks import GradientRanksPart, paint_curves, read_printed
from experiments.report.part import Part, Thesis
from experiments.report.rank_shares import (
    CRITERIA,
    MEAN,
    OF_SAMPLE,
    Results,
    at_best,
    best_mean,
    best_of_sample,
    first_three,
    means,
    read,
    same_first,
    shares_ties_split,
    ties,
    winners,
)
from experiments.report.surveys import RESAMPLES, resamples
from experiments.thesis.tables import THESIS
from tests.report.probe_records import BASE, probe_run, rows_of

PRINTED = THESIS.ranks


def sample(corrected, loss, train, test):
    """A measurement's columns; a value where the rank does not correct becomes None."""

    def kept(values):
        return [value if right else None for value, right in zip(values, corrected, strict=True)]

    return {
        "parameter": list(range(len(corrected))),
        "gradient": [1.0] * len(corrected),
        "corrected": list(corrected),
        "sample_loss": [0.5] * len(corrected),
        "train_loss": kept(loss),
        "train_accuracy": kept(train),
        "test_accuracy": kept(test),
    }


# Rank 4 corrects nobody; the last sample is corrected by no rank.
SAMPLES = [
    sample([1, 1, 1, 0], [3.0, 1.0, 2.0, 0], [0.9, 0.9, 0.8, 1], [0.5, 0.6, 0.6, 1]),
    sample([1, 1, 0, 0], [2.0, 1.0, 0.0, 0], [0.7, 0.8, 1.0, 1], [0.9, 0.9, 1.0, 1]),
    sample([1, 0, 1, 0], [5.0, 0.0, None, 0], [0.6, 1.0, 0.9, 1], [0.4, 1.0, 0.2, 1]),
    sample([0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]),
]


@pytest.fixture
def run():
    return probe_run("gradient_ranks", SAMPLES)


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "ranks.csv"
    path.write_text(
        "table,network,criterion,place,gradient_rank,percent_of_samples\n"
        "4.1,mlp,training_loss,1,4,99\n"
        "4.10,mlp,training_loss,1,2,37.59\n"
        "4.10,mlp,training_loss,2,59,6.5\n"
    )
    return GradientRanksPart(Thesis((("mlp", 947),), ranks=path), ("table_4_10", "figure_4_12"), ("mlp",))


def random_values(seed, samples=40, ranks=7):
    """Samples with ties, gaps and fewer ranks than others, drawn at random."""
    draw = random.Random(seed)
    made = []
    for _ in range(samples):
        length = draw.choice([ranks, ranks, ranks - 3])
        right = [int(draw.random() < 0.6) for _ in range(length)]
        loss = [draw.choice([None, 0.1, 0.2, 0.3, draw.random()]) for _ in range(length)]
        train, test = ([draw.randint(90, 95) / 100 for _ in range(length)] for _ in range(2))
        made.append(sample(right, loss, train, test))
    return made


def brute_best(values, column, sign):
    """The ranks from 1 that share a sample's best value, by a loop."""
    known = {
        rank: sign * value
        for rank, (value, right) in enumerate(zip(values[column], values["corrected"], strict=True), 1)
        if right and value is not None
    }
    return [rank for rank, value in known.items() if value == min(known.values())]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CRITERIA)
def test_shares_are_those_of_a_loop(name, seed):
    made = random_values(seed)
    data, criterion = read(probe_run("gradient_ranks", made)), CRITERIA[name]
    best = [brute_best(values, criterion.column, criterion.sign) for values in made]
    ranks = data.corrected.shape[1]
    first = [sum(bool(found) and found[0] == rank for found in best) / 40 for rank in range(1, ranks + 1)]
    split = [sum(1 / len(found) for found in best if rank in found) / 40 for rank in range(1, ranks + 1)]
    reading = best_of_sample(data, name, resamples(40, "test"))
    assert reading.shares.tolist() == pytest.approx(first)
    assert shares_ties_split(data, name).tolist() == pytest.approx(split)
    assert ties(data, name) == sum(len(found) > 1 for found in best) / 40
    ordered = sorted((-share, rank) for rank, share in enumerate(first, 1) if share > 0)
    assert reading.top.tolist() == [rank for _, rank in ordered[:3]]


@pytest.mark.parametrize("name", CRITERIA)
def test_bootstrap_is_that_of_a_loop_over_resamples(name):
    made = random_values(7)
    data, criterion = read(probe_run("gradient_ranks", made)), CRITERIA[name]
    draws = resamples(40, "test")
    assert draws.shape == (RESAMPLES, 40)
    assert set(draws.sum(axis=1)) == {40}
    reading, average = best_of_sample(data, name, draws), best_mean(data, name, draws)
    hits = winners(at_best(data.values[name], criterion))
    again = []
    for number in range(RESAMPLES):
        chosen = np.repeat(np.arange(40), draws[number].astype(int))
        again.append(hits[chosen].mean(axis=0))
        if number < 20:
            counts = hits[chosen].sum(axis=0)
            ordered = sorted((-count, rank) for rank, count in enumerate(counts, 1) if count)
            assert reading.tops[number].tolist() == [rank for _, rank in ordered[:3]]
            values = data.values[name][chosen]
            mean = {rank + 1: np.nanmean(values[:, rank]) for rank in range(7)}
            ranked = sorted(mean, key=lambda rank: (round(criterion.sign * mean[rank], 12), rank))
            assert average.tops[number].tolist() == ranked[:3]
    assert reading.low.tolist() == pytest.approx(np.percentile(again, 2.5, axis=0).tolist())
    assert reading.high.tolist() == pytest.approx(np.percentile(again, 97.5, axis=0).tolist())


def test_numbers_that_can_be_worked_out_in_the_head(run):
    results = Results.of(run, "mlp")
    of_sample, mean = results.readings[OF_SAMPLE], results.readings[MEAN]
    # Training loss: rank 2, rank 2, rank 1 (the loss of rank 3 is not finite), none.
    assert of_sample["training_loss"].top.tolist() == [2, 1, 0]
    assert of_sample["training_loss"].shares.tolist() == [0.25, 0.5, 0, 0]
    # Training accuracy: ranks 1 and 2 tie, rank 2, rank 3, none.
    assert of_sample["training_accuracy"].top.tolist() == [1, 2, 3]
    assert shares_ties_split(results.data, "training_accuracy").tolist() == [0.125, 0.375, 0.25, 0]
    # Testing accuracy: ranks 2 and 3 tie, 1 and 2 tie, rank 1, none.
    assert of_sample["testing_accuracy"].top.tolist() == [1, 2, 0]
    assert [ties(results.data, name) for name in CRITERIA] == [0, 0.25, 0.5]
    assert means(results.data.values["training_loss"])[:3].tolist() == pytest.approx([10 / 3, 1, 2])
    assert mean["training_loss"].top.tolist() == [2, 3, 1]
    assert mean["training_loss"].shares.tolist() == [0.75, 0.5, 0.5, 0]  # of samples corrected
    assert results.data.corrected.sum() == 7
    assert results.data.pairs == 16


def test_one_rank_first_by_all_three():
    better = sample([1, 1, 1], [1.0, 2.0, 3.0], [0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    results = Results.of(probe_run("gradient_ranks", [better] * 5), "mlp")
    assert same_first(results.readings[OF_SAMPLE]) == 1
    other = {**better, "test_accuracy": [0.1, 0.2, 0.3]}
    results = Results.of(probe_run("gradient_ranks", [other] * 5), "mlp")
    assert same_first(results.readings[OF_SAMPLE]) == 0
    none = sample([0, 0, 0], [1, 2, 3], [1, 1, 1], [1, 1, 1])
    results = Results.of(probe_run("gradient_ranks", [none] * 5), "mlp")
    assert same_first(results.readings[OF_SAMPLE]) == 0
    assert results.readings[MEAN]["training_loss"].top.tolist() == [0, 0, 0]


def test_first_three_gives_ties_to_the_smaller_rank_and_names_no_rank_twice():
    assert first_three(np.array([2.0, 1.0, 2.0, 1.0])).tolist() == [2, 4, 1]
    assert first_three(np.array([[np.inf, 1.0, np.inf], [3.0, 2.0, 1.0]])).tolist() == [[2, 0, 0], [3, 2, 1]]


def test_curve_has_mean_median_and_gaps(run):
    curve = Results.of(run, "mlp").curve("training_loss")
    assert curve.n.tolist() == [3, 2, 1, 0]
    assert curve.median[:3].tolist() == [3, 1, 2]
    assert (curve.low[0], curve.high[0]) == (2, 5)
    assert [math.isnan(part[3]) for part in (curve.mean, curve.low, curve.high, curve.median)] == [True] * 4


def test_table_beside_the_thesis(part, run):
    assert isinstance(part.names, tuple)
    files = part.files([run])
    assert sorted(files) == sorted(part.names)
    lines = rows_of(files["tables/table_4_10.csv"])
    assert len(lines) == 2 * 3 * 3
    first, second, third = lines[:3]
    assert (first["gradient_rank"], first["percent_of_samples"], first["samples"]) == ("2", "50.0", "4")
    assert (first["thesis_gradient_rank"], first["thesis_percent_of_samples"]) == ("2", "37.59")
    assert first["percent_at_thesis_rank"] == "50.0"
    assert (second["thesis_gradient_rank"], second["percent_at_thesis_rank"]) == ("59", "")  # 4 ranks only
    assert (third["gradient_rank"], third["percent_of_samples"]) == ("none", "")
    text = files["tables/table_4_10.md"].decode()
    assert "| training loss | 1st | 2 | 50 [0, 100] |" in text
    assert "| 59 | 6.5 | not looked at |" in text
    assert "**Table 4.10.**" in text
    assert "MLP, 1,000 parameters, full scale: all 4 misclassified samples, 54,000 training" in text
    assert "N0 gets 4 test images wrong (thesis: 947)." in text
    assert "43.75 % of the 16 pairs" in text
    assert "75 [25, 100] % of the 4 samples" in text
    assert "tie for the best in 0 % (training loss), 25 % (training accuracy) and 50 %" in text
    assert "2 by training loss, 1 by training accuracy and 1 by testing accuracy: no rank is best" in text
    assert "training loss is not finite: 1." in text
    assert text.count("| criterion | place |") == 2
    assert r"\label{tab:table_4_10_2}" in files["tables/table_4_10.tex"].decode()


def test_a_verdict_the_other_way(part):
    better = sample([1, 1, 1], [1.0, 2.0, 3.0], [0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    text = part.files([probe_run("gradient_ranks", [better] * 3)])["tables/table_4_10.md"].decode()
    assert "one rank is best by all three; one rank is first by all three in 100 %" in text
    assert "no rank is best" not in text


def test_numbers_of_the_figure(part, run):
    lines = rows_of(part.files([run])["tables/figure_4_12.csv"])
    assert len(lines) == 3 * 4
    second = lines[1]
    assert (second["criterion"], second["gradient_rank"], second["n"]) == ("training_loss", "2", "2")
    assert (second["mean"], second["corrected"], second["percent_best_of_sample"]) == ("1.0", "2", "50.0")
    assert (lines[2]["n"], lines[2]["corrected"], lines[3]["mean"]) == ("1", "2", "")


def test_no_run_is_told_and_the_thesis_stays(part, run):
    other = replace(run, header=replace(run.header, spec={**run.header.spec, "network": {"name": "alexnet"}}))
    files = part.files([other])
    assert sorted(files) == sorted(part.names)
    first = rows_of(files["tables/table_4_10.csv"])[0]
    assert (first["gradient_rank"], first["thesis_gradient_rank"], first["samples"]) == ("missing", "2", "0")
    text = files["tables/table_4_10.md"].decode()
    assert "MLP: missing, no run of it is among the records." in text
    assert "| training loss | 1st | missing | missing | 2 | 37.59 | missing |" in text
    assert rows_of(files["tables/figure_4_12.csv"])[0]["gradient_rank"] == "missing"
    figure = Figure(layout="constrained")
    paint_curves(figure, "mlp", None, None)
    assert all("missing" in axes.texts[0].get_text() for axes in figure.axes)


def test_two_runs_of_a_network_are_refused(part, run):
    with pytest.raises(ReportError, match="two runs of gradient_ranks on mlp"):
        part.files([run, replace(run, header=replace(run.header, run_id="another"))])


@pytest.mark.slow
def test_the_same_bytes_in_any_order(part, run):
    others = [
        probe_run("gradient_ranks", SAMPLES[:2], "alexnet"),
        probe_run("layer_gradients", [{"layer": []}]),
        replace(run, measurements=run.measurements[::-1]),
    ]
    first = part.files(others)
    assert first == part.files(others[::-1])
    assert first == part.files([run])
    assert imread(io.BytesIO(first["figures/figure_4_12.png"])).shape[1] == 1330


def test_a_warning_for_an_n0_outside_the_band(part):
    text = part.files([probe_run("gradient_ranks", SAMPLES, errors=9, expected=[1, 5])])
    assert (
        "**MLP: WARNING: N0 has 9 errors, outside the expected 1 to 5.**"
        in text["tables/table_4_10.md"].decode()
    )
    assert "reduced scale: 4 of 9 misclassified samples" in text["tables/table_4_10.md"].decode()


def panels(values):
    figure = Figure(layout="constrained")
    notes = paint_curves(figure, "mlp", Results.of(probe_run("gradient_ranks", values), "mlp"), BASE)
    return figure.axes[:3], figure.axes[3:], " ".join(notes)


def test_an_outlier_makes_the_axis_logarithmic_and_is_told():
    flat = sample([1, 1, 1], [0.3, 0.3, 0.3], [0.9] * 3, [0.8] * 3)
    wild = sample([1, 1, 1], [0.3, 3000.0, 0.3], [0.9] * 3, [0.8] * 3)
    above, below, notes = panels([flat, flat, flat])
    assert [axes.get_yscale() for axes in above] == ["linear"] * 3
    assert "Logarithmic" not in notes
    above, below, notes = panels([flat, flat, wild])
    assert [axes.get_yscale() for axes in above] == ["log", "linear", "linear"]
    assert "Logarithmic axis: training loss." in notes
    lines = [line.get_ydata() for line in above[0].lines]
    assert [list(values) for values in lines[:2]] == [[0.3, 0.3, 0.3], pytest.approx([0.3, 1000.2, 0.3])]
    assert set(lines[2]) == {BASE.train_loss}
    assert [bar.get_height() for bar in below[0].patches] == [3, 3, 3]


def test_what_the_thesis_prints():
    printed = read_printed(PRINTED, "4.9", "alexnet")
    assert len(printed) == 9
    assert printed["training_loss", 1] == (86, 6.75)
    assert read_printed(PRINTED, "4.10", "mlp")["testing_accuracy", 3] == (40, 4.54)


def test_a_reference_without_a_column_is_refused(part, run):
    part.thesis.ranks.write_text("table,network\n4.10,mlp\n")
    with pytest.raises(ReportError, match="no column"):
        part.files([run])


def test_it_is_a_part(part):
    checked: Part = part
    assert checked.presets == ("table_4_10", "figure_4_12")

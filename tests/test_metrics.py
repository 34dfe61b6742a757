"""The metrics against numbers worked out by hand and against slow obvious loops."""

import math
import statistics

import numpy as np
import pytest

from experiments.report import metrics
from experiments.report.frames import build_frames
from tests.records_factory import ALREADY_RIGHT, CORRECTED, UNCORRECTED, figures, row, rows, run


def samples_of(*runs):
    return build_frames(runs).samples


def mixed_runs():
    """Two seeds with every outcome and a loss that is not finite."""
    generator = np.random.default_rng(0)
    runs = []
    for seed in (0, 1):
        made = []
        for position in range(30):
            outcome = (CORRECTED, UNCORRECTED, ALREADY_RIGHT)[int(generator.integers(3))]
            after = figures(
                train_loss=None if position == 4 else float(generator.random()),
                train_accuracy=float(generator.random()),
                test_accuracy=float(generator.random()),
                released_after=float(generator.random()),
            )
            altered = int(generator.integers(1, 9)) if outcome == CORRECTED else 0
            made.append(row(position, outcome, altered=altered, figures=after))
        runs.append(run(tuple(made), seed=seed, retained=0.1 + seed))
    return runs


def oracle(runs, value, population):
    """Values of `value(row, header)` over the rows of the population, one by one."""
    return [
        value(item, one.header)
        for one in runs
        for item in one.rows
        if population == "all" or item.outcome == CORRECTED
    ]


def test_poc_counts_already_right_as_correct():
    samples = samples_of(run(rows(CORRECTED, ALREADY_RIGHT, UNCORRECTED, UNCORRECTED)))
    assert metrics.corrections(samples).tolist() == [50.0]


def test_poc_is_one_value_per_seed_in_order_of_seed():
    samples = samples_of(
        run(rows(CORRECTED, CORRECTED), seed=7), run(rows(CORRECTED, UNCORRECTED, UNCORRECTED, UNCORRECTED))
    )
    assert metrics.corrections(samples).tolist() == [25.0, 100.0]


def test_popa_divides_by_all_parameters():
    samples = samples_of(run((row(0, altered=5), row(1, altered=20)), parameters=1000))
    assert metrics.parameters_altered(samples).tolist() == [0.5, 2.0]


def test_popa_of_an_uncorrected_sample_is_zero_whatever_was_tried():
    samples = samples_of(run((row(0, UNCORRECTED, altered=900),)))
    assert metrics.parameters_altered(samples).tolist() == [0.0]


def test_changes_are_after_minus_before():
    after = figures(train_loss=0.75, test_accuracy=0.7, train_accuracy=0.95, released_after=0.001)
    samples = samples_of(run((row(0, figures=after),)))
    assert metrics.training_loss_change(samples)[0] == pytest.approx(0.5)
    assert metrics.test_accuracy_change(samples)[0] == pytest.approx(-0.1)
    assert metrics.METRICS["training_accuracy_change"].values(samples)[0] == pytest.approx(0.05)
    assert metrics.released_training_loss_change(samples)[0] == pytest.approx(0.001 - 0.004)


def test_final_test_accuracy_is_that_after_the_last_sample_of_each_seed():
    first = (row(0, figures=figures(test_accuracy=0.3)), row(1, figures=figures(test_accuracy=0.2)))
    second = (row(0, figures=figures(test_accuracy=0.6)), row(1, figures=figures(test_accuracy=0.5)))
    samples = samples_of(run(second, seed=1), run(first, seed=0))
    assert metrics.final_test_accuracy(samples.iloc[::-1]).tolist() == [0.2, 0.5]


def test_retained_is_in_percent_and_leaves_out_seeds_without_it():
    samples = samples_of(run(rows(CORRECTED), retained=0.25), run(rows(CORRECTED), seed=1, retained=None))
    assert metrics.retained(samples).tolist() == [25.0]


ORACLES = {
    "POPA": lambda item, header: 100 * item.altered / header.base["parameters"],
    "dTL": lambda item, header: (
        math.nan if item.figures.train_loss is None else item.figures.train_loss - header.figures.train_loss
    ),
    "dTL_released": lambda item, header: item.figures.released_after - header.figures.released_before,
    "dTA": lambda item, header: item.figures.test_accuracy - header.figures.test_accuracy,
    "training_accuracy_change": lambda item, header: (
        item.figures.train_accuracy - header.figures.train_accuracy
    ),
}


@pytest.mark.parametrize("population", ["corrected", "all"])
@pytest.mark.parametrize("name", sorted(ORACLES))
def test_means_and_spreads_equal_a_slow_loop(name, population):
    runs = mixed_runs()
    values = oracle(runs, ORACLES[name], population)
    finite = [value for value in values if not math.isnan(value)]
    ours = metrics.measure(samples_of(*runs), metrics.METRICS[name], population)
    assert (ours.n, ours.left_out, ours.over) == (len(finite), len(values) - len(finite), "samples")
    assert ours.mean == pytest.approx(statistics.mean(finite), rel=1e-12)
    assert ours.sd == pytest.approx(statistics.stdev(finite), rel=1e-12)


def test_poc_equals_a_slow_loop():
    runs = mixed_runs()
    shares = [100 * sum(item.outcome != UNCORRECTED for item in one.rows) / len(one.rows) for one in runs]
    ours = metrics.measure(samples_of(*runs), metrics.METRICS["POC"])
    assert ours.mean == pytest.approx(statistics.mean(shares))
    assert ours.sd == pytest.approx(statistics.stdev(shares))
    assert (ours.n, ours.over) == (2, "seeds")


def test_population_all_takes_uncorrected_samples_as_unchanged():
    samples = samples_of(run((row(0, altered=4), row(1, UNCORRECTED), row(2, ALREADY_RIGHT))))
    popa = metrics.METRICS["POPA"]
    assert metrics.measure(samples, popa).mean == pytest.approx(0.4)
    assert metrics.measure(samples, popa, "all").mean == pytest.approx(0.4 / 3)


def test_unknown_population_is_refused():
    with pytest.raises(ValueError, match="population"):
        metrics.of_population(samples_of(run(rows(CORRECTED))), "some")


def test_one_value_has_no_spread():
    summary = metrics.summarize(np.array([3.0]), "seeds")
    assert (summary.mean, summary.sd, summary.n) == (3.0, None, 1)


def test_equal_values_have_no_spread():
    summary = metrics.summarize(np.full(7, 0.1), "samples")
    assert (summary.mean, summary.sd, summary.n) == (0.1, None, 7)


def test_a_mean_that_one_value_carries_is_known():
    summary = metrics.summarize(np.array([1.0, 1.0, 8.0]), "samples")
    assert (summary.median, summary.low, summary.high, summary.carried) == (1.0, 1.0, 8.0, 0.8)


def test_values_that_are_not_finite_are_left_out_and_counted():
    summary = metrics.summarize(np.array([1.0, math.nan, 3.0, math.inf]), "samples")
    assert (summary.mean, summary.n, summary.left_out) == (2.0, 2, 2)


@pytest.mark.parametrize(
    ("samples", "metric", "note"),
    [
        ((), "POC", metrics.NO_SAMPLES),
        ((), "dTL", metrics.NO_SAMPLES),
        (rows(UNCORRECTED), "dTL", metrics.NONE_CORRECTED),
        ((row(0, figures=figures(train_loss=None)),), "dTL", metrics.NOT_FINITE),
    ],
)
def test_no_mean_says_why(samples, metric, note):
    summary = metrics.measure(samples_of(run(samples)), metrics.METRICS[metric])
    assert (summary.mean, summary.sd, summary.n, summary.note) == (None, None, 0, note)


def test_retained_that_no_run_recorded_says_so():
    summary = metrics.measure(samples_of(run(rows(CORRECTED), retained=None)), metrics.METRICS["retained"])
    assert summary.note == metrics.NOT_RECORDED


def test_a_base_loss_that_is_not_finite_gives_no_change_of_loss():
    summary = metrics.measure(
        samples_of(run(rows(CORRECTED), base=figures(train_loss=None))), metrics.METRICS["dTL"]
    )
    assert (summary.note, summary.left_out) == (metrics.NOT_FINITE, 1)


def test_what_the_network_is_after_50_samples_and_at_the_end():
    def after(position):
        return figures(test_accuracy=0.9 - position / 100, train_loss=float(position))

    long = samples_of(run(tuple(row(place, figures=after(place)) for place in range(60))))
    assert metrics.early_test_accuracy(long) == pytest.approx([0.9 - 0.49])
    assert metrics.final_training_loss(long) == [59.0]
    short = samples_of(run(tuple(row(place, figures=after(place)) for place in range(3))))
    assert metrics.early_test_accuracy(short) == pytest.approx([0.88]), "fewer samples: the last"
    metric = metrics.METRICS["early_test_accuracy"]
    assert metrics.label_of(metric, long) == "Test accuracy after 50"
    assert metrics.label_of(metric, short) == "Test accuracy at the end, after 3"
    assert metrics.label_of(metric, long.iloc[:0]) == "Test accuracy after 50"
    assert metrics.label_of(metrics.METRICS["POC"], short) == "POC (%)"


def test_the_sample_loss_is_over_corrected_samples():
    samples = samples_of(run((row(0, sample_loss_after=0.25), row(1, UNCORRECTED, sample_loss_after=4.0))))
    assert metrics.measure(samples, metrics.METRICS["sample_loss"]).mean == 0.25

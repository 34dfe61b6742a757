import itertools

import numpy as np
import pandas as pd
import pytest

from experiments.report.statistics import (
    FLIPS,
    Interval,
    Paired,
    bootstrap_mean,
    holm,
    paired,
    sign_flip_p,
    wilson,
)


def crossed(values):
    """Values (seeds, samples) as columns: value, seed, sample."""
    seeds, samples = np.indices(values.shape)
    return values.ravel(), seeds.ravel(), samples.ravel()


def enumerated_p(differences, samples):
    """The definition: every sign vector, one at a time."""
    sums = [differences[samples == sample].sum() for sample in np.unique(samples)]
    observed = abs(sum(sums)) - 1e-9
    totals = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=len(sums))]
    return np.mean([total >= observed for total in totals])


def test_the_interval_is_that_of_a_loop_over_resamples():
    generator = np.random.default_rng(1)
    values = generator.normal(size=(3, 40)) + generator.normal(size=40)  # samples differ more than seeds
    means = []
    for _ in range(4000):
        seeds, samples = generator.integers(0, 3, 3), generator.integers(0, 40, 40)
        means.append(np.mean([[values[seed, sample] for sample in samples] for seed in seeds]))
    expected = np.percentile(means, (2.5, 97.5))
    found = bootstrap_mean(*crossed(values), "oracle")
    width = expected[1] - expected[0]
    assert np.allclose([found.low, found.high], expected, atol=0.06 * width)


def test_a_sample_that_is_hard_for_every_seed_is_not_three_samples():
    effect = np.random.default_rng(2).normal(size=60)
    one = bootstrap_mean(*crossed(effect[None]), "x")
    three = bootstrap_mean(*crossed(np.tile(effect, (3, 1))), "x")
    assert (three.high - three.low) / (one.high - one.low) == pytest.approx(1, abs=0.1)


def test_seeds_alone_widen_the_interval():
    interval = bootstrap_mean(*crossed(np.tile([[0.0], [1.0], [2.0]], (1, 50))), "x")
    assert interval == Interval(0.0, 2.0)  # each of the extremes in 1 of 27 resamples


def test_one_seed_one_sample_and_missing_pairs():
    assert bootstrap_mean([2.5], [0], [7], "x") == Interval(2.5, 2.5)
    values, seeds, samples = crossed(np.arange(12.0).reshape(2, 6))
    kept = np.array([0, 1, 2, 3, 4, 5, 6, 11])
    interval = bootstrap_mean(values[kept], seeds[kept], samples[kept], "x")
    assert 0 <= interval.low < values[kept].mean() < interval.high <= 11
    gaps = np.where(np.isin(np.arange(12), kept), values, np.nan)
    assert bootstrap_mean(gaps, seeds, samples, "x") == interval
    with pytest.raises(ValueError, match="no finite value"):
        bootstrap_mean([np.nan], [0], [0], "x")


def test_the_name_gives_the_draws_and_the_order_of_pairs_does_not():
    columns = crossed(np.random.default_rng(3).normal(size=(3, 20)))
    shuffled = [column[::-1] for column in columns]
    again, other = bootstrap_mean(*shuffled, "a", 1), bootstrap_mean(*columns, "b", 1)
    assert bootstrap_mean(*columns, "a", 1).low == pytest.approx(again.low, abs=1e-12)
    assert other.low != again.low


@pytest.mark.parametrize("lattice", [True, False])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_the_p_value_is_that_of_every_sign_vector(lattice, count):
    generator = np.random.default_rng(count)
    for _ in range(10):
        values = generator.normal(loc=0.4, size=(3, count))
        if lattice:
            values = np.round(4 * values) / 10_000
        differences, _, samples = crossed(values)
        flip = sign_flip_p(differences, samples)
        assert flip.exact
        assert flip.p == pytest.approx(enumerated_p(differences, samples))


def test_convolution_is_enumeration(monkeypatch):
    generator = np.random.default_rng(5)
    cases = [generator.integers(-8, 12, size=(3, 12)) / 9614 * 100 for _ in range(10)]
    cases += [generator.integers(-300, 500, size=(1, 12)) / 10_000, np.full((1, 12), 0.3)]
    expected = [sign_flip_p(*crossed(case)[::2]).p for case in cases]
    monkeypatch.setattr("experiments.report.statistics.ENUMERATED", 0)
    found = [sign_flip_p(*crossed(case)[::2]) for case in cases]
    assert [flip.p for flip in found] == pytest.approx(expected)
    assert all(flip.exact for flip in found)


def test_an_exact_p_value_may_be_far_below_that_of_any_number_of_random_flips():
    flip = sign_flip_p(np.full(200, 0.0001), np.arange(200))
    assert flip.exact
    assert flip.p == pytest.approx(2.0**-199)
    assert sign_flip_p(np.full(2000, 1.0), np.arange(2000)).p > 0


def test_values_on_no_lattice_are_tested_by_random_flips():
    differences = np.random.default_rng(6).normal(loc=0.3, size=40)
    flip = sign_flip_p(differences, np.arange(40), "x")
    assert not flip.exact
    normal = differences.sum() / np.sqrt((differences**2).sum())  # large-sample value for comparison
    assert flip.p == pytest.approx(2 * (1 - _normal_cdf(abs(normal))), abs=0.02)
    clear = sign_flip_p(np.abs(differences), np.arange(40), "x")
    assert clear.p == 1 / (1 + FLIPS)
    assert sign_flip_p(differences, np.arange(40), "x") == flip


def _normal_cdf(value):
    grid = np.linspace(-8, value, 100_001)
    return float(np.trapezoid(np.exp(-(grid**2) / 2), grid) / np.sqrt(2 * np.pi))


def test_seeds_of_a_sample_are_flipped_together():
    flip = sign_flip_p([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [0, 0, 0, 1, 1, 1])
    assert flip.p == 0.5  # of 4 sign vectors 2 are as far; six independent differences would give 1/32


def test_no_difference_is_no_evidence():
    assert sign_flip_p([0.0, 0.0], [0, 1]).p == 1
    assert sign_flip_p([0.1, 0.2, -0.3], [0, 0, 0]).p == 1  # 0.1 + 0.2 - 0.3 is 5.6e-17
    assert sign_flip_p(np.tile([0.0007, -0.0007], 20), np.arange(40)).p == 1
    for wrong in ([], [np.nan]):
        with pytest.raises(ValueError, match="finite"):
            sign_flip_p(wrong, np.zeros(len(wrong)))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_wilson_by_hand():
    half = wilson(5, 10)
    assert (half.low, half.high) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert wilson(0, 10).low == 0
    assert wilson(0, 10).high == pytest.approx(0.277533, abs=1e-6)
    assert wilson(10, 10).high == 1
    assert wilson(10, 10).low == pytest.approx(1 - 0.277533, abs=1e-6)
    for successes, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="not a share"):
            wilson(successes, n)


def table(values):
    """One row per seed and sample from {seed: {index: value}}."""
    rows = [(seed, index, value) for seed, own in values.items() for index, value in own.items()]
    return pd.DataFrame(rows, columns=["seed", "index", "figure"])


def column(rows):
    return rows["figure"].to_numpy(dtype=np.float64)


def test_pairs_are_of_the_same_seed_and_sample():
    first = table({0: {10: 5.0, 20: 1.0, 30: np.nan}, 1: {10: 7.0, 40: 9.0}})
    second = table({1: {10: 1.0, 20: 100.0}, 0: {30: 3.0, 20: 3.0, 10: 1.0}})
    found = paired(first, second, column, "x")
    assert isinstance(found, Paired)
    assert (found.n, found.seeds, found.samples) == (3, 2, 2)
    assert found.difference == pytest.approx((4 - 2 + 6) / 3)
    assert (found.p, found.exact) == (1.0, True)  # sums 10 and -2: no signs give less than 8
    assert found.interval.low < found.difference < found.interval.high
    turned = paired(second, first, column, "x")
    assert turned is not None
    assert turned.difference == pytest.approx(-found.difference)


def test_one_seed_of_a_deterministic_method_meets_every_seed_of_the_other():
    first = table({0: {1: 1.0, 2: 2.0}, 1: {1: 3.0, 2: 4.0}, 2: {1: 5.0}})
    second = table({0: {1: 1.0, 2: 1.0}})
    for found, sign in ((paired(first, second, column, "x"), 1), (paired(second, first, column, "x"), -1)):
        assert found is not None
        assert (found.n, found.seeds, found.samples) == (5, 3, 2)
        assert found.difference == pytest.approx(sign * 10 / 5)


def test_no_pair():
    assert paired(table({0: {1: 1.0}}), table({0: {2: 1.0}}), column, "x") is None
    assert paired(table({}), table({0: {2: 1.0}}), column, "x") is None
    assert paired(table({0: {1: np.nan}}), table({0: {1: 1.0}}), column, "x") is None

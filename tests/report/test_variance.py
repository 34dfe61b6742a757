import itertools

import numpy as np
import pytest

from experiments.report.frames import corrections_of
from experiments.report.part import Part, Thesis
from experiments.report.variance import (
    CONSTANT,
    NO_VALUE,
    TOO_FEW,
    Variance,
    crossed,
    nested,
    run_values,
    sample_tables,
)
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run
from tests.report.probe_records import rows_of

PART = Variance(network_seeds=(0, 1), seeds=(0, 1), orders=(0, 1), thesis=Thesis(errors=(("mlp", 947),)))


def tables(*values):
    return [np.array(value, dtype=np.float64) for value in values]


def test_crossed_by_hand():
    # Sample means 0 and 2, 4 and 6: variance 2. Network means 1 and 5: 8, less 2 / 2 that the samples make.
    found = crossed(tables([[0, 0], [2, 2]], [[4, 4], [6, 6]]))
    assert found.estimates == pytest.approx((7, 2, 0, 0))
    assert found.degrees == (1, 2, 2, 2)
    assert found.n == 8
    assert found.shares == pytest.approx([7 / 9, 2 / 9, 0, 0])
    assert found.total_sd == pytest.approx(3)
    # The same with a method seed that adds 2 on one network: seed means differ by 0 and 2, variances 0 and 2.
    seeds = crossed(tables([[0, 0], [2, 2]], [[4, 6], [6, 8]]))
    assert seeds.estimates[1:] == pytest.approx((2, 1, 0))


def test_an_estimate_below_zero_is_kept_and_counts_as_zero():
    # Pure interaction: residual 4; sample and seed (0 - 4) / 2 = -2; network 0 - (-2 / 2 - 2 / 2 + 4 / 4) = 1.
    found = crossed(tables([[0, 2], [2, 0]], [[0, 2], [2, 0]]))
    assert found.estimates == pytest.approx((1, -2, -2, 4))
    assert found.shares == pytest.approx([0.2, 0, 0, 0.8])
    assert found.total_sd == pytest.approx(5**0.5)


def test_nested_by_hand():
    # Seeds: variance 2. Order means 1 and 5: 8, less 2 / 2. Network means 3 and 13: 50, less 7 / 2 and 2 / 4.
    found = nested([tables([0, 2], [4, 6]), tables([10, 12], [14, 16])])
    assert found.estimates == pytest.approx((46, 7, 2))
    assert found.degrees == (1, 2, 4)
    assert found.shares == pytest.approx([46 / 55, 7 / 55, 2 / 55])


def brute_force_crossed(values):
    """Balanced, from the textbook's mean squares, in loops."""
    networks, samples, seeds = values.shape
    grand, square = values.mean(), {"n": 0.0, "s": 0.0, "m": 0.0, "e": 0.0}
    for i in range(networks):
        middle = values[i].mean()
        square["n"] += samples * seeds * (middle - grand) ** 2 / (networks - 1)
        for j in range(samples):
            square["s"] += seeds * (values[i, j].mean() - middle) ** 2 / (networks * (samples - 1))
        for k in range(seeds):
            square["m"] += samples * (values[i, :, k].mean() - middle) ** 2 / (networks * (seeds - 1))
        for j, k in itertools.product(range(samples), range(seeds)):
            rest = values[i, j, k] - values[i, j].mean() - values[i, :, k].mean() + middle
            square["e"] += rest**2 / (networks * (samples - 1) * (seeds - 1))
    e = square["e"]
    network = (square["n"] - square["s"] - square["m"] + e) / (samples * seeds)
    return network, (square["s"] - e) / seeds, (square["m"] - e) / samples, e


def test_balanced_data_agree_with_the_textbook():
    values = np.random.default_rng(1).normal(size=(4, 5, 3)) + np.arange(4)[:, None, None]
    assert crossed(list(values)).estimates == pytest.approx(brute_force_crossed(values))
    orders = [[np.array(seeds) for seeds in network] for network in values]
    seed = np.mean([own.var(ddof=1) for network in values for own in network])
    order = np.mean([network.mean(axis=1).var(ddof=1) for network in values]) - seed / 3
    network = values.mean(axis=(1, 2)).var(ddof=1) - order / 5 - seed / 15
    assert nested(orders).estimates == pytest.approx((network, order, seed))


SHAPES = [(2, 3), (5, 2), (3, 4)]  # samples and seeds of three networks


def crossed_cells():
    return [
        (i, j, k) for i, (rows, columns) in enumerate(SHAPES) for j in range(rows) for k in range(columns)
    ]


def crossed_of(vector):
    ends = np.cumsum([rows * columns for rows, columns in SHAPES])[:-1]
    return crossed([part.reshape(shape) for part, shape in zip(np.split(vector, ends), SHAPES, strict=True)])


NESTED_SIZES = [[1, 3], [2, 2, 4], [5]]  # seeds of each order of three networks


def nested_cells():
    return [
        (i, j, k) for i, orders in enumerate(NESTED_SIZES) for j, n in enumerate(orders) for k in range(n)
    ]


def nested_of(vector):
    parts = iter(np.split(vector, np.cumsum([n for orders in NESTED_SIZES for n in orders])[:-1]))
    return nested([[next(parts) for _ in orders] for orders in NESTED_SIZES])


@pytest.mark.parametrize(
    ("cells", "estimate", "levels"),
    [
        (crossed_cells(), crossed_of, [(0,), (0, 1), (0, 2), (0, 1, 2)]),
        (nested_cells(), nested_of, [(0,), (0, 1), (0, 1, 2)]),
    ],
)
def test_unbalanced_estimates_are_exactly_unbiased(cells, estimate, levels):
    # An estimate is y'Ay, and E(y'Ay) = trace(A V). V is a sum of Z Z' times a component, so a component's
    # expected estimate is the sum of the estimates of the columns of each Z: 1 for its own, 0 for any other.
    for own, level in enumerate(levels):
        keys = [tuple(cell[place] for place in level) for cell in cells]
        columns = [np.array([key == each for key in keys], dtype=np.float64) for each in sorted(set(keys))]
        expected = np.sum([estimate(column).estimates for column in columns], axis=0)
        assert expected == pytest.approx(np.eye(len(levels))[own], abs=1e-9)


def test_simulated_crossed_components_are_found():
    rng = np.random.default_rng(0)
    true, found = np.array([4.0, 3.0, 2.0, 1.0]), []
    for _ in range(2000):
        j, k = rng.integers(3, 9), rng.integers(2, 5)
        effects = [
            rng.normal(0, sd, shape)
            for sd, shape in zip(true**0.5, [(1, 1), (j, 1), (1, k), (j, k)], strict=True)
        ]
        found.append(7 + sum(effects))
    assert crossed(found).estimates == pytest.approx(true, rel=0.12)  # 3 standard errors of the largest


def test_simulated_nested_components_are_found():
    rng = np.random.default_rng(0)
    true = np.array([4.0, 2.0, 1.0])
    network, order, seed = true**0.5
    found = []
    for _ in range(2000):
        middle = rng.normal(0, network)
        orders = [middle + rng.normal(0, order) for _ in range(rng.integers(2, 5))]
        found.append([rng.normal(each, seed, rng.integers(1, 4)) for each in orders])
    assert nested(found).estimates == pytest.approx(true, rel=0.12)


def test_too_few_and_constant():
    assert crossed([]).note == NO_VALUE
    assert crossed(tables([[1, 2], [3, 5]])).note == TOO_FEW  # one network
    assert crossed(tables([[1], [2]], [[3], [4]])).note == TOO_FEW  # one seed
    assert nested([tables([1, 2]), tables([3, 4])]).note == TOO_FEW  # one order
    assert nested([]).note == NO_VALUE
    assert crossed(tables(*[[[0.1, 0.1], [0.1, 0.1]]] * 3)).note == CONSTANT
    assert nested([tables([0.1] * 3, [0.1] * 3)] * 3).note == CONSTANT
    # A network without a sample is left out, not a network of its own.
    pair = tables([[0, 0], [2, 2]], [[4, 4], [6, 6]])
    assert crossed([*pair, np.empty((0, 2))]) == crossed(pair)


def reloading(network_seed, seed, altered, losses=(0.5, 0.5, 0.5), method="bgd_i"):
    """Three samples; an `altered` of None is a sample that is not corrected."""
    rows = tuple(
        row(
            place,
            UNCORRECTED if value is None else CORRECTED,
            altered=value or 0,
            figures=figures(train_loss=loss),
        )
        for place, (value, loss) in enumerate(zip(altered, losses, strict=True))
    )
    return run(rows, method=method, network_seed=network_seed, seed=seed, base_id=f"base {network_seed}")


RELOADING = [
    reloading(0, 0, (10, 20, None), (0.25, 0.5, 0.75)),
    reloading(0, 1, (30, 20, 10), (0.25, None, 0.75)),
    reloading(1, 0, (50, 60, 70), (0.5, 1.25, 100.25)),
    reloading(1, 1, (50, 80, 70), (0.75, 1.25, 0.25)),
]


def non_reloading(network_seed, order, seed, outcomes, loss, method="bgd_i"):
    rows = tuple(
        row(
            place,
            CORRECTED if right else UNCORRECTED,
            figures=figures(train_loss=loss, test_accuracy=0.5 + loss / 10),
        )
        for place, right in enumerate(outcomes)
    )
    return run(
        rows,
        method=method,
        setting="non_reloading",
        network_seed=network_seed,
        order=order,
        seed=seed,
        base_id=f"base {network_seed}",
    )


# Losses: those of the nested example by hand.
LOSSES = {
    (0, 0, 0): 0,
    (0, 0, 1): 2,
    (0, 1, 0): 4,
    (0, 1, 1): 6,
    (1, 0, 0): 10,
    (1, 0, 1): 12,
    (1, 1, 0): 14,
    (1, 1, 1): 16,
}
NON_RELOADING = [non_reloading(*key, (key[2], 1), float(loss)) for key, loss in LOSSES.items()]


def test_values_of_the_samples():
    samples = corrections_of(RELOADING).samples
    right = [table.tolist() for table in sample_tables(samples, "corrected")]
    assert right == [[[1, 1], [1, 1], [0, 1]], [[1, 1], [1, 1], [1, 1]]]
    # Per cent of 1000 parameters; the third sample of network 0 is not corrected under every seed.
    popa = [table.tolist() for table in sample_tables(samples, "POPA")]
    assert popa == [[[1, 3], [2, 2]], [[5, 5], [6, 8], [pytest.approx(7)] * 2]]
    # Less N0's 0.25; a loss that is not finite leaves the second sample of network 0 out under both seeds.
    dtl = [table.tolist() for table in sample_tables(samples, "dTL")]
    assert dtl == [[[0, 0]], [[0.25, 0.5], [1, 1], [100, 0]]]
    ranks = [table.tolist() for table in sample_tables(samples, "dTL_rank")]
    assert ranks == [[[2, 2]], [[4, 5], [6.5, 6.5], [8, 2]]]
    assert sample_tables(samples.iloc[:0], "dTL_rank") == []


def test_values_of_the_runs():
    samples = corrections_of(NON_RELOADING).samples
    poc = [[values.tolist() for values in orders] for orders in run_values(samples, "POC")]
    assert poc == [[[50, 100], [50, 100]]] * 2
    losses = [[values.tolist() for values in orders] for orders in run_values(samples, "final_training_loss")]
    assert losses == [[[0, 2], [4, 6]], [[10, 12], [14, 16]]]


def lines_of(files):
    return {
        (line["setting"], line["method"], line["value"], line["component"]): line
        for line in rows_of(files["tables/variance.csv"])
    }


def test_table_has_shares_and_says_what_is_missing():
    files = PART.files([*RELOADING, *NON_RELOADING])
    assert sorted(files) == sorted(PART.names)
    lines = lines_of(files)
    assert len(lines) == 2 * (5 * 4 + 3 * 3)
    line = lines["non_reloading", "bgd_i", "final_training_loss", "order"]
    assert float(line["estimate"]) == pytest.approx(7)
    assert float(line["share"]) == pytest.approx(7 / 55)
    assert float(line["total_sd"]) == pytest.approx(55**0.5)
    assert (line["degrees"], line["n"]) == ("2", "8")
    # POC is 50 and 100 everywhere: mean square 1250 of the seeds, 0 of the orders, so (0 - 1250) / 2 of these.
    assert float(lines["non_reloading", "bgd_i", "POC", "seed"]["estimate"]) == pytest.approx(1250)
    assert float(lines["non_reloading", "bgd_i", "POC", "order"]["estimate"]) == pytest.approx(-625)
    assert lines["non_reloading", "bgd_i", "POC", "order"]["share"] == "0.0"
    assert lines["reloading", "bgd_i", "dTL", "network"]["n"] == "8"
    assert lines["reloading", "bgd_i", "dTA", "network"]["share"] == CONSTANT
    assert lines["reloading", "bgd_ii", "POPA", "sample"]["share"] == NO_VALUE
    text = files["tables/variance.md"].decode()
    assert "| BGD-I | Final training loss | 8 | 7.42 | 83.64 | 12.73 | 3.64 | 1 / 2 / 4 |" in text
    assert "| BGD-I | POC (%) | 8 | 35.36 | 0 | 0 † | 100 | 1 / 2 / 4 |" in text
    assert "Missing: 4 of 8 runs of the MLP, reloading setting." in text
    assert "Missing: 8 of 16 runs of the MLP, non-reloading setting." in text
    assert "ΔTL of BGD-I: 2." in text
    assert "(thesis: 947)" in text
    assert "WARNING" not in text
    assert r"$^\dagger$" in files["tables/variance.tex"].decode()


def test_no_run_and_no_loss_are_told():
    text = PART.files([])["tables/variance.md"].decode()
    assert "MLP, reloading setting: missing, no run of it is among the records." in text
    assert "MLP, non-reloading setting: missing" in text
    assert "| BGD-I | ΔTL | 0 | no value | no value |" in text
    lost = [*NON_RELOADING[:-1], non_reloading(1, 1, 1, (1, 1), 0.0)]
    rows = tuple(row(place, figures=figures(train_loss=None)) for place in range(2))
    lost[-1] = run(
        rows, method="bgd_i", setting="non_reloading", network_seed=1, order=1, seed=1, base_id="base 1"
    )
    files = PART.files(lost)
    assert "final training loss of BGD-I: 1." in files["tables/variance.md"].decode()
    assert lines_of(files)["non_reloading", "bgd_i", "final_training_loss", "seed"]["n"] == "7"


def test_other_runs_are_not_looked_at():
    runs = [*RELOADING, *NON_RELOADING]
    others = [
        reloading(0, 2, (1, 1, 1)),
        reloading(2, 0, (1, 1, 1)),
        reloading(0, 0, (1, 1, 1), method="top_k"),
        run((row(0),), method="bgd_i", order=1),  # reloading, another order
        run((row(0),), method="bgd_i", network="alexnet"),
        non_reloading(0, 2, 0, (1, 1), 9.0),
    ]
    assert PART.files([*runs, *others]) == PART.files(runs)


def test_an_n0_outside_its_band_and_a_second_one_are_told():
    odd = run(RELOADING[0].rows, method="bgd_ii", expected=[5, 9], base_id="another")
    text = PART.files([*RELOADING, odd])["tables/variance.md"].decode()
    assert "N0 0: WARNING: N0 has 3 errors, outside the expected 5 to 9." in text
    assert "N0 0: WARNING: the runs start from 2 different N0." in text


def test_the_same_bytes_in_any_order():
    runs = [*RELOADING, *NON_RELOADING]
    first = PART.files(runs)
    shuffled = [runs[place] for place in np.random.default_rng(3).permutation(len(runs))]
    assert PART.files(shuffled) == first
    assert PART.files(runs[1:]) != first


def test_it_is_a_part():
    checked: Part = Variance()
    assert checked.presets == ("variance_reloading", "variance_non_reloading")

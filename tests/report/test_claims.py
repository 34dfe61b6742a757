import io
import itertools
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import experiments.report.metrics as metrics
from bgd.errors import ConfigError
from experiments.records.archive import Records, export, load
from experiments.report.claims import Claims, compare_verdicts
from experiments.report.claims.data import Claim, read_ledger
from experiments.report.claims.evidence import Evidence, Missing, Outcome
from experiments.report.claims.on_pairs import Equal, PairedTest
from experiments.report.claims.on_probes import LayerPlace, LayersEven, NoRankBest, NoRankTrend, RankFirst
from experiments.report.claims.on_samples import MeanBetween, Share, Sign, Uncorrelated, rank_correlation
from experiments.report.claims.on_seeds import Level, Order, Sooner
from experiments.report.claims.verdicts import (
    ABSENT,
    ALPHA,
    DIRECTION,
    DIRECTION_ONLY,
    FAILS,
    HOLDS,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPRODUCED,
    Judged,
    judge,
    verdict,
)
from experiments.report.part import Part
from experiments.report.statistics import Interval, holm
from experiments.report.surveys import RESAMPLES, resamples
from experiments.thesis.report import LEDGER
from experiments.thesis.tables import WHOLE
from tests.records_factory import ALREADY_RIGHT, CORRECTED, UNCORRECTED, figures, row, rows, run
from tests.report.probe_records import probe_run
from tests.report.test_gradient_ranks import sample

pytestmark = pytest.mark.usefixtures("few_are_enough")
CLAIMS = Path(__file__).parents[2] / "experiments" / "thesis" / "claims.yaml"


def altered(*counts, method="bgd_ii", seed=0, **more):
    """A run of corrected samples that alter so many of 1,000 parameters; None for one that is not corrected."""
    samples = tuple(
        row(place, UNCORRECTED) if count is None else row(place, altered=count)
        for place, count in enumerate(counts)
    )
    return run(samples, method=method, seed=seed, **more)


def path_of(*accuracies, method="bgd_ii", seed=0, replica=1, **more):
    """A run of the non-reloading setting with these test accuracies, one after the other; from a replica of N0."""
    samples = tuple(
        row(place, figures=figures(test_accuracy=value, train_loss=10 * (1 - value)))
        for place, value in enumerate(accuracies)
    )
    return run(samples, method=method, seed=seed, setting="non_reloading", replica=replica, **more)


def found(test, *runs):
    try:
        return test.evaluate(Evidence.of(runs))
    except Missing as missing:
        return missing


# --- the data


def test_the_claims_are_read_and_have_those_of_the_notes():
    ledger = read_ledger(CLAIMS)
    numbers = {int(re.match(r"\d+", claim.id)[0]) for claim in ledger.claims}
    assert set(range(1, 13)) <= numbers
    assert len(ledger.claims) > 40
    assert str(ALPHA) in ledger.rule
    assert all(claim.tests or claim.not_comparable for claim in ledger.claims)
    for test in (test for claim in ledger.claims for test in claim.tests):
        assert test.subject
        assert hash(test) == hash(replace(test))


GOOD = """
rule: the rule
reading: what the numbers mean
claims:
  - id: "1"
    claim: a claim
    where: section 1
    tables: {mlp: "4.2"}
    tests:
      - {kind: share, network: mlp, method: bgd_ii, stated: 100}
"""


def ledger_of(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    return read_ledger(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("method: bgd_ii", "methd: bgd_ii", r"claim 1.tests.methd: unknown key; did you mean 'method'"),
        ("kind: share", "kind: shaer", r"claim 1.tests.kind='shaer': did you mean 'share'"),
        ("{kind: share, ", "{", r"claim 1.tests.kind=None: must be text"),
        ("method: bgd_ii", "method: bgd_2", r"claim 1.tests.method='bgd_2': did you mean 'bgd_"),
        ("network: mlp", "network: mpl", r"claim 1.tests.network='mpl': did you mean 'mlp'"),
        ("stated: 100", "stated: all", r"claim 1.tests.stated='all': must be a number"),
        ("stated: 100", "stated: true", r"claim 1.tests.stated=True: must be a number"),
        (", stated: 100", "", r"claim 1.tests.stated: missing"),
        ("stated: 100", "stated: 100, stated: 90", r"the key 'stated' stands twice"),
        ("where: section 1", "whre: section 1", r"claim 1.whre: unknown key; did you mean 'where'"),
        ("    where: section 1\n", "", r"claim 1.where: missing"),
        ('id: "1"', "id: 1", r"claim 1.id=1: must be text"),
        ('{mlp: "4.2"}', "{}", r"claim 1: no table for mlp"),
        ('{mlp: "4.2"}', '{mpl: "4.2"}', r"claim 1.tables='mpl': did you mean 'mlp'"),
        ("rule: the rule", "rules: the rule", r"claims.rules: unknown key; did you mean 'rule'"),
        ("    tests:", "    not_comparable: why\n    tests:", r"claim 1: either tests, or a reason"),
        ("rule: the rule", "rule: [", r"claims.yaml: "),
    ],
)
def test_a_mistake_in_the_data_is_named(tmp_path, old, new, message):
    assert ledger_of(tmp_path, GOOD).claims[0].tests == (Share("mlp", "bgd_ii", 100.0),)
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        ledger_of(tmp_path, GOOD.replace(old, new))


def test_two_claims_cannot_have_one_id(tmp_path):
    with pytest.raises(ConfigError, match="the id '1' stands twice"):
        ledger_of(tmp_path, GOOD + GOOD.split("claims:\n")[1])


def test_lists_make_a_test_for_each_combination(tmp_path):
    entry = (
        "{kind: paired, network: [mlp], metric: [POPA, dTA], method: bgd_i, against: [l1, top_k], expect: less,"
        " common: [bgd_ii, random]}"
    )
    (claim,) = ledger_of(
        tmp_path, GOOD.replace("{kind: share, network: mlp, method: bgd_ii, stated: 100}", entry)
    ).claims
    assert [(test.metric, test.against) for test in claim.tests] == list(
        itertools.product(["POPA", "dTA"], ["l1", "top_k"])
    )
    assert {test.common for test in claim.tests} == {("bgd_ii", "random")}


# --- tests on samples


@pytest.mark.parametrize(
    ("right", "of", "direction", "size"),
    [(200, 200, True, True), (199, 200, True, False), (189, 200, False, False)],
)
def test_all_are_corrected_only_where_each_is(right, of, direction, size):
    outcome = found(
        Share("mlp", "bgd_ii", 100.0), run(rows(*[CORRECTED] * right, *[UNCORRECTED] * (of - right)))
    )
    assert (outcome.direction, outcome.size, outcome.n, outcome.p) == (direction, size, of, None)
    assert outcome.ours == pytest.approx(100 * right / of)
    assert outcome.interval.low < outcome.ours <= outcome.interval.high


def test_none_is_corrected_only_where_none_is():
    none = found(Share("mlp", "random", 0.0), run(rows(*[UNCORRECTED] * 50), method="random"))
    one = found(Share("mlp", "random", 0.0), run(rows(CORRECTED, *[UNCORRECTED] * 49), method="random"))
    assert (none.direction, none.size) == (True, True)
    assert (one.direction, one.size) == (True, False)


def test_a_tolerance_widens_the_interval():
    samples = run(rows(*[CORRECTED] * 90, *[UNCORRECTED] * 10))  # Wilson: 82.6 to 94.5
    assert found(Share("mlp", "bgd_ii", 94.0), samples).size
    assert not found(Share("mlp", "bgd_ii", 95.0), samples).size
    assert found(Share("mlp", "bgd_ii", 95.0, tolerance=1.0), samples).size


def test_already_right_counts_as_correct():
    assert found(Share("mlp", "bgd_ii", 100.0), run(rows(ALREADY_RIGHT, CORRECTED))).ours == 100


def flips(differences):
    """Two-sided p of the sign-flip test by looking at every sign vector."""
    total = abs(sum(differences))
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(value >= total - 1e-9 for value in sums) / len(sums)


def test_paired_by_hand():
    first, second = (2, 3, 5, 4, None, 1), (4, 9, 6, 4, 7, None)
    test = PairedTest("mlp", "POPA", "bgd_ii", "top_k", "less")
    outcome = found(test, altered(*first), altered(*second, method="top_k"))
    # Four pairs that both corrected: -2, -6, -1, 0 of 1,000 parameters.
    assert outcome.n == 4
    assert outcome.ours == pytest.approx(1.4 / 4)
    assert outcome.against == pytest.approx(2.3 / 4)
    assert outcome.value == pytest.approx(-0.9 / 4)
    assert outcome.p == pytest.approx(flips([-2, -6, -1, 0]))
    assert outcome.exact
    assert outcome.interval.low <= outcome.value <= outcome.interval.high
    assert (outcome.direction, outcome.size) == (True, True)
    assert not found(
        replace(test, expect="more"), altered(*first), altered(*second, method="top_k")
    ).direction


@pytest.mark.parametrize("expect", ["less", "more"])
def test_a_factor_is_part_of_what_is_tested(expect):
    few, many = (1, 2, 3, 2), (30, 10, 40, 30)  # means 2 and 27.5: 13.75 times
    runs = altered(*few), altered(*many, method="top_k")
    names = ("bgd_ii", "top_k") if expect == "less" else ("top_k", "bgd_ii")
    ten = found(PairedTest("mlp", "POPA", *names, expect, factor=10.0), *runs)
    twenty = found(PairedTest("mlp", "POPA", *names, expect, factor=20.0), *runs)
    assert "13.75 times" in ten.note
    assert "13.75 times" in twenty.note
    assert abs(ten.value) == pytest.approx(2.55)  # of 1,000 in %, without the factor
    assert ten.p == pytest.approx(flips([10 * a - b for a, b in zip(few, many, strict=True)]))
    assert (ten.direction, ten.size) == (True, True)
    assert (twenty.direction, twenty.size) == (True, False)


def test_common_leaves_out_what_a_third_did_not_correct():
    runs = altered(1, 2, 3), altered(5, 5, 5, method="bgd_i"), altered(9, None, 9, method="top_k")
    test = PairedTest("mlp", "POPA", "bgd_ii", "bgd_i", "less")
    assert found(test, *runs).n == 3
    outcome = found(replace(test, common=("top_k",)), *runs)
    assert (outcome.n, outcome.ours) == (2, pytest.approx(0.2))


def test_one_seed_of_a_deterministic_method_stands_for_all():
    runs = altered(1, 2, None), altered(3, None, 4, seed=1), altered(8, 9, 10, method="l1")
    outcome = found(PairedTest("mlp", "POPA", "bgd_ii", "l1", "less"), *runs)
    assert (outcome.n, outcome.seeds) == (4, 2)
    assert outcome.value == pytest.approx((1 - 8 + 2 - 9 + 3 - 8 + 4 - 10) / 40)
    turned = found(PairedTest("mlp", "POPA", "l1", "bgd_ii", "more"), *runs)
    assert (turned.n, turned.value) == (4, pytest.approx(-outcome.value))


def test_equal_needs_the_interval_within_the_margin():
    runs = altered(*[10] * 20), altered(*[11] * 20, method="bgd_norm")
    test = Equal("mlp", "POPA", "bgd_norm", "bgd_ii", 0.25, relative=True)
    inside = found(test, *runs)
    assert (inside.direction, inside.size, inside.p) == (True, True, None)
    assert not found(replace(test, margin=0.05), *runs).direction
    spread = altered(*[10] * 20), altered(*[1, 21] * 10, method="bgd_norm")
    partly = found(test, *spread)
    assert (partly.direction, partly.size) == (True, False)


def losses(*changes, method="bgd_ii", seed=0):
    samples = (row(place, figures=figures(train_loss=0.25 + value)) for place, value in enumerate(changes))
    return run(tuple(samples), method=method, seed=seed)


def test_sign_by_hand():
    changes = [0.5, 0.25, -0.125, 1.0, 0.5]
    outcome = found(Sign("mlp", "dTL", "bgd_ii", "above"), losses(*changes))
    assert outcome.value == pytest.approx(np.mean(changes))
    assert outcome.p == pytest.approx(flips(changes))
    assert outcome.direction
    assert not found(Sign("mlp", "dTL", "bgd_ii", "below"), losses(*changes)).direction
    assert found(Sign("mlp", "dTL", "bgd_ii", "above", least=0.4, most=0.5), losses(*changes)).size
    assert not found(Sign("mlp", "dTL", "bgd_ii", "above", least=0.1, most=0.4), losses(*changes)).size


@pytest.mark.parametrize(
    "test",
    [
        Order("mlp", "final_test_accuracy", "bgd_i", "top_k", "more"),
        Level("mlp", "final_test_accuracy", "bgd_i", low=0.5),
    ],
)
def test_the_end_of_a_run_is_not_judged_where_rounding_is_not_known(test):
    drawn = [path_of(0.1, 0.7, method="bgd_i", seed=seed, replica=0) for seed in range(3)]
    other = path_of(0.9, 0.5, method="top_k")
    missing = found(test, *drawn, other)
    assert isinstance(missing, Missing)
    assert "replicas" in str(missing)
    assert found(test, *drawn, path_of(0.1, 0.7, method="bgd_i"), other).ours == pytest.approx(0.7)


def test_a_loss_that_is_not_finite_is_left_out():
    broken = row(3, figures=figures(train_loss=None))
    samples = run((*losses(0.5, 0.5, 0.5).rows, broken))
    assert found(Sign("mlp", "dTL", "bgd_ii", "above"), samples).n == 3
    assert isinstance(found(Sign("mlp", "dTL", "bgd_ii", "above"), run((broken,))), Missing)


def test_mean_between():
    samples = run(tuple(row(place, sample_loss_after=value) for place, value in enumerate([0.02, 0.06] * 20)))
    test = MeanBetween("mlp", "sample_loss", "bgd_ii", 0.0, 0.1)
    assert (found(test, samples).direction, found(test, samples).size) == (True, True)
    tight = found(replace(test, high=0.041), samples)
    assert (tight.direction, tight.size) == (True, False)
    assert not found(replace(test, high=0.03), samples).direction


def test_most_values_in_lin1():
    inside, outside = (
        {"lin1.weight": [3, 1.0, 1.0], "lin2.weight": [1, 1.0, 1.0]},
        {"lin2.weight": [2, 1.0, 1.0]},
    )
    samples = (row(0, layers=inside), row(1, layers=outside), row(2, UNCORRECTED, layers={}))
    outcome = found(Sign("mlp", "lin1_majority", "bgd_ii", "above"), run(samples))
    assert (outcome.n, outcome.value) == (2, pytest.approx((75 + 0) / 2 - 50))


def test_rank_correlation_is_that_of_a_loop():
    generator = random.Random(3)
    samples = np.array([place for place in range(12) for _ in range(2)])
    values = pd.DataFrame(
        {"x": [generator.random() for _ in samples], "y": [generator.random() for _ in samples]}
    )
    values["y"] += values["x"]
    ranks = values.rank().to_numpy()
    ours, again = rank_correlation(ranks, samples, "test")
    assert ours == pytest.approx(values.corr(method="spearman").loc["x", "y"])
    draws = resamples(12, "test")
    for place in (0, 1, RESAMPLES - 1):
        times = draws[place][samples].astype(int)
        drawn = np.repeat(ranks, times, axis=0)
        assert again[place] == pytest.approx(np.corrcoef(drawn.T)[0, 1])


def test_uncorrelated():
    def of(pairs):
        return run(
            tuple(
                row(place, figures=figures(train_loss=loss, test_accuracy=accuracy))
                for place, (loss, accuracy) in enumerate(pairs)
            )
        )

    test = Uncorrelated("mlp", "dTL", "dTA", "bgd_ii")
    together = found(test, of([(0.1 * place, 0.01 * place) for place in range(30)]))
    assert (together.ours, together.direction) == (pytest.approx(1), False)
    apart = found(test, of([(x, y) for x in (0.1, 0.2, 0.3, 0.4) for y in (0.1, 0.2, 0.3, 0.4)] * 20))
    assert (apart.ours, apart.direction, apart.size) == (pytest.approx(0, abs=1e-12), True, True)
    assert isinstance(found(test, of([(0.1, 0.2)] * 10)), Missing)


# --- tests on seeds


def test_nothing_is_judged_on_too_little(monkeypatch):
    monkeypatch.setattr(metrics, "ENOUGH_RUNS", 10)
    monkeypatch.setattr(metrics, "ENOUGH_SAMPLES", 10)
    order = Order("mlp", "final_test_accuracy", "bgd_i", "top_k", "more")
    first, second = (
        [path_of(0.1, 0.7, 0.5 + seed / 100, method=name, seed=seed) for seed in range(10)]
        for name in ("bgd_i", "top_k")
    )
    assert not isinstance(found(order, *first, *second), Missing)
    assert "fewer than 10 different runs" in str(found(order, *first[1:], *second))
    loss = Sign("mlp", "dTL", "bgd_ii", "above")
    assert not isinstance(found(loss, losses(*[0.5] * 10)), Missing)
    assert "rests on 9 samples" in str(found(loss, losses(*[0.5] * 9)))


def test_ten_copies_of_one_run_are_no_distribution(monkeypatch):
    """A method whose decisions rounding never turns has the same run from every replica: it counts once."""
    monkeypatch.setattr(metrics, "ENOUGH_RUNS", 4)
    order = Order("mlp", "final_test_accuracy", "bgd_i", "top_k", "more")
    first = [path_of(0.1, 0.6 + place / 100, method="bgd_i", order=place) for place in range(4)]
    copies = [path_of(0.1, 0.9, method="top_k", replica=replica) for replica in range(11)]
    orders = [
        path_of(0.1, 0.4 + place / 100, method="top_k", order=place, replica=0) for place in range(1, 4)
    ]
    assert "fewer than 4 different runs" in str(found(order, *first, *copies, *orders[1:]))
    outcome = found(order, *first, *copies, *orders)
    assert (outcome.n, outcome.seeds, outcome.direction, outcome.size) == (8, 4, True, False)
    assert outcome.against == pytest.approx(0.425)  # the median of .9, .41, .42 and .43
    assert isinstance(found(order, *first, copies[0], *orders), Missing)  # no replica was tried


def test_a_sequence_that_stops_early_has_no_end():
    whole = path_of(0.9, 0.4, method="bgd_i")
    stopped = replace(whole, header=replace(whole.header, base=whole.header.base | {"errors": 3}))
    level = Level("mlp", "final_test_accuracy", "bgd_i", high=0.5)
    assert found(level, whole).size
    assert str(found(level, stopped)) == "not comparable: the runs stop after 2 of N0's 3 errors"
    assert found(replace(level, metric="early_test_accuracy"), stopped).size


def test_sequences_of_other_n0_are_as_long_as_their_own_errors():
    """All of each N0's errors: none of them stops early, and N0 of the first seed is the one that is named."""
    longer = path_of(0.9, 0.6, 0.45, method="bgd_i")
    others = [path_of(0.9, 0.4, method="bgd_i", network_seed=seed) for seed in (1, 2)]
    level = found(Level("mlp", "final_test_accuracy", "bgd_i", high=0.5), longer, *others)
    assert (level.n, level.ours, level.size) == (3, 0.4, True)
    assert Evidence.of([*others, longer]).errors == {"mlp": 3}
    assert Evidence.of([longer, *others]).errors == {"mlp": 3}


def test_an_order_holds_in_95_of_100_pairs_of_runs():
    test = Order("mlp", "final_test_accuracy", "bgd_i", "top_k", "more")
    other = path_of(0.9, 0.5, method="top_k")
    high, low = (
        [path_of(0.1, value, method="bgd_i", seed=seed) for seed, value in enumerate(values)]
        for values in ((0.7, 0.6, 0.8), (0.7, 0.4, 0.8))
    )
    apart, overlapping = found(test, *high, other), found(test, *low, other)
    assert (apart.direction, apart.size, apart.n) == (True, True, 4)
    assert apart.ours == pytest.approx(0.7)
    assert apart.note == "3 against 1 runs: so in 100 % of the pairs"
    assert (overlapping.direction, overlapping.size) == (True, False)
    tied = [path_of(0.1, value, method="bgd_i", seed=seed) for seed, value in enumerate((0.7, 0.5, 0.8))]
    assert not found(test, *tied, other).size
    assert not found(replace(test, expect="less"), *high, other).direction


def test_a_loss_that_is_not_finite_is_larger_than_any():
    broken = run(
        (row(0, figures=figures(train_loss=None)),), setting="non_reloading", method="bgd_c", replica=1
    )
    outcome = found(Order("mlp", "final_training_loss", "bgd_c", "bgd_ii", "less"), broken, path_of(0.1))
    assert outcome.ours == np.inf
    assert not outcome.direction


@pytest.mark.parametrize(
    ("values", "direction", "size"),
    [
        ((0.1, 0.2), True, True),
        ((0.1, 0.6), True, False),
        ((0.7, 0.7), True, False),
        ((0.9, 0.9), False, False),
    ],
)
def test_level(values, direction, size):
    runs = [path_of(0.9, value, seed=seed) for seed, value in enumerate(values)]
    outcome = found(Level("mlp", "final_test_accuracy", "bgd_ii", high=0.5, near=0.3), *runs)
    assert (outcome.direction, outcome.size) == (direction, size)


def test_levels_after_some_of_the_samples():
    falling = path_of(*[1 - place / 200 for place in range(150)])
    after = {
        name: found(Level("mlp", name, "bgd_ii"), falling).ours
        for name in ("early_test_accuracy", "accuracy_after_100", "final_test_accuracy")
    }
    assert after == pytest.approx(
        {
            "early_test_accuracy": 1 - 49 / 200,
            "accuracy_after_100": 1 - 99 / 200,
            "final_test_accuracy": 1 - 149 / 200,
        }
    )
    halves = run(rows(*[CORRECTED] * 4, CORRECTED, *[UNCORRECTED] * 3), setting="non_reloading", replica=1)
    assert found(Level("mlp", "late_POC", "bgd_ii"), halves).ours == 25
    few = replace(altered(1, None, 3), header=halves.header)
    # Section 4.7: an empty subset where the sample stays wrong.
    assert found(Level("mlp", "mean_POPA", "bgd_ii"), few).ours == pytest.approx(0.4 / 3)


def test_sooner():
    early = [path_of(0.9, 0.4, 0.9, 0.3, seed=seed) for seed in range(3)]
    late, never = (path_of(0.9, 0.9, 0.9, last, network="alexnet") for last in (0.4, 0.6))
    test = Sooner("mlp", "alexnet", "bgd_ii")
    outcome = found(test, *early, late)
    assert (outcome.ours, outcome.against, outcome.direction, outcome.size) == (2, 4, True, True)
    assert found(test, *early, never).size
    assert not found(Sooner("alexnet", "mlp", "bgd_ii"), *early, never).direction
    assert test.network == ""


# --- tests on probes


def test_no_rank_best():
    same = sample([1, 1, 1], [1.0, 2.0, 3.0], [0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    other = sample([1, 1, 1], [1.0, 2.0, 3.0], [0.7, 0.8, 0.9], [0.7, 0.9, 0.8])
    for values, direction, ours in ((same, False, 100), (other, True, 0)):
        probe = probe_run("gradient_ranks", [values] * 5)
        outcome = found(NoRankBest("mlp", "best_of_sample"), probe)
        assert (outcome.direction, outcome.size, outcome.ours) == (direction, direction, ours)
    assert "1 by training loss, 3 by training accuracy, 2 by testing accuracy" in outcome.note


def test_rank_first():
    probe = probe_run("gradient_ranks", [sample([1] * 4, [1, 2, 3, 4], [0.9, 0.8, 0.7, 0.6], [0.5] * 4)] * 5)
    one, two, four = (
        found(RankFirst("mlp", "best_mean", "training_accuracy", rank), probe) for rank in (1, 2, 4)
    )
    assert (one.direction, one.size, one.ours) == (True, True, 1)
    assert (two.direction, two.size, two.ours) == (True, False, 1)
    assert (four.direction, four.size) == (False, False)


def test_no_rank_trend():
    level = sample([1, 0] * 10, [1] * 20, [1] * 20, [1] * 20)
    steep = sample([1] * 10 + [0] * 10, [1] * 20, [1] * 20, [1] * 20)
    even = found(NoRankTrend("mlp"), probe_run("gradient_ranks", [level] * 5))
    assert (even.value, even.direction, even.size) == (0, True, True)
    uneven = found(NoRankTrend("mlp"), probe_run("gradient_ranks", [level, steep]))
    assert (uneven.value, uneven.direction) == (pytest.approx(50), False)


def layers(*magnitude, normalised=(1.0, 1.0, 1.0)):
    return {
        "layer": ["lin1.weight", "lin2.weight", "lin3.weight"],
        "size": [10, 5, 5],
        "magnitude": list(magnitude),
        "largest": list(magnitude),
        "normalised": list(normalised),
    }


def test_layer_place():
    most = [layers(9, 2, 1)] * 30
    always = probe_run("layer_gradients", most)
    mostly = probe_run("layer_gradients", [*most, layers(2, 3, 1)])
    for probe, every in ((always, True), (mostly, False)):
        outcome = found(LayerPlace("mlp", "lin1.weight", 1, every_sample=True), probe)
        assert (outcome.direction, outcome.size) == (True, every)
    assert outcome.ours == pytest.approx(100 * 30 / 31)
    assert found(LayerPlace("mlp", "lin2.weight", 2, every_sample=False), mostly).size
    assert not found(LayerPlace("mlp", "lin3.weight", 2, every_sample=False), mostly).direction
    assert isinstance(found(LayerPlace("mlp", "conv1.weight", 1, every_sample=True), always), Missing)


def test_layers_even():
    even, uneven = (
        found(LayersEven("mlp"), probe_run("layer_gradients", [layers(8, 1, 1, normalised=part)]))
        for part in ((1, 1, 1), (4, 1, 1))
    )
    assert (even.ours, even.against, even.size) == (pytest.approx(0), pytest.approx(70), True)
    assert (uneven.ours, uneven.direction, uneven.size) == (pytest.approx(50), True, False)


# --- the rule


def outcome(direction=True, size=True, p=None):
    return Outcome(1.0, direction, size, 10, 1, interval=Interval(0.0, 2.0), p=p)


@pytest.mark.parametrize(
    ("part", "adjusted", "expected"),
    [
        (outcome(), None, HOLDS),
        (outcome(p=0.01), ALPHA, HOLDS),
        (outcome(p=0.01), ALPHA + 1e-9, DIRECTION),
        (outcome(size=False, p=0.01), 0.01, DIRECTION),
        (outcome(size=False), None, DIRECTION),
        (outcome(direction=False, p=0.01), 0.01, FAILS),
        (Missing("missing: no run"), None, ABSENT),
    ],
)
def test_grades(part, adjusted, expected):
    assert Judged(Fixed("a test", part), part, adjusted).grade == expected


class Fixed:
    """A test whose outcome is given."""

    def __init__(self, name, result, network="mlp"):
        self.subject, self.result, self.network, self.calls = name, result, network, 0

    def evaluate(self, evidence):
        self.calls += 1
        if isinstance(self.result, Missing):
            raise self.result
        return self.result


def claim(name, *tests, table="4.2", **more):
    return Claim(name, "a claim", "section 1", {"mlp": table}, tests, **more)


NOTHING = Evidence.of(())
GOOD_TEST, PARTLY, BAD = outcome(), outcome(size=False), outcome(direction=False)
GONE = Missing("missing: no run of X")


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((GOOD_TEST, GOOD_TEST), REPRODUCED),
        ((GOOD_TEST, PARTLY), DIRECTION_ONLY),
        ((GOOD_TEST, PARTLY, BAD), NOT_REPRODUCED),
        ((GOOD_TEST, GONE), NOT_COMPARABLE),
        ((GOOD_TEST, GONE, BAD), NOT_REPRODUCED),
    ],
)
def test_verdicts(results, expected):
    tests = [Fixed(f"test {place}", result) for place, result in enumerate(results)]
    (ruling,) = judge([claim("1", *tests)], NOTHING)
    assert ruling.verdict == expected
    assert verdict(ruling.judged)[0] == expected
    assert ruling.reason
    worst = {REPRODUCED: HOLDS, DIRECTION_ONLY: DIRECTION, NOT_REPRODUCED: FAILS, NOT_COMPARABLE: ABSENT}[
        expected
    ]
    assert ruling.deciding.grade == worst == ruling.grade_on("mlp")
    assert ruling.grade_on("alexnet") == ""


def test_a_test_is_made_on_the_largest_scale_that_has_its_methods():
    """The p value, the number of pairs and N0's errors are of that one; where none has them, the last says why."""
    whole = [altered(1 + seed, 2, 1, seed=seed, epochs=40, errors=370) for seed in range(3)]
    part = [
        altered(3, 3 + seed, method=method, seed=seed, epochs=1, errors=356, train_images=1500)
        for method in ("bgd_ii", "top_k")
        for seed in range(3)
    ]
    both = Evidence.by_scale([*part, *whole])
    tests = [Share("mlp", name, 100.0) for name in ("bgd_ii", "top_k", "l1")]
    (ruling,) = judge([claim("1", *tests)], *both)
    assert [item.errors for item in ruling.judged] == [370, 356, None]
    assert [item.outcome.n for item in ruling.judged[:2]] == [9, 6]
    assert str(ruling.judged[2].outcome).startswith("missing: no run of L1-Regularizer on MLP")
    alone = judge([claim("1", *tests[:1])], *Evidence.by_scale(whole))[0].judged[0]
    assert alone.outcome == ruling.judged[0].outcome


def test_a_network_with_one_n0_is_in_the_evidence_of_each_and_a_probe_in_that_of_its_own():
    parts = [
        altered(1, network="alexnet", epochs=epochs, errors=errors, train_images=1000 * epochs)
        for epochs, errors in ((1, 356), (40, 370))
    ]
    ranks = [sample([1] * 4, [1, 2, 3, 4], [0.9, 0.8, 0.7, 0.6], [0.5] * 4)] * 5
    probe = probe_run("gradient_ranks", ranks, "alexnet", errors=356)
    spec = {**probe.header.spec, "scale": {"recipe": {"epochs": 1}}}
    probe = replace(probe, header=replace(probe.header, spec=spec))
    both = Evidence.by_scale([altered(1), probe, parts[1], parts[0]])
    assert [set(each.runs["network"]) for each in both] == [{"mlp", "alexnet"}] * 2
    assert [each.errors["alexnet"] for each in both] == [370, 356]
    assert [list(each.probes) for each in both] == [[], [("gradient_ranks", "alexnet")]]
    test = NoRankBest("alexnet", "best_of_sample")
    (ruling,) = judge([Claim("1", "a claim", "section 1", {"alexnet": "4.9"}, (test,))], *both)
    assert ruling.judged[0].errors == 356
    assert len(Evidence.by_scale([])) == 1


def test_what_is_wrong_with_the_runs_at_the_larger_scale_is_said():
    """A method that does badly there is not judged at the other scale."""
    none = [altered(None, None, epochs=40, errors=370)]
    some = [altered(1, 2, epochs=1, errors=356, train_images=1500)]
    (ruling,) = judge([claim("1", Sign("mlp", "dTL", "bgd_ii", "below"))], *Evidence.by_scale([*some, *none]))
    assert str(ruling.judged[0].outcome) == "missing: BGD-II corrected no sample"
    assert ruling.judged[0].errors == 370


def test_committed_records_have_the_columns_that_claims_read(tmp_path):
    """Of sweeps some are left out: the presets that claims are on are kept whole."""
    main = [
        altered(1 + seed, 2, method=name, seed=seed)
        for name in ("bgd_ii", "bgd_i", "top_k")
        for seed in (0, 1)
    ]
    full = [
        altered(2, 1 + seed, method=name, seed=seed, network="alexnet", epochs=40)
        for name in ("bgd_ii", "bgd_i", "top_k")
        for seed in (0, 1)
    ]
    ids = [tuple(one.header.run_id for one in runs) for runs in (main, full)]
    runs = {one.header.run_id: one for one in (*main, *full)}
    export(Records(runs, dict(zip(WHOLE, ids, strict=True))), tmp_path, whole=WHOLE)
    assert LEDGER.files(load(tmp_path).of(*LEDGER.presets)) == LEDGER.files(list(runs.values()))


def test_a_reason_names_no_more_than_three_tests():
    tests = [Fixed(f"test {place}", BAD) for place in range(5)]
    (ruling,) = judge([claim("1", *tests)], NOTHING)
    assert ruling.reason == "all 5 tests fail: MLP: test 0; MLP: test 1; MLP: test 2; 2 more"


def test_an_undefined_quantity_is_not_comparable():
    (ruling,) = judge([claim("1", not_comparable="no number")], NOTHING)
    assert (ruling.verdict, ruling.reason, ruling.deciding) == (NOT_COMPARABLE, "no number", None)


def test_holm_is_over_the_tests_of_a_table_each_once():
    shared, own, other = (Fixed(name, outcome(p=p)) for name, p in (("a", 0.03), ("b", 0.02), ("c", 0.04)))
    without = Fixed("d", outcome())
    rulings = judge(
        [claim("1", shared, own), claim("2", shared, without), claim("3", other, table="4.4")], NOTHING
    )
    adjusted = {item.test.subject: item.adjusted for ruling in rulings for item in ruling.judged}
    assert [adjusted["b"], adjusted["a"]] == holm([0.02, 0.03]) == [0.04, 0.04]
    assert adjusted["c"] == 0.04  # a family of its own
    assert adjusted["d"] is None
    assert [shared.calls, own.calls] == [1, 1]
    assert [ruling.verdict for ruling in rulings] == [REPRODUCED] * 3


# --- the ledger as files


def document(**verdicts):
    return {"runs_sha256": "0", "verdicts": verdicts}


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (REPRODUCED, REPRODUCED, False),
        (REPRODUCED, DIRECTION_ONLY, True),
        (DIRECTION_ONLY, NOT_REPRODUCED, True),
        (NOT_REPRODUCED, DIRECTION_ONLY, False),
        (NOT_REPRODUCED, NOT_COMPARABLE, True),
        (NOT_COMPARABLE, NOT_REPRODUCED, False),
        (NOT_COMPARABLE, NOT_COMPARABLE, False),
    ],
)
def test_worse_verdicts_are_named(before, after, worse):
    lines = compare_verdicts(document(a=before), document(a=after, new=NOT_REPRODUCED))
    assert lines == ([f"claim a: {before}, now {after}"] if worse else [])


def test_a_claim_that_is_gone_is_worse_and_an_odd_document_is_refused():
    assert compare_verdicts(document(a=NOT_COMPARABLE), document()) == ["claim a: not comparable, now gone"]
    with pytest.raises(ConfigError, match="verdicts=None: must be a mapping"):
        compare_verdicts({"a": REPRODUCED}, document())
    with pytest.raises(ConfigError, match=r"verdicts.a='better': valid: direction only"):
        compare_verdicts(document(), document(a="better"))


RUNS = (
    *(altered(1, 2, 1, seed=seed) for seed in range(3)),
    altered(500, 700, 600, method="top_k"),
    altered(3, 5, None, method="bgd_i"),
    *(path_of(0.9, 0.3, 0.2, seed=seed) for seed in range(3)),
    path_of(0.9, 0.3, 0.7, method="top_k"),
    probe_run("gradient_ranks", [sample([1] * 4, [1, 2, 3, 4], [0.9, 0.8, 0.7, 0.6], [0.5] * 4)] * 5),
    probe_run("layer_gradients", [layers(9, 2, 1)] * 5),
)


def test_files():
    part: Part = Claims(path=CLAIMS)
    made = part.files(RUNS)
    assert tuple(made) == part.names
    claims = read_ledger(CLAIMS).claims
    verdicts = json.loads(made["report/verdicts.json"])["verdicts"]
    assert set(verdicts) == {claim.id for claim in claims if not claim.other_reading_of}
    assert list(verdicts)[:2] == ["1", "2"]
    assert list(verdicts).index("7a") + 1 == list(verdicts).index("7b") < list(verdicts).index("12")
    assert verdicts["10a"] == verdicts["2"] == NOT_COMPARABLE  # no run on AlexNet
    assert verdicts["47"] == REPRODUCED  # of the MLP alone
    text = made["report/claims.md"].decode()
    assert text.count("<details") == text.count("</details>") == len(claims)
    assert read_ledger(CLAIMS).rule in text
    for item in claims:
        assert f"](#claim-{item.id})" in text
        assert f'id="claim-{item.id}"' in text
    assert "missing: no run of L1-Regularizer on MLP in the reloading setting" in text
    table = pd.read_csv(io.BytesIO(made["report/claims.csv"]), dtype={"id": str})
    assert set(table["id"]) == {claim.id for claim in claims}
    assert dict(zip(table["id"], table["verdict"], strict=True)).items() >= verdicts.items()


def test_the_same_bytes_in_whatever_order_the_runs_come():
    turned = list(RUNS)
    random.Random(0).shuffle(turned)
    assert Claims(path=CLAIMS).files(turned) == Claims(path=CLAIMS).files(RUNS)


def test_without_runs_every_claim_says_that_they_are_missing():
    made = Claims(path=CLAIMS).files(())
    verdicts = json.loads(made["report/verdicts.json"])["verdicts"]
    assert set(verdicts.values()) == {NOT_COMPARABLE}
    assert "missing" in made["report/claims.md"].decode()

from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments.report.frames import ORDERS, REPLICAS, corrections_of
from experiments.report.part import Part, Thesis
from experiments.report.tables import REFERENCE_COLUMNS, printed
from experiments.report.variation import BaseNetworks, Orders
from tests.records_factory import BASE, CORRECTED, UNCORRECTED, figures, row, run
from tests.report.probe_records import probe_run, rows_of

REFERENCE = pd.DataFrame(
    [
        ("4.8", "mlp", "non_reloading", "POC", "bgd_ii", 25.87, 0.0),
        ("4.8", "mlp", "non_reloading", "POC", "retrain", 99.69, None),
        ("4.2", "mlp", "reloading", "POC", "bgd_ii", 100.0, 0.0),
        ("4.4", "mlp", "reloading", "POC", "bgd_ii", 11.0, 1.0),
        ("4.4", "mlp", "reloading", "POC", "bgd_i", 95.88, 0.05),
        ("4.4", "alexnet", "reloading", "POC", "top_k", 12.0, 1.0),
        ("4.1", "mlp", "reloading", "POC", "top_k", 13.0, 1.0),
    ],
    columns=REFERENCE_COLUMNS,
)


@pytest.fixture(scope="module")
def thesis(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "tables.csv"
    REFERENCE.to_csv(path, index=False)
    return Thesis(errors=(("mlp", 947),), tables=path)


@pytest.fixture(scope="module")
def orders(thesis):
    return Orders(thesis, methods=("bgd_ii", "bgd_i", "retrain"))


@pytest.fixture(scope="module")
def networks(thesis):
    return BaseNetworks(thesis, methods=("bgd_ii", "bgd_i"))


def ordered(order, outcomes, ends, method="bgd_ii", retained=0.5, **about):
    """A run of the non-reloading setting; `ends` are test accuracy, training accuracy, training loss per sample."""
    rows = tuple(
        row(
            place,
            CORRECTED if right else UNCORRECTED,
            figures=figures(test_accuracy=test, train_accuracy=train, train_loss=loss),
        )
        for place, (right, (test, train, loss)) in enumerate(zip(outcomes, ends, strict=True))
    )
    about = {"setting": "non_reloading", **about}
    return run(rows, method=method, order=order, retained=retained, **about)


RUNS = [
    ordered(0, (1, 1), [(0.7, 0.8, 0.5), (0.6, 0.7, 1.0)], retained=0.5),
    ordered(1, (1, 0), [(0.5, 0.6, 2.0), (0.5, 0.6, 2.0)], retained=1.0),
    ordered(2, (0, 0), [(0.8, 0.9, 0.25), (0.4, 0.5, 6.0)], retained=0.0),
    ordered(0, (1, 1), [(0.7, 0.8, 0.5), (0.6, 0.7, None)], method="bgd_i", retained=None),
    ordered(2, (1, 0), [(0.7, 0.8, 0.5), (0.6, 0.7, 3.0)], method="bgd_i", retained=None),
]


def order_lines(files, network="mlp"):
    rows = [line for line in rows_of(files["tables/orders.csv"]) if line["network"] == network]
    return {(line["method"], line["metric"]): line for line in rows}


def numbers(line, *names):
    return [float(line[name]) for name in names]


def test_orders_have_mean_spread_ends_and_the_thesis_beside(orders):
    files = orders.files(RUNS)
    assert sorted(files) == sorted(orders.names)
    lines = order_lines(files)
    assert len(lines) == 3 * 5
    line = lines["bgd_ii", "POC"]  # 100, 50, 0
    assert numbers(line, "mean", "sd", "min", "max", "order_0", "thesis_mean", "thesis_sd") == [
        *(50, 50, 0, 100, 100),
        *(25.87, 0),
    ]
    assert line["n"] == "3"
    final = lines["bgd_ii", "final_test_accuracy"]  # 0.6, 0.5, 0.4
    assert numbers(final, "mean", "sd", "min", "max", "order_0") == pytest.approx([0.5, 0.1, 0.4, 0.6, 0.6])
    assert final["thesis_mean"] == ""
    loss = lines["bgd_ii", "final_training_loss"]  # 1, 2, 6
    assert numbers(loss, "mean", "sd", "order_0") == pytest.approx([3, 7**0.5, 1])
    assert numbers(lines["bgd_ii", "retained"], "mean", "sd") == [50, 50]


def test_early_accuracy_is_that_after_50_samples(orders):
    ends = [(0.9 if place < 50 else 0.1, 0.9, 0.5) for place in range(52)]
    line = order_lines(orders.files([ordered(0, [1] * 52, ends)]))["bgd_ii", "early_test_accuracy"]
    assert numbers(line, "mean", "min", "max") == [0.9, 0.9, 0.9]
    assert line["sd"] == ""


def test_a_loss_that_is_not_finite_and_a_missing_order_are_told(orders):
    files = orders.files(RUNS)
    line = order_lines(files)["bgd_i", "final_training_loss"]
    assert (line["mean"], line["n"], line["left_out"], line["order_0"]) == ("3.0", "1", "1", "")
    assert order_lines(files)["bgd_i", "retained"]["mean"] == "not recorded"
    assert order_lines(files)["retrain", "POC"]["mean"] == "missing"
    assert numbers(order_lines(files)["retrain", "POC"], "thesis_mean") == [99.69]
    text = files["tables/orders.md"].decode()
    assert "| BGD-II | 3 | 50 ± 50 | missing | 100 | 25.87 ± 0 |" in text
    assert "| Re-training | 0 | missing | missing | missing | 99.69 |" in text
    assert "Missing, no run among the records: BGD-I for order 1; Re-training for any order." in text
    assert "MLP: orders left out because a loss is not finite: Final training loss of BGD-I: 1." in text
    assert "3 orders of the samples (0, 1 and 2)" in text
    assert "N0 gets 2 test images wrong (thesis: 947)." in text
    assert "Full scale" in text


def test_the_spread_over_replicas_stands_beside_that_over_orders(orders):
    nudged = [ordered(0, (1, right), [(0.7, 0.8, 0.5)] * 2, replica=1 + right) for right in (0, 1)]
    text = orders.files([*RUNS, *nudged])["tables/orders.md"].decode()
    assert "| BGD-II | 3 | 50 ± 50 | 35.36 (2) | 100 |" in text
    same = [ordered(0, (1, 1), [(0.7, 0.8, 0.5)] * 2, replica=replica) for replica in (1, 2)]
    text = orders.files([*RUNS, *same])["tables/orders.md"].decode()
    assert "| BGD-II | 3 | 50 ± 50 | 0 (2) | 100 |" in text
    text = orders.files([*RUNS, same[0]])["tables/orders.md"].decode()
    assert "| BGD-II | 3 | 50 ± 50 | one replica | 100 |" in text


def test_other_seeds_networks_and_settings_are_not_looked_at(orders):
    others = [
        ordered(0, (1, 1), [(0.1, 0.1, 9.0)] * 2, seed=1),
        ordered(0, (1, 1), [(0.1, 0.1, 9.0)] * 2, network_seed=1),
        ordered(0, (1, 1), [(0.1, 0.1, 9.0)] * 2, setting="reloading"),
        ordered(0, (1, 1), [(0.1, 0.1, 9.0)] * 2, method="top_k"),
        probe_run("loss_change", [{}]),
    ]
    assert orders.files([*RUNS, *others]) == orders.files(RUNS)


ALEXNET = [
    ordered(order, (right, 0), [(0.9, 0.9, 0.5)] * 2, network="alexnet", errors=352, base_id="other")
    for order, right in enumerate((1, 0, 1, 1))
]


def test_each_network_has_its_own_orders_and_the_thesis_table_that_prints_them(orders):
    alone, both = orders.files(RUNS), orders.files([*RUNS, *ALEXNET])
    assert order_lines(both) == order_lines(alone)
    poc = order_lines(both, "alexnet")["bgd_ii", "POC"]  # 50, 0, 50, 50
    assert numbers(poc, "mean", "sd", "order_0", "n") == [37.5, 25, 50, 4]
    assert poc["thesis_mean"] == ""
    text = both["tables/orders.md"].decode()
    assert "AlexNet, non-reloading setting, 4 orders of the samples (0, 1, 2 and 3)" in text
    assert "MLP, non-reloading setting, 3 orders of the samples (0, 1 and 2)" in text
    assert text.index("thesis (4.8)") < text.index("thesis (4.7)")
    assert text.index("| BGD-II | 3 | 50 ± 50 |") < text.index("| BGD-II | 4 | 37.50 ± 25 |")
    assert "BGD-I for any order. Not run in other orders: Re-training." in text
    assert text.count("| Re-training |") == 1
    assert "WARNING" not in text  # each network has its own N0


def test_the_figure_has_a_row_for_each_network_with_runs(orders):
    figure, _ = paint(orders, [*RUNS, *ALEXNET])
    assert [axes.get_title() for axes in figure.axes][::3] == [
        "(a) testing accuracy, MLP",
        "(d) testing accuracy, AlexNet",
    ]
    assert figure.axes[3].lines[0].get_ydata() == pytest.approx([BASE.test_accuracy, 0.9, 0.9])
    assert len(paint(orders, RUNS)[0].axes) == 3


def paint(orders, runs):
    figure = Figure(layout="constrained")
    return figure, orders._paint(figure, corrections_of(runs, method=orders.methods))


def test_the_figure_has_a_mean_and_a_band_over_orders(orders):
    figure, notes = paint(orders, RUNS)
    test, train, loss = figure.axes
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "log"]
    # N0, then the means of (0.7, 0.5, 0.8) and (0.6, 0.5, 0.4).
    assert test.lines[0].get_ydata() == pytest.approx([BASE.test_accuracy, 2 / 3, 0.5])
    assert train.lines[0].get_ydata() == pytest.approx([BASE.train_accuracy, 2.3 / 3, 0.6])
    assert loss.lines[0].get_ydata() == pytest.approx([BASE.train_loss, 2.75 / 3, 3])
    assert loss.lines[1].get_ydata() == pytest.approx([BASE.train_loss, 0.5, 3])  # of the one that is finite
    band = test.collections[0].get_paths()[0].vertices
    assert sorted(set(band[band[:, 0] == 2, 1])) == pytest.approx([0.4, 0.6])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["BGD-II", "BGD-I"]
    assert "Not finite and not drawn: BGD-I, training loss (nats), MLP, 1 values." in notes
    assert any("BGD-I for order 1; Re-training for any order" in note for note in notes)


def test_a_figure_without_runs_says_so(orders):
    figure, notes = paint(orders, [])
    assert all("missing" in axes.texts[0].get_text() for axes in figure.axes)
    assert "MLP, non-reloading setting: missing, no run of the orders is among the records." in notes
    files = orders.files([])
    assert sorted(files) == sorted(orders.names)
    assert "| BGD-II | 0 | missing |" in files["tables/orders.md"].decode()


def test_orders_of_different_n0_are_loud(orders):
    odd = ordered(1, (1,), [(0.5, 0.5, 0.5)], method="bgd_i", base_id="another")
    text = orders.files([*RUNS, odd])["tables/orders.md"].decode()
    assert "**MLP: WARNING: the runs start from 2 different N0.**" in text


def based(network_seed, altered, losses, method="bgd_ii", seed=0, **about):
    """A run of the reloading setting; an `altered` of None is a sample that is not corrected."""
    rows = tuple(
        row(
            place,
            UNCORRECTED if value is None else CORRECTED,
            altered=value or 0,
            figures=figures(train_loss=loss, test_accuracy=0.75),
        )
        for place, (value, loss) in enumerate(zip(altered, losses, strict=True))
    )
    about = {"base_id": f"base {network_seed}", **about}
    return run(rows, method=method, network_seed=network_seed, seed=seed, **about)


BASES = [
    based(0, (10, 30), (0.25, 0.75)),
    based(1, (10, None, 50, None), (0.25, 9.0, 1.25, 9.0)),
    based(2, (40, 40, 40, 40), (1.25, 1.25, None, 1.25), errors=1234),
    based(0, (None, None), (9.0, 9.0), method="bgd_i"),
    based(1, (10, 10, 10, 10), (None,) * 4, method="bgd_i"),
]


def base_lines(files):
    rows = rows_of(files["tables/base_networks.csv"])
    return {(line["metric"], line["method"], line["network_seed"]): line for line in rows}


def test_base_networks_have_a_column_each_and_their_spread(networks):
    files = networks.files(BASES)
    assert sorted(files) == sorted(networks.names)
    lines = base_lines(files)
    assert len(lines) == 4 * 2 * 4
    mean_of = partial(numbers, lines["POPA", "bgd_ii", "all"])
    assert [numbers(lines["POPA", "bgd_ii", str(seed)], "mean")[0] for seed in range(3)] == [2, 3, 4]
    assert mean_of("mean", "sd", "n") == [3, 1, 3]
    assert lines["POPA", "bgd_ii", "all"]["sd_over"] == "networks"
    assert [numbers(lines["POC", "bgd_ii", str(seed)], "mean")[0] for seed in range(3)] == [100, 50, 100]
    # Over corrected samples with a loss, less N0's 0.25: 0 and 0.5; 0 and 1; 1 three times.
    assert [numbers(lines["dTL", "bgd_ii", str(seed)], "mean")[0] for seed in range(3)] == [0.25, 0.5, 1]
    assert lines["dTL", "bgd_ii", "2"]["left_out"] == "1"
    assert numbers(lines["dTA", "bgd_ii", "all"], "mean") == [pytest.approx(-0.05)]
    assert lines["dTA", "bgd_ii", "all"]["sd"] == ""  # N0 do not differ
    assert [lines["POC", "bgd_ii", str(seed)]["errors"] for seed in range(3)] == ["2", "4", "1234"]


def test_base_networks_table_for_people(networks):
    text = networks.files(BASES)["tables/base_networks.md"].decode()
    assert "| N0 0 (2 errors) | N0 1 (4 errors) | N0 2 (1,234 errors) | mean ± sd over N0 | thesis |" in text
    assert "| POC (%) | BGD-II | 100 | 50 | 100 | 83.33 ± 28.87 | 100 ± 0 |" in text
    assert "| POC (%) | BGD-I | 0 | 100 | missing | 50 ± 70.71 | 95.88 ± 0.05 |" in text
    # POPA of the first N0 has no corrected sample: the mean is of the other one.
    assert "| POPA (%) | BGD-I | none corrected | 1 | missing | 1 |  |" in text
    assert "| ΔTL | BGD-I | none corrected | not finite | missing | not finite |  |" in text
    assert "Missing, no run among the records: BGD-I for N0 2." in text
    assert "ΔTL of BGD-II: 1; ΔTL of BGD-I: 4." in text
    assert "N0 gets 2, 4 and 1,234 test images wrong (thesis: 947)." in text
    assert "WARNING" not in text  # several N0 are meant
    assert "Of the runs' seeds" not in text


def test_other_seeds_are_said_and_other_runs_not_looked_at(networks):
    more = networks.files([*BASES, based(0, (90, 90), (9.0, 9.0), seed=1)])
    csv = "tables/base_networks.csv"
    assert more[csv] == networks.files(BASES)[csv]
    assert "Of the runs' seeds only 0 is used here." in more["tables/base_networks.md"].decode()
    others = [
        based(3, (90,), (9.0,)),
        based(0, (90,), (9.0,), order=1),
        based(0, (90,), (9.0,), setting="non_reloading"),
        based(0, (90,), (9.0,), network="alexnet"),
        based(0, (90,), (9.0,), method="top_k"),
    ]
    assert networks.files([*BASES, *others]) == networks.files(BASES)


def test_base_networks_missing_and_out_of_band(networks):
    text = networks.files([])["tables/base_networks.md"].decode()
    assert "| N0 0 (missing) | N0 1 (missing) | N0 2 (missing) |" in text
    assert "| POC (%) | BGD-II | missing | missing | missing | missing | 100 ± 0 |" in text
    assert "missing, no run of other N0 is among the records" in text
    text = networks.files([based(1, (1, 1), (1.0, 1.0), expected=[5, 9])])["tables/base_networks.md"].decode()
    assert "**N0 1: WARNING: N0 has 2 errors, outside the expected 5 to 9.**" in text


def test_the_first_table_that_prints_a_value_counts(tmp_path):
    values = printed(REFERENCE, "4.2", "4.1")
    assert values == {("POC", "bgd_ii"): (100.0, 0.0), ("POC", "top_k"): (13.0, 1.0)}
    assert printed(REFERENCE, "4.4", "4.2")["POC", "bgd_ii"] == (11.0, 1.0)
    assert printed(REFERENCE, "4.8")["POC", "retrain"] == (99.69, None)
    REFERENCE.to_csv(tmp_path / "tables.csv", index=False)
    assert printed(tmp_path / "tables.csv", "4.2", "4.1") == values


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runs"), [("orders", RUNS), ("networks", BASES)])
def test_the_same_bytes_in_any_order(name, runs, request):
    part = request.getfixturevalue(name)
    first = part.files(runs)
    shuffled = [runs[place] for place in np.random.default_rng(3).permutation(len(runs))]
    assert [item.header.run_id for item in shuffled] != [item.header.run_id for item in runs]
    assert part.files(shuffled) == first
    assert part.files(runs[1:]) != first


def test_they_are_parts(orders, networks):
    checked: tuple[Part, ...] = (orders, networks)
    assert [part.presets for part in checked] == [(*ORDERS, *REPLICAS), ("base_networks",)]

from dataclasses import replace

import numpy as np
import pytest

from experiments.report.captions import describe_scale, warnings
from experiments.report.frames import (
    NETWORK,
    ORDER,
    REPLICA,
    ReportError,
    build_frames,
    by_recipe,
    drawn,
    draws,
)
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, rows, run


def test_one_row_per_sample_with_its_figures_and_those_of_its_run():
    made = row(0, altered=7, figures=figures(train_loss=0.5))
    frames = build_frames([run((made,), method="top_k", seed=2, parameters=50, expected=[1, 9])])
    (sample,) = frames.samples.to_dict("records")
    assert (sample["network"], sample["setting"], sample["method"], sample["seed"]) == (
        "mlp",
        "reloading",
        "top_k",
        2,
    )
    assert (sample["altered"], sample["train_loss"], sample["base_train_loss"]) == (7, 0.5, 0.25)
    assert (sample["parameters"], sample["train_images"], sample["test_images"]) == (50, 54_000, 10_000)
    (header,) = frames.runs.to_dict("records")
    assert (header["errors"], header["expected_errors"], header["run_samples"]) == (1, (1, 9), 1)


def test_a_training_loss_from_a_part_of_d_has_its_part_and_error_in_the_caption():
    made = [row(place, figures=figures(train_loss_error=error)) for place, error in enumerate((0.003, 0.004))]
    estimated = run(tuple(made), method="retrain")
    estimated = replace(estimated, header=replace(estimated.header, train_part=3000))
    frames = build_frames([estimated, run((row(0), row(1)), method="bgd_ii")])
    by_method = frames.runs.set_index("method")
    assert by_method.loc["retrain", "train_loss_error"] == pytest.approx(np.sqrt((0.003**2 + 0.004**2) / 2))
    assert np.isnan(by_method.loc["bgd_ii", "train_loss_error"])
    assert by_method["train_part"].to_dict() == {"bgd_ii": 54_000, "retrain": 3000}
    text = describe_scale(frames.runs)
    assert text.startswith("Full scale: BGD-II: ")
    assert "54,000 training (by a stratified 3,000 of them) and 10,000 test images" in text
    assert text.endswith("seed 0, standard error of a training loss 0.0035 nats (root mean square).")
    assert "error" not in describe_scale(frames.select(method="bgd_ii").runs)


def test_a_loss_that_is_none_is_nan():
    frames = build_frames([run((row(0, figures=figures(train_loss=None)),))])
    assert np.isnan(frames.samples["train_loss"].iloc[0])


def test_order_does_not_depend_on_the_order_of_runs():
    runs = [run(rows(CORRECTED, UNCORRECTED), method=name, seed=seed) for name in "ba" for seed in (1, 0)]
    one, other = build_frames(runs), build_frames(runs[::-1])
    assert one.samples.equals(other.samples)
    assert one.samples[["method", "seed", "position"]].to_numpy().tolist() == [
        [name, seed, position] for name in "ab" for seed in (0, 1) for position in (0, 1)
    ]


def test_a_run_without_samples_is_a_row_among_the_runs():
    frames = build_frames([run(())])
    assert (len(frames.samples), len(frames.runs)) == (0, 1)


def test_no_runs_give_empty_frames_with_the_same_columns():
    empty, full = build_frames([]), build_frames([run(rows(CORRECTED))])
    assert list(empty.samples.columns) == list(full.samples.columns)
    assert list(empty.runs.columns) == list(full.runs.columns)


def test_select_takes_both_frames():
    frames = build_frames([run(rows(CORRECTED)), run(rows(CORRECTED, CORRECTED), network="alexnet")])
    part = frames.select(network="alexnet", method="bgd_ii")
    assert (len(part.samples), len(part.runs)) == (2, 1)
    assert part.select(method="top_k").runs.empty


def test_two_runs_of_the_same_thing_are_refused():
    with pytest.raises(ReportError, match="two runs of"):
        build_frames([run(rows(CORRECTED)), run(rows(UNCORRECTED))])


def test_runs_that_differ_in_the_seed_alone_are_one():
    same = [run((row(0), row(1)), seed=seed) for seed in range(3)]
    other = run((row(0), row(1, altered=7)), seed=4)
    assert [item.header.spec["seed"] for item in draws([same[2], other, same[0], same[1]])] == [0, 4]


def test_runs_from_replicas_that_are_the_same_are_one_in_a_row_and_that_they_were_made_is_known():
    about = {"setting": "non_reloading"}
    same = [run((row(0), row(1)), replica=replica, **about) for replica in (0, 1, 2)]
    apart = run((row(0), row(1, altered=7)), replica=3, **about)
    lone = run((row(0), row(1)), order=1, **about)
    frames = drawn([apart, same[2], lone, same[1], same[0]])
    for frame in (frames.runs, frames.samples.drop_duplicates("run_id")):
        found = zip(frame["replica"], frame["order"], frame["rounded"], strict=True)
        assert list(found) == [(0, 0, 2), (3, 0, 1), (0, 1, 0)]
    assert drawn(same[1:]).runs["replica"].tolist() == [1]
    images = "all 2 misclassified samples, 54,000 training and 10,000 test images"
    assert describe_scale(drawn([*same, lone]).runs) == (
        f"Full scale: {images}, seed 0 and 1 other order, the same from 2 replicas of N0."
    )
    assert "1 replica of N0" in describe_scale(drawn([*same, apart]).runs)
    assert "the same" not in describe_scale(drawn([*same, apart]).runs)
    assert [len(drawn(runs).runs) for runs in ([], [lone])] == [0, 1]


@pytest.mark.parametrize(
    ("values", "replica", "seed"),  # how many runs there are if the other is a replica, and if it is a seed
    [
        ({}, 1, 1),
        ({"l2": 1.0005}, 1, 2),
        ({"l2": 1.01}, 2, 2),
        ({"sample_loss_after": 0.5001}, 1, 2),
        ({"sample_loss_after": 0.51}, 2, 2),
        ({"sample_loss_after": None}, 2, 2),
        ({"l0": 6}, 1, 1),  # of many parameters one more is where it was
        ({"altered": 6}, 2, 2),
        ({"steps": 2}, 2, 2),
        ({"forward_passes": 9}, 2, 2),
        ({"outcome": UNCORRECTED}, 2, 2),
        ({"test_accuracy": 0.901}, 1, 2),  # ten images of 10,000
        ({"test_accuracy": 0.91}, 2, 2),
        ({"train_accuracy": 0.91}, 2, 2),
    ],
)
def test_a_run_is_the_same_up_to_rounding(values, replica, seed):
    about = {"l2": 1.0, "sample_loss_after": 0.5, "steps": 1, "outcome": CORRECTED}

    def of(values=about, **where):
        seen = figures(**{name: values.get(name, 0.9) for name in ("test_accuracy", "train_accuracy")})
        own = {name: value for name, value in values.items() if not name.endswith("accuracy")}
        return run((row(0, figures=seen, **own),), setting="non_reloading", **where)

    assert len(draws([of(), of(about | values, replica=1)])) == replica
    assert len(draws([of(), of(about | values, seed=1)])) == seed


def test_three_images_of_few_are_on_the_edge_as_well():
    def of(replica, accuracy):
        seen = figures(test_accuracy=accuracy, train_accuracy=0.9)
        return run((row(0, figures=seen),), setting="non_reloading", replica=replica, test_images=1500)

    assert len(draws([of(0, 0.9), of(1, 0.902)])) == 1
    assert len(draws([of(0, 0.9), of(1, 0.903)])) == 2


def test_a_loss_that_is_none_in_both_is_the_same_and_other_samples_are_not():
    def of(replica, *places):
        rows = tuple(row(place, sample_loss_after=None) for place in places)
        return run(rows, setting="non_reloading", replica=replica)

    assert len(draws([of(0, 0, 1), of(1, 0, 1)])) == 1
    assert len(draws([of(0, 0, 1), of(1, 0)])) == 2
    assert len(draws([of(0, 0, 1), of(1, 1, 0)])) == 2


def test_a_run_is_held_against_the_first_of_its_kind():
    """Runs that lie in a chain, each near the one before it, are not all one."""
    chain = [run((row(0, l2=1 + 8e-4 * k),), setting="non_reloading", replica=k) for k in range(4)]
    assert [len(draws(chain[:count])) for count in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert [item.header.spec.get("replica", 0) for item in draws(chain[::-1])] == [0, 2]


def test_replicas_are_no_draws_where_each_sample_is_corrected_on_n0():
    frames = drawn([run((row(0),), replica=replica) for replica in (0, 1)])
    assert frames.runs["rounded"].tolist() == [0]


def test_an_order_is_another_draw():
    runs = [run((row(0),), setting="non_reloading", order=order) for order in (0, 1)]
    assert drawn(runs).runs["seed"].tolist() == [0, ORDER]
    assert draws(runs) == runs


def test_another_n0_is_another_draw_and_no_reason_for_a_warning():
    own = [run(rows(CORRECTED), setting="non_reloading", replica=place, order=place) for place in (0, 1)]
    other = [
        run(rows(*[CORRECTED] * count), setting="non_reloading", network_seed=seed, base_id=f"of {seed}")
        for count, seed in ((3, 2), (2, 10**9))
    ]
    runs = drawn([*own, *other]).runs
    assert runs["seed"].tolist() == [0, ORDER + REPLICA, NETWORK, 2 * NETWORK]
    assert describe_scale(runs) == (
        "Full scale: all 1 to 3 misclassified samples, 54,000 training and 10,000 test images, seed 0, "
        "1 replica of N0, 1 other order and 2 other N0."
    )
    assert warnings(runs) == []
    twin = run(rows(CORRECTED), setting="non_reloading", network_seed=2, method="top_k", base_id="another")
    assert warnings(drawn([*other, twin]).runs) == ["WARNING: the runs start from 2 different N0."]


def test_a_scale_is_told_once_for_every_n0():
    """As many samples of different numbers of errors are one scale; all of them are another than some."""
    some = [
        run(rows(CORRECTED), setting="non_reloading", errors=errors, network_seed=seed)
        for seed, errors in enumerate((72, 85, 80))
    ]
    images = "54,000 training and 10,000 test images"
    few = f"1 of 72 to 85 misclassified samples, {images}, seed 0 and 2 other N0"
    assert describe_scale(drawn(some).runs) == f"Reduced scale: {few}."
    every = run(rows(CORRECTED), setting="non_reloading", network_seed=3, method="top_k")
    assert describe_scale(drawn([*some, every]).runs) == (
        f"Reduced scale: BGD-II: {few}; Top-k: all 1 misclassified samples, {images}, 1 other N0."
    )


def test_reloading_runs_of_two_n0_are_warned_of():
    runs = [run(rows(CORRECTED), network_seed=seed, base_id=f"of {seed}") for seed in (0, 1)]
    assert warnings(drawn(runs).runs) == ["WARNING: the runs start from 2 different N0."]


def test_runs_are_parted_by_how_n0_was_trained_most_images_first():
    """Another seed of N0 is the same recipe; the order of the runs has no say."""
    small = run(rows(CORRECTED), train_images=1500, epochs=1)
    whole = run(rows(CORRECTED), epochs=40)
    other = run(rows(CORRECTED), epochs=40, network_seed=1)
    elsewhere = run(rows(CORRECTED), network="alexnet", epochs=1)
    for runs in ((small, whole, other, elsewhere), (elsewhere, whole, other, small)):
        assert by_recipe(runs) == {"mlp": [[whole, other], [small]], "alexnet": [[elsewhere]]}
    assert by_recipe([]) == {}

"""Lanes of a bank against the same trainings one by one, written plainly with torch.optim."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import CLOUDS, ROOT, XOR, XORD, seeds

from bgd.rng import stream, torch_seeded
from experiments.companions.bank import Bank
from experiments.companions.batches import LaneDraws, rows_in_order
from experiments.companions.evaluation import outputs_of
from experiments.companions.networks import Gate, Mlp
from experiments.companions.noise import Noise, kept
from experiments.companions.optimizers import Torch
from experiments.companions.penalties.double_back import DoubleBack
from experiments.companions.penalties.norms import L2
from experiments.companions.schedules import Drops
from experiments.companions.starts import Gaussian, begin
from experiments.companions.stops import Accuracy, Early, Epochs, Reached, Steps
from experiments.companions.train import banks, train
from experiments.companions.updates.decay import Decay


def one_by_one(training):
    """The oracle: one network, `nn.Module` and torch.optim, penalty DoubleBack by plain autograd."""
    network = training.model.build()
    with torch_seeded(stream(training.seed, "companions", "init")):
        begin(network, training.init)
    pool = training.data.pool(ROOT)
    rows = training.data.split(pool, training.seed).train.rows
    step = training.optimizer
    made = getattr(torch.optim, step.kind)(
        network.parameters(), lr=step.rate, **({"betas": step.betas} if step.betas else dict(step.options))
    )
    total = training.stop.steps(-(-len(rows) // training.batch_size))
    order, draws = rows_in_order(training, len(rows)), LaneDraws(training)
    for number in range(total):
        few = rows[next(order)]
        x, y = pool.inputs[few].clone().requires_grad_(), pool.targets[few]
        gate = Gate()
        if training.model.dropout:
            mask = kept(
                draws.of("dropout loss"), (len(few), network.head.in_features), training.model.dropout
            )
            gate = Gate(torch.from_numpy(mask))
        outputs = network(x, gate).outputs
        loss = training.loss.total(outputs, y)
        if training.penalty:
            (slope,) = torch.autograd.grad(training.loss.each(outputs, y).sum(), x, create_graph=True)
            loss = loss + training.penalty["doubleback"].weight * slope.flatten(1).square().sum(1).mean()
        factor = training.schedule.factor(number, total) if training.schedule else 1.0
        made.param_groups[0]["lr"] = step.rate * factor
        made.zero_grad()
        loss.backward()
        made.step()
    return dict(network.named_parameters())


@pytest.mark.parametrize(
    ("training", "vary"),
    [
        (CLOUDS, lambda t, n: t),
        (replace(XORD, batch_size=5), lambda t, n: t),
        (
            replace(CLOUDS, model=Mlp((2, 6, 2), dropout=0.5), penalty={"doubleback": DoubleBack(0.3)}),
            lambda t, n: replace(t, penalty={"doubleback": DoubleBack(0.3 * n)}),
        ),
        (
            replace(CLOUDS, optimizer=Torch("Adam", 0.01, betas=(0.9, 0.99)), schedule=Drops()),
            lambda t, n: replace(t, optimizer=replace(t.optimizer, rate=0.01 * (n + 1))),
        ),
        (
            replace(CLOUDS, optimizer=Torch("SGD", 0.01, options={"momentum": 0.9})),
            lambda t, n: replace(t, init=Gaussian(0.2 + n)),
        ),
    ],
    ids=["plain", "convolution", "penalty and dropout", "rates", "starts"],
)
def test_lanes_are_what_each_is_alone(training, vary):
    lanes = [vary(each, number) for number, each in enumerate(seeds(training))]
    assert len(banks(lanes, 10)) == 1
    together = train(lanes, ROOT)
    for lane, trained in zip(lanes, together, strict=True):
        oracle, alone = one_by_one(lane), train([lane], ROOT)[0].parameters
        for name, value in trained.parameters.items():
            torch.testing.assert_close(value, oracle[name].detach(), rtol=2e-4, atol=2e-5)
            torch.testing.assert_close(value, alone[name], rtol=2e-4, atol=2e-5)


def test_updates_and_constraints_keep_lanes_apart():
    lanes = [replace(each, update=Decay(0.01 * each.seed)) for each in seeds(XOR)]
    for lane, trained in zip(lanes, train(lanes, ROOT), strict=True):
        for name, value in train([lane], ROOT)[0].parameters.items():
            torch.testing.assert_close(trained.parameters[name], value, rtol=1e-4, atol=1e-5)


def test_trainings_that_differ_in_more_than_numbers_do_not_share_a_bank():
    other = replace(XOR, model=Mlp((2, 4, 1)))
    found = banks([*seeds(XOR), replace(XOR, init=Gaussian(3.0)), other], 3)
    assert [len(bank) for bank in found] == [3, 1, 1]
    assert not XOR.alike(replace(XOR, penalty={"l2": L2(0.1)}))
    assert replace(XOR, penalty={"l2": L2(0.1)}).alike(replace(XOR, penalty={"l2": L2(0.0)}))


def test_an_arm_does_not_shift_the_random_numbers_of_another():
    """The same seed has the same rows, start and order, whatever the penalty draws: arms are paired."""
    plain, other = CLOUDS, replace(CLOUDS, penalty={"l2": L2(0.1)}, noise=Noise(inputs=0.1))
    for first, second in zip(train([plain], ROOT), train([other], ROOT), strict=True):
        for name, value in first.start.items():
            assert torch.equal(value, second.start[name])
    assert torch.equal(next(rows_in_order(plain, 20)), next(rows_in_order(other, 20)))


def test_epochs_go_through_every_row_once():
    training = replace(XORD, batch_size=5)
    order = rows_in_order(training, 12)
    first = torch.cat([next(order) for _ in range(3)])
    assert sorted(first.tolist()) == list(range(12))
    dropping = rows_in_order(replace(training, drop_last=True), 12)
    assert [len(next(dropping)) for _ in range(4)] == [5] * 4


def test_history_is_of_the_start_and_of_each_evaluation():
    (trained,) = train([replace(XORD, evaluate=2)], ROOT)
    assert trained.history["step"] == [0, 3, 6]
    assert trained.stopped == 6
    norm = sum(float(value.norm()) for value in trained.parameters.values())
    assert trained.history["norm"][-1] == pytest.approx(norm, rel=1e-5)


def test_early_stopping_gives_the_best_on_rows_set_aside():
    training = replace(CLOUDS, stop=Early(30, patience=2, share=0.25), evaluate=30, optimizer=Torch(rate=3.0))
    (trained,) = train([training], ROOT)
    assert 0 < trained.stopped <= 30 * 3
    assert trained.history["step"][-1] == trained.stopped
    (aside,) = train([replace(training, stop=Steps(trained.stopped, share=0.25))], ROOT)
    for name, value in trained.parameters.items():
        torch.testing.assert_close(value, aside.parameters[name])


def test_matched_accuracy_ends_at_the_first_evaluation_that_has_it():
    training = replace(CLOUDS, stop=Accuracy(0.6, 60, share=0.25), evaluate=60, optimizer=Torch(rate=0.3))
    (trained,) = train([training], ROOT)
    assert trained.stopped < 60
    keeper = Reached(0.6)
    taken = [keeper.takes(1.0, accuracy, step) for step, accuracy in enumerate((0.5, 0.4, 0.55, 0.7, 0.9))]
    assert taken == [True, False, True, True, False], "the best until it is reached, then no more"
    assert (keeper.at, keeper.over) == (3, True)


def test_bagging_the_variance_of_a_mean_of_members_is_what_the_notes_print():
    """v/K + (K-1)c/K, v the variance of a member's error and c the covariance of two."""
    members = 4
    lanes = [replace(each, bootstrap=True, stop=Epochs(3)) for each in seeds(CLOUDS, members)]
    bank = Bank(lanes, ROOT)
    assert len({tuple(part.rows.tolist()) for part in bank.train}) == members
    for trained, lane in zip(train(lanes, ROOT), range(members), strict=True):
        for name, value in trained.parameters.items():
            bank.parameters[name][lane] = value
    outputs = outputs_of(bank, bank.test)[:, :, 0]
    errors = (outputs - 0.5).double().numpy()
    matrix = np.cov(errors, bias=True)
    v, c = np.diag(matrix).mean(), (matrix.sum() - np.trace(matrix)) / (members * (members - 1))
    assert errors.mean(0).var() == pytest.approx(v / members + (members - 1) / members * c)

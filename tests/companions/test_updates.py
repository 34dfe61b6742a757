"""Updates, constraints, curvature and steps of the second order, against dense formulas."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import cg
from small import CLOUDS, ROOT, XOR, seeds

from bgd.errors import ConfigError
from bgd.rng import stream
from experiments.companions.bank import Bank
from experiments.companions.constraints import Ball, Lagrange, MaxNorm, Pruned
from experiments.companions.curvature import Hessian, dense, flattened, product, shaped
from experiments.companions.feeder import Feeder
from experiments.companions.optimizers import Curved, Lbfgs, Stepper, Torch
from experiments.companions.stops import Steps
from experiments.companions.train import banks, train
from experiments.companions.updates.coordinate import Coordinate
from experiments.companions.updates.decay import Decay
from experiments.companions.updates.metric import Metric
from experiments.companions.updates.newton import HessianFree, Newton
from experiments.companions.updates.selective import Selective

MATRIX = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, -1.0]])
CENTRE = torch.tensor([1.0, -2.0, 0.5])
THETA = {"a": torch.tensor([0.5, 1.0]), "b": torch.tensor([-2.0])}
STILL = Torch(rate=0.0)


def quadratic(parameters):
    """1/2 (theta - c)^T H (theta - c), H = MATRIX."""
    apart = flattened(parameters) - CENTRE
    return 0.5 * apart @ MATRIX @ apart


def dense_loss(parameters):
    return (flattened(parameters) ** 4).sum() + flattened(parameters).prod()


def test_a_product_is_that_of_the_dense_hessian():
    matrix = dense(dense_loss, THETA)
    torch.testing.assert_close(flattened(product(dense_loss, THETA, THETA)), matrix @ flattened(THETA))
    assert {name: value.shape for name, value in shaped(matrix[0], THETA).items()} == {"a": (2,), "b": (1,)}


@pytest.mark.parametrize("way", ["largest", "by_power"])
def test_largest_eigenvalues_have_their_signs(way):
    found = getattr(Hessian(quadratic, THETA), way)(2, stream(0, "eigenvalues"))
    expected = sorted(torch.linalg.eigvalsh(MATRIX).tolist(), key=abs, reverse=True)[:2]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_hutchinson_is_exact_on_a_diagonal_and_unbiased_elsewhere():
    diagonal = Hessian(lambda p: (flattened(p) ** 4).sum(), THETA)
    torch.testing.assert_close(diagonal.diagonal(1, stream(0, "z")), 12 * flattened(THETA) ** 2)
    found = Hessian(quadratic, THETA).diagonal(60, stream(0, "z"))
    # The variance of an entry is the sum of the squares beside it, 1.25 at most, over the probes.
    torch.testing.assert_close(found, MATRIX.diagonal(), atol=4 * (1.25 / 60) ** 0.5, rtol=0)


def test_metric_as_run_and_as_printed():
    h = flattened(product(dense_loss, THETA, THETA))
    run = Metric(1.0).change(dense_loss, THETA, 0.0)
    torch.testing.assert_close(flattened(run), h.abs() * flattened(THETA).sign())
    torch.testing.assert_close(flattened(Metric(1.0, signed=True).change(dense_loss, THETA, 0.0)), h)


def test_l2_decays_until_tau_by_k():
    assert torch.equal(flattened(Decay(1.0).change(quadratic, THETA, 0.99)), 2 * flattened(THETA))
    assert torch.equal(
        flattened(Decay(1.0, k=1.0, until=0.7).change(quadratic, THETA, 0.69)), flattened(THETA)
    )
    assert not flattened(Decay(1.0, until=0.7).change(quadratic, THETA, 0.7)).any()


def test_fewer_steps_decay_as_much():
    """(1 - 2 lambda)^n is what n steps leave; Metric acts like the gradient and takes the learning rate's factor."""
    rate = Decay(0.1).stretched(5.0, 2.0)
    assert 1 - 2 * rate == pytest.approx((1 - 2 * 0.1) ** 5)
    assert Selective(0.1).stretched(5.0, 2.0) == rate
    assert Metric(0.1).stretched(5.0, 2.0) == pytest.approx(0.2)
    assert replace(XOR, update=Decay(0.1), stretch=2.0, decay_stretch=5.0).taken == rate
    assert replace(XOR, update=Decay(0.1)).taken == pytest.approx(0.1)


def test_l2_is_torchs_coupled_weight_decay():
    """theta -= alpha g + k lambda theta is SGD with weight_decay = k lambda / alpha."""
    (ours,) = train([replace(XOR, update=Decay(0.01, k=2.0))], ROOT)
    (alone,) = train([XOR], ROOT)
    bank = Bank([XOR], ROOT)
    values = [value.requires_grad_() for value in bank.parameters.values()]
    step = torch.optim.SGD(values, lr=XOR.optimizer.rate, weight_decay=2 * 0.01 / XOR.optimizer.rate)
    feeder = Feeder(bank)
    for _ in range(4):
        gradients, _ = bank.gradients(feeder.next())
        for value, gradient in zip(values, gradients.values(), strict=True):
            value.grad = gradient
        step.step()
    for name, value in bank.parameters.items():
        torch.testing.assert_close(ours.parameters[name], value[0].detach())
        assert not torch.equal(ours.parameters[name], alone.parameters[name])


def felt(parameters):
    """A loss whose H theta is (1, 8) for a and (-4) for b."""
    a, b = parameters["a"], parameters["b"]
    return (torch.tensor([1.0, 4.0]) * a**2).sum() + b.square().sum()


@pytest.mark.parametrize(
    ("options", "decays"),
    [
        ({"omega": 0.1}, [False, False, False]),  # h = 1, 8 | -4: edges 0.8 | below 0, so nothing of b
        ({"omega": 0.2}, [True, False, False]),
        ({"omega": 0.2, "threshold": "abs_max"}, [True, False, False]),
        ({"omega": 1.1, "threshold": "abs_max"}, [True, True, True]),
        ({"omega": 0.2, "inverted": True}, [False, True, False]),
    ],
)
def test_selective_decays_where_h_is_small_in_its_tensor(options, decays):
    change = Selective(1.0, **options).change(felt, THETA, 0.5)
    assert (flattened(change) != 0).tolist() == decays
    torch.testing.assert_close(flattened(change), 2 * flattened(THETA) * torch.tensor(decays))


def test_stopped_selective_is_l2_before_tau():
    rule = Selective(0.1, omega=0.2, since=0.7, before=0.01)
    before = flattened(rule.change(felt, THETA, 0.69))
    torch.testing.assert_close(0.1 * before, 0.001 * 2 * flattened(THETA))
    assert (flattened(rule.change(felt, THETA, 0.7)) != 0).tolist() == [True, False, False]


def test_damped_newton_is_one_step_on_a_quadratic():
    step = Newton(1.0, damping=0.0).change(quadratic, THETA, 0.0)
    torch.testing.assert_close(flattened(THETA) - flattened(step), CENTRE)
    damped = Newton(1.0, damping=1e4).change(quadratic, THETA, 0.0)
    torch.testing.assert_close(
        1e4 * flattened(damped), MATRIX @ (flattened(THETA) - CENTRE), rtol=1e-2, atol=1e-3
    )


def test_hessian_free_is_scipys_conjugate_gradients():
    positive = MATRIX @ MATRIX + torch.eye(3)

    def loss(parameters):
        apart = flattened(parameters) - CENTRE
        return 0.5 * apart @ positive @ apart

    gradient = positive @ (flattened(THETA) - CENTRE)
    for iterations in (1, 2, 5):
        step = HessianFree(1.0, damping=0.5, iterations=iterations).change(loss, THETA, 0.0)
        expected, _ = cg(
            (positive + 0.5 * torch.eye(3)).numpy(), gradient.numpy(), maxiter=iterations, rtol=1e-9
        )
        np.testing.assert_allclose(flattened(step), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("order", ["greedy", "cyclic"])
def test_coordinate_descent_moves_one_parameter_and_only_down(order):
    step = flattened(Coordinate(1.0, order, steps=3).change(quadratic, THETA, 1 / 3))
    assert int((step != 0).sum()) == 1
    place = (MATRIX @ (flattened(THETA) - CENTRE)).abs().argmax() if order == "greedy" else 1
    assert step[place] != 0
    assert quadratic(shaped(flattened(THETA) - step, THETA)) < quadratic(THETA)


def test_an_update_may_be_the_whole_step_in_lanes():
    lanes = [replace(each, optimizer=STILL, update=Newton(0.5, damping=10.0)) for each in seeds(XOR)]
    for trained in train(lanes, ROOT):
        assert trained.history["train_loss"][-1] < trained.history["train_loss"][0]


def test_max_norm_projects_each_unit_and_leaves_short_ones():
    value = torch.tensor([[[3.0, 4.0], [0.3, 0.4]], [[6.0, 8.0], [0.0, 1.0]]])
    held = {"head.weight": value.clone(), "head.bias": torch.full((2, 2), 9.0)}
    MaxNorm(1.0).hold(held, torch.zeros(2), torch.zeros(2), 1.0)
    torch.testing.assert_close(
        held["head.weight"], torch.tensor([[[0.6, 0.8], [0.3, 0.4]], [[0.6, 0.8], [0.0, 1.0]]])
    )
    assert held["head.bias"].eq(9).all()


def test_a_ball_projects_all_weights_together():
    held = {"a.weight": torch.tensor([[[3.0]], [[0.1]]]), "b.weight": torch.tensor([[[4.0]], [[0.1]]])}
    Ball(1.0).hold(held, torch.zeros(2), torch.zeros(2), 1.0)
    torch.testing.assert_close(held["a.weight"].flatten(), torch.tensor([0.6, 0.1]))


def test_a_lagrange_multiplier_grows_outside_and_shrinks_weights():
    held = {"a.weight": torch.tensor([[[3.0]], [[0.1]]])}
    state = torch.zeros(2)
    Lagrange(1.0, ascent=0.1).hold(held, state, torch.tensor([0.1, 0.1]), 1.0)
    torch.testing.assert_close(state, torch.tensor([0.8, 0.0]))
    torch.testing.assert_close(held["a.weight"].flatten(), torch.tensor([3.0 * (1 - 2 * 0.1 * 0.8), 0.1]))


def test_pruning_sets_the_smallest_weights_of_each_lane_to_zero_more_and_more():
    weights = torch.tensor([[[1.0, -2.0, 3.0, 4.0]], [[9.0, 0.1, -0.2, 0.3]]])
    for gone, zeros in ((0.0, 0), (0.375, 1), (1.0, 2)):
        held = {"a.weight": weights.clone()}
        Pruned(0.5).hold(held, torch.zeros(2), torch.zeros(2), gone)
        assert (held["a.weight"] == 0).flatten(1).sum(1).tolist() == [zeros, zeros]
    assert held["a.weight"][1].flatten().tolist() == pytest.approx([9, 0, 0, 0.3])


def test_weights_alone_decay_in_the_optimizer():
    values = {name: torch.ones(2, 1) for name in ("head.weight", "head.bias", "norm.weight")}
    stepper = Stepper(Torch(rate=0.1, weight_decay=0.5), values, [0.1, 0.2])
    for value in values.values():
        value.grad = torch.zeros_like(value)
    stepper.step(1.0)
    torch.testing.assert_close(values["head.weight"][:, 0], torch.tensor([0.95, 0.9]))
    assert values["head.bias"].eq(1).all()
    assert values["norm.weight"].eq(1).all()


FORMULAS = {  # of torch, after one step from theta = 1 by g = 2 at the rate 0.1; V, r and s begin at 0
    ("SGD", ("momentum", 0.9)): 1 - 0.1 * 2,
    ("Adagrad",): 1 - 0.1 * 2 / 2,
    ("RMSprop", ("alpha", 0.9)): 1 - 0.1 * 2 / (0.1 * 4) ** 0.5,  # what the notes call AdaDelta
    ("Adam",): 1 - 0.1,  # corrected for its bias, which the notes' second form is not
    ("AdamW",): 1 - 0.1,
    ("Adadelta",): 1 - 0.1 * 2 * (1e-6 / (0.1 * 4)) ** 0.5,
}


@pytest.mark.parametrize("key", FORMULAS, ids=lambda key: key[0])
def test_first_steps_of_torchs_optimizers(key):
    values = {"head.bias": torch.ones(1, 1)}
    values["head.bias"].grad = torch.full((1, 1), 2.0)
    Stepper(Torch(key[0], 0.1, options=dict(key[1:])), values, [0.1]).step(1.0)
    assert 1 - float(values["head.bias"]) == pytest.approx(1 - FORMULAS[key], rel=1e-3)


def test_nesterov_is_torchs_form():
    """theta -= a (g + m V); the notes take the gradient at theta - m V instead: the same by other parameters."""
    values = {"head.bias": torch.ones(1, 1)}
    stepper = Stepper(Torch(rate=0.1, options={"momentum": 0.9}, nesterov=True), values, [0.1])
    theta, velocity = 1.0, 0.0
    for _ in range(3):
        values["head.bias"].grad = 2 * values["head.bias"]
        stepper.step(1.0)
        velocity = 0.9 * velocity + 2 * theta
        theta -= 0.1 * (2 * theta + 0.9 * velocity)
    assert float(values["head.bias"]) == pytest.approx(theta, rel=1e-5)


def test_momentum_with_the_rate_outside_is_the_notes_with_it_inside():
    """V = g V + a grad and theta -= V; torch keeps a outside V: the same for a constant a."""
    values, theta, velocity = {"head.bias": torch.ones(1, 1)}, 1.0, 0.0
    stepper = Stepper(Torch(rate=0.1, options={"momentum": 0.9}), values, [0.1])
    for _ in range(3):
        values["head.bias"].grad = 2 * values["head.bias"]
        stepper.step(1.0)
        velocity = 0.9 * velocity + 0.1 * 2 * theta
        theta -= velocity
    assert float(values["head.bias"]) == pytest.approx(theta, rel=1e-5)


def test_lbfgs_trains_a_lane_alone_on_the_full_batch():
    lanes = [replace(each, optimizer=Lbfgs(), stop=Steps(3)) for each in seeds(XOR, 2)]
    assert [len(bank) for bank in banks(lanes, 10)] == [1, 1]
    (trained,) = train(lanes[:1], ROOT)
    assert trained.history["train_loss"][-1] < 0.1 * trained.history["train_loss"][0]


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ConfigError, match=r"pip install .bgd\[companions\]."):
        Curved().build({"a": torch.ones(1, 1)}, 0.1)


@pytest.mark.parametrize("kind", ["AdaHessian", "SophiaH"])
def test_curved_optimizers_step_by_probes_of_the_training_alone(kind):
    pytest.importorskip("pytorch_optimizer")
    training = replace(CLOUDS, optimizer=Curved(kind))
    (trained,) = train([training], ROOT)
    assert trained.history["train_loss"][-1] < trained.history["train_loss"][0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        (again,) = train([training], ROOT)
    assert again.history == trained.history


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ConfigError, match="kind='Adan': did you mean 'Adam'"):
        Torch("Adan")

"""The Fisher information as a diagonal, against loops over images and classes; what every diagonal does."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import known
from curvature_oracles import NETWORKS, N, case, close, conv, estimated, gauss_newton, gradients, mlp, other
from torch import nn

from bgd.curvature import squares
from bgd.curvature.activations import ActivationMoments
from bgd.curvature.base import CurvatureError
from bgd.curvature.diagonal import DiagonalCurvature, EmpiricalFisher, TrueFisher, sample_fisher
from bgd.curvature.hutchinson import Hutchinson
from bgd.curvature.kfac import KFAC
from bgd.curvature.labels import away, of_model
from bgd.methods.base import Problem
from bgd.parameters import ParameterSpace
from experiments.mnist import training

ESTIMATORS = [EmpiricalFisher, TrueFisher, Hutchinson, KFAC, ActivationMoments]


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("batch_size", [3, 100])
def test_empirical_fisher_is_the_mean_of_squared_gradients(build, batch_size):
    network, space, images, labels = case(build)
    found = estimated(EmpiricalFisher(batch_size=batch_size), network, space, images, labels).diagonal()
    close(found, gradients(network, images, labels).square().mean(0))


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_true_fisher_is_the_expectation_over_labels_of_squared_gradients(build):
    network, space, images, labels = case(build)
    found = estimated(TrueFisher(batch_size=3), network, space, images, labels).diagonal()
    p = network(images).softmax(1).detach()
    expected = sum(p[:, [c]] * gradients(network, images, torch.full((N,), c)).square() for c in range(3))
    close(found, expected.mean(0))


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_true_fisher_is_gauss_newton(build, temperature):
    network, space, images, labels = case(build)
    found = estimated(TrueFisher(batch_size=3, temperature=temperature), network, space, images, labels)
    close(found.diagonal(), gauss_newton(network, images, temperature).diagonal())


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_nothing_depends_on_how_many_gradients_are_in_the_cache(build, monkeypatch):
    network, space, images, labels = case(build)
    found = estimated(TrueFisher(), network, space, images, labels).diagonal()
    monkeypatch.setattr(squares, "CACHE", 1)
    close(estimated(TrueFisher(), network, space, images, labels).diagonal(), found)


def test_a_sure_network_has_curvature_at_a_temperature():
    network, space, images, labels = case(mlp)
    with torch.no_grad():
        for parameter in network.lin2.parameters():
            parameter *= 100
    sure, softened = (
        estimated(TrueFisher(temperature=t), network, space, images, labels).diagonal() for t in (1.0, 100.0)
    )
    assert sure.mean() < softened.mean() / 20


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_drawn_labels_are_right_on_average(temperature):
    """Over many draws the mean is within five standard errors, each from the draws themselves."""
    network, space, images, labels = case(mlp)
    stream = np.random.default_rng(1)
    estimator = TrueFisher(draws=5, temperature=temperature)
    drawn = torch.stack(
        [estimator.estimate(network, space, images, labels, stream).diagonal() for _ in range(300)]
    )
    exact = gauss_newton(network, images, temperature).diagonal()
    error = (drawn.mean(0) - exact).abs() / (drawn.std(0) / 300**0.5)
    assert error.max() < 5
    assert drawn.std(0).min() > 0


def test_an_image_draws_the_same_labels_whatever_the_batches():
    network, space, images, labels = case(conv)
    one, few = (
        estimated(TrueFisher(draws=2, batch_size=size), network, space, images, labels).diagonal()
        for size in (1, 4)
    )
    close(one, few)


@pytest.mark.parametrize("draws", [None, 20_000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_vectors_of_the_model_make_up_its_output_hessian(draws, dtype):
    logits = torch.tensor([[2.0, -1.0, 0.5, -200.0]], dtype=dtype)
    vectors = of_model(logits, 2.0, draws, np.random.default_rng(0))[:, 0]
    assert vectors.dtype == dtype
    p = (logits[0] / 2).softmax(0)
    atol = 1e-6 if draws is None else 0.02
    close(vectors.T @ vectors, p.diag() - torch.outer(p, p), rtol=0, atol=atol)


def test_the_gradient_by_the_logits_is_not_lost_where_p_rounds_to_one():
    logits = torch.tensor([[30.0, 0.0, 0.0]])
    found = away(logits.softmax(1), torch.tensor([0]))
    assert float(F.softmax(logits, 1)[0, 0]) == 1.0
    wide = logits.double().softmax(1)[:, 1:].sum()
    close(found[0, 0].double(), -wide, rtol=1e-5)


def test_fisher_of_the_one_sample():
    network, _, images, labels = case(mlp)
    g = gradients(network, images[:1], labels[:1])[0]
    assert torch.equal(sample_fisher(g).diagonal(), g**2)
    with pytest.raises(CurvatureError, match="not finite"):
        sample_fisher(torch.full((3,), 1e30))


def test_what_follows_may_work_in_place():
    network, space, images, labels = case(lambda: conv(nn.ReLU))
    found = estimated(TrueFisher(), network, space, images, labels).diagonal()
    network.act1.inplace = network.act2.inplace = True
    again = estimated(TrueFisher(), network, space, images, labels).diagonal()
    assert torch.equal(found, again)


def test_multiply_and_solve_of_a_diagonal():
    c, v = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([1.0, 2.0, -4.0])
    curvature = DiagonalCurvature(c)
    assert torch.equal(curvature.multiply(v), torch.tensor([0.0, 2.0, -12.0]))
    torch.testing.assert_close((c.diag() + 0.5 * torch.eye(3)) @ curvature.solve(v, 0.5), v)
    with pytest.raises(CurvatureError, match=r"damping=1e-60.* too small for torch.float32"):
        curvature.solve(v, 1e-60)
    with pytest.raises(CurvatureError, match="below 0"):
        DiagonalCurvature(torch.tensor([-1.0]))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan"), float("inf")])
def test_damping_is_above_zero(estimator, damping):
    network, space, images, labels = case(mlp)
    curvature = estimated(estimator(), network, space, images, labels)
    with pytest.raises(ValueError, match=f"damping={damping}: must be a finite number above 0"):
        curvature.solve(torch.ones(space.size, dtype=torch.float64), damping)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("build", [mlp, conv])
def test_dead_units_have_no_curvature_and_no_nan(estimator, build):
    network, space, images, labels = case(lambda: build(nn.ReLU))
    layer = network[0] if build is conv else network.lin1
    with torch.no_grad():
        layer.bias[0] = -1000.0
    curvature = estimated(estimator(), network, space, images, labels)
    diagonal, name = curvature.diagonal(), "conv1" if build is conv else "lin1"
    assert torch.isfinite(diagonal).all()
    assert (diagonal >= 0).all()
    if estimator is not ActivationMoments:
        rows = diagonal[space.span(f"{name}.weight")].view(len(layer.bias), -1)
        assert not rows[0].any()
        assert rows[1].any()
        assert diagonal[space.span(f"{name}.bias")][0] == 0
    after = diagonal[space.span("conv2.weight" if build is conv else "lin2.weight")].view(
        3, layer.bias.numel(), -1
    )
    assert not after[:, 0].any(), "nor have the weights that a dead unit feeds"
    assert after[:, 1].any()
    v = torch.ones(space.size, dtype=torch.float64)
    assert torch.isfinite(curvature.solve(v, 1e-3)).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("build", [mlp, conv])
def test_restored_from_a_file_it_is_the_same(estimator, build, tmp_path):
    network, space, images, labels = case(build)
    curvature = estimated(estimator(), network, space, images, labels)
    training.keep_tensors(curvature.tensors(), tmp_path / "kept.pt")
    again = estimator().restore(training.kept_tensors(tmp_path / "kept.pt"), space)
    v = torch.linspace(-1, 1, space.size, dtype=torch.float64)
    assert torch.equal(again.diagonal(), curvature.diagonal())
    assert torch.equal(again.multiply(v), curvature.multiply(v))
    assert torch.equal(again.solve(v, 0.1), curvature.solve(v, 0.1))
    with pytest.raises(CurvatureError, match="kept curvature"):
        estimator().restore(curvature.tensors(), ParameterSpace.of(nn.Linear(7, 2)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_options_are_checked_and_named(estimator):
    for key in ({field.name for field in dataclasses.fields(estimator)}) & {"images", "batch_size", "probes"}:
        with pytest.raises(ValueError, match=f"{key}=0: must be at least 1"):
            estimator(**{key: 0})


@pytest.mark.parametrize("estimator", [TrueFisher, KFAC])
def test_options_of_the_expectation_are_checked(estimator):
    for wrong in ({"temperature": 0.5}, {"temperature": float("nan")}, {"draws": 0}):
        ((key, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"{key}={value}: must be at least 1"):
            estimator(**wrong)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_overflow_is_named(estimator):
    network, space, images, labels = case(mlp)
    network, images = network.float(), images.float()
    images[5] = 1e38
    with torch.no_grad():
        network.lin1.weight.fill_(1e-37)
        network.lin2.weight.fill_(3e38)  # 4 units of activation 1: beyond the largest float32
    with pytest.raises(CurvatureError, match=r"logits of image 5 are not finite|cross-entropy is nan"):
        estimated(estimator(batch_size=4), network, space, images, labels)


@pytest.mark.parametrize("estimator", [EmpiricalFisher, TrueFisher, KFAC, ActivationMoments])
def test_a_curvature_that_overflows_where_the_logits_do_not_is_named(estimator):
    network, space, images, labels = case(mlp)
    network, images = network.float(), images.float() * 1e25
    with torch.no_grad():
        network.lin1.weight.mul_(1e-25)
    with pytest.raises(CurvatureError, match=r"lin1.weight.* too large for torch.float32"):
        estimated(estimator(), network, space, images, labels)


class Twice(nn.Module):
    """Puts one layer to the images twice."""

    def __init__(self):
        super().__init__()
        self.flatten, self.lin, self.out = nn.Flatten(), nn.Linear(36, 36), nn.Linear(36, 3)

    def forward(self, values):
        return self.out(self.lin(self.lin(self.flatten(values))))


class Idle(Twice):
    """Has a layer that it does not run, but reads the weight of."""

    def forward(self, values):
        return self.out(F.linear(self.flatten(values), self.lin.weight))


class Tied(nn.Module):
    """Has one weight in two layers."""

    def __init__(self):
        super().__init__()
        self.flatten, self.out = nn.Flatten(), nn.Linear(36, 3)
        self.one, self.two = nn.Linear(36, 36), nn.Linear(36, 36)
        self.two.weight = self.one.weight

    def forward(self, values):
        return self.out(self.two(self.one(self.flatten(values))))


@pytest.mark.parametrize("build", [Twice, Idle, Tied])
def test_a_weight_that_is_used_twice_or_elsewhere_has_the_diagonal_of_its_gradient(build):
    """No product of what goes into one layer and comes out of it, then."""
    network, space, images, labels = case(build)
    found = estimated(EmpiricalFisher(batch_size=3), network, space, images, labels).diagonal()
    close(found, gradients(network, images, labels).square().mean(0))
    exact = gauss_newton(network, images).diagonal()
    close(estimated(TrueFisher(batch_size=3), network, space, images, labels).diagonal(), exact)
    curvature = estimated(KFAC(batch_size=3), network, space, images, labels)
    assert {block.weight for block in curvature.blocks} == {"out.weight"}
    name = "one.weight" if build is Tied else "lin.weight"
    close(curvature.diagonal()[space.span(name)], exact[space.span(name)])
    with pytest.raises(CurvatureError, match=f"no input is known for .*{name}"):
        estimated(ActivationMoments(), network, space, images, labels)


def test_hooks_are_gone_afterwards():
    network, space, images, labels = case(mlp)
    estimated(KFAC(), network, space, images, labels)
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("build", [mlp, conv])
def test_activation_moments_are_the_mean_square_of_each_input(build):
    network, space, images, labels = case(build)
    found = estimated(ActivationMoments(batch_size=3), network, space, images, labels).diagonal()
    values = images
    for name, layer in network.named_children():
        if isinstance(layer, nn.Linear):
            expected = values.square().mean(0).expand(layer.out_features, -1)
        elif isinstance(layer, nn.Conv2d):
            patches = F.unfold(values, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
            expected = patches.square().mean(dim=(0, 2)).expand(layer.out_channels, -1)
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            close(found[space.span(f"{name}.weight")], expected.flatten())
            if layer.bias is not None:
                assert (found[space.span(f"{name}.bias")] == 1).all()
        values = layer(values).detach()


def test_activation_moments_know_no_input_of_other_layers():
    with pytest.raises(CurvatureError, match=r"norm.weight, norm.bias, grouped.weight"):
        estimated(ActivationMoments(), *case(other))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_method_gets_it_by_its_trial(estimator, trained_alexnet, tiny):
    problem = Problem(trained_alexnet, known(trained_alexnet, tiny))
    with problem.trying() as trial:
        curvature = trial.curvature(estimator(images=4))
        assert trial.curvature(estimator(images=4)) is curvature
        diagonal = curvature.diagonal()
    assert diagonal.shape == trial.original.shape
    assert torch.isfinite(diagonal).all()
    assert diagonal.any()

"""Each penalty against its formula, computed plainly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import view_of

from bgd.rng import stream, torch_seeded
from experiments.companions.losses import CrossEntropy, Hinge, Squares
from experiments.companions.networks import LeNet5, Mlp
from experiments.companions.noise import Noise, kept
from experiments.companions.penalties.activations import ActivationL1
from experiments.companions.penalties.adversarial import Fgsm, Virtual
from experiments.companions.penalties.anchors import Distillation, Ewc, L2Sp
from experiments.companions.penalties.base import Shape
from experiments.companions.penalties.confidence import Confidence
from experiments.companions.penalties.double_back import DoubleBack
from experiments.companions.penalties.jacobian import FrobReg, JacReg, SpectReg
from experiments.companions.penalties.norms import L1, L2
from experiments.companions.penalties.tangent import Tangent, tangents

SHAPE = Shape(6, (4,), 3, 5)


@pytest.fixture
def network():
    with torch_seeded(stream(0, "network")):
        return Mlp((4, 5, 3), "tanh").build()


@pytest.fixture
def batch():
    draws = stream(0, "batch")
    return torch.from_numpy(draws.standard_normal((6, 4), dtype=np.float32)), torch.tensor([0, 1, 2, 0, 1, 2])


def jacobians(network, x, probabilities=False):
    """(B, K, D), a row at a time by plain autograd."""

    def one(sample):
        outputs = network(sample[None]).outputs[0]
        return outputs.softmax(0) if probabilities else outputs

    return torch.stack([torch.autograd.functional.jacobian(one, sample) for sample in x])


def test_double_back_is_of_each_samples_own_loss(network, batch):
    x, y = batch
    slopes = []
    for sample, label in zip(x, y, strict=True):
        sample = sample[None].clone().requires_grad_()
        loss = F.cross_entropy(network(sample).outputs, label[None])
        slopes.append(torch.autograd.grad(loss, sample)[0].square().sum())
    value = DoubleBack(1.0).value(view_of(DoubleBack(1.0), network, x, y))
    torch.testing.assert_close(value, torch.stack(slopes).mean())


def test_double_back_goes_through_the_units_that_the_loss_kept(network, batch):
    x, y = batch
    keep = torch.from_numpy(kept(stream(0, "keep"), (6, 5), 0.5))
    value = DoubleBack(1.0).value(view_of(DoubleBack(1.0), network, x, y, keep=keep))
    other = DoubleBack(1.0).value(view_of(DoubleBack(1.0), network, x, y))
    assert not DoubleBack.own_pass
    assert SpectReg.own_pass
    assert abs(float(value - other)) > 1e-4


def test_frobreg_is_the_jacobian_of_the_logits(network, batch):
    value = FrobReg(1.0).value(view_of(FrobReg(1.0), network, *batch))
    torch.testing.assert_close(value, jacobians(network, batch[0]).square().sum((1, 2)).mean())


def test_jacreg_is_the_closed_form_of_the_probabilities(network, batch):
    value = JacReg(1.0).value(view_of(JacReg(1.0), network, *batch))
    torch.testing.assert_close(value, jacobians(network, batch[0], True).square().sum((1, 2)).mean())


def test_spectreg_over_many_draws_is_frobreg(network, batch):
    """E |J^T r|^2 = |J|_F^2, r normal and not normalized; its variance is at most 2 |J|_F^4 for each sample."""
    penalty, draws, count = SpectReg(1.0), stream(0, "r"), 1500
    frob = float(jacobians(network, batch[0]).square().sum((1, 2)).mean())
    drawn = torch.from_numpy(np.stack([penalty.draw(draws, SHAPE) for _ in range(count)]))
    view = view_of(penalty, network, *batch)
    values = torch.vmap(lambda r: penalty.value(replace(view, draw=r)))(drawn)
    error = float(values.std()) / count**0.5
    assert float(values.mean()) == pytest.approx(frob, abs=4 * error)
    assert error < 0.1 * frob
    (one,) = torch.autograd.grad(
        penalty.value(replace(view, draw=drawn[0])), [view.parameters["head.weight"]]
    )
    assert one.abs().sum() > 0


@pytest.mark.parametrize("penalty", [SpectReg(1.0), FrobReg(1.0)])
def test_just_after_batch_normalization_the_jacobian_of_a_batch_is_zero(penalty, batch):
    """One r for all samples: the sum of normalized units over a batch is constant, so table C2's SpectReg is none."""
    with torch_seeded(stream(0, "network")):
        network = Mlp((4, 5, 3), norm=True).build()
    view = view_of(penalty, network, *batch, draw=torch.ones(3))
    assert float(penalty.value(view).detach()) == pytest.approx(0, abs=1e-6)
    assert float(DoubleBack(1.0).value(view).detach()) > 1e-3


def test_on_standardized_inputs_a_weight_is_less_by_the_squared_scale(network, batch):
    """x' = x / s: the penalty on x' is s^2 of that on x, s = 0.308 on MNIST."""
    x, scale = batch[0], 0.308
    view = view_of(FrobReg(1.0), network, *batch)
    standardized = replace(view, x=x / scale, network=lambda z: view.network(scale * z))
    torch.testing.assert_close(FrobReg(1.0).value(standardized), scale**2 * FrobReg(1.0).value(view))


def test_confidence_sums_as_the_author_and_the_mean_is_a_batch_smaller(network, batch):
    view = view_of(Confidence(1.0), network, *batch)
    p = network(batch[0]).outputs.softmax(1)
    expected = (p * (p + 1e-6).log()).sum()
    torch.testing.assert_close(Confidence(1.0).value(view), expected, check_stride=False)
    torch.testing.assert_close(Confidence(1.0, "mean").value(view), expected / 6)


def test_norms_leave_biases_out(network, batch):
    view = view_of(L2(1.0), network, *batch)
    weights = [network.body[1].weight, network.head.weight]
    torch.testing.assert_close(L2(1.0).value(view), sum(w.square().sum() for w in weights))
    torch.testing.assert_close(L1(1.0).value(view), sum(w.abs().sum() for w in weights))
    (slope,) = torch.autograd.grad(L2(1.0).value(view), [view.parameters["head.weight"]])
    torch.testing.assert_close(slope, 2 * network.head.weight.detach())


def moved(view, by):
    parameters = {name: value.detach() + by for name, value in view.parameters.items()}
    return replace(view, parameters=parameters, network=lambda x: view.start(parameters, x))


def test_distances_from_the_start(network, batch):
    x, y = batch
    view = view_of(L2Sp(1.0), network, x, y)
    assert float(L2Sp(1.0).value(view)) == 0
    count = sum(value.numel() for value in view.parameters.values())
    assert float(L2Sp(1.0).value(moved(view, 0.1))) == pytest.approx(0.01 * count, rel=1e-4)


def test_ewc_weighs_by_the_squares_of_each_samples_gradient(network, batch):
    x, y = batch
    view = moved(view_of(Ewc(1.0), network, x, y), 0.1)
    fisher = 0.0
    for sample, label in zip(x, y, strict=True):
        loss = F.cross_entropy(network(sample[None]).outputs, label[None])
        slopes = torch.autograd.grad(loss, list(network.parameters()))
        fisher += sum(float(slope.square().sum()) for slope in slopes) / len(x)
    assert float(Ewc(1.0).value(view)) == pytest.approx(0.01 * fisher, rel=1e-3)


def test_distillation_is_the_divergence_from_the_start(network, batch):
    penalty = Distillation(1.0, temperature=2.0)
    view = view_of(penalty, network, *batch)
    assert float(penalty.value(view)) == pytest.approx(0, abs=1e-6)
    after = moved(view, 0.3)
    old, new = ((v.network(batch[0]).outputs / 2).softmax(1) for v in (view, after))
    expected = 4 * (old * (old.log() - new.log())).sum(1).mean()
    assert float(penalty.value(after).detach()) == pytest.approx(float(expected.detach()), rel=1e-4)


def test_sparse_activations(network, batch):
    value = ActivationL1(1.0).value(view_of(ActivationL1(1.0), network, *batch))
    torch.testing.assert_close(value, network(batch[0]).hidden.abs().sum(1).mean())


def test_adversarial_training_is_the_loss_at_moved_inputs(network, batch):
    x, y = batch
    inputs = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(network(inputs).outputs, y), inputs)
    expected = F.cross_entropy(network(x + 0.1 * slope.sign()).outputs, y)
    torch.testing.assert_close(Fgsm(1.0).value(view_of(Fgsm(1.0), network, x, y)), expected)
    assert expected > F.cross_entropy(network(x).outputs, y)


def test_virtual_adversarial_direction_is_worse_than_the_one_it_begins_with(network, batch):
    penalty = Virtual(1.0, eps=0.3)
    draw = torch.from_numpy(penalty.draw(stream(0, "d"), SHAPE))
    view = view_of(penalty, network, *batch, draw=draw)
    here = network(batch[0]).outputs.log_softmax(1)
    start = draw / draw.norm(dim=1, keepdim=True)
    at_start = F.kl_div(
        network(batch[0] + 0.3 * start).outputs.log_softmax(1), here, log_target=True, reduction="batchmean"
    )
    assert penalty.value(view) > at_start


def test_tangent_prop_is_the_squared_change_along_translations():
    with torch_seeded(stream(0, "network")):
        network = LeNet5(width=0.2).build()
    x = torch.from_numpy(stream(0, "x").standard_normal((1, 1, 28, 28), dtype=np.float32))
    value = Tangent(1.0).value(view_of(Tangent(1.0), network, x, torch.tensor([0])))
    rows = jacobians(network, x)[0].flatten(1)
    expected = sum(float((rows @ along.flatten()).square().sum().detach()) for along in tangents(x[0]))
    assert float(value.detach()) == pytest.approx(expected, rel=1e-3)
    ramp = torch.arange(28.0).expand(1, 1, 28, 28)
    down, right = tangents(ramp)
    assert float(down.abs().max()) == 0
    assert right[..., 1:-1].eq(-1).all()


def test_label_smoothing_has_the_targets_that_the_notes_print(network, batch):
    """1 - e on the class, e / (k - 1) on each other."""
    x, y = batch
    logs = network(x).outputs.log_softmax(1)
    targets = torch.full((6, 3), 0.1 / 2).scatter(1, y[:, None], 1 - 0.1)
    torch.testing.assert_close(
        CrossEntropy(0.1).total(network(x).outputs, y), -(targets * logs).sum(1).mean()
    )


def test_other_losses():
    outputs, targets = torch.tensor([[0.4], [-2.0], [0.9]]), torch.tensor([[1.0], [-1.0], [1.0]])
    assert Squares("sum").total(outputs, targets).item() == pytest.approx(0.36 + 1 + 0.01)
    assert Squares().total(outputs, targets).item() == pytest.approx(1.37 / 3)
    assert Squares().right(outputs, targets).tolist() == [False, False, True]
    assert Hinge().total(outputs, targets).item() == pytest.approx((0.6 + 0.1) / 3)
    assert Hinge().right(outputs, targets).tolist() == [True, True, True]


def test_dropout_keeps_the_mean():
    mask = kept(stream(0, "keep"), (2000, 5), 0.5)
    assert set(np.unique(mask)) == {0.0, 2.0}
    assert mask.mean() == pytest.approx(1, abs=0.06)


def test_augmentation_changes_each_image_by_its_own_draws():
    image = torch.zeros(3, 1, 28, 28)
    image[:, :, 12:16, 12:16] = 1
    noise = Noise(augment=("shift",))
    first, second = (noise.augmented(image, stream(0, "augment")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert first.sum() == image.sum()
    assert Noise().augmented(image, stream(0, "augment")) is image
    for name in ("rotate", "crop", "erase"):
        assert Noise(augment=(name,)).augmented(image, stream(1, "augment")).shape == image.shape

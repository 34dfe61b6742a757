"""Dense peers against obvious statements of them: rank-one edits, LoRA, descent with a penalty; second moments."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from conftest import known
from oracles import flat, gradient, is_right, with_parameters
from torch import nn
from torch.func import functional_call

from bgd import rng
from bgd.curvature.base import CurvatureError
from bgd.curvature.second_moments import InputMoments
from bgd.errors import ConfigError
from bgd.knowledge import Knowledge
from bgd.methods import lora
from bgd.methods.anchored import (
    AnchoredDescent,
    ElasticWeightConsolidation,
    KeepSetDivergence,
    StartingPoint,
)
from bgd.methods.base import Problem, Sample
from bgd.methods.descent import SampleDescent
from bgd.methods.gradient import whole
from bgd.methods.lora import Factors, LoRA
from bgd.methods.rank_one import RankOne, SecondMoment
from bgd.parameters import ParameterSpace


def correct(method, problem, sample, seed=0):
    with problem.trying() as trial:
        return method.correct(trial, sample, rng.stream(seed, "method", sample.index)), trial


def changes(network, correction):
    """The change of every tensor by name, float64, of a correction that was found."""
    assert correction.patch is not None, correction.reason
    after = flat(network)
    correction.patch.apply(after)
    moved = dict(with_parameters(network, after).named_parameters())
    return {name: (moved[name] - old).detach().double() for name, old in network.named_parameters()}


def hooks_of(network):
    return [
        hook for module in network.modules() for hook in (*module._forward_hooks, *module._forward_pre_hooks)
    ]


def entering(network, name, image):
    """What goes into a layer of a sequential network, (N, in)."""
    with torch.no_grad():
        for child, layer in network.named_children():
            if child == name:
                return image
            image = layer(image)
    raise AssertionError(name)


def lead(network, sample):
    with torch.no_grad():
        logits = network(sample.image)[0].tolist()
    right = logits.pop(int(sample.label))
    return right - max(logits)


def altered(network, change):
    moved = copy.deepcopy(network)
    with torch.no_grad():
        change(moved)
    return moved


# second moments


@pytest.fixture(scope="module")
def small():
    """A network of few parameters, images for it and their labels."""
    with rng.torch_seeded(rng.stream(3)):
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        return network.eval(), torch.randn(7, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1, 0])


def test_second_moments_are_the_mean_outer_product_image_by_image(small):
    network, images, labels = small
    space = ParameterSpace.of(network)
    moments = InputMoments("3", 7).estimate(network, space, images, labels, rng.stream(0))
    wanted = torch.zeros(3, 3, dtype=torch.double)
    for image in images:
        h = entering(network, "3", image[None])[0].double()
        wanted += torch.outer(h, h) / len(images)
    assert torch.allclose(moments.matrix.double(), wanted, atol=1e-6)
    assert not hooks_of(network)


def test_second_moments_as_a_matrix_over_all_parameters(small):
    network, images, labels = small
    space = ParameterSpace.of(network)
    moments = InputMoments("3", 7).estimate(network, space, images, labels, rng.stream(0))
    whole = torch.zeros(space.size, space.size)
    start = space.span("3.weight").start
    for row in range(2):
        place = slice(start + 3 * row, start + 3 * row + 3)
        whole[place, place] = moments.matrix
    vector = torch.linspace(-1, 1, space.size)
    assert torch.equal(moments.diagonal(), whole.diagonal())
    assert torch.allclose(moments.multiply(vector), whole @ vector, atol=1e-6)
    damped = whole.double() + 0.1 * torch.eye(space.size, dtype=torch.double)
    solution = torch.linalg.solve(damped, vector.double()).float()
    assert torch.allclose(moments.solve(vector, 0.1), solution, rtol=1e-4, atol=1e-5)
    again = InputMoments("3", 7).restore(moments.tensors(), space)
    assert torch.equal(again.multiply(vector), moments.multiply(vector))


def test_second_moments_that_cannot_be_had_say_why(small):
    network, images, labels = small
    space, stream = ParameterSpace.of(network), rng.stream(0)
    with pytest.raises(ConfigError, match=r"layer '2' is a ReLU, no nn.Linear or nn.Conv2d; .*1, 3"):
        InputMoments("2", 7).estimate(network, space, images, labels, stream)
    with pytest.raises(CurvatureError, match="what goes into 3 is not finite"):
        InputMoments("3", 7).estimate(network, space, images * float("nan"), labels, stream)
    with pytest.raises(CurvatureError, match=r"must be \{'matrix': \(3, 3\)\}"):
        InputMoments("3", 7).restore({"matrix": torch.zeros(4, 4)}, space)
    with pytest.raises(ValueError, match="images=0"):
        InputMoments("3", 0)
    zero = InputMoments("3", 7).restore({"matrix": -torch.eye(3)}, space)
    with pytest.raises(CurvatureError, match="singular"):
        zero.solve(torch.ones(space.size), 1e-3)
    with pytest.raises(ValueError, match="damping=0"):
        zero.solve(torch.ones(space.size), 0.0)


# rank one


@pytest.mark.parametrize("name", ["lin1", "lin2", "lin3"])
@pytest.mark.parametrize("moment", [None, SecondMoment(200, 0.1)])
def test_a_rank_one_edit_changes_other_inputs_the_least_that_it_can(
    name, moment, trained, tiny, problem, samples
):
    """Of all D with D k = v, the one with least tr(D C D^T): by a pseudoinverse in whitened coordinates."""
    found, width = 0, dict(trained.named_parameters())[f"{name}.weight"].shape[1]
    root = torch.eye(width, dtype=torch.double)
    if moment is not None:
        h = entering(trained, name, tiny.train.first(200).tensors()[0]).double()
        c = h.T @ h / len(h)
        values, vectors = torch.linalg.eigh(
            c + 0.1 * c.diagonal().mean() * torch.eye(width, dtype=torch.double)
        )
        root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    for sample in samples:
        correction, trial = correct(RankOne(layer=name, moment=moment), problem, sample)
        assert not hooks_of(trial.network)
        if correction.patch is None:
            continue
        found += 1
        change = changes(trained, correction)
        others = {tensor: each for tensor, each in change.items() if tensor != f"{name}.weight"}
        assert not any(each.any() for each in others.values())
        key = entering(trained, name, sample.image)[0].double()
        update = change[f"{name}.weight"]
        wanted = torch.outer(update @ key, torch.linalg.pinv((root @ key)[:, None])[0]) @ root
        assert torch.allclose(update, wanted, atol=1e-4 * float(wanted.abs().max())), (
            (update - wanted).abs().max()
        )
        assert correction.altered == update.numel()
    assert found >= len(samples) // 2


def test_the_wanted_output_is_the_nearest_where_logits_are_linear_in_it():
    """Two classes and no kink after the layer: the change is the projection on the plane where the lead is wanted."""
    with rng.torch_seeded(rng.stream(5)):
        network = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Linear(5, 2)).eval()
        image = torch.randn(1, 1, 2, 3)
    sample = Sample(0, image, 1 - network(image).argmax(1))
    correction, _ = correct(RankOne(margin=0.01, halvings=20), Problem(network), sample)
    across = (network[2].weight[sample.label] - network[2].weight[1 - sample.label])[0].detach().double()
    shift = (0.01 - lead(network, sample)) / across.dot(across) * across
    update = changes(network, correction)["1.weight"]
    assert torch.allclose(update @ image.reshape(-1).double(), shift, rtol=1e-3)


def test_a_rank_one_edit_is_scaled_to_the_margin_and_no_further(trained, problem, samples):
    for sample in samples:
        correction, trial = correct(RankOne(margin=0.1, halvings=12), problem, sample)
        if correction.patch is None:
            continue
        after = flat(trained)
        correction.patch.apply(after)
        assert 0.1 - 1e-5 <= lead(with_parameters(trained, after), sample) < 0.11
        assert trial.forward_passes > correction.steps >= 1
    with pytest.raises(ValueError, match="margin=0"):
        RankOne(margin=0.0)


def test_the_layer_is_the_last_but_one_or_the_one_named(trained, problem, samples, small):
    plain, _ = correct(RankOne(), problem, samples[0])
    named, _ = correct(RankOne(layer="lin2"), problem, samples[0])
    assert plain.patch.tensors == ["lin2.weight"]
    assert torch.equal(plain.patch.new, named.patch.new)
    with pytest.raises(ConfigError, match=r"method.layer='lin4'.*did you mean 'lin[123]'\?"):
        correct(RankOne(layer="lin4"), problem, samples[0])
    shallow = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(ConfigError, match="there runs '1' alone: name the one to change"):
        correct(RankOne(), Problem(shallow), samples[0])


def test_a_layer_that_nothing_goes_into_cannot_be_edited(trained, tiny, samples):
    def silent(network):
        network.lin1.weight.zero_()
        network.lin1.bias.fill_(-1.0)
        network.lin2.bias.fill_(1.0)

    network = altered(trained, silent)
    sample = next(sample for sample in samples if not is_right(network, sample))
    reason = "nothing goes into lin2: its weights do not reach the sample"
    assert correct(RankOne(), Problem(network), sample)[0].reason == reason
    singular = correct(RankOne(moment=SecondMoment(50, 0.1)), Problem(network, known(network, tiny)), sample)[
        0
    ]
    assert "singular" in singular.reason, "every second moment is zero"


def test_so_little_that_the_update_overflows(trained, samples):
    def faint(network):
        network.lin1.weight.mul_(1e-43)
        network.lin1.bias.zero_()
        network.lin2.bias.fill_(10.0)  # its units stay active

    network = altered(trained, faint)
    sample = next(sample for sample in samples if not is_right(network, sample))
    correction, _ = correct(RankOne(), Problem(network), sample)
    assert correction.reason == "so little goes into lin2 that the update overflows"


def test_units_that_are_never_active_make_no_infinite_edit(trained, tiny, samples):
    """They make the second moments singular but for the damping."""

    def half_dead(network):
        network.lin1.weight[:6] = 0.0
        network.lin1.bias[:6] = -1.0

    network = altered(trained, half_dead)
    problem = Problem(network, known(network, tiny))
    wrong = [sample for sample in samples if not is_right(network, sample)]
    found = [correct(RankOne(moment=SecondMoment(100, 1e-3)), problem, sample)[0] for sample in wrong]
    updates = [changes(network, each)["lin2.weight"] for each in found if each.patch is not None]
    assert updates
    assert not any(update[:, :6].any() for update in updates)
    assert all(torch.isfinite(update).all() for update in updates)


def test_a_network_that_is_not_finite_has_no_moments(trained, tiny, samples):
    """The gradient at the sample is finite, what D says is not."""
    images, labels = tiny.train.first(20).tensors()

    def curvature(estimator):
        space = ParameterSpace.of(trained)
        return estimator.estimate(trained, space, images / 0.0, labels, rng.stream(0))

    method = RankOne(moment=SecondMoment(20, 0.1))
    correction, _ = correct(method, Problem(trained, Knowledge(curvature=curvature)), samples[0])
    assert correction.reason == "what goes into lin2 is not finite"


# LoRA


def plain_lora(network, sample, names, method, stream):
    """LoRA with the changed weights written out: the parameters once the sample is right, and the number of steps."""
    a, b, named = {}, {}, {name: p.detach() for name, p in network.named_parameters()}
    for name in names:
        rows, columns = named[f"{name}.weight"].shape
        a[name] = torch.from_numpy(stream.standard_normal(columns) / columns**0.5).float().requires_grad_()
        b[name] = torch.zeros(rows, requires_grad=True)
    optimizer = torch.optim.Adam([*a.values(), *b.values()], lr=method.learning_rate)

    def merged():
        products = {f"{name}.weight": method.scale * torch.outer(b[name], a[name]) for name in names}
        return {
            name: tensor + products[name] if name in products else tensor for name, tensor in named.items()
        }

    for step in range(1, method.steps + 1):
        optimizer.zero_grad()
        F.cross_entropy(functional_call(network, merged(), sample.image), sample.label).backward()
        optimizer.step()
        after = torch.cat([tensor.detach().reshape(-1) for tensor in merged().values()])
        if is_right(with_parameters(network, after), sample):
            return after, step
    return None, method.steps


@pytest.mark.parametrize("row", [True, False])
@pytest.mark.parametrize("layers", [None, ("lin2",), ("lin3", "lin1")])
def test_lora_is_adam_on_the_factors(layers, row, trained, problem, samples, monkeypatch):
    if not row:
        monkeypatch.setattr(lora, "known_layers", lambda network, space: {})
    method, outcomes = LoRA(steps=30, learning_rate=0.003, scale=2.0, layers=layers), set()
    for sample in samples[:6]:
        correction, trial = correct(method, problem, sample)
        names = layers or ("lin1", "lin2", "lin3")
        wanted, steps = plain_lora(trained, sample, names, method, rng.stream(0, "method", sample.index))
        assert correction.steps == trial.backward_passes == steps
        assert not hooks_of(trial.network)
        outcomes.add(wanted is not None)
        if wanted is None:
            assert correction.reason == "wrong after 30 steps"
            continue
        after = flat(trained)
        correction.patch.apply(after)
        assert torch.allclose(after, wanted, atol=1e-5)
    assert True in outcomes


def test_a_lora_patch_has_rank_one_in_every_linear_layer_and_nothing_elsewhere(trained_alexnet, tiny):
    from experiments.mnist import training
    from experiments.protocol.samples import samples_of

    sample = samples_of(*tiny.test.tensors(), training.misclassified(trained_alexnet, tiny), 1)[0]
    correction, _ = correct(LoRA(steps=100, learning_rate=0.003), Problem(trained_alexnet), sample)
    change = changes(trained_alexnet, correction)
    linear = {f"lin{place}.weight" for place in (1, 2, 3)}
    for name, each in change.items():
        if name not in linear:
            assert not each.any()
            continue
        first, second = torch.linalg.svdvals(each)[:2]
        assert first > 0
        assert second < 1e-3 * first, "but for rounding of the weights"
    assert correction.altered == sum(change[name].numel() for name in linear)


def test_what_factors_add_is_their_product_times_the_input():
    factors = Factors(torch.randn(5), torch.randn(3), 0.5)
    inputs, product = torch.randn(2, 4, 5), torch.ones(15)
    factors.add_product(torch.ones(15), out=product)
    assert torch.allclose(factors.output(inputs), inputs @ (product.view(3, 5) - 1).T, atol=1e-5)
    assert factors.output(inputs).shape == (2, 4, 3)


def test_lora_draws(trained, problem, samples):
    method = LoRA(steps=50, learning_rate=0.003)
    assert method.draws(trained)
    one, two = (correct(method, problem, samples[0], seed)[0].patch for seed in (0, 1))
    assert one.new.shape != two.new.shape or not torch.equal(one.new, two.new)


@pytest.mark.parametrize(
    ("value", "reason"), [(0.0, "the gradient is zero"), (float("nan"), "the gradient is not finite")]
)
def test_lora_without_a_gradient(value, reason, trained, samples):
    network = altered(trained, lambda network: network.lin3.weight.fill_(value))
    method = LoRA(steps=5, learning_rate=0.01, layers=("lin1", "lin2"))
    sample = next(sample for sample in samples if not is_right(network, sample))
    assert correct(method, Problem(network), sample)[0].reason == reason


def test_layers_that_lora_cannot_adapt(problem, samples):
    with pytest.raises(ConfigError, match=r"method.layers='lin22'.*did you mean 'lin2'\?"):
        correct(LoRA(5, 0.01, layers=("lin22",)), problem, samples[0])
    convolution = nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten())
    with pytest.raises(ConfigError, match="the network has no linear layer"):
        correct(LoRA(5, 0.01), Problem(convolution), samples[0])


# descent with a penalty


@dataclass(frozen=True)
class Given:
    """An estimator of the curvature diag(1, 2, 3, ...) / |W|."""

    images: int = 10

    def estimate(self, network, space, images, labels, stream):
        class Diagonal:
            def diagonal(self):
                return torch.arange(1.0, space.size + 1) / space.size

        return Diagonal()


def penalty_values(network, moved, tiny):
    """Every penalty at strength 3, as its formula has it, in float64; `moved` is flat and has a gradient."""
    start = flat(network).double()
    named, place = {}, 0
    wide = copy.deepcopy(network).double()
    for name, parameter in wide.named_parameters():
        named[name] = moved[place : place + parameter.numel()].view_as(parameter)
        place += parameter.numel()
    weights = torch.arange(1.0, len(start) + 1, dtype=torch.double) / len(start)
    images = tiny.held_out.tensors()[0][:40].double()
    p = wide(images).softmax(1).detach()
    q = functional_call(wide, named, images).softmax(1)
    return {
        "ewc": 3 / 2 * (weights * (moved - start) ** 2).sum(),
        "l2_sp": 3 / 2 * ((moved - start) ** 2).sum(),
        "kl": 3 * (p * (p.log() - q.log())).sum(1).mean(),
    }


PENALTIES = {
    "ewc": ElasticWeightConsolidation(3.0, Given()),
    "l2_sp": StartingPoint(3.0),
    "kl": KeepSetDivergence(3.0, keep=40, batch=None),
}


def gradient_of(penalty, trial, stream, hold):
    """The gradient of a penalty at the copy as it is (|W|,)."""
    found = hold.strength * (trial.flat - trial.original)
    if hold.stiffness is not None:
        found = found * hold.stiffness
    for name, part in penalty.gradient(trial, stream).items():
        found[trial.space.span(name)] += whole(part).reshape(-1)
    return found


@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_of_a_penalty_is_that_of_its_formula(name, trained, tiny, problem):
    with rng.torch_seeded(rng.stream(1)):
        step = 0.01 * torch.randn(problem.original.numel())
    with problem.trying() as trial:
        hold = PENALTIES[name].hold(trial)
        start = gradient_of(PENALTIES[name], trial, rng.stream(0), hold)
        assert start.abs().max() < 1e-6, "nothing holds back what has not moved"
        trial.flat.add_(step)
        moved = trial.flat.double().clone().requires_grad_()
        found = gradient_of(PENALTIES[name], trial, rng.stream(0), hold)
    (wanted,) = torch.autograd.grad(penalty_values(trained, moved, tiny)[name], moved)
    assert wanted.abs().max() > 1e-3
    assert torch.allclose(found.double(), wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_descent_is_sgd_on_the_loss_and_the_penalty(name, trained, tiny, problem, samples):
    penalty = replace(PENALTIES[name], strength=3.0)
    method, found = AnchoredDescent(steps=12, learning_rate=2e-4, penalty=penalty), 0
    for sample in samples:
        moved = flat(trained).double().requires_grad_()
        optimizer = torch.optim.SGD([moved], lr=2e-4, momentum=0.9)
        right, steps = False, 0
        while not right and steps < 12:
            optimizer.zero_grad()
            penalty_values(trained, moved, tiny)[name].backward()
            moved.grad += gradient(with_parameters(trained, moved.detach().float()), sample).double()
            optimizer.step()
            right, steps = is_right(with_parameters(trained, moved.detach().float()), sample), steps + 1
        correction, trial = correct(method, problem, sample)
        assert correction.steps == steps
        assert (correction.patch is not None) == right
        passes = 2 * steps + 40 * (steps - 1) if name == "kl" else 2 * steps
        assert trial.forward_passes == passes
        if right:
            found += 1
            after = flat(trained)
            correction.patch.apply(after)
            assert torch.allclose(after.double(), moved.detach(), atol=1e-6)
            assert correction.altered == len(after)
    assert found


def test_without_strength_it_is_descent_on_the_sample(problem, samples):
    plain = SampleDescent(steps=10, learning_rate=3e-4, training_mode=False)
    free = AnchoredDescent(steps=10, learning_rate=3e-4, penalty=StartingPoint(0.0))
    for sample in samples[:5]:
        one, two = correct(plain, problem, sample)[0], correct(free, problem, sample)[0]
        assert one.steps == two.steps
        assert (one.patch is None) == (two.patch is None)
        if one.patch is not None:
            assert torch.allclose(one.patch.new, two.patch.new, atol=1e-6)


def test_a_batch_of_the_keep_set_is_drawn_anew_each_step(problem, trained):
    drawn = KeepSetDivergence(1.0, keep=40, batch=10)
    assert AnchoredDescent(5, 1e-3, drawn).draws(trained)
    assert not AnchoredDescent(5, 1e-3, KeepSetDivergence(1.0, keep=40, batch=None)).draws(trained)
    assert not AnchoredDescent(5, 1e-3, StartingPoint(1.0)).draws(trained)

    def gradients(stream, penalty):
        with problem.trying() as trial:
            hold = penalty.hold(trial)
            trial.flat.mul_(1.05)
            return torch.stack([gradient_of(penalty, trial, stream, hold) for _ in range(40)])

    one, again = gradients(rng.stream(0), drawn), gradients(rng.stream(0), drawn)
    whole = gradients(rng.stream(0), KeepSetDivergence(1.0, keep=40, batch=None))
    assert torch.equal(one, again)
    assert not torch.equal(one[0], one[1])
    assert (one.mean(0) - whole[0]).norm() < 0.5 * (one[0] - whole[0]).norm(), "right on average"


def test_the_keep_set_is_asked_of_the_network_that_is_corrected(problem, samples):
    """Where corrections accumulate it is another one each time."""
    method = AnchoredDescent(20, 3e-4, KeepSetDivergence(1.0, keep=40, batch=None))
    correction = next(
        each for each in (correct(method, problem, s)[0] for s in samples) if each.patch is not None
    )
    problem.advance(correction.patch)
    with problem.trying() as trial:
        held = gradient_of(method.penalty, trial, rng.stream(0), method.penalty.hold(trial))
    assert held.abs().max() < 1e-6


@pytest.mark.parametrize("name", PENALTIES)
def test_descent_from_a_network_that_is_not_finite(name, trained, tiny, samples):
    network = altered(trained, lambda network: network.lin3.weight.fill_(float("nan")))
    method = AnchoredDescent(5, 1e-3, PENALTIES[name])
    correction, _ = correct(method, Problem(network, known(network, tiny)), samples[0])
    assert correction.reason == "the gradient is not finite"


def test_no_usable_curvature_is_a_failure_in_words(trained, samples):
    def none(estimator):
        raise CurvatureError("it overflows")

    method = AnchoredDescent(5, 1e-3, ElasticWeightConsolidation(1.0, Given()))
    correction, _ = correct(method, Problem(trained, Knowledge(curvature=none)), samples[0])
    assert (correction.reason, correction.steps) == ("it overflows", 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RankOne(steps=0), "steps=0"),
        (lambda: RankOne(halvings=-1), "halvings=-1"),
        (lambda: SecondMoment(0, 0.1), "images=0"),
        (lambda: SecondMoment(10, 0.0), "damping=0.0"),
        (lambda: LoRA(0, 0.1), "steps=0"),
        (lambda: LoRA(1, 0.0), "learning_rate=0.0"),
        (lambda: LoRA(1, 0.1, scale=-1.0), "scale=-1.0"),
        (lambda: AnchoredDescent(0, 0.1, StartingPoint(1.0)), "steps=0"),
        (lambda: AnchoredDescent(1, 0.0, StartingPoint(1.0)), "learning_rate=0.0"),
        (lambda: AnchoredDescent(1, 0.1, StartingPoint(1.0), momentum=1.0), "momentum=1.0"),
        (lambda: StartingPoint(-1.0), "strength=-1.0"),
        (lambda: ElasticWeightConsolidation(-1.0, Given()), "strength=-1.0"),
        (lambda: KeepSetDivergence(-1.0), "strength=-1.0"),
        (lambda: KeepSetDivergence(1.0, keep=0), "keep=0"),
        (lambda: KeepSetDivergence(1.0, batch=0), "batch=0"),
    ],
)
def test_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=f"{message}: must be"):
        make()

"""The evaluator that computes what a change changes, against the full one, over random networks and patches."""

import copy
import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from oracles import differ, flat, mean_loss
from torch import nn

from bgd.evaluation import Evaluation, FullEvaluator, IncrementalEvaluator, activations, flow, sweep
from bgd.evaluation.low_rank import factors_of
from bgd.evaluation.shelf import Shelf
from bgd.layers import channels_last
from bgd.parameters import ParameterSpace
from bgd.patch import Patch, PatchError

CLASSES, BATCH = 5, 16


class Branched(nn.Module):
    """Not a sequence of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.top = nn.Linear(64, 4), nn.Linear(64, 4), nn.Linear(4, CLASSES)

    def forward(self, images):
        values = images.flatten(1)
        return self.top(torch.relu(self.left(values)) + torch.tanh(self.right(values)))


class Doubled(nn.Sequential):
    """A sequence that is not run as one."""

    def forward(self, images):
        return 2 * super().forward(images)


class First(nn.Module):
    """Takes the first of two tensors."""

    def forward(self, values):
        return values[0]


class AcrossImages(nn.Module):
    """A layer that looks across the images of a batch."""

    def forward(self, values):
        return values - values.mean(0, keepdim=True)


def tied():
    first, second = nn.Linear(64, 64), nn.Linear(64, 64)
    second.weight = first.weight
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), nn.Linear(64, CLASSES))


def mlp(*widths, between=nn.ReLU, bias=True):
    layers = [nn.Flatten()]
    for before, after in zip((64, *widths), (*widths, CLASSES), strict=True):
        layers += [nn.Linear(before, after, bias=bias), between()]
    return nn.Sequential(*layers[:-1])


NETWORKS = {
    "no hidden layer": lambda: mlp(),
    "one hidden layer": lambda: mlp(9),
    "mlp": lambda: mlp(12, 8),
    "deep mlp without biases": lambda: mlp(12, 8, 7, 6, bias=False),
    "no activations": lambda: mlp(12, 8, between=nn.Identity),  # an unknown layer, as it happens
    "linear after linear": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 7), nn.Linear(7, CLASSES)
    ),
    "in place": lambda: nn.Sequential(
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 9), nn.ReLU(inplace=True), nn.Linear(9, CLASSES)
    ),
    "in place convolutions": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, CLASSES),
    ),
    "linear over pixels": lambda: nn.Sequential(
        nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3), nn.Flatten(), nn.Linear(24, CLASSES)
    ),
    "pool with indices": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2, return_indices=True), First(), nn.Flatten(),
        nn.Linear(27, CLASSES),
    ),
    "one relu twice": lambda: (lambda relu: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 9), relu, nn.Linear(9, 8), relu, nn.Linear(8, CLASSES)
    ))(nn.ReLU()),
    "convnet": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3), nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(6, 9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, CLASSES),
    ),
    "strides and dilation": lambda: nn.Sequential(
        nn.Conv2d(1, 4, (3, 2), stride=(1, 2), padding=(2, 1)), nn.ReLU(),
        nn.Conv2d(4, 5, 2, dilation=2, padding="same", bias=False), nn.Dropout(0.2), nn.MaxPool2d(3, 2, 1),
        nn.Flatten(), nn.Linear(5 * 5 * 3, 7), nn.ReLU(), nn.Linear(7, CLASSES),
    ),
    "convolution to logits": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, CLASSES)
    ),
    "groups": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(64, CLASSES)
    ),
    "tanh in the middle": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 7), nn.ReLU(),
        nn.Linear(7, CLASSES),
    ),
    "batch norm": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, CLASSES),
    ),
    "tanh at the end": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, CLASSES), nn.Tanh()
    ),
    "tanh first": lambda: nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES)),
    "across images": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 8), AcrossImages(), nn.Linear(8, CLASSES)
    ),
    "softmax over places": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Softmax2d(), nn.Flatten(), nn.Linear(108, CLASSES)
    ),
    "flatten in part": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Flatten(2), nn.Linear(36, 4), nn.ReLU(), nn.Flatten(), nn.Linear(12, CLASSES)
    ),
    "tied": tied,
    "a forward of its own": lambda: Doubled(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, CLASSES)),
    "branched": Branched,
}  # fmt: skip
UNKNOWN = {"linear over pixels", "tanh first", "tied", "a forward of its own", "branched"}  # the first layer


def make(name, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=1 / math.sqrt(max(parameter[0].numel(), 2)))
    return network.to(dtype).eval()


def images(dtype=torch.float64, train=70, test=33):
    """Images with an empty border and empty ones, as digits have."""
    generator = torch.Generator().manual_seed(5)

    def some(count):
        pixels = torch.randn(count, 1, 8, 8, generator=generator, dtype=dtype)
        pixels[:, :, :2] = 0
        pixels[::7] = 0
        return pixels, torch.randint(CLASSES, (count,), generator=generator)

    (first, labels), (second, others) = some(train), some(test)
    return torch.cat([first, second]), torch.cat([labels, others])


def pair(network, **settings):
    given = images(next(network.parameters()).dtype)
    return IncrementalEvaluator(network, *given, BATCH, **settings), FullEvaluator(network, *given, BATCH)


def random_patch(network, seed, kind="weights"):
    """A patch of a random kind; the network is a plain module, so that a wrong kept value cannot get into it."""
    space, before = ParameterSpace.of(network), flat(network)
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: int(torch.randint(n, (1,), generator=generator))  # noqa: E731
    after = before.clone()
    if kind == "everything":
        after += torch.randn(space.size, generator=generator) * 0.1
        return Patch.between(space, before, after)
    for _ in range(1 + draw(3)):
        names = {"biases": [n for n in space.names if not space.is_weight(n)]}.get(kind) or space.names
        span = space.span(names[draw(len(names))])
        size = span.stop - span.start
        if kind == "tensors":
            after[span] += torch.randn(size, generator=generator) * 0.3
        for _ in range({"weights": 2, "many": 1 + size // 3}.get(kind, 1)):
            place = span.start + draw(size)
            value = float(torch.randn(1, generator=generator))
            after[place] = {
                "sign": -before[place],
                "huge": value * 1e12,
                "overflow": math.tanh(value) * torch.finfo(before.dtype).max,
                "not finite": (math.inf, -math.inf, math.nan)[draw(3)],
            }.get(kind, before[place] + value)
    return Patch.between(space, before, after)


KINDS = ["weights", "biases", "many", "tensors", "everything", "sign", "huge", "overflow", "not finite"]


def check(got, wanted, tolerance=1e-10, free=None):
    """Ask for the same answers, but for images in `free` (N,) of which one says that they are not finite."""
    if free is not None:
        same = ~(free & ((got.predictions < 0) != (wanted.predictions < 0)))
        got, wanted = (Evaluation(e.losses[same], e.predictions[same]) for e in (got, wanted))
    assert torch.equal(got.predictions, wanted.predictions)
    torch.testing.assert_close(got.losses, wanted.losses, rtol=tolerance, atol=1e-12, equal_nan=True)


def may_overflow(network, patch):
    """Images (N,) whose sums overflow in some order of their terms, so that a processor's order decides."""
    network = copy.deepcopy(network)
    patch.apply_(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
        return ~torch.isfinite(network(images(torch.float64)[0].abs())).all(1)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_patch_equals_the_full_evaluation(name):
    shown = 0
    for seed in range(3):
        network = make(name, seed)
        fast, oracle = pair(network)
        check(fast.base, oracle.base)
        for number, kind in enumerate(KINDS * 2):
            patch = random_patch(network, 100 * seed + number, kind)
            wanted = oracle.after(patch)
            check(
                fast.after(patch), wanted, free=may_overflow(network, patch) if kind == "overflow" else None
            )
            shown += differ(wanted, oracle.base)
        check(fast.base, oracle.base)
    assert shown > 20, "the edits must show, or this test shows nothing"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_alone(name):
    """One weight and one bias of every layer, and that a small edit is in fact carried as a difference."""
    network = make(name)
    space, before = ParameterSpace.of(network), flat(network)
    fast, oracle = pair(network)
    for tensor in space.names:
        after = before.clone()
        after[space.span(tensor).start + 1] += 1.5
        patch = Patch.between(space, before, after)
        check(fast.after(patch), oracle.after(patch))


def carried(monkeypatch):
    """Count the sweeps that got to their end."""
    done, run = [], sweep.Sweep.run

    def counted(*arguments, **settings):
        yield from run(*arguments, **settings)
        done.append(settings.get("write", False))

    monkeypatch.setattr(sweep.Sweep, "run", counted)
    return done


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - UNKNOWN))
def test_small_edits_are_carried_as_differences(name, monkeypatch):
    done = carried(monkeypatch)
    network = make(name)
    first = next(n for n in ParameterSpace.of(network).names if n.endswith("weight"))
    space, before = ParameterSpace.of(network), flat(network)
    after = before.clone()
    after[space.span(first).start + 20 % (space.span(first).stop - space.span(first).start)] += 1
    fast, oracle = pair(network)
    patch = Patch.between(space, before, after)
    check(fast.after(patch), oracle.after(patch))
    assert len(done) == 1, "it was computed in full"


@pytest.mark.parametrize("kind", ["everything", "huge", "not finite"])
def test_what_is_no_small_difference_is_computed_in_full(kind, monkeypatch):
    done = carried(monkeypatch)
    network = make("mlp")
    fast, oracle = pair(network)
    for seed in range(5):
        patch = random_patch(network, seed, kind)
        check(fast.after(patch), oracle.after(patch))
    assert len(done) < 5


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("asked", [True, False])
def test_advancing_keeps_equal_to_the_full_evaluation(name, asked):
    network = make(name)
    fast, oracle = pair(network)
    check(fast.base, oracle.base)
    kinds = [
        "weights",
        "biases",
        "weights",
        "weights",
        "many",
        "weights",
        "tensors",
        "weights",
        "huge",
        "weights",
    ]
    for seed, kind in enumerate(kinds * 2):
        patch = random_patch(network, seed, kind)
        wanted = oracle.after(patch)
        if asked:
            check(fast.after(patch), wanted)
        fast.advance(patch)
        oracle.advance(patch)
        check(fast.base, wanted)
        space, values = ParameterSpace.of(network), flat(network)
        patch.apply(values)
        for parameter, tensor in zip(network.parameters(), space.names, strict=True):
            parameter.data = values[space.span(tensor)].view(parameter.shape).clone()


def follow(network, patch):
    """Make a patched network."""
    values = flat(network)
    patch.apply(values)
    torch.nn.utils.vector_to_parameters(values, network.parameters())


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_rounding_does_not_pile_up(name, monkeypatch):
    """300 advances in float32, the last evaluation against one of the same network from scratch."""
    done = carried(monkeypatch)
    network = make(name, dtype=torch.float32)
    fast, _ = pair(network)
    space = ParameterSpace.of(network)
    worst = 0.0
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        before = flat(network)
        after = before.clone()
        places = torch.randint(space.size, (2,), generator=generator)
        after[places] = before[places] * 0.7 + torch.randn(2, generator=generator) * 0.3
        patch = Patch.between(space, before, after)
        fast.advance(patch)
        follow(network, patch)
        if seed % 10 == 9:
            wanted = mean_loss(pair(network)[1].base)
            worst = max(worst, abs(mean_loss(fast.base) - wanted) / wanted)
    assert sum(done) > 200, "too few of the advances were differences"
    assert worst < 1e-6


def test_values_are_made_again_after_so_many_differences(monkeypatch):
    monkeypatch.setattr(activations, "REFRESH", 3)
    network = make("mlp")
    fast, _ = pair(network)
    made, require = [], activations.Activations._make

    def counted(self, place):
        made.append(place)
        return require(self, place)

    monkeypatch.setattr(activations.Activations, "_make", counted)
    for seed in range(12):
        space, before = ParameterSpace.of(network), flat(network)
        after = before.clone()
        after[seed] += 0.1
        patch = Patch.between(space, before, after)
        fast.advance(patch)
        follow(network, patch)
    assert made.count(2) == 4, (
        "the first layer's pre-activations, once at first and once every three differences"
    )


@pytest.mark.parametrize("name", ["mlp", "convnet", "batch norm"])
def test_float32_differs_only_where_two_logits_tie(name):
    ties = 0
    for seed in range(3):
        network = make(name, seed, torch.float32)
        fast, oracle = pair(network)
        for number in range(20):
            patch = random_patch(network, number, KINDS[number % 3])
            got, wanted = fast.after(patch), oracle.after(patch)
            ties += int((got.predictions != wanted.predictions).sum())
            assert mean_loss(got) == pytest.approx(mean_loss(wanted), rel=1e-6)
    assert ties <= 3, "of 6,180 predictions"


@pytest.mark.parametrize("advances", ["fork", "original"])
def test_forks_share_until_one_advances(advances):
    network = make("convnet")
    original, oracle = pair(network)
    patches = [random_patch(network, seed) for seed in range(12)]
    before = [oracle.after(patch) for patch in patches]
    check(original.after(patches[0]), before[0])
    fork = original.fork()
    assert fork._kept is original._kept, "what one makes the other has"
    moving, staying = (fork, original) if advances == "fork" else (original, fork)
    check(moving.after(patches[1]), before[1])
    moving.advance(patches[1])
    assert not differ(staying.base, original.fork().base) or advances == "original"
    for patch, wanted in zip(patches, before, strict=True):
        check(staying.after(patch), wanted)
    oracle.advance(patches[1])
    check(moving.base, before[1])
    follow(network, patches[1])
    for seed in range(12):
        patch = random_patch(network, 50 + seed)
        check(moving.after(patch), oracle.after(patch))
    with pytest.raises(PatchError):
        staying.after(random_patch(network, 0, "everything"))
    check(staying.base, IncrementalEvaluator(make("convnet"), *images(), BATCH).base)


def test_advancing_by_another_patch_than_the_last_one_tried():
    network = make("mlp")
    fast, oracle = pair(network)
    tried, taken = random_patch(network, 0), random_patch(network, 1)
    evaluation = fast.after(tried)
    fast.advance(taken)
    check(fast.base, oracle.after(taken))
    assert differ(fast.base, evaluation)
    oracle.advance(taken)
    follow(network, taken)
    patch = random_patch(network, 2)
    check(fast.after(patch), oracle.after(patch))


def test_a_huge_value_further_up_is_computed_in_full(monkeypatch):
    done = carried(monkeypatch)
    network = make("mlp")
    after = flat(network)
    after[30] += 0.1
    after[-10] = 1e12
    fast, oracle = pair(network)
    patch = Patch.between(ParameterSpace.of(network), flat(network), after)
    check(fast.after(patch), oracle.after(patch))
    assert not done


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e12])
def test_small_edits_of_a_network_that_is_not_finite_or_huge(value):
    for place in (5, 800, -20):
        network = make("mlp")
        values = flat(network)
        values[place] = value
        torch.nn.utils.vector_to_parameters(values, network.parameters())
        fast, oracle = pair(network)
        for seed in range(20):
            patch = random_patch(network, seed)
            check(fast.after(patch), oracle.after(patch))


def test_a_difference_that_is_not_a_number_is_not_added():
    """A hidden unit above 0 everywhere, its weight minus infinity: 0 behind it, and no difference to take there."""
    network = make("mlp")
    with torch.no_grad():
        network[1].bias[8] = 5.0
        network[3].weight[:, 8] = -math.inf
    fast, oracle = pair(network)
    assert math.isfinite(mean_loss(oracle.base))
    after = flat(network)
    after[8 * 64 + 20] += 0.01
    patch = Patch.between(ParameterSpace.of(network), flat(network), after)
    check(fast.after(patch), oracle.after(patch))


def test_a_fork_of_a_fork_and_many_writers():
    network = make("mlp")
    original, _ = pair(network)
    patches = [random_patch(network, seed) for seed in range(6)]
    evaluators = [original]
    for patch in patches:
        evaluators[-1].after(patch)
        evaluators.append(evaluators[-1].fork())
    for evaluator, patch in zip(evaluators, patches, strict=False):
        evaluator.advance(patch)
    for evaluator, patch in zip(evaluators, patches, strict=False):
        moved = make("mlp")
        follow(moved, patch)
        for seed in range(5):
            second = random_patch(moved, seed)
            check(evaluator.after(second), FullEvaluator(moved, *images(), BATCH).after(second))
    check(evaluators[-1].base, FullEvaluator(network, *images(), BATCH).base)


@pytest.mark.parametrize("name", ["mlp", "convnet", "tanh in the middle", "branched"])
@pytest.mark.parametrize("memory", [0, 5_000, 20_000, 100_000, 400_000])
def test_any_budget_gives_the_same_and_is_kept_to(name, memory):
    network = make(name)
    fast, oracle = pair(network, memory=memory)
    for seed, kind in enumerate(KINDS + ["weights"] * 8):
        patch = random_patch(network, seed, kind)
        check(fast.after(patch), oracle.after(patch))
        assert sum(values.numel() * 8 for values in fast._kept.values.values()) <= memory


def test_the_layers_nearest_to_the_logits_are_kept():
    network = make("convnet")
    top = {
        11,
        13,
        14,
    }  # into lin2 through ReLU and dropout, out of lin2; into lin1 is no part of an edit of lin2
    assert IncrementalEvaluator(network, *images(), BATCH, memory=103 * 8 * (9 + CLASSES))._places <= top
    assert IncrementalEvaluator(network, *images(), BATCH, memory=103 * 8 * (9 + CLASSES))._places


@pytest.mark.parametrize("name", ["mlp", "convnet", "tanh first"])
def test_nothing_is_kept_before_it_is_needed(name):
    network = make(name)
    fast, oracle = pair(network, base=pair(network)[1].base)
    patch = random_patch(network, 0, "everything")
    check(fast.after(patch), oracle.after(patch))
    assert not fast._kept.values


def test_the_base_is_what_was_given():
    network = make("mlp")
    given = FullEvaluator(network, *images(), BATCH).base
    fast = IncrementalEvaluator(network, *images(), BATCH, given)
    assert fast.base is given
    nothing = Patch.between(ParameterSpace.of(network), flat(network), flat(network))
    assert fast.after(nothing) is given
    fast.advance(nothing)
    assert fast.base is given


def test_an_edit_that_no_image_shows_gives_the_base():
    network = make("mlp")
    fast, _ = pair(network)
    after = flat(network)
    after[0] += 1  # from a pixel of the empty border
    assert fast.after(Patch.between(ParameterSpace.of(network), flat(network), after)) is fast.base


def test_the_network_stays_as_it_is():
    network = make("convnet")
    before = flat(network)
    fast, _ = pair(network)
    for seed, kind in enumerate(KINDS):
        patch = random_patch(network, seed, kind)
        fast.after(patch)
        assert torch.equal(fast._network.flat, before), kind
    fast.advance(patch)
    assert torch.equal(flat(network), before)


def test_a_patch_of_another_network_is_refused():
    network = make("mlp")
    fast, _ = pair(network)
    patch = random_patch(make("mlp", 1), 0)
    with pytest.raises(PatchError):
        fast.after(patch)
    with pytest.raises(PatchError):
        fast.advance(patch)
    check(fast.base, FullEvaluator(network, *images(), BATCH).base)


def test_images_as_vectors():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES)).double()
    vectors = torch.randn(10, 6).double(), torch.randint(CLASSES, (10,))
    fast, oracle = IncrementalEvaluator(network, *vectors, 4), FullEvaluator(network, *vectors, 4)
    for seed in range(20):
        patch = random_patch(network, seed)
        check(fast.after(patch), oracle.after(patch))


def test_the_outcome_of_logits_is_the_cross_entropy():
    logits = torch.randn(50, CLASSES, generator=torch.Generator().manual_seed(0)) * 30
    logits[1, 3], logits[2, 4], logits[3] = math.nan, -math.inf, math.inf
    logits[4] = 0  # a tie: the first class
    logits[5, 1:], logits[5, 0] = 3e38, -3e38
    labels = torch.arange(50) % CLASSES
    found = Evaluation.of(logits, labels)
    wanted = nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    assert torch.allclose(found.losses, wanted, rtol=1e-14, atol=1e-15, equal_nan=True)
    predictions = logits.argmax(1)
    predictions[1:4] = -1
    assert torch.equal(found.predictions, predictions)


def small_alexnet():
    """AlexNet, narrow and with an input that is worth keeping nothing of: its first convolutions are cheap."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 20, 3, padding=1), nn.ReLU(), nn.Conv2d(20, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(192, 200), nn.ReLU(), nn.Linear(200, CLASSES),
    ).double().eval()  # fmt: skip


def test_cheap_units_are_made_again_instead_of_kept():
    network = small_alexnet()
    fast, oracle = pair(network, memory=103 * 8 * (48 * 16 + 192 + 200 + CLASSES))
    layers, space, before = fast._layers, ParameterSpace.of(network), flat(network)
    assert [layers.is_cheap(place) for place in (0, 1, 3, 5, 6)] == [False, True, True, True, False]
    for name in space.names:
        for step in range(4):
            after = before.clone()
            after[space.span(name).start + 7 * step : space.span(name).start + 7 * step + 1] += 0.5
            patch = Patch.between(space, before, after)
            check(fast.after(patch), oracle.after(patch))
    assert set(fast._kept.values) == {6, 9, 10, 12}, "conv3's own values and what follows, nothing before"


@pytest.mark.parametrize("accumulates", [False, True])
def test_a_shelf_is_made_once_and_never_written_to(tmp_path, accumulates, monkeypatch):
    made, make_values = [], activations.Activations._make
    monkeypatch.setattr(
        activations.Activations, "_make", lambda self, place: made.append(place) or make_values(self, place)
    )
    network, given = small_alexnet(), images()
    patches = [random_patch(network, seed) for seed in range(8)]
    oracle = FullEvaluator(network, *given, BATCH)
    wanted = [oracle.after(patch) for patch in patches]
    evaluators = [
        IncrementalEvaluator(network, *given, BATCH, shelf=Shelf(tmp_path, least=0)) for _ in range(2)
    ]
    for evaluator in evaluators:
        for patch, figures in zip(patches, wanted, strict=True):
            check(evaluator.after(patch), figures)
            if accumulates:
                fork = evaluator.fork()
                fork.advance(patch)
                check(fork.base, figures)
    assert len(made) == len(set(made)), "the second evaluator found what the first one made"
    if accumulates:
        evaluators[0].advance(patches[0])
        follow(network, patches[0])
        oracle.advance(patches[0])
        for seed in range(8):
            patch = random_patch(network, 100 + seed)
            check(evaluators[0].after(patch), oracle.after(patch))
    check(evaluators[1].after(patches[1]), wanted[1])
    assert not list(tmp_path.glob("*.partial"))


def test_small_values_are_not_shelved(tmp_path):
    network = make("mlp")
    IncrementalEvaluator(network, *images(), BATCH, shelf=Shelf(tmp_path / "shelf")).after(
        random_patch(network, 0)
    )
    assert not (tmp_path / "shelf").exists()


def test_processes_that_need_the_same_at_once_make_it_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        time.sleep(0.2)
        return torch.arange(6.0)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Shelf(tmp_path).get("0", make), range(4)))
    found[0][0] = 9.0
    assert len(calls) == 1
    assert all(torch.equal(each, torch.arange(6.0)) for each in found[1:]), "a mapping is private"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("steps", [1, 3, 40])
def test_gradient_steps_on_one_sample_are_carried_as_outer_products(steps, dtype, monkeypatch):
    """One dense layer in the middle; 40 outer products are too many, and it is run as it is."""
    done = carried(monkeypatch)
    torch.manual_seed(1)
    layers = [nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, CLASSES)]
    network = nn.Sequential(nn.Flatten(), *layers).to(dtype).eval()
    fast, oracle = pair(network)
    space, before = ParameterSpace.of(network), flat(network)
    after = before.clone()
    span = space.span("3.weight")
    for _ in range(steps):
        after[span] += (torch.randn(300, 1, dtype=dtype) @ torch.randn(1, 300, dtype=dtype) / 10).flatten()
    patch = Patch.between(space, before, after)
    wanted = oracle.after(patch)
    check(fast.after(patch), wanted, 1e-10 if dtype == torch.float64 else 1e-5)
    assert len(done) == (0 if steps == 40 else 1)
    fast.advance(patch)
    check(fast.base, wanted, 1e-10 if dtype == torch.float64 else 1e-5)


def test_what_is_almost_few_outer_products_is_not_taken_for_them():
    torch.manual_seed(2)
    change = torch.randn(300, 2, dtype=torch.float64) @ torch.randn(2, 300, dtype=torch.float64)
    found = factors_of(change, 1.0)
    assert found is not None
    assert torch.allclose(found @ torch.eye(300, dtype=torch.float64), change, atol=1e-12)
    change[7, 9] += 1e-9
    extra = torch.randn(300, 300, dtype=torch.float64) * 1e-9
    assert factors_of(change + extra, 1.0) is None
    assert factors_of(torch.full((300, 300), float("nan"), dtype=torch.float64), 1.0) is None
    assert factors_of(change[:20, :20], 1.0) is None, "too small to be worth it"


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_keep_the_channels_of_a_pixel_together(channels):
    values = torch.randn(6, channels, 8, 9)[1:]
    ordered = channels_last(values)
    assert torch.equal(ordered, values)
    made = nn.Conv2d(channels, 4, 3)(ordered)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert not made.is_contiguous()


def test_layers_whose_values_nobody_sees_give_what_they_give_one_by_one():
    """Also where a value is not finite; what goes in stays as it is."""
    modules = [
        nn.ReLU(), nn.MaxPool2d(2, stride=1, padding=1), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout().eval(), nn.ReLU(), nn.Linear(27, 4), nn.ReLU(),
    ]  # fmt: skip
    values = torch.randn(6, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    values[0, 0, 0, 0], values[1, 1, 3, 3], values[2, 0, 2, 2] = math.nan, math.inf, -math.inf
    before = values.clone()
    with torch.no_grad():
        found = flow._unseen(flow._swapped(modules), values)
        torch.testing.assert_close(found, nn.Sequential(*modules)(values), equal_nan=True)
    assert torch.equal(values.nan_to_num(7.0), before.nan_to_num(7.0))

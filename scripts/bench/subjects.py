"""What is measured: a network, the images it is evaluated on, the samples it gets wrong, and its work."""

from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import nn

from bgd import rng
from bgd.curvature.gradient import mean_gradient
from bgd.evaluation import ForkingEvaluator, FullEvaluator, fast_evaluator
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem, Sample
from bgd.parameters import ParameterSpace
from bgd.patch import Patch
from experiments.config.presets import specs
from experiments.config.spec import RunSpec
from experiments.jobs.workbench import TINY, Place, Workbench
from experiments.mnist import data, training
from experiments.mnist.networks import MLP, AlexNet
from experiments.protocol.figures import Images
from experiments.protocol.samples import samples_of
from scripts.bench.options import Options
from scripts.bench.timing import say

BATCH = {"mlp": 1000, "alexnet": 100}  # images at a time, as `Workbench` has it
PROFILES = ("thesis", "laptop")  # whose N0 is taken, the first that is kept
STEP = 0.5  # how far an edited weight moves: as far as BGD-II moves one, within an order of magnitude
GRADIENT_IMAGES = 500  # that BGD-C's mean gradient is over here; what it costs does not hang on it


@dataclass(frozen=True)
class Subject:
    """A network to measure.

    Attributes:
        name: `mlp` or `alexnet`.
        source: In words, where network and images are from.
        network: In eval mode; nobody changes it.
        images: What it is evaluated on.
        samples: Test images that it gets wrong.
        errors: How many there are of them in all.
        memory: Bytes that the incremental evaluator may keep.
    """

    name: str
    source: str
    network: nn.Module
    images: Images
    samples: list[Sample]
    errors: int
    memory: int

    @property
    def count(self) -> int:
        """Number of images, training and test."""
        return len(self.images.labels)

    @cached_property
    def work(self) -> dict[str, int]:
        """Multiply-adds of each layer for one image, in order."""
        return work_of(self.network, self.images.train[:1])

    @property
    def flop(self) -> int:
        """Floating point operations of a forward pass of one image: two for a multiply-add."""
        return 2 * sum(self.work.values())

    def floor(self, layer: str) -> float:
        """Return the share of a full pass that an edit of a layer cannot avoid.

        Every unit of the layer after the edited one changes; what lies behind that has to be computed.
        """
        names = list(self.work)
        behind = names[names.index(layer) + 2 :]
        return sum(self.work[name] for name in behind) / sum(self.work.values())

    def full(self) -> FullEvaluator:
        """Return the obvious evaluator."""
        return FullEvaluator(self.network, self.images.images, self.images.labels, BATCH[self.name])

    def fast(self, memory: int | None = None) -> ForkingEvaluator:
        """Return the evaluator that runs use."""
        images, memory = self.images, memory or self.memory
        return fast_evaluator(self.network, images.images, images.labels, BATCH[self.name], memory=memory)

    def problem(self) -> Problem:
        """Return the problem that methods are put."""
        some, labels = self.images.train[:GRADIENT_IMAGES], self.images.train_labels[:GRADIENT_IMAGES]
        return Problem(self.network, Knowledge(lambda: mean_gradient(self.network, some, labels)))

    def edits(self, layer: str, count: int) -> list[tuple[Patch, Patch]]:
        """Return patches of `count` weights of a layer, each with the one that takes it back.

        For some samples, the weights with the largest gradient move against it: those that a method picks. Weights of
        units that are always off would cost an incremental evaluation nothing.
        """
        pairs = []
        for sample in self.samples[:3]:
            trial = Problem(self.network)
            with trial.trying() as one:
                gradient, old, space = one.gradient(sample), one.original.clone(), one.space
            span = space.span(f"{layer}.weight")
            index = span.start + gradient[span].abs().topk(count).indices
            new = old[index] - STEP * gradient[index].sign()
            pairs.append(both_ways(space, index, old[index], new))
        return [(there, back) for there, back in pairs if len(there)]

    def dense(self, layer: str) -> tuple[Patch, Patch]:
        """Return a small change of every weight of a layer, and the one that takes it back."""
        space = ParameterSpace.of(self.network)
        span = space.span(f"{layer}.weight")
        index = torch.arange(span.start, span.stop)
        old = dict(self.network.named_parameters())[f"{layer}.weight"].detach().flatten().clone()
        moves = torch.from_numpy(rng.stream(0, "bench").standard_normal(len(old))).float()
        return both_ways(space, index, old, old + 1e-3 * moves)


def both_ways(
    space: ParameterSpace, index: torch.Tensor, old: torch.Tensor, new: torch.Tensor
) -> tuple[Patch, Patch]:
    """Return the patch from old to new values, and the one back."""
    return Patch.sparse(space, index, old, new), Patch.sparse(space, index, new, old)


@torch.no_grad()
def work_of(network: nn.Module, image: torch.Tensor) -> dict[str, int]:
    """Return the multiply-adds of each layer of a network for an image (1, ...), from the shapes."""
    work, values = {}, image
    for name, module in network.named_children():
        values = module(values)
        if isinstance(module, nn.Linear | nn.Conv2d):
            work[name] = values.numel() * module.weight[0].numel()
    return work


@cache
def runs(profile: str, name: str) -> tuple[RunSpec, ...]:
    """Return a network's runs of the thesis' tables in a profile: every method, both settings."""
    return tuple(spec for spec in specs(profile, ["every_method"]) if spec.network["name"] == name)


def subject(name: str, options: Options) -> Subject:
    """Return a network to measure: the N0 that is kept, on MNIST; else one trained on the tiny subset."""
    count, samples, memory = options.images[name], options.samples[name], options.memory
    bench = _kept(name, options)
    if bench is None:
        return tiny_subject(name, count, samples, memory)
    test = min(max(1, round(count * 10 / 64)), len(bench.data.test))  # of 54,000 and 10,000
    images = Images.of(bench.data, count - test, test)
    wrong = samples_of(*bench.data.test.tensors(), bench.base.errors, samples)
    source = f"N0 {bench.base.id} on MNIST"
    return Subject(name, source, bench.base.network, images, wrong, len(bench.base.errors), memory)


def _kept(name: str, options: Options) -> Workbench | None:
    files = [options.data / "MNIST" / "raw" / file for file in data.SOURCES["mnist"].sha256]
    if not all(file.exists() or file.with_name(f"{file.name}.gz").exists() for file in files):
        return None
    for profile in PROFILES:
        spec = runs(profile, name)[0]
        if (options.output / "bases" / f"{spec.base_id}.json").exists():
            return Workbench(spec, Place(options.data, options.output, "cpu", options.threads))
    return None


def tiny_subject(
    name: str, count: int, samples: int, memory: int, network: nn.Module | None = None
) -> Subject:
    """Return a network trained on the tiny subset for some seconds, on that subset over and over.

    Args:
        name: `mlp` or `alexnet`.
        count: Number of images.
        samples: Number of samples.
        memory: Bytes that the incremental evaluator may keep.
        network: Untrained; None for the thesis' own.
    """
    tiny = data.load("tiny", TINY)
    say(f"{name}: no N0 of MNIST is kept, training one on the tiny subset")
    with rng.torch_seeded(rng.stream(0, "init")):
        network = network or (MLP() if name == "mlp" else AlexNet())
    recipe = training.Recipe(epochs=10, learning_rate=0.02) if name == "mlp" else training.Recipe(3, 0.02)
    training.train(network, recipe, tiny, "cpu")
    errors = training.misclassified(network, tiny)
    return Subject(
        name,
        "trained on the tiny subset, which is repeated",
        network,
        repeated(tiny, count),
        samples_of(*tiny.test.tensors(), errors, samples),
        len(errors),
        memory,
    )


def repeated(tiny: data.Data, count: int) -> Images:
    """Return `count` training and test images, those of the tiny subset over and over."""
    test = max(1, round(count * 10 / 64))
    parts = []
    for split, number in ((tiny.train, count - test), (tiny.test, test)):
        images, labels = split.tensors()
        again = -(-number // len(labels))
        parts += [images.repeat(again, 1, 1, 1)[:number], labels.repeat(again)[:number]]
    return Images.joined(*parts)

"""The fast evaluator: the same numbers as the full one, by computing what a change changes."""

from typing import ClassVar, Self

import torch
from torch import nn

from bgd.evaluation.activations import Activations
from bgd.evaluation.flow import Numbers, Visit, flow, joined, listed, put
from bgd.evaluation.full import Evaluation
from bgd.evaluation.layers import Layers
from bgd.evaluation.shelf import Shelf
from bgd.evaluation.sweep import Sweep, TooLarge, needs
from bgd.flat import FlatNetwork
from bgd.patch import Patch

MEMORY = 12 * 2**30  # bytes; all of AlexNet that is worth keeping takes 9.6 GiB for 64,000 images


class IncrementalEvaluator:
    """Keeps values of the base network and computes differences from them.

    A small edit goes through the first changed layer and the one after as a difference (`bgd.evaluation.sweep`); the
    layers behind those are run for the images in which something changed, and the loss is taken for those alone.
    Whatever is no small edit is run from the first changed layer on.

    Predictions equal the full evaluator's, but where two logits are nearer to each other than rounding; losses equal
    its to rounding.

    Args:
        network: Not changed: the evaluator has its own copies.
        images: What to evaluate on (N, ...), on the device to evaluate on.
        labels: The right classes, int64 (N,).
        batch_size: The full evaluator's: images at a time where a layer is unknown and may look across them.
        base: Evaluation of `network`, where it is known already.
        memory: Bytes for what is kept, the layers nearest to the logits first. An edit below them is run from the
            first changed layer on, or from the images.
        shelf: Where values are kept together with other processes that evaluate the same network on the same images;
            None to keep them alone. On the CPU.

    Attributes:
        finding: What is found of each image: `Evaluation`, or a class derived from it.
    """

    finding: ClassVar[type[Evaluation]] = Evaluation

    def __init__(
        self,
        network: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        batch_size: int = 100,
        base: Evaluation | None = None,
        memory: int = MEMORY,
        shelf: Shelf | None = None,
    ) -> None:
        self._images, self._labels = images, labels
        self._batch_size, self._memory = batch_size, memory
        self._base = base
        self._begin(network, shelf)

    def _begin(self, network: nn.Module, shelf: Shelf | None) -> None:
        """Keep nothing yet of a network."""
        self._settle(network)
        self._kept = Activations(self._unpatched_layers, self._images, self._labels, self._batch_size, shelf)
        self._places = self._own_places = self._affordable(self._memory)
        self._shared = False

    def _check(self) -> None:
        """Begin anew where layers are no longer plain that were, or the other way: a hook came or went."""
        if not self._layers.holds:
            self._begin(self._network.module, None)
            self._base = None

    def _settle(self, network: nn.Module) -> None:
        """Take two copies of a network: one that values are kept of, one that patches are tried on."""
        device, image = self._images.device, self._images[:1]
        self._unpatched, self._network = FlatNetwork(network, device), FlatNetwork(network, device)
        self._unpatched_layers = Layers(self._unpatched.module, image)
        self._layers = Layers(self._network.module, image)

    @property
    def base(self) -> Evaluation:
        """Evaluation of the network as it is now, made when first asked for."""
        self._check()
        if self._base is None:
            self._base = self._outcome()
        return self._base

    def after(self, patch: Patch) -> Evaluation:
        """Evaluate the network with `patch` applied."""
        self._check()
        if not len(patch):
            return self.base
        with self._network.patched(patch):
            sweep = self._sweep(patch)
            outcome = self._swept(sweep) if sweep else None
            if outcome is None:
                outcome = self._gathered(self._layers, self._start(patch))
        return self.base if outcome is self._kept.outcome else outcome

    def advance(self, patch: Patch) -> None:
        """Make the patched network the new base; what is kept follows a small edit, and goes after any other."""
        self._check()
        if not len(patch):
            return
        if self._shared:
            self._part()
        patch.apply(self._network.flat)
        sweep, outcome = self._sweep(patch), None
        if sweep:
            self._kept.change(set(self._kept.values) - set(range(sweep.first.at + 1)))
            outcome = self._swept(sweep, write=True)
        patch.apply(self._unpatched.flat)
        self._kept.drop(after=None if outcome else min(self._layers.changed(patch)))
        self._kept.outcome, self._base = outcome, None

    def fork(self, memory: int | None = None) -> Self:
        """Return an evaluator of the same network; the two share what is kept until one of them advances.

        Args:
            memory: Bytes for what the other keeps for itself once it advances; None for as much as this one.
        """
        other = type(self).__new__(type(self))
        self._shared = True
        other.__dict__.update(self.__dict__)
        if memory is not None:
            other._own_places = self._places & self._affordable(memory)
        return other

    def _part(self) -> None:
        """Get networks of one's own; values are copied where they are written."""
        self._settle(self._unpatched.module)
        self._places = self._own_places
        self._kept = self._kept.apart(self._unpatched_layers, self._places)
        self._shared = False

    def _affordable(self, memory: int) -> set[int]:
        """Return the places whose values may be kept: those that edits need, from the logits down."""
        layers, each = self._layers, len(self._images) * self._images.element_size()
        places: set[int] = set()
        wanted = [{layers.end}] if not layers.all_known else []
        following = [*layers.stages[1:], None]
        for stage, after in reversed(list(zip(layers.stages, following, strict=False))):
            wanted.append(needs(layers, stage, after))
        for more in wanted:
            if sum(layers.sizes[place] for place in places | more) * each > memory:
                break
            places |= more
        return places

    def _outcome(self) -> Evaluation:
        """Return the results of the unpatched network, image by image."""
        if self._kept.outcome is None:
            last = self._kept.nearest(len(self._layers.modules))
            self._kept.outcome = self._gathered(self._unpatched_layers, last)
        return self._kept.outcome

    def _gathered(self, layers: Layers, start: int) -> Evaluation:
        """Run every image through layers from a kept place on."""
        labels = self._kept.labels
        parts = self._kept.run(layers, start)
        return self.finding.cat([self.finding.of(logits, labels[numbers]) for numbers, logits in parts])

    def _start(self, patch: Patch) -> int:
        """Return the last kept place that a patch leaves as it is; 0 for the images."""
        changed = min(self._layers.changed(patch))
        first, *others = [stage.source for stage in self._layers.stages] or [self._layers.end]
        starts = {*others, self._layers.end} - {first}  # nothing is saved by what goes into the first
        start = max((place for place in starts & self._places if place <= changed), default=0)
        if start:
            self._kept.require({start})
        return start

    def _sweep(self, patch: Patch) -> Sweep | None:
        """Return the sweep of a patch, and what it needs is kept; None where there is none, or it takes too much."""
        sweep = Sweep.of(self._layers, patch)
        if sweep is None or not sweep.needs <= self._places:
            return None
        self._kept.require(sweep.needs)
        return sweep

    @torch.no_grad()
    def _swept(self, sweep: Sweep, write: bool = False) -> Evaluation | None:
        """Compute what a small edit changes; None where that would be inaccurate.

        Args:
            sweep: Of the edit.
            write: Make the kept values those of the patched network.
        """
        labels = self._kept.labels
        numbers: list[Numbers] = []
        found = []
        parts = sweep.run(self._kept, write=write)
        try:
            for images, logits in flow(self._layers, parts, sweep.last, visit=self._write if write else None):
                numbers.append(images)
                found.append(self.finding.of(logits, labels[images]))
        except TooLarge:
            return None
        if not found:
            return self._outcome()
        outcome = self.finding.cat(found)
        if len(outcome.losses) == len(labels):
            return outcome
        images = joined(numbers, labels.device)
        return self._outcome().with_images(listed(images, labels.device), outcome)

    @property
    def _write(self) -> Visit:
        """Writes values over the kept ones."""
        kept = self._kept.values
        return lambda place, numbers, values: put(kept[place], numbers, values) if place in kept else None

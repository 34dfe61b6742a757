"""The fast evaluator: the same numbers as the full one, by computing what a change changes."""

from collections.abc import Iterator

import torch
from torch import nn

from bgd.evaluation.activations import Activations, Outcome
from bgd.evaluation.full import Evaluation, Images, combine
from bgd.evaluation.layers import Layers
from bgd.evaluation.sweep import Sweep, TooLarge
from bgd.flat import FlatNetwork
from bgd.patch import Patch

BLOCK = 2**22  # bytes of the widest values that a block of images is computed in: they stay in the cache


class IncrementalEvaluator:
    """Keeps values of the base network and computes differences from them.

    A small edit goes through the first changed layer and the one after as a difference (`bgd.evaluation.sweep`); the
    layers behind those are run for the images in which something changed, and the loss is taken for those alone.
    Whatever is no small edit is run from the first changed layer on, by the operations of the full evaluator.

    Predictions equal the full evaluator's, but where two logits are nearer to each other than rounding; losses equal
    its to rounding.

    Args:
        network: Not changed: the evaluator has its own copy.
        images: What to evaluate on.
        batch_size: Images at a time where layers are run as they are.
        base: Evaluation of `network`, where it is known already.
        memory: Bytes for what is kept, the layers nearest to the logits first.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Images,
        batch_size: int = 100,
        base: Evaluation | None = None,
        memory: int = 6 * 2**30,
    ) -> None:
        self._network = FlatNetwork(network, images.train.device)
        self._images = images
        self._batch_size = batch_size
        self._base = base
        self._layers = Layers(self._network.module, images.train[:1])
        self._kept = Activations(self._layers, images, batch_size)
        self._places = self._affordable(memory)
        self._shared = False
        self._latest: tuple[Evaluation, Outcome] | None = None

    @property
    def base(self) -> Evaluation:
        """Evaluation of the network as it is now, made when first asked for."""
        if self._base is None:
            self._base = self._summary(self._outcome())
        return self._base

    def after(self, patch: Patch) -> Evaluation:
        """Evaluate the network with `patch` applied."""
        if not len(patch):
            return self.base
        sweep = Sweep.of(self._layers, patch)
        outcome = None
        if sweep and sweep.needs <= self._places:
            outcome = self._swept(sweep, patch)
        if outcome is None:
            outcome = self._rerun(patch)
        evaluation = self.base if outcome is self._kept.outcome else self._summary(outcome)
        self._latest = evaluation, outcome
        return evaluation

    def advance(self, patch: Patch, evaluation: Evaluation | None = None) -> None:
        """Make the patched network the new base; what is kept follows, or goes."""
        if not len(patch):
            return
        outcome = None
        if self._latest and self._latest[0] is evaluation:
            outcome = self._latest[1]
        if self._shared:
            self._part()
        patch.apply(self._network.flat)
        self._follow(patch)
        self._kept.outcome = outcome
        self._base, self._latest = evaluation, None

    def fork(self) -> "IncrementalEvaluator":
        """Return an evaluator of the same network; the two share what is kept until one of them advances."""
        other = IncrementalEvaluator.__new__(IncrementalEvaluator)
        self._shared = True
        other.__dict__.update(self.__dict__)
        return other

    def _part(self) -> None:
        """Get a network of one's own; values are copied where they are written."""
        self._network = FlatNetwork(self._network.module, self._images.train.device)
        self._layers = Layers(self._network.module, self._images.train[:1])
        self._kept = self._kept.apart(self._layers)
        self._shared = False

    def _affordable(self, memory: int) -> set[int]:
        """Return the places whose values may be kept: those that edits need, from the logits down."""
        layers, images = self._layers, self._images
        each = (len(images.train) + len(images.test)) * images.train.element_size()
        places: set[int] = set()
        wanted = [{layers.end}] if not layers.all_known else []
        for n, stage in reversed(list(enumerate(layers.stages))):
            after = layers.stages[n + 1 : n + 2]
            ends = {following.at + 1 for following in after} | {following.source for following in after}
            wanted.append({stage.source, stage.at + 1} | ends)
        for more in wanted:
            if sum(layers.sizes[place] for place in places | more) * each > memory:
                break
            places |= more
        return places

    def _outcome(self) -> Outcome:
        """Return what was found for each image of the unpatched network."""
        if self._kept.outcome is None:
            self._kept.outcome = self._gathered(self._kept.nearest(len(self._layers.modules)))
        return self._kept.outcome

    def _gathered(self, start: int) -> Outcome:
        """Run every image through the layers from a kept place on."""
        labels = self._kept.labels
        return Outcome.cat([Outcome.of(logits, labels[batch]) for batch, logits in self._kept.run(start)])

    def _rerun(self, patch: Patch) -> Outcome:
        """Compute everything from the first changed layer on."""
        changed = min(self._layers.changed(patch))
        first, *others = [stage.source for stage in self._layers.stages] or [self._layers.end]
        starts = {*others, self._layers.end} - {first}  # nothing is saved by what goes into the first
        start = max((place for place in starts & self._places if place <= changed), default=0)
        if start:
            self._kept.require({start})
        with self._network.patched(patch):
            return self._gathered(start)

    @torch.no_grad()
    def _swept(self, sweep: Sweep, patch: Patch) -> Outcome | None:
        """Compute what a small edit changes; None where that would be inaccurate."""
        self._kept.require(sweep.needs)
        labels = self._kept.labels
        numbers, found = [], []
        try:
            with self._network.patched(patch):
                for block, moved in sweep.run(self._kept, self._blocks(sweep.last)):
                    here = torch.arange(block.start, block.stop, device=labels.device)
                    numbers.append(here if moved.images is None else here[moved.images])
                    logits = self._finish(moved.values, sweep.last)
                    found.append(Outcome.of(logits, labels[numbers[-1]]))
        except TooLarge:
            return None
        if not found:
            return self._outcome()
        outcome = Outcome.cat(found)
        if len(outcome.losses) == len(labels):
            return outcome
        return self._outcome().with_images(torch.cat(numbers), outcome)

    def _follow(self, patch: Patch) -> None:
        """Turn what is kept into values of the patched network where that is a small difference; drop the rest."""
        sweep, valid = Sweep.of(self._layers, patch), min(self._layers.changed(patch))
        if sweep and sweep.needs <= set(self._kept.values):
            try:
                for _ in sweep.run(self._kept, self._blocks(sweep.last), write=True):
                    pass
                valid = sweep.last
            except TooLarge:
                pass  # what was written lies behind the changed layer
        self._kept.drop(valid)

    def _blocks(self, place: int) -> Iterator[slice]:
        """Yield the images to compute together, where values at `place` and after it are to be computed."""
        if not self._layers.all_known:
            yield from self._kept.batches()
            return
        widest = max(self._layers.sizes[place:]) * self._images.train.element_size()
        step = max(self._batch_size, BLOCK // widest)
        for start in range(0, len(self._kept), step):
            yield slice(start, min(start + step, len(self._kept)))

    def _summary(self, outcome: Outcome) -> Evaluation:
        size, right = len(self._images.train), outcome.predictions == self._kept.labels
        losses, predictions = outcome.losses, outcome.predictions
        return combine(losses[:size], right[:size], losses[size:], right[size:], predictions[size:])

    def _finish(self, values: torch.Tensor, start: int) -> torch.Tensor:
        """Run the layers from a place on; units stay one stretch of memory each where all layers are known."""
        if not self._layers.all_known:
            values = values.contiguous()
        for module in self._layers.modules[start:]:
            if isinstance(module, nn.Linear) and self._layers.all_known:
                product = module.weight @ values.t()
                values = (product if module.bias is None else product.add_(module.bias[:, None])).t()
            else:
                values = module(values)
        return values

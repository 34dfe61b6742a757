"""The evaluator that starts at the first changed layer: the same operations as the full one, fewer of them."""

import torch
from torch import nn

from bgd.evaluation.full import Evaluation, FullEvaluator, Images
from bgd.patch import Patch


class SuffixEvaluator(FullEvaluator):
    """Keeps what goes into each fully connected layer and recomputes from the first changed layer on.

    An edit of `lin3` costs one small product instead of the whole network. Every number is the full evaluator's,
    bit for bit: the layers run are the same, on the same batches. A network that is no `nn.Sequential`, or an edit
    above the first kept layer, costs the full pass.

    Args:
        network: Not changed: the evaluator has its own copy.
        images: What to evaluate on.
        batch_size: Images at a time.
        base: Evaluation of `network`, where it is known already.
    """

    def __init__(
        self, network: nn.Module, images: Images, batch_size: int = 100, base: Evaluation | None = None
    ) -> None:
        super().__init__(network, images, batch_size, base)
        layers = dict(self._network.module.named_children())
        self._names = list(layers) if isinstance(self._network.module, nn.Sequential) else []
        linear = [place for place, name in enumerate(self._names) if isinstance(layers[name], nn.Linear)]
        self._keep = [
            place for place in linear if place > 1
        ]  # a layer right at the input is the full pass anyway
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def after(self, patch: Patch) -> Evaluation:
        """Evaluate the network with `patch` applied, from the first changed layer on."""
        starts = [place for place in self._keep if place <= self._first_changed(patch)]
        if not starts:
            return super().after(patch)
        start = starts[-1]
        if start not in self._kept:
            self._fill()
        train, test = self._kept[start]
        with self._network.patched(patch):
            return self._summary(self._run(train, start), self._run(test, start))

    def advance(self, patch: Patch, evaluation: Evaluation | None = None) -> None:
        """Make the patched network the new base; what is kept behind the change goes."""
        super().advance(patch, evaluation)
        first = self._first_changed(patch)
        self._kept = {place: kept for place, kept in self._kept.items() if place <= first}

    def _first_changed(self, patch: Patch) -> int:
        """Return the place of the first layer that a patch changes; past the last one where it changes none."""
        layers = {name.split(".")[0] for name in patch.tensors}
        return min(
            (self._names.index(name) if name in self._names else 0 for name in layers),
            default=len(self._names),
        )

    @torch.no_grad()
    def _run(self, inputs: torch.Tensor, start: int, stop: int | None = None) -> torch.Tensor:
        layers = nn.Sequential(
            *list(self._network.module.children())[start:stop]
        )  # slicing would call the subclass
        return torch.cat([layers(batch) for batch in inputs.split(self._batch_size)])

    def _fill(self) -> None:
        """Compute what goes into each kept layer, from the nearest kept one before it."""
        inputs, place = (self._images.train, self._images.test), 0
        for target in self._keep:
            if target not in self._kept:
                train, test = inputs
                self._kept[target] = self._run(train, place, target), self._run(test, place, target)
            inputs, place = self._kept[target], target

"""Parameter Subset Selection (Algorithm 2, section 3.4) and its pruning step (Algorithm 1, section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from bgd.curvature.base import CurvatureError
from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.bgd.followed import DEAR, AtHand
from bgd.methods.bgd.guard import Guard
from bgd.methods.bgd.pool import Pool
from bgd.methods.bgd.prior import GradientPrior, InformedPrior, Magnitude, Prior, Sampler, prior_at
from bgd.methods.bgd.row import linear_row
from bgd.methods.bgd.steps import Search, Source, unusable
from bgd.methods.bgd.update import FirstOrder, SecondOrder, Update
from bgd.methods.layers import known_layers
from bgd.parameters import ParameterSpace
from bgd.patch import Patch

VERSION = 3  # raised whenever the same search may give another correction
MANY = 64  # samples of a call to compiled code: their gradients stay in the cache
ROOM = (
    1 << 29
)  # parameters of the networks of a call on a card, which has three numbers for each: 6 GiB of float32
CHOICES = {
    "probability_update": ("drawn_to_zero", "printed"),
    "stop": ("when_right", "never"),
    "replace": ("swap", "printed"),
}


@dataclass(frozen=True)
class SubsetSearch:
    """Looks for a small subset of the weights whose update makes the network get the sample right.

    A candidate is looked at from the first parameter it changes on, as a difference from the network at hand
    (`Follower`), which decides what running the network for each would decide. Forward passes are counted as the
    algorithm takes them, one for each candidate it considers, whatever was run.

    Attributes:
        prior: Which parameters are likely to be drawn.
        update: How far a chosen parameter moves, always from its original value.
        guard: Which drawn parameters are drawn again; None for no such thing.
        subset_size: n, the size of the first subset. Released code: 5.
        iterations: T, the most iterations. Thesis, section 4.7, and released code: 20.
        expansion: x, how many parameters Expand adds. Thesis, section 4.5.1: 10.
        replace_probability: Of Replace; else Expand. Released code: 0.7; the thesis names none.
        probability_update: `drawn_to_zero`: a drawn parameter is not drawn again (released code);
            `printed`: P_t = max(0, P_t-1 - |g_t-1|) after each iteration (section 3.4).
        stop: `when_right`: at the first iteration that finds the sample right (released code); `never`: after all T
            (Algorithm 2, which has no exit).
        replace: When a fresh draw takes an element's place. `swap`: where the subset with it in that place has a lower
            loss than the subset at hand (released code); `printed`: where the subset with it added has a lower loss
            than the subset without the element (Algorithm 2, line 11).
        prune: Whether the subset is pruned at the end (Algorithm 1).
    """

    prior: Prior | InformedPrior = field(default_factory=GradientPrior)
    update: Update = field(default_factory=SecondOrder)
    guard: Guard | None = None
    subset_size: int = 5
    iterations: int = 20
    expansion: int = 10
    replace_probability: float = 0.7
    probability_update: str = "drawn_to_zero"
    prune: bool = True
    # DEVIATION D33, D34: Algorithm 2 as printed does otherwise.
    stop: str = "when_right"
    replace: str = "swap"

    def __post_init__(self) -> None:
        for key in ("subset_size", "iterations", "expansion"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")
        if not 0 <= self.replace_probability <= 1:
            raise ValueError(f"replace_probability={self.replace_probability}: must be between 0 and 1")
        for key, choices in CHOICES.items():
            if (value := getattr(self, key)) not in choices:
                raise ValueError(f"{key}={value!r}: must be one of {', '.join(choices)}")

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Search, then prune; see `Method.correct`."""
        gradient = trial.gradient(sample, out=trial.scratch("gradient"))
        magnitude = Magnitude(gradient, trial.space)
        reason = unusable(float(magnitude.total), "the gradient is not finite", "the gradient is zero")
        if reason:
            return Correction.failed(reason)
        try:
            prior = prior_at(self.prior, trial, sample)
        except CurvatureError as error:
            return Correction.failed(str(error))
        sampler = Sampler(prior.weights(magnitude), stream)
        reason = unusable(sampler.total, "the prior is not finite", "the prior leaves no weight to draw")
        if reason:
            return Correction.failed(reason)
        search = Search(self, trial, sample, Source(sampler, stream, gradient))
        network = AtHand(self.update, trial, sample, gradient)
        network.lead(search)
        chosen = network.indices(search.subset)
        patch = Patch.sparse(trial.space, chosen, trial.original[chosen], trial.flat[chosen])
        trial.altered = chosen
        if not search.answer.right:
            return Correction.failed(f"wrong after {search.iterations} iterations", search.iterations)
        return Correction(patch, altered=len(search.subset), steps=search.iterations)

    def at_once(self, network: nn.Module) -> int:
        """Many on a small row of linear layers, and on a card where the layers are known; see `Together`."""
        space = ParameterSpace.of(network)
        if self._is_compiled(network, space):
            return MANY
        if self._is_pooled(network, space):
            return max(1, min(MANY, ROOM // space.size))
        return 1

    def correct_many(
        self, trial: Trial, samples: Sequence[Sample], streams: Sequence[np.random.Generator]
    ) -> Sequence[Correction]:
        """Search for each sample, with the same outcome, in compiled code or on a card together; see `Together`."""
        if trial.flat.device.type == "cuda":
            return Pool(self, trial, samples, streams).correct()
        from bgd.methods.bgd.together import Searches  # numba takes a third of a second to import

        return Searches(self, trial).correct(samples, streams)

    def _is_compiled(self, network: nn.Module, space: ParameterSpace) -> bool:
        known = type(self.update) is FirstOrder or (
            type(self.update) is SecondOrder and self.update.elementwise
        )
        first = next(network.parameters())
        plain = first.dtype == torch.float32 and first.device.type == "cpu" and space.size < DEAR
        return known and self._is_plain() and plain and bool(linear_row(network, space))

    def _is_pooled(self, network: nn.Module, space: ParameterSpace) -> bool:
        known = type(self.update) is FirstOrder or (
            type(self.update) is SecondOrder and self.update.form == "diagonal"
        )
        first = next(network.parameters())
        plain = first.dtype in (torch.float32, torch.float64) and first.device.type == "cuda"
        return known and self._is_plain() and plain and bool(known_layers(network, space))

    def _is_plain(self) -> bool:
        """Return whether the search is the one that is known elsewhere too."""
        return self.probability_update == "drawn_to_zero" and type(self).correct is SubsetSearch.correct

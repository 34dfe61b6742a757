"""Searches on a small row of linear layers, one sample after another, each from the network as it is.

What comes out is what `SubsetSearch.correct` gives, bit for bit. The gradient, and what the network itself says where a
decision is close, are by the same operations of torch on the same numbers; all else is `bgd.methods.bgd.compiled`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bgd.curvature.base import CurvatureError
from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.bgd import compiled
from bgd.methods.bgd.compiled import Booleans, Case, Desk, Doubles, How, Row, Singles
from bgd.methods.bgd.prior import InformedPrior, Magnitude, is_of_many, prior_at
from bgd.methods.bgd.row import Answers, Layer, gradients, layers_of
from bgd.methods.bgd.search import MANY, SubsetSearch
from bgd.methods.bgd.steps import unusable
from bgd.methods.bgd.update import FirstOrder, SecondOrder
from bgd.patch import Patch

NUMBERS = 2048  # that a search has at first: most use less
NONE_HARMFUL = np.empty(0, dtype=bool)


class Searches:
    """Searches with the same options, from the same network.

    Args:
        options: Of each search; its update is one of `bgd.methods.bgd.update`, elementwise.
        trial: Whose network is a row of linear layers in float32 on the CPU.
    """

    def __init__(self, options: SubsetSearch, trial: Trial) -> None:
        self._options, self._trial = options, trial
        self._layers: list[Layer] = trial.kept(
            "layers of a row", lambda: layers_of(trial.network, trial.space, trial.flat)
        )
        self._original, self._flat = trial.original.numpy(), trial.flat.numpy()
        self._row: Row = trial.kept(
            "a row", lambda: _described(self._layers, self._original), of=trial.space.names
        )
        self._no_offset = np.zeros(self._row.widths[-1])
        self._desk = Desk.of(options.subset_size + options.iterations * options.expansion)

    @np.errstate(all="ignore")  # what is not finite is found later
    def correct(self, samples: Sequence[Sample], streams: Sequence[np.random.Generator]) -> list[Correction]:
        """Correct each sample; see `Together`."""
        found, room = self._room(len(samples))
        self._gradients(samples, found)
        drawn = self._drawn_by(samples, found, room)
        harmful = self._harmful(found, drawn)
        images = torch.cat([sample.image.reshape(1, -1) for sample in samples]).double().numpy()
        first, gross = self._first_layer(images)
        stages = zip(samples, streams, found, drawn, harmful, images, first, gross, strict=True)
        corrections = [self._correct(*each) for each in stages]
        self._trial.altered = torch.empty(0, dtype=torch.long)  # all is put back
        return corrections

    def _room(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return memory for gradients and weights (n, |W|), the same each time: new pages take as long to get."""

        def made(count: int) -> torch.Tensor:
            return torch.empty(2, count, self._trial.space.size, dtype=torch.float32, device="cpu")

        whole = self._trial.kept("room for searches", lambda: made(MANY)) if count <= MANY else made(count)
        return whole[0, :count], whole[1, :count]

    def _gradients(self, samples: Sequence[Sample], out: torch.Tensor) -> None:
        """Write the gradient of each sample (n, |W|), 0 at what is frozen."""
        space = self._trial.space
        gradients(self._layers, samples, out.numpy())
        for name in space.frozen:
            out[:, space.span(name)] = 0

    def _drawn_by(
        self, samples: Sequence[Sample], gradients: torch.Tensor, room: torch.Tensor
    ) -> list[tuple[Singles | str, int]]:
        """Return for each sample the weights (|W|,) to draw by, or in words why there are none, and what they took.

        That is forward passes: an informed prior may take some.

        Args:
            samples: The samples.
            gradients: Of each (n, |W|).
            room: Where weights may be made (n, |W|).
        """
        prior, trial = self._options.prior, self._trial
        magnitude = Magnitude(gradients, trial.space, out=room)
        totals = magnitude.total.flatten().tolist()
        reasons = [unusable(total, "the gradient is not finite", "the gradient is zero") for total in totals]
        if is_of_many(prior) and not isinstance(prior, InformedPrior):
            weights = prior.weights(magnitude).whole().numpy()
            return [(reason or each, 0) for reason, each in zip(reasons, weights, strict=True)]
        found: list[tuple[Singles | str, int]] = []
        for sample, one, reason in zip(samples, magnitude.each(), reasons, strict=True):
            passes, given = trial.forward_passes, reason
            try:
                own = None if reason else prior_at(prior, trial, sample)
            except CurvatureError as error:
                own, given = None, str(error)
            drawn = given if own is None else own.weights(one).whole().numpy().copy()
            found.append((drawn, trial.forward_passes - passes))
        return found

    def _harmful(
        self, gradients: torch.Tensor, drawn: Sequence[tuple[Singles | str, int]]
    ) -> Sequence[Booleans]:
        """Return for each gradient (n, |W|) the mask of what is drawn again, empty where nothing is."""
        guard, trial = self._options.guard, self._trial
        searched = [not isinstance(weights, str) for weights, _ in drawn]
        if guard is None or not any(searched):
            return [NONE_HARMFUL] * len(gradients)
        if is_of_many(guard):
            return list(guard.harmful(trial, gradients).numpy())
        return [
            guard.harmful(trial, gradient).numpy().copy() if is_searched else NONE_HARMFUL
            for gradient, is_searched in zip(gradients, searched, strict=True)
        ]

    def _first_layer(self, images: Doubles) -> tuple[Doubles, Doubles]:
        """Return the first layer's sums (n, units) for images (n, inputs), and the same sums of magnitudes."""
        row, units = self._row, self._row.widths[1]
        weight = row.values[row.weights[0] : row.weights[0] + units * images.shape[1]].reshape(units, -1)
        bias = row.values[row.biases[0] : row.biases[0] + units] if row.biases[0] >= 0 else np.zeros(units)
        return images @ weight.T + bias, np.abs(images) @ np.abs(weight).T + np.abs(bias)

    def _correct(
        self,
        sample: Sample,
        stream: np.random.Generator,
        gradient: torch.Tensor,
        drawn: tuple[Singles | str, int],
        harmful: Booleans,
        image: Doubles,
        first: Doubles,
        gross: Doubles,
    ) -> Correction:
        """Correct one sample; see `SubsetSearch.correct` and, for what is given, `Case`."""
        weights, passes = drawn
        if isinstance(weights, str):
            return Correction(None, 0, 0, weights, forward_passes=1 + passes, backward_passes=1)
        offset = self._no_offset if sample.offset is None else sample.offset.double().numpy()
        label, numbers = int(sample.label), stream.random(NUMBERS)
        case = Case(image, first, gross, offset, label, gradient.numpy(), weights, harmful, numbers)
        self._searched(sample, stream, case)
        return self._outcome(1 + passes)

    def _searched(self, sample: Sample, stream: np.random.Generator, case: Case) -> None:
        """Search, and answer what the search asks of the network; how it ended stands on the desk."""
        desk, answers = self._desk, Answers(self._layers, sample)
        given: tuple[Any, ...] = (*self._row, *case, *_how(self._options, case.gradient), *desk)
        for count in compiled.search(*given):
            chosen = desk.indices[:count]
            self._flat[chosen] = desk.values[:count]
            desk.said[:] = answers.of(chosen)
            self._flat[chosen] = self._original[chosen]
        if desk.end[0] == compiled.SHORT:
            more = stream.random(len(case.numbers))
            self._searched(sample, stream, case._replace(numbers=np.concatenate([case.numbers, more])))

    def _outcome(self, passes: int) -> Correction:
        """Return the correction that stands on the desk, with the forward passes before the search added."""
        desk = self._desk
        state, steps, count, searched, kept = desk.end.tolist()
        passes += searched
        if state != compiled.CORRECTED:
            reason = {
                compiled.INFINITE: "the prior is not finite",
                compiled.NOTHING: "the prior leaves no weight to draw",
                compiled.WRONG: f"wrong after {steps} iterations",
            }[state]
            return Correction(None, 0, steps, reason, forward_passes=passes, backward_passes=1)
        indices, new = desk.indices[:kept].copy(), desk.values[:kept].copy()
        old = self._original[indices]
        parts = [torch.from_numpy(each) for each in (indices, old, new)]
        patch = Patch(self._trial.space, parts[0], parts[1], parts[2])
        return Correction(patch, count, steps, forward_passes=passes, backward_passes=1)


def _described(layers: Sequence[Layer], original: Singles) -> Row:
    return Row(
        np.array([layers[0].weight.shape[1], *(len(layer.weight) for layer in layers)]),
        np.array([layer.first_weight for layer in layers]),
        np.array([layer.first_bias for layer in layers]),
        np.array([layer.rectified for layer in layers]),
        original.astype(np.float64),
    )


def _how(options: SubsetSearch, gradient: Singles) -> How:
    """Return the options of a search for a sample's gradient (|W|,)."""
    rule, number, update = compiled.INVERSE, 0.0, options.update
    if isinstance(update, FirstOrder):
        rule, number = compiled.RATE, -update.step
    elif isinstance(update, SecondOrder) and update.form == "full_norm":
        rule, number = compiled.SHARE, float(torch.from_numpy(gradient).square().sum())
    return How(
        rule,
        np.float32(number),
        options.guard.redraws if options.guard else 0,
        options.subset_size,
        options.iterations,
        options.expansion,
        options.replace_probability,
        options.prune,
        options.stop == "when_right",
        options.replace == "printed",
    )

"""Searches on a small row of linear layers, one sample after another, each from the network as it is.

What comes out is what `SubsetSearch.correct` gives, bit for bit. The gradient, and what the network itself says where a
decision is close, are by the same operations of torch on the same numbers; all else is `bgd.methods.bgd.compiled`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bgd.curvature.base import CurvatureError
from bgd.methods.base import Answer, Correction, Sample, Trial
from bgd.methods.bgd import compiled
from bgd.methods.bgd.compiled import Case, Desk, Doubles, How, Row
from bgd.methods.bgd.prior import Magnitude, prior_at
from bgd.methods.bgd.row import Layer, layers_of, places_of, write_gradient
from bgd.methods.bgd.update import FirstOrder
from bgd.patch import Patch

if TYPE_CHECKING:
    from bgd.methods.bgd.search import SubsetSearch

NUMBERS = 512  # that a search has at first: most use less
NONE_HARMFUL = np.empty(0, dtype=bool)


class Searches:
    """Searches with the same options, from the same network.

    Args:
        options: Of each search; its update is one of `bgd.methods.bgd.update`, elementwise.
        trial: Whose network is a row of linear layers in float32 on the CPU.
    """

    def __init__(self, options: "SubsetSearch", trial: Trial) -> None:
        self._options, self._trial = options, trial
        self._layers: list[Layer] = trial.kept(
            "layers of a row", lambda: layers_of(trial.network, trial.space, trial.flat)
        )
        self._original, self._flat = trial.original.numpy(), trial.flat.numpy()
        self._row = _described(self._layers, self._original)
        self._gradient = trial.scratch("gradient")
        self._desk = Desk.of(options.subset_size + options.iterations * options.expansion)
        if trial.space.frozen:
            self._gradient.zero_()

    def correct(self, samples: Sequence[Sample], streams: Sequence[np.random.Generator]) -> list[Correction]:
        """Correct each sample; see `Together`."""
        images = torch.cat([sample.image.reshape(1, -1) for sample in samples]).double().numpy()
        first, gross = self._first_layer(images)
        found = list(map(self._correct, samples, streams, images, first, gross))
        self._trial.altered = torch.empty(0, dtype=torch.long)  # all is put back
        return found

    def _first_layer(self, images: Doubles) -> tuple[Doubles, Doubles]:
        """Return what comes out of the first layer for images (n, inputs), and the sums of magnitudes there."""
        row, units = self._row, self._row.widths[1]
        weight = row.values[row.weights[0] : row.weights[0] + units * images.shape[1]].reshape(units, -1)
        bias = row.values[row.biases[0] : row.biases[0] + units] if row.biases[0] >= 0 else np.zeros(units)
        return images @ weight.T + bias, np.abs(images) @ np.abs(weight).T + np.abs(bias)

    def _correct(
        self, sample: Sample, stream: np.random.Generator, image: Doubles, first: Doubles, gross: Doubles
    ) -> Correction:
        """Correct one sample; see `SubsetSearch.correct`."""
        options, trial, gradient = self._options, self._trial, self._gradient
        trial.forward_passes = trial.backward_passes = 1
        write_gradient(self._layers, sample, gradient.numpy())
        for name in trial.space.frozen:
            gradient[trial.space.span(name)] = 0
        magnitude = Magnitude(gradient, trial.space)
        if not torch.isfinite(magnitude.total):
            return self._counted(Correction.failed("the gradient is not finite"))
        if not magnitude.total:
            return self._counted(Correction.failed("the gradient is zero"))
        try:
            prior = prior_at(options.prior, trial, sample)
        except CurvatureError as error:
            return self._counted(Correction.failed(str(error)))
        case = Case(
            image,
            first,
            gross,
            np.zeros(self._row.widths[-1]) if sample.offset is None else sample.offset.double().numpy(),
            int(sample.label),
            gradient.numpy(),
            prior.weights(magnitude).whole().numpy(),
            options.guard.harmful(trial, gradient).numpy() if options.guard else NONE_HARMFUL,
            stream.random(NUMBERS),
        )
        self._searched(sample, stream, case)
        trial.forward_passes += int(self._desk.end[3])
        return self._counted(self._outcome())

    def _searched(self, sample: Sample, stream: np.random.Generator, case: Case) -> None:
        """Search, and answer what the search asks of the network; how it ended stands on the desk."""
        desk, how = self._desk, _how(self._options, self._gradient)
        for count in compiled.search(*self._row, *case, *how, *desk):
            chosen = desk.indices[:count]
            self._flat[chosen] = desk.values[:count]
            answer = Answer.of(places_of(self._layers, sample.image)[-1], sample)
            self._flat[chosen] = self._original[chosen]
            desk.said[:] = answer.loss, answer.right
        if desk.end[0] == compiled.SHORT:
            more = stream.random(len(case.numbers))
            self._searched(sample, stream, case._replace(numbers=np.concatenate([case.numbers, more])))

    def _outcome(self) -> Correction:
        desk = self._desk
        state, steps, count, _ = desk.end.tolist()
        if state == compiled.INFINITE:
            return Correction.failed("the prior is not finite")
        if state == compiled.NOTHING:
            return Correction.failed("the prior leaves no weight to draw")
        if state == compiled.WRONG:
            return Correction.failed(f"wrong after {steps} iterations", steps)
        order = desk.indices[:count].argsort()
        indices, values = desk.indices[:count][order], desk.values[:count][order]
        old = self._original[indices]
        kept = old != values
        parts = (torch.from_numpy(each[kept]) for each in (indices, old, values))
        return Correction(Patch(self._trial.space, *parts), altered=count, steps=steps)

    def _counted(self, found: Correction) -> Correction:
        passes = self._trial.forward_passes, self._trial.backward_passes
        return replace(found, forward_passes=passes[0], backward_passes=passes[1])


def _described(layers: Sequence[Layer], original: np.ndarray[Any, np.dtype[np.float32]]) -> Row:
    return Row(
        np.array([layers[0].weight.shape[1], *(len(layer.weight) for layer in layers)]),
        np.array([layer.first_weight for layer in layers]),
        np.array([layer.first_bias for layer in layers]),
        np.array([layer.rectified for layer in layers]),
        original.astype(np.float64),
    )


def _how(options: "SubsetSearch", gradient: torch.Tensor) -> How:
    """Return the options of a search for a sample's gradient (|W|,)."""
    rule, number = compiled.INVERSE, 0.0
    if isinstance(options.update, FirstOrder):
        rule, number = compiled.RATE, -options.update.step
    elif options.update.form == "full_norm":
        rule, number = compiled.SHARE, float(gradient.square().sum())
    return How(
        rule,
        np.float32(number),
        options.guard.redraws if options.guard else 0,
        options.subset_size,
        options.iterations,
        options.expansion,
        options.replace_probability,
        options.prune,
    )

"""What one correction does to the predictions of the other test images (reloading setting)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report.canvas import draw
from experiments.report.frames import Frames
from experiments.report.knowledge import Knowledge
from experiments.report.metrics import Values
from experiments.report.numbers import format_count, format_number, listing
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import sheet_names
from experiments.report.strips import Panel, draw_strips
from experiments.report.style import NETWORKS, network_label
from experiments.report.tails import MEANING, Quantity, sheet, tails_of, values_of


def _column(samples: pd.DataFrame, name: str) -> Values:
    return samples[name].to_numpy(dtype=np.float64)


def _percentage(samples: pd.DataFrame, count: str, of: str) -> Values:
    """Return one column in per cent of another: NaN where that is 0."""
    whole = _column(samples, of)
    return 100 * _column(samples, count) / np.where(whole > 0, whole, np.nan)


def negative_flips(samples: pd.DataFrame) -> Values:
    """Return the negative flip rate in %: a value per sample.

    Test images that N0 gets right and the corrected network wrong, over all test images (Yan et al.,
    "Positive-Congruent Training", CVPR 2021, equation 1).
    """
    return _percentage(samples, "broken", "test_images")


def positive_flips(samples: pd.DataFrame) -> Values:
    """Return the positive flip rate in %: test images from wrong to right over all; the sample's own is among them."""
    return _percentage(samples, "fixed", "test_images")


def locality(samples: pd.DataFrame) -> Values:
    """Return the locality in %: a value per sample.

    Test images with the same prediction, right or wrong, as N0's, over all test images.
    """
    return _percentage(samples, "agreeing", "test_images")


def close_locality(samples: pd.DataFrame) -> Values:
    """Return the locality in % on the images whose two largest logits N0 has closest together: a value per sample.

    NaN where no image counts as close.
    """
    return _percentage(samples, "agreeing_close", "base_close_images")


def untouched_accuracy_change(samples: pd.DataFrame) -> Values:
    """Return the change of the accuracy, in [0, 1], on the test images that are not on the work list.

    The difference of two shares of `base_untouched_images`, after the correction and of N0: a value per sample, NaN
    where every test image is on the list.
    """
    change = _column(samples, "untouched_right") - _column(samples, "base_untouched_right")
    images = _column(samples, "base_untouched_images")
    return np.asarray(change / np.where(images > 0, images, np.nan), dtype=np.float64)


def _moved(samples: pd.DataFrame) -> Values:
    return np.round(100 - locality(samples), 10)


def _moved_close(samples: pd.DataFrame) -> Values:
    return np.round(100 - close_locality(samples), 10)


QUANTITIES = (
    Quantity("negative_flip_rate", "Negative flip rate (%)", "largest", negative_flips),
    Quantity("positive_flip_rate", "Positive flip rate (%)", "smallest", positive_flips),
    Quantity("locality", "Locality (%)", "smallest", locality),
    Quantity("locality_close", "Locality, close images (%)", "smallest", close_locality),
    Quantity("untouched_dTA", "ΔTA, images not on the work list", "smallest", untouched_accuracy_change),
)
# Locality is near 100 where it matters: what is missing to it shows the difference.
DRAWN = (
    QUANTITIES[0],
    QUANTITIES[1],
    Quantity("moved", "", "largest", _moved),
    Quantity("moved_close", "", "largest", _moved_close),
    QUANTITIES[4],
)
PANELS = (
    Panel("negative_flip_rate", "negative flip rate (%)", "right", "symlog", 0.01),
    Panel("positive_flip_rate", "positive flip rate (%)", "left", "symlog", 0.01),
    Panel("moved", "100 − locality (%)", "right", "symlog", 0.01),
    Panel("moved_close", "100 − locality, close images (%)", "right", "symlog", 0.1),
    Panel("untouched_dTA", "ΔTA, images not on the work list", "left", "symlog", 1e-3),
)
_AXES = (
    "Axes: logarithmic, linear up to 0.01 % (close images 0.1 %) and between -0.001 and 0.001. 100 − locality: share"
    " of the images whose prediction is another than N0's."
)


@dataclass(frozen=True)
class SideEffects:
    """A table and a figure of flips, locality and accuracy on the images that are not on the work list.

    Attributes:
        presets: Whose runs.
        networks, methods: In the order that they are shown.
        name: Of the files.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
    """

    presets: tuple[str, ...] = ("every_method",)
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = EVERY_METHOD
    name: str = "side_effects"
    thesis_errors: tuple[tuple[str, int], ...] = ()
    knowledge: Knowledge = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names(self.name), *(f"figures/{self.name}.{kind}" for kind in ("png", "svg")))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        scope = Scope("reloading", self.networks, self.methods, self.thesis_errors, self.knowledge)
        frames = scope.frames(runs)
        tails = tails_of(values_of(scope, frames, QUANTITIES), QUANTITIES)
        close = describe_close(frames, self.networks)
        texts = [_CAPTION, MEANING, *scope.caption(frames), close]
        heading, bold = "Side effects of a correction", scope.warnings(frames)
        table = sheet(self.name, heading, texts, bold, QUANTITIES, tails)
        drawn = values_of(scope, frames, DRAWN)

        def paint(figure: Figure) -> list[str]:
            notes = draw_strips(figure, scope, frames, drawn, PANELS)
            return [*notes, _AXES, *([close] if close else []), *scope.footnotes(frames)]

        return {
            **table.files(),
            **{f"figures/{self.name}.{kind}": image for kind, image in draw(paint).items()},
        }


_CAPTION = (
    "Reloading setting: what one correction does to the predictions of the test images, against N0's. Negative and"
    " positive flip rate: images from right to wrong, and from wrong to right, over all test images. Locality:"
    " images with N0's prediction, right or wrong, over all of them; the sample itself, which is meant to change, is"
    " one of them where it is among the test images, and one of the positive flips. Images not on the work list: the"
    " test images that are not samples of the run, so that the corrected sample itself has no part in their ΔTA."
)


def describe_close(frames: Frames, networks: Sequence[str]) -> str:
    """Return how many images count as close, and how close they are."""
    texts = []
    for network in networks:
        runs = frames.select(network=network).runs
        pairs = sorted(
            {
                (int(count), float(margin))
                for count, margin in zip(runs["base_close_images"], runs["base_close_margin"], strict=True)
            }
        )
        parts = [
            f"{format_count(count)} images, at most"
            f" {format_number(margin) if np.isfinite(margin) else 'an unknown number of'} logits apart"
            for count, margin in pairs
        ]
        if parts:
            texts.append(f"{network_label(network)} {listing(parts)}")
    if not texts:
        return ""
    return f"Close images, those whose two largest logits N0 has closest together: {'; '.join(texts)}."

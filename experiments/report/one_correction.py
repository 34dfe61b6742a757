"""What one correction does, to the network and to the predictions of other test images (reloading setting)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from experiments.report.frames import Frames
from experiments.report.metrics import METRICS, Metric, Values, column
from experiments.report.numbers import format_count, format_number, listing
from experiments.report.style import network_label
from experiments.report.tails import Tails


def _known(name: str, label: str, harm: str) -> Metric:
    return Metric(name, label, "samples", METRICS[name].values, harm=harm)


@dataclass(frozen=True)
class Distributions(Tails):
    """Median, percentiles and worst case beside each mean."""

    tables = ("distributions",)
    quantities = (
        Metric("altered", "Parameters altered", "samples", partial(column, name="altered"), harm="largest"),
        _known("POPA", "POPA (%)", "largest"),
        _known("dTL", "ΔTL (nats)", "largest"),
        _known("dTA", "ΔTA", "smallest"),
        _known("sample_loss", "Sample loss (nats)", "largest"),
        Metric("l2", "L2 norm of the change", "samples", partial(column, name="l2"), harm="largest"),
    )


def _percentage(samples: pd.DataFrame, count: str, of: str) -> Values:
    """Return one column in per cent of another: NaN where that is 0."""
    whole = column(samples, of)
    return 100 * column(samples, count) / np.where(whole > 0, whole, np.nan)


def negative_flips(samples: pd.DataFrame) -> Values:
    """Return in % how many test images N0 gets right and the corrected network wrong.

    Yan et al., "Positive-Congruent Training", CVPR 2021, equation 1.
    """
    return _percentage(samples, "broken", "test_images")


def positive_flips(samples: pd.DataFrame) -> Values:
    """Return in % how many test images go from wrong to right; the sample's own is among them."""
    return _percentage(samples, "fixed", "test_images")


def locality(samples: pd.DataFrame) -> Values:
    """Return in % how many test images have N0's prediction, right or wrong."""
    return _percentage(samples, "agreeing", "test_images")


def close_locality(samples: pd.DataFrame) -> Values:
    """Return `locality` on the images whose two largest logits N0 has closest together; NaN without any."""
    return _percentage(samples, "agreeing_close", "base_close_images")


NEGATIVE = Metric("negative_flip_rate", "Negative flip rate (%)", "samples", negative_flips, harm="largest")
POSITIVE = Metric("positive_flip_rate", "Positive flip rate (%)", "samples", positive_flips, harm="smallest")
UNTOUCHED = _known("untouched_dTA", "ΔTA, images not on the work list", "smallest")


@dataclass(frozen=True)
class SideEffects(Tails):
    """Flips, locality and accuracy on the images that are not on the work list."""

    tables = ("side_effects",)
    quantities = (
        NEGATIVE,
        POSITIVE,
        Metric("locality", "Locality (%)", "samples", locality, harm="smallest"),
        Metric("locality_close", "Locality, close images (%)", "samples", close_locality, harm="smallest"),
        UNTOUCHED,
    )

    def about(self, frames: Frames) -> list[str]:
        """Say which images count as close."""
        return list(filter(None, [describe_close(frames, self.networks)]))


def describe_close(frames: Frames, networks: Sequence[str]) -> str:
    """Return how many images count as close, and how close they are."""
    texts = []
    for network in networks:
        runs = frames.select(network=network).runs
        columns = (runs["base_close_images"], runs["base_close_margin"])
        pairs = sorted({(int(count), float(margin)) for count, margin in zip(*columns, strict=True)})
        parts = [
            f"{format_count(count)} images, at most"
            f" {format_number(margin) if np.isfinite(margin) else 'an unknown number of'} logits apart"
            for count, margin in pairs
        ]
        if parts:
            texts.append(f"{network_label(network)} {listing(parts)}")
    start = "Close images, those whose two largest logits N0 has closest together"
    return f"{start}: {'; '.join(texts)}." if texts else ""

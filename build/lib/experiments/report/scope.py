"""Whose runs a part is of, and what its captions say about them: networks and methods in one setting."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.records.schema import Run
from experiments.report.captions import describe_base, describe_scale, is_reduced, warnings
from experiments.report.figures import absent_text
from experiments.report.frames import Frames
from experiments.report.knowledge import Knowledge, describe_knowledge
from experiments.report.numbers import format_count, listing
from experiments.report.style import METHODS, method_style, network_label, setting_label
from experiments.report.variation import corrections_of

EVERY_METHOD = tuple(name for name in METHODS if name != "idealized")  # that one is no run of the main preset


@dataclass(frozen=True)
class Scope:
    """Networks and methods in one setting.

    Attributes:
        setting: Whose runs.
        networks, methods: In the order that they are shown.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
    """

    setting: str
    networks: tuple[str, ...]
    methods: tuple[str, ...]
    thesis_errors: tuple[tuple[str, int], ...] = ()
    knowledge: Knowledge = ()

    def frames(self, runs: Sequence[Run]) -> Frames:
        """Return the frames of those runs that are within."""
        return corrections_of(runs, setting=(self.setting,), network=self.networks, method=self.methods)

    def caption(self, frames: Frames) -> list[str]:
        """Return the methods' knowledge, and network by network scale, N0's errors, listed images and gaps."""
        texts = list(filter(None, [describe_knowledge(self.methods, self.knowledge)]))
        for network in self.networks:
            runs = frames.select(network=network).runs
            if runs.empty:
                texts.append(f"{network_label(network)}: {self.absent(network)}.")
                continue
            about = [
                describe_scale(runs),
                describe_base(runs, dict(self.thesis_errors).get(network)),
                describe_listed(runs),
                self._absent_methods(runs),
            ]
            texts.append(f"{network_label(network)}: {' '.join(text for text in about if text)}")
        return texts

    def warnings(self, frames: Frames) -> list[str]:
        """Return the faults of the N0 of each network."""
        return [
            f"{network_label(network)}: {text}"
            for network in self.networks
            for text in warnings(frames.select(network=network).runs)
        ]

    def footnotes(self, frames: Frames) -> list[str]:
        """Return for the foot of a figure the scale where it is reduced, and what is wrong with an N0."""
        lines = []
        for network in self.networks:
            runs = frames.select(network=network).runs
            if not runs.empty and is_reduced(runs):
                lines.append(f"{network_label(network)}: {describe_scale(runs)} {describe_listed(runs)}")
        return [*lines, *self.warnings(frames)]

    def absent(self, network: str) -> str:
        """Return that a network has no run, as a line of text."""
        return f"missing, {' '.join(absent_text(network, self.setting).split())}"

    def _absent_methods(self, runs: pd.DataFrame) -> str:
        absent = [method_style(name).label for name in self.methods if name not in set(runs["method"])]
        if not absent:
            return ""
        return f"Missing, no {setting_label(self.setting)} run among the records: {listing(absent)}."


def describe_listed(runs: pd.DataFrame) -> str:
    """Return how many samples of the work list are among the test images that the figures are over."""
    found: dict[tuple[int, int, int], None] = {}
    for samples, images, untouched in zip(
        runs["run_samples"], runs["test_images"], runs["base_untouched_images"], strict=True
    ):
        found[int(samples), int(images), int(images) - int(untouched)] = None
    texts = [
        f"{'all' if listed == samples else format_count(listed) + ' of the'} {format_count(samples)} samples"
        f" of the work list are among the {format_count(images)} test images"
        for samples, images, listed in sorted(found)
    ]
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]}." if text else ""

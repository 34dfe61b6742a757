"""Whose runs a study is of, and what its captions say about them: networks and methods in one setting."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.records.schema import Run
from experiments.report.captions import (
    absent_text,
    describe_base,
    describe_missing,
    describe_scale,
    is_reduced,
    warnings_of,
)
from experiments.report.frames import Frames, corrections_of
from experiments.report.knowledge import describe_knowledge
from experiments.report.numbers import format_count
from experiments.report.part import UNTOLD, Thesis
from experiments.report.style import METHODS, method_style, network_label, setting_label

EVERY_METHOD = tuple(name for name in METHODS if name != "idealized")  # that one is no run of the main preset


@dataclass(frozen=True)
class Scope:
    """Networks and methods, in the order that they are shown, in one setting; the thesis is for the captions."""

    setting: str
    networks: tuple[str, ...]
    methods: tuple[str, ...]
    thesis: Thesis = UNTOLD

    def frames(self, runs: Sequence[Run]) -> Frames:
        """Return the frames of those runs that are within."""
        return corrections_of(runs, setting=self.setting, network=self.networks, method=self.methods)

    def caption(self, frames: Frames) -> list[str]:
        """Return the methods' knowledge, and network by network scale, N0's errors, listed images and gaps."""

        def about(network: str, runs: pd.DataFrame) -> tuple[str, ...]:
            base = describe_base(runs, self.thesis.errors_of(network))
            gaps = describe_missing(self.lacking(runs), f"Missing, no {setting_label(self.setting)} run")
            return (describe_scale(runs), base, describe_listed(runs), gaps)

        known = describe_knowledge(self.methods, self.thesis.knowledge)
        return [*filter(None, [known]), *self.by_network(frames, about)]

    def by_network(
        self, frames: Frames, about: Callable[[str, pd.DataFrame], Iterable[str]]
    ) -> Iterator[str]:
        """Yield what is said about each network and its runs, or that it has none."""
        for network in self.networks:
            runs = frames.select(network=network).runs
            said = f"{self.absent(network)}." if runs.empty else " ".join(filter(None, about(network, runs)))
            yield f"{network_label(network)}: {said}"

    def warnings(self, frames: Frames) -> list[str]:
        """Return the faults of the N0 of each network."""
        return warnings_of(frames.runs, "network", {name: network_label(name) for name in self.networks})

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

    def lacking(self, runs: pd.DataFrame) -> list[str]:
        """Return the labels of the methods without a run."""
        return [method_style(name).label for name in self.methods if name not in set(runs["method"])]


def describe_listed(runs: pd.DataFrame) -> str:
    """Return how many samples of the work list are among the test images that the figures are over."""
    columns = (runs["run_samples"], runs["test_images"], runs["test_images"] - runs["base_untouched_images"])
    found = set(zip(*(column.astype(int).tolist() for column in columns), strict=True))
    texts = [
        f"{'all' if listed == samples else format_count(listed) + ' of the'} {format_count(samples)} samples"
        f" of the work list are among the {format_count(images)} test images"
        for samples, images, listed in sorted(found)
    ]
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]}." if text else ""

"""How long runs take, by the times in records, or measured by hand where no record tells."""

import statistics
from collections.abc import Iterable
from typing import Any, Protocol

import yaml

from experiments.config.groups import CONF
from experiments.records.schema import Header, subject
from experiments.records.store import Store

Kind = tuple[str, str, str, int]  # network, setting, method, how many images are evaluated
MEASURED = CONF / "costs.yaml"
TYPICAL_ERRORS = {"alexnet": 370}  # samples of a run that takes them all, before N0 is known
OTHER_ERRORS = 700


class Planned(Protocol):
    """What a plan asks of a run: a `RunSpec`, or what is known of one without composing it."""

    @property
    def identity(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def run_id(self) -> str: ...  # noqa: D102
    @property
    def base_id(self) -> str: ...  # noqa: D102
    @property
    def bench_id(self) -> str: ...  # noqa: D102
    @property
    def training_seconds(self) -> float | None: ...  # noqa: D102


def kind_of(spec: dict[str, Any]) -> Kind:
    """Return the part of a run's identity that its cost depends on."""
    scale = spec["scale"]
    return (*subject(spec), scale.get("train_part", scale["train_images"]) + scale["test_images"])


def seconds_per_sample(headers: Iterable[Header]) -> dict[Kind, float]:
    """Return the mean seconds a sample took in some runs, by kind."""
    seen: dict[Kind, list[float]] = {}
    for header in headers:
        if header.samples:
            seen.setdefault(kind_of(header.spec), []).append(header.summary["seconds"] / header.samples)
    return {kind: statistics.fmean(values) for kind, values in seen.items()}


def measured(runs: Iterable[Planned]) -> dict[Kind, float]:
    """Read the seconds that a sample took when somebody looked, for those kinds that some runs are of."""
    content = yaml.safe_load(MEASURED.read_text(encoding="utf-8"))
    kinds = {kind_of(run.identity) for run in runs}
    found: dict[Kind, float] = {
        (network, setting, method, images): seconds
        for network, settings in content.items()
        for setting, methods in settings.items()
        for method, of_images in methods.items()
        for images, seconds in of_images.items()
    }
    return {kind: seconds for kind, seconds in found.items() if kind in kinds}


def samples_in(run: Planned) -> int:
    """Return how many samples a run has, as far as that is known before its N0."""
    return run.identity["scale"]["samples"] or TYPICAL_ERRORS.get(subject(run.identity)[0], OTHER_ERRORS)


def cost_of_sample(run: Planned, costs: dict[Kind, float]) -> float:
    """Return the seconds of one core that a sample of a run takes.

    By what its kind took, else by the mean over its network, else a second.
    """
    kind = kind_of(run.identity)
    alike = [seconds for (network, *_), seconds in costs.items() if network == kind[0]]
    return costs.get(kind, statistics.fmean(alike) if alike else 1.0)


def cost_of(run: Planned, costs: dict[Kind, float], store: Store) -> float:
    """Return the seconds of one core that the rest of a run takes."""
    return max(0, samples_in(run) - store.done_rows(run.run_id)) * cost_of_sample(run, costs)

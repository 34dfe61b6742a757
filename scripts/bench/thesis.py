"""What `make reproduce PROFILE=thesis` would take on this machine, from what the methods took."""

import copy
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from experiments.config.presets import specs_of_presets
from experiments.config.spec import RunSpec
from experiments.jobs.workbench import TINY
from experiments.mnist import data, training
from experiments.records.schema import subject as subject_of
from experiments.report.style import method_order
from scripts.bench import tables
from scripts.bench.machine import Machine
from scripts.bench.subjects import Subject
from scripts.bench.timing import once, say, threads

MAIN = "every_method"  # the preset of the thesis' tables
HOUR = 3600.0
IMAGES = 54_000  # of D, which N0 is trained on
TRAINED = 640  # images that a training is timed over: ten steps


@dataclass(frozen=True)
class Estimate:
    """Of the runs of one network, setting and method.

    Attributes:
        runs: Of the thesis' tables: one for each seed that matters.
        samples: Of a run.
        search, evaluation: Seconds a sample, the latter scaled to the images of the profile.
        hours: Core-hours of the runs of the thesis' tables.
        full_hours: The same with the obvious evaluation: a full pass for each sample.
        other_runs, other_hours: Of the other presets: ablations, sensitivity, orders, other N0.
    """

    network: str
    setting: str
    method: str
    runs: int
    samples: int
    search: float
    evaluation: float
    hours: float
    full_hours: float
    other_runs: int
    other_hours: float


def estimate(
    methods: Sequence[dict[str, Any]], subjects: Sequence[Subject], machine: Machine
) -> list[dict[str, object]]:
    """Estimate each network's runs; print the table and the totals."""
    say("the thesis profile: composing its runs")
    members = specs_of_presets("thesis")
    main = {spec.run_id: spec for spec in members[MAIN]}
    others = {spec.run_id: spec for each in members.values() for spec in each if spec.run_id not in main}
    result = []
    for found, subject in zip(methods, subjects, strict=True):
        rows = list(_estimates(found, main.values(), others.values()))
        known = {(row.network, row.setting, row.method) for row in rows}
        own = [spec for spec in (*main.values(), *others.values()) if spec.network["name"] == subject.name]
        unknown = sum(subject_of(spec.identity) not in known for spec in own)
        bases = {spec.base_id: spec for spec in own}
        training_hours = sum(map(_training_hours(subject), bases.values()))
        _print(found, rows, unknown, (len(bases), training_hours), machine)
        result.append(
            {
                "network": subject.name,
                "samples": found["errors"],
                "measured_on_images": found["images"],
                "rows": [asdict(row) for row in rows],
                "base_networks": len(bases),
                "base_networks_core_hours": training_hours,
                "runs_without_estimate": unknown,
                "core_hours": sum(row.hours + row.other_hours for row in rows) + training_hours,
            }
        )
    return result


def _training_hours(subject: Subject) -> Callable[[RunSpec], float]:
    """Return the function that estimates the core-hours of training a run's N0, from some steps on one thread."""
    tiny = data.load("tiny", TINY)
    some = replace(tiny, train=tiny.train.first(TRAINED))
    network = copy.deepcopy(subject.network)
    recipe = training.Recipe(epochs=1, learning_rate=1e-6)
    with threads(1):
        seconds = once(lambda: training.train(network, recipe, some, "cpu")) / len(some.train)
    return lambda spec: seconds * IMAGES * spec.scale.recipe.epochs / HOUR


def _estimates(
    found: dict[str, Any], main: Iterable[RunSpec], others: Iterable[RunSpec]
) -> Iterator[Estimate]:
    """Yield the estimate of each setting and method of a network."""
    costs = {row["method"]: row for row in found["rows"]}
    groups: dict[tuple[str, str, str], tuple[list[RunSpec], list[RunSpec]]] = {}
    for place, runs in enumerate((main, others)):
        for spec in runs:
            groups.setdefault(subject_of(spec.identity), ([], []))[place].append(spec)
    for setting in ("reloading", "non_reloading"):
        for method in method_order(costs):
            tables_, rest = groups.get((found["network"], setting, method), ([], []))
            if tables_:
                yield _estimate(found, costs[method], setting, tables_, rest)


def _estimate(
    found: dict[str, Any], row: dict[str, Any], setting: str, main: list[RunSpec], others: list[RunSpec]
) -> Estimate:
    search, evaluation = _per_sample(row, setting)
    share = row["corrected"] / row["samples"]
    made = share if setting == "reloading" else statistics.fmean(row["non_reloading"]["moved"])

    def hours(runs: Iterable[RunSpec], each: float) -> float:
        """Return core-hours with `each` second of evaluation for every image measured."""
        total = 0.0
        for spec in runs:
            images = spec.scale.train_images + spec.scale.test_images
            samples = min(spec.scale.samples or found["errors"], found["errors"])
            total += samples * (search + each * images / found["images"])
        return total * found["threads"] / HOUR

    scale = main[0].scale
    images = scale.train_images + scale.test_images
    return Estimate(
        network=found["network"],
        setting=setting,
        method=row["method"],
        runs=len(main),
        samples=min(scale.samples or found["errors"], found["errors"]),
        search=search,
        evaluation=evaluation * images / found["images"],
        hours=hours(main, evaluation),
        full_hours=hours(main, made * found["full_pass_seconds"]),
        other_runs=len(others),
        other_hours=hours(others, evaluation),
    )


def _per_sample(row: dict[str, Any], setting: str) -> tuple[float, float]:
    """Return seconds of search and of evaluation, over all samples: one that stays wrong is not evaluated."""
    if setting == "reloading":
        share = row["corrected"] / row["samples"]
        return row["search"], share * (row["evaluation"] or 0.0)
    chain = row["non_reloading"]
    return statistics.fmean(chain["search"]), statistics.fmean(chain["evaluation"])


def _print(
    found: dict[str, Any],
    rows: list[Estimate],
    unknown: int,
    trained: tuple[int, float],
    machine: Machine,
) -> None:
    print(f"\n{found['network']}: what PROFILE=thesis would take on this machine")
    headings = ("method", "setting", "runs", "samples", "search s", "evaluation s", "core-hours")
    headings += ("full evaluation", "ratio", "other presets: runs", "core-hours")
    cells = [
        (
            row.method,
            row.setting,
            str(row.runs),
            str(row.samples),
            f"{row.search:.3g}",
            f"{row.evaluation:.3g}",
            f"{row.hours:.3g}",
            f"{row.full_hours:.3g}",
            tables.times(row.full_hours / row.hours if row.hours else None),
            str(row.other_runs),
            f"{row.other_hours:.3g}",
        )
        for row in rows
    ]
    print(tables.text(headings, cells, left=2))
    main, others = sum(row.hours for row in rows), sum(row.other_hours for row in rows)
    full, (bases, hours) = sum(row.full_hours for row in rows), trained
    total = main + others + hours
    print(
        f"  tables: {main:.3g} core-hours, {full:.3g} with full evaluations ({tables.times(full / main)});"
        f" other presets: {others:.3g}; training {bases} N0: {hours:.3g}\n"
        f"  together {total:.3g} core-hours, {total / machine.cores:.3g} hours on {machine.cores} cores\n"
        f"  evaluation scaled linearly from {found['images']:,} images, which is at least what it is;"
        " means over the few samples measured; variants as the method itself\n"
        f"  not in it: {unknown} runs of probes and the idealized selector\n"
    )

"""What is there already of some runs, what is left in which order, and how long it takes."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from experiments.config.groups import files_of
from experiments.jobs.costs import Kind, Planned, cost_of, kind_of
from experiments.mnist.release import is_released
from experiments.records.schema import subject
from experiments.records.store import Store

SHOWN = 3  # files of a preset


@dataclass(frozen=True)
class Plan:
    """The runs of a profile, and how far they are.

    Attributes:
        first: Of the runs that are not complete, those that the thesis' tables are made from. In the order they are
            made in: the network that takes least time first, those of one N0 and its images together, dear ones first.
        beyond: The others that are not complete, in such an order.
        done: Runs that are.
        untrained: The networks whose N0 has to be trained, and how long that takes, in words.
        released: The networks whose N0 is taken from a release.
        costs: Seconds of one core for each that is not complete, by its id, as `cost_of` has it; None where no run
            was measured at all.
        guessed: How many of those are of a kind that no record tells the time of.
    """

    first: list[Planned]
    beyond: list[Planned]
    done: list[Planned]
    untrained: list[str]
    released: list[str]
    costs: dict[str, float] | None
    guessed: int

    @classmethod
    def of(
        cls,
        runs: Sequence[Planned],
        output: Path,
        costs: dict[Kind, float],
        first: Container[str] | None = None,
        release: Path | None = None,
    ) -> "Plan":
        """Look up what is there and what the rest costs.

        Args:
            runs: Each once.
            output: Folder of `runs/` and `bases/`.
            costs: Seconds that a sample takes, by kind.
            first: Ids of the runs that the thesis' tables are made from; None for every run.
            release: Folder of released base networks; None without one.
        """
        store, bases = Store(output / "runs"), output / "bases"
        current = [is_current(run, store, bases) for run in runs]
        done = [run for run, there in zip(runs, current, strict=True) if there]
        todo = [run for run, there in zip(runs, current, strict=True) if not there]
        own = {run.run_id: cost_of(run, costs, store) for run in todo}
        early = _in_order([run for run in todo if first is None or run.run_id in first], own)
        late = _in_order([run for run in todo if first is not None and run.run_id not in first], own)
        missing = {run.base_id: run for run in runs if not (bases / f"{run.base_id}.json").exists()}
        there = {base_id for base_id in missing if is_released(release, base_id)}
        training = [run for base_id, run in missing.items() if base_id not in there]
        taken = sorted({subject(missing[base_id].identity)[0] for base_id in there})
        guessed = sum(kind_of(run.identity) not in costs for run in todo)
        return cls(early, late, done, _to_train(training), taken, own if costs else None, guessed)

    @property
    def todo(self) -> list[Planned]:
        """The runs that are not complete, in the order they are made in."""
        return [*self.first, *self.beyond]

    @staticmethod
    def by_network(runs: Sequence[Planned]) -> list[list[Planned]]:
        """Part runs in this order where the network changes."""
        return [list(group) for _, group in groupby(runs, _network)]

    @property
    def seconds(self) -> float | None:
        """Seconds of one core for `todo`; None where no run was measured at all."""
        return self._seconds(self.todo)

    def _seconds(self, runs: Sequence[Planned]) -> float | None:
        return None if self.costs is None else sum(self.costs[run.run_id] for run in runs)

    def text(self, jobs: int) -> str:
        """Say how much there is to do and how long it takes."""
        lines = [f"{len(self.done) + len(self.todo)} runs: {len(self.done)} cached, {len(self.todo)} to run"]
        if self.untrained:
            lines.append(f"N0 to train: {', '.join(self.untrained)}")
        if self.released:
            lines.append(f"N0 from the release: {', '.join(self.released)}")
        groups = Counter(subject(spec.identity) for spec in self.todo)
        for (network, setting, method), count in sorted(groups.items()):
            lines.append(f"  {network:8} {setting:14} {method:16} {count:4} run{'s' if count > 1 else ''}")
        if self.todo and self.seconds is None:
            lines.append("no record tells how long any of them takes")
        elif self.todo and self.seconds is not None:
            guessed = (
                f"; {self.guessed} of the runs are of a kind without one: guessed" if self.guessed else ""
            )
            lines.append(
                f"about {self.seconds / jobs / 60:.0f} min with {jobs} jobs, by the times in the records{guessed}"
            )
        if self.first and self.beyond:
            lines.append(
                f"first the thesis' tables: {self._in_words(self.first, jobs)};"
                f" then what lies beyond: {self._in_words(self.beyond, jobs)}"
            )
        return "\n".join(lines)

    def _in_words(self, runs: Sequence[Planned], jobs: int) -> str:
        seconds = self._seconds(runs)
        minutes = "" if seconds is None else f", about {seconds / jobs / 60:.0f} min"
        return f"{len(runs):,} run{'s' if len(runs) > 1 else ''}{minutes}"

    def by_preset(self, members: Mapping[str, Sequence[Planned]], jobs: int) -> str:
        """Say, a line for each preset with runs to do, how many, how long they take and which files are made of them.

        Args:
            members: The runs of each preset; one that several have counts for each.
            jobs: Processes.
        """
        open_ids = {spec.run_id for spec in self.todo}
        lines = []
        for preset, runs in sorted(members.items()):
            rest = [spec.run_id for spec in runs if spec.run_id in open_ids]
            if rest:
                costs = self.costs or {}
                minutes = f" {sum(costs[name] for name in rest) / jobs / 60:4.0f} min" if costs else ""
                lines.append(f"  {preset:28} {len(rest):4} to run{minutes}  {_in_short(files_of(preset))}")
        return "\n".join(
            ["by preset, and what is made from its runs; a run of several counts for each:", *lines]
        )


def _in_order(runs: Sequence[Planned], costs: Mapping[str, float]) -> list[Planned]:
    """Sort runs: the network that takes least time first, those of one N0 and its images together, dear ones first."""
    whole = defaultdict[str, float](float)  # seconds of each network
    for run in runs:
        whole[_network(run)] += costs[run.run_id]
    return sorted(
        runs, key=lambda run: (whole[_network(run)], _network(run), run.bench_id, -costs[run.run_id])
    )


def _network(run: Planned) -> str:
    return subject(run.identity)[0]


def _to_train(runs: Sequence[Planned]) -> list[str]:
    """Say of each network how many N0 are trained for how many epochs, and how long that takes.

    Args:
        runs: One of each N0.
    """
    of_network: dict[str, list[Planned]] = {}
    for run in runs:
        of_network.setdefault(subject(run.identity)[0], []).append(run)
    return [_training(network, found) for network, found in sorted(of_network.items())]


def _training(network: str, runs: Sequence[Planned]) -> str:
    epochs = sum(run.identity["scale"]["recipe"]["epochs"] for run in runs)
    seconds = [run.training_seconds for run in runs]
    known = [each for each in seconds if each is not None]
    each = f"{len(runs)} of them, " if len(runs) > 1 else ""
    minutes = f", about {sum(known) / 60:.0f} min of one core" if len(known) == len(runs) else ""
    return f"{network} ({each}{epochs} epoch{'s' if epochs > 1 else ''}{minutes})"


def _in_short(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def is_current(spec: Planned, store: Store, bases: Path) -> bool:
    """Return whether a run is complete, and made with the N0 that is kept now, where one is."""
    if not store.finished(spec.run_id):
        return False
    try:
        kept = json.loads((bases / f"{spec.base_id}.json").read_text())["sha256"]
    except (
        FileNotFoundError,
        ValueError,
        KeyError,
    ):  # gone or damaged: the records still tell which N0 it was
        return True
    return bool(store.header(spec.run_id).base["sha256"] == kept)


def default_jobs(device: str) -> int:
    """Return how many processes to use: one a core, at most 8; one on an accelerator."""
    return 1 if device == "cuda" else min(8, os.cpu_count() or 1)

"""This tree beside an earlier commit: the same rows by both, in turn, each run a process of its own.

Both are asked through their own command line, `python -m experiments.run`, for the same samples of the same N0: the one
in this tree's outputs/bases. A first run of one sample trains it where it is not there, and leaves what is kept of it
(its mean gradient, its curvature) and compiled code, so that no measured run makes any of these.
"""

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.bench import tables
from scripts.bench.checkout import ROOT, checked_out
from scripts.bench.options import Options
from scripts.bench.tables import times
from scripts.bench.targets import holds, word
from scripts.bench.timing import say
from scripts.bench.tree import Measured, Tree

PART = "against"
THESIS = ("bgd_ii", "bgd_i", "bgd_c", "bgd_norm")
PARTS = {"search": ("search",), "evaluation": ("evaluation",), "both": ("search", "evaluation")}


@dataclass(frozen=True)
class Work:
    """Runs that are compared.

    Attributes:
        name: For the command line.
        network, setting, methods: Which runs, one a method.
        images: Of D and of the test set that are evaluated.
        samples: Of each run; None for every misclassified one.
        targets: Of which seconds, a key of `PARTS`, the ratio has to be at least so much.
        profile: Of the configuration.
        middle: Whether a run's seconds are those of its middle row: the first one waits for what a run makes once, and
            there are few rows.
    """

    name: str
    network: str
    setting: str
    methods: tuple[str, ...]
    images: tuple[int, int]
    samples: int | None
    targets: tuple[tuple[str, float], ...]
    profile: str = "laptop"
    middle: bool = False

    def overrides(self, method: str) -> list[str]:
        """Give the command line of a run, in this tree and in the earlier one."""
        train, test = self.images
        named = {"network": self.network, "method": method, "setting": self.setting, "profile": self.profile}
        scale = {"samples": self.samples or "null", "train_images": train, "test_images": test}
        return [
            *(f"{key}={value}" for key, value in named.items()),
            *(f"scale.{key}={value}" for key, value in scale.items()),
            "seed=0",
            "device=cpu",
        ]


WORKS = (
    Work(
        "search",
        "mlp",
        "reloading",
        (*THESIS, "random"),
        (54_000, 10_000),
        None,
        (("search", 15), ("both", 4)),
    ),
    Work("in_a_row", "mlp", "non_reloading", THESIS, (54_000, 10_000), None, (("both", 5),)),
    Work(
        "least_harm",
        "mlp",
        "reloading",
        ("least_harm", "least_harm_kfac"),
        (100, 10_000),
        None,
        (("search", 5),),
    ),
    Work("dense", "alexnet", "reloading", ("retrain", "l1"), (54_000, 10_000), 3, (("evaluation", 1.3),)),
    Work(
        "descents",
        "alexnet",
        "reloading",
        ("ewc", "kl_retrain", "l2_sp", "lora"),
        (100, 1_000),
        5,
        (("search", 4),),
        middle=True,
    ),
)
STARTS = {  # what is answered without a run
    "python -m experiments.run --help": ("experiments.run", "--help"),
    "python -m experiments.run --cfg job": ("experiments.run", "--cfg", "job"),
    "make plan": ("experiments.reproduce", "plan"),
    "make plan, the first in a fresh clone": ("experiments.reproduce", "plan"),
}
START = 3.0  # the ratio that each of them has to reach
PROFILE = 4.0  # the same of the whole laptop profile


def bench(options: Options, keep: Callable[[list[dict[str, Any]]], None]) -> None:
    """Measure what is asked for, and print the table.

    Args:
        options: What is asked for.
        keep: Is given the lines of each method as soon as it is measured.
    """
    lines: list[dict[str, Any]] = []

    def done(*found: dict[str, Any]) -> None:
        made = [line | {"repeats": options.repeats} for line in found]
        keep(made)
        lines.extend(made)

    works = [work for work in WORKS if work.name in options.rows]
    if options.of_each is not None:
        works = [replace(work, samples=options.of_each) for work in works]
    with checked_out(options.against) as earlier, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = options.data.resolve()
        here = Tree(ROOT, Path(folder, "here"), data)
        there = Tree(earlier, Path(folder, "there"), data)
        for tree in (here, there):
            tree.bases.mkdir(parents=True)
        for work in works:
            for of_method in compared(work, here, there, options):
                done(*of_method)
        if "start" in options.rows:
            for line in _starts(here, there, options.repeats):
                done(line)
        if "profile" in options.rows:
            done(_profile(here, there))
    print(f"\nthis tree beside {options.against}, medians of {options.repeats}")
    print(tables.text(HEADINGS, [cells(line) for line in lines], left=2))


def compared(work: Work, here: Tree, there: Tree, options: Options) -> Iterator[list[dict[str, Any]]]:
    """Measure the runs of a work by both trees in turn; yield for each method a line for each target."""
    _share_base(work, here, there, options.output / "bases")
    for method in work.methods:
        warm = replace(work, samples=1).overrides(method)
        runs: dict[Tree, list[Measured]] = {here: [], there: []}
        for tree in runs:
            tree.run(warm)
        for number in range(options.repeats):
            for tree in (here, there) if number % 2 else (there, here):
                runs[tree].append(tree.run(work.overrides(method)))
        say(f"{work.name}: {method}, {len(runs[here][0].rows)} samples")
        yield [_line(work, method, what, target, runs[here], runs[there]) for what, target in work.targets]


def _share_base(work: Work, here: Tree, there: Tree, kept: Path) -> None:
    """Give both trees the same N0: the kept one, or one that this tree trains now."""
    overrides = replace(work, samples=1).overrides(work.methods[0])
    own, other = (tree.base_id(overrides) for tree in (here, there))
    if (there.bases / f"{other}.pt").exists():
        return
    if (kept / f"{own}.pt").exists():
        for kind in ("pt", "json"):
            shutil.copy(kept / f"{own}.{kind}", here.bases)
    here.run(overrides)
    for kind in ("pt", "json"):
        shutil.copy(here.bases / f"{own}.{kind}", there.bases / f"{other}.{kind}")


def _line(
    work: Work, method: str, what: str, target: float, here: Sequence[Measured], there: Sequence[Measured]
) -> dict[str, Any]:
    samples = len(here[0].rows)
    now, before = (
        statistics.median(one.seconds(PARTS[what], work.middle) for one in runs) for runs in (here, there)
    )
    same = sum(_change(one) == _change(other) for one, other in zip(here[0].rows, there[0].rows, strict=True))
    return {
        "name": work.name,
        "network": work.network,
        "setting": work.setting,
        "method": method,
        "of": " and ".join(PARTS[what]) + (", the middle row" if work.middle else ""),
        "samples": samples,
        "images": sum(work.images),
        "before": before,
        "now": now,
        "ratio": before / now,
        "target": target,
        "holds": holds(before / now, target),
        **_whole(here, there),
        "same": same,
    }


def _whole(here: Sequence[Measured], there: Sequence[Measured]) -> dict[str, float]:
    """Compare whole processes: ratios of wall time and of time of all cores, and memory."""
    wall, cpu, peak = (
        [statistics.median(getattr(one, name) for one in runs) for runs in (there, here)]
        for name in ("wall", "cpu", "peak")
    )
    return {
        "wall_ratio": wall[0] / wall[1],
        "cpu_ratio": cpu[0] / cpu[1],
        "peak_before": peak[0],
        "peak": peak[1],
    }


def _change(row: dict[str, Any]) -> object:
    """Tell which parameters a row changes; where it does not keep them, how many of each tensor."""
    patch = row.get("patch")
    counts = {name: count for name, (count, *_) in row["layers"].items()}
    return row["index"], row["outcome"], patch["index"] if patch else counts


def _starts(here: Tree, there: Tree, repeats: int) -> Iterator[dict[str, Any]]:
    for name, command in STARTS.items():
        runs: dict[Tree, list[Measured]] = {here: [], there: []}
        for _ in range(repeats):
            for tree in runs:
                output = tempfile.mkdtemp(dir=tree.folder) if "fresh" in name else tree.folder
                more = [f"--output={output}"] if "plan" in command else []
                runs[tree].append(tree.start(*command, *more))
        before, now = (statistics.median(one.cpu for one in runs[tree]) for tree in (there, here))
        yield _plain("start", name, before, now, START) | _whole(runs[here], runs[there])
        say(f"start-up: {name}")


def _profile(here: Tree, there: Tree) -> dict[str, Any]:
    """Compare the core-seconds of the laptop profile, as each tree's plan has them of its own committed records."""
    before, now = (
        _planned_seconds(
            tree.start("experiments.reproduce", "plan", "--jobs=1", f"--output={tree.folder}").said
        )
        for tree in (there, here)
    )
    return _plain(
        "profile", "the laptop profile, by the times in the committed records", before, now, PROFILE
    )


def _planned_seconds(said: str) -> float:
    """Read the estimate of a plan for one core."""
    line = next(line for line in said.splitlines() if line.startswith("about "))
    return 60.0 * float(line.split()[1])


def _plain(name: str, what: str, before: float, now: float, target: float) -> dict[str, Any]:
    ratio = before / now
    return {
        "name": name,
        "method": what,
        "of": "core-seconds",
        "before": before,
        "now": now,
        "ratio": ratio,
        "target": target,
        "holds": holds(ratio, target),
    }


def merged(kept: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return lines of earlier looks with those of a new one in the place of what they are of, in order of the rows."""
    keys = [(line["name"], line["method"], line["of"]) for line in found]
    rest = [line for line in kept if (line["name"], line["method"], line["of"]) not in keys]
    names = [*(work.name for work in WORKS), "start", "profile"]
    return sorted([*rest, *found], key=lambda line: names.index(line["name"]))


HEADINGS = ("what", "method", "of", "runs", "samples", "images", "before", "now", "ratio", "target", "holds", "process",
            "its cores", "memory", "before", "same")  # fmt: skip


def cells(line: dict[str, Any]) -> tuple[str, ...]:
    """Lay out a line for the console; `report.against` has the same cells."""
    samples = line.get("samples")
    return (
        " ".join(line[key] for key in ("network", "setting") if key in line) or line["name"],
        line["method"],
        line["of"],
        str(line["repeats"]),
        f"{samples:,}" if samples else "",
        f"{line['images']:,}" if samples else "",
        *(f"{line[key]:.3g}" for key in ("before", "now")),
        times(line["ratio"]),
        times(line["target"]),
        word(line["holds"]),
        times(line["wall_ratio"]) if "wall_ratio" in line else "",
        times(line["cpu_ratio"]) if "cpu_ratio" in line else "",
        *(f"{line[key] / 2**30:.2f}" if key in line else "" for key in ("peak", "peak_before")),
        f"{line['same']:,}" if samples else "",
    )

"""What AlexNet at the thesis' scale takes on a card: seconds a row, memory, and how many operations a sample is.

    python -m scripts.device_bench                     # on the card, at most some four minutes; a second start goes on
    python -m scripts.device_bench --against ../before # and the same by another tree, a checkout of an earlier commit
    python -m scripts.device_bench --device cpu --tiny # here: shows that it works, and counts torch's operations
    python -m scripts.device_bench --device pretended --tiny --samples 64 --against ../before
                                                       # here: what a card would have to start, no seconds of one

Each method in each setting is a process of its own (`scripts/device/one_run.py`), which makes no more of either tree
than both have. Needs torch, numpy, scipy, numba, hydra-core, omegaconf and MNIST in --data, with --tiny no data
besides those of the repository. N0 is trained for one epoch: these are times, and no table. Writes bench.json into the
output folder, and prints a table of the launches of a sample's search: on a card of all that its row takes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bgd.errors import ConfigError

ROOT = Path(__file__).parents[1]
METHODS = ("bgd_ii", "bgd_c", "bgd_norm", "bgd_i", "random", "retrain", "l1", "fine_tune", "top_k")
SETTINGS = ("reloading", "non_reloading")
PROFILE = {"samples": 384, "seeds": 3}  # of the thesis profile's rows: to scale seconds a row to the whole
COLUMNS = ("search", "evaluation", "memory", "launches", "operations")


def items(methods: list[str], trees: list[Path]) -> Iterator[tuple[str, str, Path]]:
    """Yield what to measure, this tree and the other one in turn."""
    for setting in SETTINGS:
        for method in methods:
            yield from ((setting, method, tree) for tree in trees)


def measure(setting: str, method: str, tree: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a method in a process of its own.

    Raises:
        RuntimeError: It ended badly.
    """
    given = {
        "setting": setting,
        "method": method,
        "device": options.device,
        "samples": options.samples,
        "tiny": options.tiny,
        "data": str(options.data.resolve()),
        "state": str((options.output / "state").resolve()),
    }
    script = str(ROOT / "scripts/device/one_run.py")
    environment = os.environ | {"PYTHONPATH": str(tree.resolve())}
    done = subprocess.run(
        [sys.executable, script, str(tree.resolve()), json.dumps(given)],
        env=environment,
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-1000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def carry_out(options: argparse.Namespace, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure what is not there yet, within the limit of seconds, and return all results."""
    path = options.output / "bench.json"
    asked = {key: getattr(options, key) for key in ("device", "samples", "tiny")}
    results = json.loads(path.read_text()) if path.exists() else {"asked": asked, "items": {}}
    if results["asked"] != asked:
        raise ConfigError(f"{path} is of {results['asked']}: remove it, or use --output")
    trees = [ROOT, *([options.against] if options.against else [])]
    todo = [
        (setting, method, tree)
        for setting, method, tree in items(options.methods, trees)
        if _name(setting, method, tree) not in results["items"]
    ]
    say(f"{len(todo)} to measure, {len(results['items'])} are done")
    started = time.perf_counter()
    for number, item in enumerate(todo):
        if time.perf_counter() - started > options.seconds:
            say(f"{len(todo) - number} are left: start again to go on")
            break
        name = _name(*item)
        try:
            found = measure(*item, options)
        except RuntimeError as error:
            found = {"error": str(error)}
        results["items"][name] = found
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name("bench.json.partial")
        partial.write_text(json.dumps(results, indent=1) + "\n")
        partial.replace(path)
        say(f"{name}: {_cells(found)}")
    return results


def _name(setting: str, method: str, tree: Path) -> str:
    return f"{setting}/{method}/{'now' if tree == ROOT else 'before'}"


def _cells(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"failed: {found['error'].splitlines()[-1]}"
    return ", ".join(f"{column} {found[column]:.4g}" for column in COLUMNS if found[column] is not None)


def minutes(results: dict[str, Any], which: str) -> float | None:
    """Estimate the minutes of the thesis profile's rows; None where a method is missing."""
    rows = [found for name, found in results["items"].items() if name.endswith(f"/{which}")]
    if len(rows) < len(METHODS) * len(SETTINGS) or any("error" in found for found in rows):
        return None
    seconds = sum(found["search"] + found["evaluation"] for found in rows)
    return seconds * PROFILE["samples"] * PROFILE["seeds"] / 60


def fewer(results: dict[str, Any], setting: str, column: str) -> float | None:
    """Compare a count a sample, before to now, by the median over methods; None where one tree was measured."""
    counts: dict[str, dict[str, float]] = {}
    for name, found in results["items"].items():
        own, method, which = name.split("/")
        if own == setting and found.get(column):
            counts.setdefault(method, {})[which] = found[column]
    ratios = [each["before"] / each["now"] for each in counts.values() if len(each) == 2]
    return statistics.median(ratios) if ratios else None


def table(results: dict[str, Any]) -> list[str]:
    """Return the launches a sample by setting and method as lines of Markdown; none where there are none."""
    rows = {}
    for name, found in results["items"].items():
        if found.get("launches"):
            setting, method, which = name.split("/")
            rows.setdefault((setting, method), {})[which] = found["launches"]
    whole = [(*key, each["before"], each["now"]) for key, each in rows.items() if len(each) == 2]
    lines = [
        f"| {place} | `{method}` | {old:,.0f} | {new:,.0f} | {old / new:.1f} |"
        for place, method, old, new in whole
    ]
    return ["| setting | method | before | now | ratio |", "|---|---|--:|--:|--:|", *lines] if lines else []


def main(arguments: list[str] | None = None) -> int:
    """Measure; the exit status is 1 where a method failed, 2 where it could not begin."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu", "pretended"), default="cuda")
    parser.add_argument("--against", type=Path, help="another tree")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--samples", type=int, default=8, help="of each method (8)")
    parser.add_argument("--tiny", action="store_true", help="a narrow network and few images")
    parser.add_argument(
        "--seconds", type=float, default=220.0, help="after which nothing more is begun (220)"
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("BGD_DATA", "data")))
    parser.add_argument("--output", type=Path, default=Path("outputs", "device"))
    options = parser.parse_args(arguments)
    try:
        results = carry_out(options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for which in ("before", "now"):
        whole = minutes(results, which)
        if whole is not None:
            print(f"the thesis profile's AlexNet, {which}: {whole:.0f} minutes")
    for setting in SETTINGS:
        for column in ("launches", "operations"):
            ratio = fewer(results, setting, column)
            if ratio is not None:
                print(f"{setting}: {column} a sample, before to now: {ratio:.1f} (median over methods)")
    print("\n".join(table(results)))
    return 1 if any("error" in found for found in results["items"].values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Whether runs on a card are right: each method there and on the CPU, everything twice, in full float32.

    python -m scripts.device_check                      # on the card; some minutes, and a second start goes on
    python -m scripts.device_check --device cpu         # the same against the CPU itself: shows that it works

Needs torch, numpy, scipy, numba, hydra-core and omegaconf, and no other data than what is in the repository. Writes
check.json and check.md into the output folder, where state/ has N0 and its statistics; the exit status is 1 where
something does not hold.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from bgd.errors import ConfigError
from experiments.config.spec import RunSpec
from experiments.jobs import arithmetic
from experiments.jobs.process import prepare
from experiments.jobs.provenance import hardware
from experiments.jobs.workbench import Place, Workbench
from experiments.records.identity import digest
from experiments.records.schema import CORRECTED, Row
from scripts.device import costs, looks, pages

ROOT = Path(__file__).parents[1]
CONF = ROOT / "experiments/conf"
PLACES = ("cpu", "card", "again")  # where each run is made: on the CPU, on the card, and there once more
TIMES = ("search_seconds", "evaluation_seconds")
FIGURES = ("train_loss", "test_loss")


@dataclass(frozen=True)
class Item:
    """One thing to check: a method on a network in a setting, or the arithmetic, or what determinism costs."""

    kind: str
    network: str = ""
    setting: str = ""
    method: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return "/".join(part for part in asdict(self).values() if part)


def plan(networks: list[str], methods: list[str]) -> list[Item]:
    """Return the checks to make, the most telling first."""
    rows = [(network, "reloading") for network in networks] + [(networks[0], "non_reloading")]
    return [
        Item("arithmetic"),
        Item("cost"),
        *(Item("method", network, setting, method) for network, setting in rows for method in methods),
    ]


class Check:
    """The checks on one device.

    Args:
        device: `cpu` or `cuda`.
        output: Folder of the results.
        samples: How many samples a method corrects.
    """

    def __init__(self, device: str, output: Path, samples: int) -> None:
        self.device, self.output, self.samples = device, output, samples
        self._state = output / "state"
        self._benches: dict[str, dict[str, Workbench]] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on: those of another one are no part of these."""
        sources = [
            path
            for folder in ("bgd", "experiments/conf", "experiments", "scripts/device")
            for path in _files(folder)
        ]
        return {
            "device": self.device,
            "hardware": hardware(self.device),
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "samples": self.samples,
            "sources": digest([path.read_text() for path in sources])[:16],
            **arithmetic.facts(self.device),
        }

    def run(self, item: Item) -> dict[str, Any]:
        """Check one thing and return what was found; `holds` says whether it is as it should be."""
        if item.kind == "arithmetic":
            return costs.arithmetic_holds(self.device)
        if item.kind == "cost":
            return costs.of_determinism(self.device, width=1.0 if self.device == "cuda" else 0.1)
        return self._method(item)

    def _method(self, item: Item) -> dict[str, Any]:
        spec = self._spec(item)
        if item.network not in self._benches:
            self._benches = {item.network: self._made(spec)}
        made = {}
        for place, bench in self._benches[item.network].items():
            arithmetic.settle(bench.place.device)
            started = time.perf_counter()
            rows = list(arithmetic.held(bench.stage(spec).rows(), bench.place.device))
            made[place] = rows, time.perf_counter() - started
        (cpu, seconds), (card, on_card), (again, _) = (made[place] for place in PLACES)
        same = [_subset(one) == _subset(other) for one, other in zip(cpu, card, strict=True)]
        twice = [_untimed(one) == _untimed(other) for one, other in zip(card, again, strict=True)]
        return {
            "samples": len(card),
            "corrected": sum(row.outcome == CORRECTED for row in card),
            "same_subset": sum(same),
            "largest_loss_difference": max(map(_apart, cpu, card), default=0.0),
            "parting": None if all(same) else self._parting(spec, self._benches[item.network]),
            "same_bits_twice": sum(twice),
            "seconds": {"cpu": round(seconds, 2), "card": round(on_card, 2)},
            "holds": all(twice) and bool(card),
        }

    def _parting(self, spec: RunSpec, benches: dict[str, Workbench]) -> dict[str, Any]:
        """Have every look taken once more, on the CPU and the card, and return where they part."""
        seen = []
        for bench in (benches[place] for place in PLACES[:2]):
            arithmetic.settle(bench.place.device)
            with looks.noted() as found:
                list(arithmetic.held(bench.stage(spec).rows(), bench.place.device))
            seen.append(found)
        return looks.parting(*seen)

    def _spec(self, item: Item) -> RunSpec:
        overrides = [f"{key}={getattr(item, key)}" for key in ("network", "setting", "method")]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            spec = RunSpec.of(compose("config", overrides=["profile=smoke", *overrides]))
        return replace(spec, scale=replace(spec.scale, samples=self.samples))

    def _made(self, spec: RunSpec) -> dict[str, Workbench]:
        """Return a workbench for each place, all with the N0 that the CPU trained; statistics are made at each."""
        benches = {}
        for place in PLACES:
            folder = self._state / place
            bases = self._state / PLACES[0] / "bases"
            if place != PLACES[0]:
                (folder / "bases").mkdir(parents=True, exist_ok=True)
                for kind in ("pt", "json"):
                    shutil.copy(bases / f"{spec.base_id}.{kind}", folder / "bases")
            device = "cpu" if place == PLACES[0] else self.device
            benches[place] = Workbench(spec, Place(ROOT / "data", folder, device, 1))
        return benches


def _files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml"))


def _subset(row: Row) -> object:
    """Return which parameters a row changes; where it does not keep them, in how many of each tensor."""
    if row.patch is not None:
        return row.patch["index"]
    return row.outcome, {name: count for name, (count, *_) in row.layers.items()}


def _untimed(row: Row) -> Row:
    return replace(row, **dict.fromkeys(TIMES, 0.0))


def _apart(one: Row, other: Row) -> float:
    """Return by how much the losses of two rows differ, relative; 0 where the change is another one."""
    if _subset(one) != _subset(other):
        return 0.0
    pairs = ((getattr(one.figures, name), getattr(other.figures, name)) for name in FIGURES)
    return max(
        (abs(x - y) / max(abs(x), 1e-12) for x, y in pairs if x is not None and y is not None), default=0.0
    )


def kept(check: Check) -> dict[str, Any]:
    """Return the results that are there already.

    Raises:
        ConfigError: They are of another machine, version or size.
    """
    path = check.output / "check.json"
    if not path.exists():
        return {"identity": check.identity, "items": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    if found["identity"] != check.identity:
        other = [key for key, value in check.identity.items() if found["identity"].get(key) != value]
        raise ConfigError(
            f"{path} was made with another {', '.join(other)}: remove {check.output}, or use --output"
        )
    return found


def carry_out(
    check: Check, items: list[Item], limit: float, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Check what is not there yet, within a limit of seconds, and return all results."""
    results = kept(check)
    todo = [item for item in items if item.name not in results["items"]]
    say(f"{len(items)} checks on {check.identity['hardware']}, {len(items) - len(todo)} of them are done")
    started = time.perf_counter()
    for done, item in enumerate(todo):
        spent = time.perf_counter() - started
        if spent > limit:
            say(f"{len(todo) - done} checks are left after {spent:.0f} s: start again to go on")
            break
        try:
            found = check.run(item)
        except Exception as error:  # it is a result: the page names it, the exit status tells
            found = {"holds": False, "error": f"{type(error).__name__}: {error}"}
        results["items"][item.name] = {**asdict(item), **found}
        pages.write(check.output, results, len(items))
        each = (time.perf_counter() - started) / (done + 1)
        word = "holds" if found["holds"] else "DOES NOT HOLD"
        say(f"{item.name}: {word}; {each * (len(todo) - done - 1):.0f} s left")
    return results


def names(group: str) -> list[str]:
    """Return the choices of a group of the configuration."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def main(arguments: list[str] | None = None) -> int:
    """Check; the exit status is 0 where all that was checked holds, 2 where it could not begin."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, default=Path("outputs", "device"))
    parser.add_argument("--networks", nargs="+", choices=names("network"), default=["mlp", "alexnet"])
    parser.add_argument("--methods", nargs="+", choices=names("method"), default=names("method"))
    parser.add_argument("--samples", type=int, default=2, help="that each method corrects (2)")
    parser.add_argument(
        "--seconds", type=float, default=220.0, help="after which nothing more is begun (220)"
    )
    options = parser.parse_args(arguments)
    try:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "--device cuda: torch sees no such device here; --device cpu shows that the check works"
            )
        device = options.device
        prepare()
        arithmetic.settle(device)
        check = Check(device, options.output, options.samples)
        results = carry_out(check, plan(options.networks, options.methods), options.seconds)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = [name for name, item in results["items"].items() if not item["holds"]]
    print(
        f"{len(results['items'])} checks made, {len(failed)} do not hold; see {options.output / 'check.md'}"
    )
    for name in failed:
        print(f"does not hold: {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

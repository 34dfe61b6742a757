"""Run the parts that were asked for; see the package."""

import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bgd.errors import ConfigError
from experiments.mnist.data import DataError
from scripts.bench import (
    against,
    commands,
    descents,
    evaluation,
    growth,
    large,
    methods,
    search,
    small,
)
from scripts.bench.machine import Machine
from scripts.bench.options import Options, parse
from scripts.bench.subjects import Subject, subject
from scripts.bench.tables import write
from scripts.bench.timing import say
from scripts.bench.tree import Ended

BENCHES = {  # of a network
    "evaluation": evaluation.bench,
    "search": search.bench,
    "methods": methods.bench,
    "growth": growth.bench,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line says; return the exit status."""
    options = parse(arguments)
    print(options.plan(), flush=True)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        _run(options)
    except (ConfigError, DataError, evaluation.Different, Ended) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the parts that are done are written", file=sys.stderr)
        return 130
    finally:
        torch.set_num_threads(before)
    return 0


def _run(options: Options) -> None:
    machine = Machine.measure(options.threads)
    print(f"\n{machine.text()}\n", flush=True)
    if against.PART in options.parts:
        _against(options, machine)
    if commands.PART in options.parts:
        _written(options.folder / "commands.json", machine, rows=commands.bench(options))
    parts = [part for part in options.parts if part not in (against.PART, commands.PART)]
    if not parts:
        return
    subjects = [subject(name, options) for name in options.networks]
    found: dict[str, list[dict[str, object]]] = {}
    for part in parts:
        if part == "large":
            networks = large.bench(options.against, options.corrections)
            _written(options.folder / "large.json", machine, networks=networks)
            continue
        found[part] = _measure(part, subjects, machine)
        path = options.folder / f"{part}.json"
        _written(path, machine, networks=[*_others(path, options), *found[part]])
    if "growth" in options.parts:
        say(f"written: {growth.draw(found['growth'], machine, options.folder)}")


def _against(options: Options, machine: Machine) -> None:
    """Compare with an earlier commit; lines of another look at the same commit stay where these have none."""
    path = options.folder / "against.json"

    def keep(lines: list[dict[str, Any]]) -> None:
        kept = json.loads(path.read_text()) if path.exists() else {"against": None, "rows": []}
        rows = against.merged(kept["rows"] if kept["against"] == options.against else [], lines)
        _written(path, machine, against=options.against, rows=rows)

    against.bench(options, keep)


def _written(path: Path, machine: Machine, **found: object) -> None:
    """Write what was found, with the time and the machine."""
    head = {"made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    write(path, head | {"machine": machine.json()} | found)
    say(f"written: {path}")


def _others(path: Path, options: Options) -> list[dict[str, object]]:
    """Return an earlier bench's results for the networks that this one leaves out."""
    before = json.loads(path.read_text())["networks"] if path.exists() else []
    return [each for each in before if each["network"] not in options.networks]


def _measure(part: str, subjects: Sequence[Subject], machine: Machine) -> list[dict[str, object]]:
    """Return a part's results, for each network."""
    if part == "small":
        return [small.bench(one) for one in subjects if one.name == "mlp"]
    if part == "descents":
        return [descents.bench(one) for one in subjects if one.name == "alexnet"]
    return [BENCHES[part](one, machine) for one in subjects]


if __name__ == "__main__":
    sys.exit(main())

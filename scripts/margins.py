"""How large a margin survives deployment, on N0's errors among the images that were set aside.

    python scripts/margins.py network=mlp,alexnet method=least_harm,output_bias --margins 0.01 0.03 0.1 --samples 60

For each network, method and margin: the share of the corrected samples that are still right in other arithmetics, what
it costs on the other images, and how many parameters it takes. Takes what `python -m experiments.run` takes, with lists
of networks and methods. The samples are those of `scripts.held_out`: no test image is looked at. The margin is asked
for on top of the method's own. A line of the log is written for each sample that is done, and what is in the log
already is not done again.

The rule for the default margin of `bgd correct`: the smallest of these with which every correction of every method
survives in bfloat16 and in float16. What came of it, and of a stricter rule that was laid down before:
docs/arithmetic.md.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from hydra import initialize_config_dir

from bgd.errors import ConfigError
from experiments.command import prepared
from experiments.config.overrides import CONF, composed, jobs_of
from experiments.jobs.ending import REFUSALS, ended
from experiments.jobs.process import every_core
from experiments.jobs.progress import log_to_console
from experiments.mnist.data import DataError
from experiments.protocol.settings import Stage
from experiments.records.schema import CORRECTED, compact
from scripts.held_out import HeldOut

MARGINS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # logits, on top of the method's own
WHERE = ("bfloat16", "float16", "int8", "onnxruntime_int8")
LOG = Path("outputs/margins.jsonl")
HEADER = ("network", "method", "margin", "samples", "corrected", *WHERE, "params", "mean dTA", "worst dTA")


def measured(stage: Stage, before: float, about: dict[str, object]) -> Iterator[dict[str, object]]:
    """Correct the samples of a stage and yield a line of the log for each."""
    for row in stage.rows():
        corrected = row.outcome == CORRECTED
        yield about | {
            "sample": row.index,
            "corrected": corrected,
            "survival": row.survival,
            "parameters": row.l0,
            "change": row.figures.test_accuracy - before if corrected else None,
            "seconds": row.search_seconds,
        }


def table(lines: Sequence[dict[str, object]]) -> str:
    """Return the log as a table in Markdown: a row for each network, method and margin."""
    groups: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for line in lines:
        groups.setdefault((line["network"], line["method"], line["margin"]), []).append(line)
    rows = [" | ".join(HEADER), " | ".join("---" for _ in HEADER)]
    for (network, method, margin), group in sorted(groups.items(), key=lambda item: tuple(map(str, item[0]))):
        found = [line for line in group if line["corrected"]]
        cells = [network, method, f"{margin:g}", len(group), len(found)]
        cells += [f"{survived(found, name):.1f}" for name in WHERE] if found else ["–"] * len(WHERE)
        changes = [float(str(line["change"])) for line in found]
        sizes = [int(str(line["parameters"])) for line in found]
        cells += (
            [f"{np.median(sizes):g}", f"{np.mean(changes):+.5f}", f"{min(changes):+.4f}"]
            if found
            else ["–"] * 3
        )
        rows.append(" | ".join(map(str, cells)))
    return "\n".join(f"| {row} |" for row in rows)


def survived(found: Sequence[dict[str, object]], name: str) -> float:
    """Return the share of corrected samples that are right in an arithmetic, in percent."""
    leads = [line["survival"][name] for line in found]  # type: ignore[index]
    return 100 * float(np.mean([lead is not None and lead > 0 for lead in leads]))


def main(arguments: list[str]) -> int:
    """Correct the errors, write the log and print its table. Return the exit status."""
    return ended(lambda: _command(arguments), (*REFUSALS, DataError))


def _command(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__), formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of Hydra, as network=mlp method=least_harm,output_bias")
    parser.add_argument("--margins", nargs="+", type=float, default=MARGINS, help="logits")
    parser.add_argument("--samples", type=int, help="the first so many; all by default")
    parser.add_argument("--log", type=Path, default=LOG, help="where lines are appended")
    options = parser.parse_intermixed_args(arguments)
    log_to_console()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        [json.loads(line) for line in options.log.read_text().splitlines()] if options.log.exists() else []
    )
    with initialize_config_dir(str(CONF), version_base="1.3"):
        jobs = jobs_of(["-m", *options.overrides])
        bench, key = None, ""
        for job, margin in product(jobs, options.margins):
            wanted = [f"goal.margin={margin}", f"survival=[{','.join(WHERE)}]", "scale.samples=null"]
            spec, place = prepared(composed([*wanted, "scale.train_images=100", *job]))
            if spec.probe is not None:
                raise ConfigError("probe: only corrections are looked at here; use probe=null")
            if bench is None or key != spec.bench_id:
                with every_core():
                    bench, key = HeldOut(spec, place), spec.bench_id
            about = {"network": spec.network["name"], "method": spec.method["name"], "margin": margin}
            stage = bench.stage(spec)
            assert isinstance(stage, Stage)
            done = {line["sample"] for line in lines if about.items() <= line.items()}
            stage.samples = [each for each in stage.samples[: options.samples] if each.index not in done]
            with options.log.open("a") as log:
                for line in measured(stage, bench.summary.figures.test_accuracy, about):
                    lines.append(line)
                    log.write(compact(line) + "\n")
                    log.flush()
            print(
                table([line for line in lines if about.items() <= line.items()]).splitlines()[-1], flush=True
            )
    print(table(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

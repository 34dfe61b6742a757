"""A method on N0's errors among the images that were set aside: what its options are chosen by.

    python scripts/held_out.py network=mlp method=least_harm method.budget=10
    python scripts/held_out.py network=mlp method=least_harm_row_kfac setting=non_reloading

Takes what `python -m experiments.run` takes. The first half of the images set aside is the keep-set; the samples are
the errors among the other half, over which accuracies are, too. No test image is looked at, and nothing is kept.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from hydra import initialize_config_dir

from bgd.errors import ConfigError
from experiments.command import prepared
from experiments.config.overrides import CONF, composed, jobs_of
from experiments.config.spec import RunSpec
from experiments.jobs.ending import REFUSALS, ended
from experiments.jobs.execute import Progress, outcome
from experiments.jobs.process import every_core
from experiments.jobs.progress import log_to_console
from experiments.jobs.workbench import Place, Workbench
from experiments.mnist.data import DataError
from experiments.mnist.training import misclassified
from experiments.protocol.settings import Stage
from experiments.records.schema import CORRECTED, Row


class HeldOut(Workbench):
    """A workbench with images set aside in place of the test set."""

    def __init__(self, spec: RunSpec, place: Place) -> None:
        super().__init__(spec, place)
        aside = self.data.held_out
        half = len(aside) // 2
        self.data = replace(self.data, test=aside.after(half), held_out=aside.first(half))
        self.base = replace(self.base, errors=misclassified(self.base.network, self.data))


def text(bench: HeldOut, stage: Stage, rows: list[Row]) -> str:
    """Return the outcome, a line for each fact."""
    errors, images = len(bench.base.errors), len(bench.data.test)
    lines = [f"{len(rows)} of {errors} errors among {images:,} images: {outcome(rows)}"]
    corrected = [row for row in rows if row.outcome == CORRECTED]
    if corrected:
        changed = [row.l0 for row in corrected]
        lines.append(f"changed parameters: median {np.median(changed):g}, most {max(changed):,}")
    if stage.setting.accumulate:
        lines += list(_accumulated(stage, rows))
    elif corrected:
        before = bench.summary.figures.test_accuracy
        gains = [row.figures.test_accuracy - before for row in corrected]
        low = np.percentile(gains, 5)
        lines.append(
            f"accuracy: mean {np.mean(gains):+.5f}, 5th percentile {low:+.5f}, worst {min(gains):+.5f}"
        )
        lines.append(f"negative flips: {np.mean([row.side_effects.broken for row in corrected]):.2f} images")
    lines.append(f"seconds a search: {np.mean([row.search_seconds for row in rows]):.3f}")
    return "\n".join(lines)


def _accumulated(stage: Stage, rows: list[Row]) -> Iterator[str]:
    """Yield where corrections in a row have led to."""
    last, baseline = rows[-1], stage.bystanders.baseline
    before, after = baseline.untouched_right, last.side_effects.untouched_right
    yield f"untouched accuracy: {before / baseline.untouched_images:.4f} to {after / baseline.untouched_images:.4f}"
    accumulated = last.accumulated
    if accumulated and accumulated.earlier:
        yield f"retention: {accumulated.earlier_right / accumulated.earlier:.4f} of {accumulated.earlier}"


def main(arguments: list[str]) -> int:
    """Correct the errors and print what came out. Return the exit status."""
    return ended(lambda: _command(arguments), (*REFUSALS, DataError))


def _command(arguments: list[str]) -> int:
    log_to_console()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        jobs = jobs_of(arguments)
        if len(jobs) != 1:
            raise ConfigError(f"{len(jobs)} runs: one at a time is looked at here, without -m")
        spec, place = prepared(composed(["scale.samples=null", "scale.train_images=100", *jobs[0]]))
    if spec.probe is not None:
        raise ConfigError("probe: only corrections are looked at here; use probe=null")
    with every_core():
        bench = HeldOut(spec, place)
    stage = bench.stage(spec)
    assert isinstance(stage, Stage)
    progress, rows = Progress(spec.title, 0, len(stage.samples)), []
    for row in stage.rows():
        rows.append(row)
        progress.step()
    print(text(bench, stage, rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

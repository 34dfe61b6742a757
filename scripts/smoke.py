"""Run every preset on the tiny subset, twice: the first time everything, the second time nothing.

    python scripts/smoke.py

What comes out is checked: every N0 has learnt, every method corrects something, every run complete, every row
consistent, every table and figure there.
"""

import contextlib
import io
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from experiments.config.presets import specs_of_presets
from experiments.records.schema import ALREADY_RIGHT, CORRECTED, PROBE, UNCORRECTED, Run, subject
from experiments.records.store import Store
from experiments.report.build import names_of
from experiments.reproduce import main
from experiments.thesis.report import REPORT
from experiments.thesis.tables import MAIN, PAPER

OUTPUT = Path("outputs", "smoke")


def check_run(run: Run) -> None:
    """Check that a run's rows are what its header says, and add up."""
    header, count = run.header, len(run.rows) + len(run.measurements)
    assert count == header.samples > 0, f"{header.run_id}: {count} rows of {header.samples}"
    assert bool(run.measurements) == (PROBE in header.spec)
    for row in run.rows:
        assert row.outcome in (ALREADY_RIGHT, CORRECTED, UNCORRECTED), row
        assert (row.prediction_after == row.label) == (row.outcome != UNCORRECTED), row
        assert (row.l0 > 0) == (row.outcome == CORRECTED), row
        assert row.l0 <= row.altered <= header.base["parameters"], row
        assert row.l0 == sum(count for count, *_ in row.layers.values()), row
        change = row.side_effects.fixed - row.side_effects.broken
        accuracy = header.figures.test_accuracy + change / header.test_images
        assert abs(row.figures.test_accuracy - accuracy) < 1e-9, row
        if row.outcome == UNCORRECTED:
            assert row.reason, row


def check_networks(runs: Iterable[Run]) -> None:
    """Check that every N0 gets as many test images wrong as its recipe leads to: fewer than one that learnt nothing."""
    for base_id, header in {run.header.base["id"]: run.header for run in runs}.items():
        (low, high), errors = header.base["expected_errors"], header.base["errors"]
        assert low <= errors <= high, (
            f"N0 {base_id} ({header.spec['network']['name']}) gets {errors} test images wrong, expected {low} to {high}"
        )


def check_every_method_corrects(runs: Iterable[Run]) -> None:
    """Check that each method corrects a sample in one of its runs: else nothing behind a correction was run."""
    corrected: Counter[str] = Counter()
    for run in runs:
        if PROBE not in run.header.spec:
            corrected[subject(run.header.spec)[2]] += sum(row.outcome == CORRECTED for row in run.rows)
    without = sorted(method for method, count in corrected.items() if not count)
    assert not without, f"no sample was corrected by {', '.join(without)}"


def check_results(runs: list[Run]) -> None:
    """Check what must come out on any network: BGD-II corrects, with a handful of parameters."""
    for run in runs:
        spec = run.header.spec
        if subject(spec)[1:] == ("reloading", "bgd_ii"):
            corrected = [row for row in run.rows if row.outcome == CORRECTED]
            assert len(corrected) == len(run.rows), f"BGD-II left samples of {spec['network']['name']} wrong"
            assert max(row.altered for row in corrected) <= 100, "BGD-II altered more than 100 parameters"


def reproduce() -> str:
    """Run the smoke profile; return what it printed."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        status = main(["run", "--profile", "smoke", "--device", "cpu"])
    assert status == 0, f"exit status {status}:\n{text.getvalue()}"
    return text.getvalue()


def stamps() -> dict[Path, int]:
    """Return when each file of the store was last written."""
    return {path: path.stat().st_mtime_ns for path in (OUTPUT / "runs").rglob("*")}


def smoke() -> None:
    """Run, check, run again, check that nothing was run."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    started = time.perf_counter()
    print("first run: every preset, both networks, every method, both settings", flush=True)
    reproduce()
    first = time.perf_counter() - started
    store = Store(OUTPUT / "runs")
    members = specs_of_presets("smoke")
    runs = {spec.run_id: store.read(spec.run_id) for each in members.values() for spec in each}
    for run in runs.values():
        check_run(run)
    check_networks(runs.values())
    check_every_method_corrects(runs.values())
    check_results([runs[spec.run_id] for spec in members[MAIN]])
    for name in names_of(PAPER):
        content = (OUTPUT / name).read_bytes()
        assert not (name.endswith(".md") and b"missing" in content), f"{name} has a missing cell"
        assert not name.endswith(".png") or len(content) > 10_000, name
    absent = [name for name in REPORT.names if not (OUTPUT / name).stat().st_size]
    assert not absent, f"empty: {absent}"
    before = stamps()
    print(f"{len(runs)} runs in {first:.0f} s; second run: everything from the cache", flush=True)
    assert "nothing to do" in reproduce(), "the second run did something"
    assert stamps() == before, "the second run touched the records"
    print(f"smoke passed: {len(runs)} runs, {sum(run.header.samples for run in runs.values())} samples")


if __name__ == "__main__":
    sys.exit(smoke())

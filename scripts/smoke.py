"""Run every preset on the tiny subset, twice: the first time everything, the second time nothing.

    python scripts/smoke.py

What comes out is checked: every run complete, every row consistent, every table and figure there.
"""

import contextlib
import io
import shutil
import sys
import time
from pathlib import Path

from bgd.records import ALREADY_RIGHT, CORRECTED, UNCORRECTED, Run
from bgd.store import Store
from experiments.paper import PAPER
from experiments.plan import specs
from experiments.reproduce import main

OUTPUT = Path("outputs", "smoke")


def check_run(run: Run) -> None:
    """Check that a run's rows are what its header says, and add up."""
    header = run.header
    assert len(run.rows) == header.samples > 0, f"{header.run_id}: {len(run.rows)} rows of {header.samples}"
    for row in run.rows:
        assert row.outcome in (ALREADY_RIGHT, CORRECTED, UNCORRECTED), row
        assert (row.prediction_after == row.label) == (row.outcome != UNCORRECTED), row
        assert (row.l0 > 0) == (row.outcome == CORRECTED), row
        assert row.l0 <= row.altered <= header.base["parameters"], row
        if row.outcome == UNCORRECTED:
            assert row.reason, row


def check_results(runs: list[Run]) -> None:
    """Check what must come out on any network: BGD-II corrects, with a handful of parameters."""
    for run in runs:
        spec = run.header.spec
        if spec["method"]["name"] == "bgd_ii" and spec["setting"]["name"] == "reloading":
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
    wanted = {spec.run_id for spec in specs("smoke")}
    runs = [store.read(run_id) for run_id in sorted(wanted)]
    for run in runs:
        check_run(run)
    check_results(runs)
    for table in PAPER.tables:
        text = (OUTPUT / "tables" / f"{table.name}.md").read_text()
        assert "missing" not in text, f"{table.name} has a missing cell"
    for figure in PAPER.figures:
        assert (OUTPUT / "figures" / f"{figure.name}.png").stat().st_size > 10_000, figure.name
    before = stamps()
    print(f"{len(runs)} runs in {first:.0f} s; second run: everything from the cache", flush=True)
    assert "nothing to do" in reproduce(), "the second run did something"
    assert stamps() == before, "the second run touched the records"
    print(f"smoke passed: {len(runs)} runs, {sum(len(run.rows) for run in runs)} samples")


if __name__ == "__main__":
    sys.exit(smoke())

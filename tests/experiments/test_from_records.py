"""The report and the verdicts from the command line, from records alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import records_factory as make

from bgd.report.assemble import Report
from bgd.report.build import Definitions
from bgd.report.page import Document
from bgd.store import Store
from experiments import from_records, members, publish
from experiments.paper import MAIN, TABLES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def output(tmp_path, monkeypatch):
    """An output folder with two finished runs of three."""
    monkeypatch.setattr(publish, "PAPER", Definitions(MAIN, TABLES[:2], ()))
    monkeypatch.setattr(publish, "REPORT", Report((), Document("A report")))
    store, ids = Store(tmp_path / "runs"), []
    for method in ("bgd_ii", "top_k"):
        run = make.run(make.rows(make.CORRECTED), method=method)
        with store.writing(run.header) as writer:
            for row in run.rows:
                writer.append(row)
            writer.complete({"retained": None, "seconds": 1.0})
        ids.append(run.header.run_id)
    members.keep_members({MAIN: [*ids, "not-there-yet"]}, tmp_path, "laptop")
    return tmp_path


def test_the_report_is_of_this_clones_runs_and_makes_the_tables_first(output, capsys):
    assert from_records.main(["report", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert "records: 2 of 3 runs of profile laptop, run in this clone" in said
    assert "tables and figures in" in said
    assert (output / "report" / "index.html").exists()
    assert (output / "tables" / "table_4_2.md").exists()
    assert from_records.main(["report", "--output", str(output)]) == 0
    assert "they come first" not in capsys.readouterr().out


def test_without_runs_the_committed_records_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "REFERENCE_RECORDS", tmp_path / "nowhere")
    assert from_records.main(["report", "--output", str(tmp_path)]) == 2
    monkeypatch.undo()
    assert members.reference_folder("laptop").is_dir()


def test_verify_fails_where_a_verdict_gets_worse(output, capsys, monkeypatch, tmp_path):
    kept = tmp_path / "verdicts.json"
    records, _ = members.records_of(members.kept_members(output, "laptop"), output, "laptop")
    publish.keep_verdicts(records, kept)
    monkeypatch.setattr(from_records, "worse_verdicts", lambda records: publish.worse_verdicts(records, kept))
    assert from_records.main(["verify", "--output", str(output)]) == 0
    better = json.loads(kept.read_text())
    claim = next(name for name, verdict in better["verdicts"].items() if verdict == "not reproduced")
    better["verdicts"][claim] = "reproduced"
    kept.write_text(json.dumps(better))
    capsys.readouterr()
    assert from_records.main(["verify", "--output", str(output)]) == 1
    assert f"claim {claim}: reproduced, now not reproduced" in capsys.readouterr().out


def test_neither_torch_nor_hydra_is_needed():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['hydra'] = None; import experiments.from_records as it;"
        " raise SystemExit(it.main(['verify']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no verdict is worse" in done.stdout

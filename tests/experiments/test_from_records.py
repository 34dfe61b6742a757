"""The report and the verdicts from the command line, from records alone."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import records_factory as make

from bgd.errors import ConfigError
from experiments import from_records
from experiments.jobs.ending import Terminated
from experiments.records import members
from experiments.records.archive import OnDemand, Records, export
from experiments.records.store import Store
from experiments.report.assemble import Report
from experiments.report.page import Document
from experiments.thesis import publish
from experiments.thesis.levels import check_methods
from experiments.thesis.tables import MAIN, OVERVIEW, TABLES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def output(tmp_path, monkeypatch):
    """An output folder with two finished runs of three."""
    monkeypatch.setattr(publish, "PAPER", (*TABLES[:2], OVERVIEW))
    monkeypatch.setattr(publish, "REPORT", Report((), (Document("A report"),)))
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


def test_verify_fails_where_a_verdict_gets_worse(output, capsys, monkeypatch, tmp_path, few_are_enough):
    kept = tmp_path / "verdicts.json"
    records, _ = members.records_of(members.kept_members(output, "laptop"), output, "laptop")
    publish.keep_verdicts(records, kept)
    monkeypatch.setattr(publish, "VERDICTS", kept)
    assert from_records.main(["verify", "--partial", "--output", str(output)]) == 0
    better = json.loads(kept.read_text())
    claim = next(name for name, verdict in better["verdicts"].items() if verdict == "not reproduced")
    better["verdicts"][claim] = "reproduced"
    kept.write_text(json.dumps(better))
    capsys.readouterr()
    assert from_records.main(["verify", "--partial", "--output", str(output)]) == 1
    assert f"claim {claim}: reproduced, now not reproduced" in capsys.readouterr().out


@pytest.fixture
def committed(output, monkeypatch):
    """The same folder as the repository's own outputs, with a committed reference of three runs."""
    runs = [make.run(make.rows(make.CORRECTED), method=method) for method in ("bgd_ii", "top_k", "retrain")]
    by_id = {run.header.run_id: run for run in runs}
    folder = output / "reference" / "laptop"
    records = Records(
        OnDemand({key: run.header for key, run in by_id.items()}, by_id.get), {MAIN: tuple(by_id)}
    )
    export(records, folder, whole=(MAIN,))
    monkeypatch.setattr(members, "REFERENCE_RECORDS", folder.parent)
    assert members.is_committed(output)
    return output


def source(output):
    return (output / "tables" / "SOURCE.md").read_text()


def test_r16_committed_tables_are_not_rewritten_from_a_part_of_the_runs(committed, capsys):
    assert from_records.main(["report", "--output", str(committed)]) == 0
    said = capsys.readouterr().out
    assert "records: the 3 committed reference runs" in said
    assert "note: 2 of 3 runs are in" in said
    assert "3 runs, 3 rows" in source(committed)
    before = {path: path.read_bytes() for path in (committed / "tables").iterdir()}
    assert from_records.main(["report", "--output", str(committed)]) == 0
    assert {path: path.read_bytes() for path in (committed / "tables").iterdir()} == before


def test_r16_on_request_they_are(committed, capsys):
    assert from_records.main(["report", "--partial", "--output", str(committed)]) == 0
    assert "records: 2 of 3 runs of profile laptop, run in this clone" in capsys.readouterr().out
    assert "2 of 3 runs" in source(committed)


def test_r16_a_complete_set_takes_the_place_of_the_committed_records(committed, capsys):
    ids = members.kept_members(committed, "laptop")[MAIN]
    members.keep_members({MAIN: ids[:2]}, committed, "laptop")
    assert from_records.main(["report", "--output", str(committed)]) == 0
    assert "records: 2 of 2 runs of profile laptop, run in this clone" in capsys.readouterr().out


def test_r16_without_a_reference_a_sentence_says_what_is_missing(committed, capsys, monkeypatch):
    monkeypatch.setattr(members, "REFERENCE_RECORDS", committed / "nowhere")
    monkeypatch.setattr(from_records, "is_committed", lambda output: True)
    assert from_records.main(["report", "--output", str(committed)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "error: 2 of 3 runs of profile laptop are there: run make reproduce PROFILE=laptop"
    )
    assert said.count("\n") == 1
    assert not (committed / "tables").exists()


def test_r16_verdicts_are_compared_of_a_complete_set(committed, capsys, monkeypatch):
    """Two runs have the verdict of few claims: they are not compared, the committed ones are."""
    kept, taken = committed / "verdicts.json", []
    monkeypatch.setattr(publish, "VERDICTS", kept)
    publish.keep_verdicts(members.records_of({}, committed / "empty", "laptop")[0], kept)
    monkeypatch.setattr(from_records, "worse_verdicts", lambda records, kept: taken.append(records) or [])
    assert from_records.main(["verify", "--output", str(committed)]) == 0
    assert len(taken[0].runs) == 3
    assert "note: 2 of 3 runs are in" in capsys.readouterr().out


@pytest.mark.parametrize("profile", ["smoke", "thesis"])
def test_a_profile_without_kept_verdicts_is_compared_with_no_others(profile, tmp_path, capsys):
    assert from_records.main(["verify", "--profile", profile, "--output", str(tmp_path)]) == 2
    assert f"error: profile {profile}: no verdicts are kept for it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: top_k\nknows: nothing\n", "mine.yaml: name='top_k': must be 'mine', as the file is called"),
        ("name: mine\n", "mine.yaml: knows=None: must be one of nothing, statistic, keep_set, training_data"),
        ("", "mine.yaml: knows=None"),
        (
            "name: mine\nknows: nothing\n",
            "mine.yaml: groups: missing; [] for no preset, or some of every_error",
        ),
        (
            "name: mine\nknows: nothing\ngroups: [fronteer]\n",
            "mine.yaml: groups='fronteer': there is no such group; did you mean 'frontier'",
        ),
    ],
)
def test_two_methods_of_one_name_do_not_mix(content, message, tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        check_methods(tmp_path)
    assert message in str(caught.value)
    monkeypatch.setattr(from_records, "check_methods", lambda: check_methods(tmp_path))
    assert from_records.main(["report"]) == 2
    assert f"error: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "stopped: "),
        (Terminated(), 143, "stopped: "),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.png"),
            2,
            "error: cannot read or write: x.png (No space",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "x.png"),
            2,
            "error: cannot read or write: x.png (Read-only",
        ),
        (MemoryError(), 2, "error: not enough memory (MemoryError)"),
    ],
)
def test_the_report_ends_in_a_sentence(error, status, message, output, capsys, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(from_records, "publish", fail)
    assert from_records.main(["report", "--output", str(output)]) == status
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1


@pytest.mark.slow
def test_neither_torch_nor_hydra_is_needed():
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('torch', 'hydra'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import experiments.from_records as it\n"
        "raise SystemExit(it.main(['verify']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no verdict is worse" in done.stdout

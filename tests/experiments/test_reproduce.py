"""`make reproduce`, `make plan`, `make tables`, `make reference`, `make restore`: what they say and how they end."""

import json
import re
from itertools import product

import pytest
import torch

from experiments import reproduce
from experiments.jobs import making
from experiments.jobs.ending import Terminated
from experiments.records.store import Store
from experiments.report.assemble import Report
from experiments.report.page import Document
from experiments.thesis import publish
from experiments.thesis.tables import FRONTIER_METHODS, MAIN, OVERVIEW, ROW_METHODS, TABLES


@pytest.fixture
def call(every_run, monkeypatch, tmp_path):
    """Call the command on an output folder of its own; each profile is composed once for all tests."""
    monkeypatch.setattr(reproduce, "specs_of_presets", every_run.members)
    threads = torch.get_num_threads()

    def called(command, *options, profile="smoke"):
        return reproduce.main(
            [command, "--profile", profile, "--device", "cpu", "--output", str(tmp_path), *options]
        )

    yield called
    torch.set_num_threads(threads)


def test_a_plan_names_every_method_on_every_network_in_both_settings(call, capsys):
    assert call("plan", "--jobs", "2") == 0
    text = capsys.readouterr().out
    assert re.search(r"^(\d+) runs: 0 cached, \1 to run$", text, re.M)
    lines = {tuple(line.split()[:3]) for line in text.splitlines() if line.startswith("  ")}
    assert lines >= set(product(("mlp", "alexnet"), ("reloading",), FRONTIER_METHODS))
    assert lines >= set(product(("mlp", "alexnet"), ("non_reloading",), ROW_METHODS))
    assert re.search(
        r"^N0 to train: alexnet \(4 of them, 42 epochs\), mlp \(\d+ of them, \d+ epochs\)$", text, re.M
    )
    assert re.search(r"^  table_4_2 +5 to run +tables/table_4_2, report/cells$", text, re.M)
    assert re.search(r"^  every_method +36 to run +tables/all_methods, .* and \d+ more$", text, re.M)


def test_without_records_there_are_no_tables(call, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "reference_folder", lambda profile: tmp_path / "none")
    assert call("tables") == 2
    assert "error: no records for profile smoke: run make reproduce PROFILE=smoke" in capsys.readouterr().err


def test_a_reference_is_of_every_run_or_not_made(call, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "reference_folder", lambda profile: tmp_path / "reference")
    for options in ((), ("--partial",)):
        assert call("reference", *options) == 2
        assert "runs are missing: make reproduce" in capsys.readouterr().err
    assert not (tmp_path / "reference").exists()


def test_bad_options_name_what_is_valid(call, capsys):
    for jobs in ("0", "100000"):
        assert call("plan", "--jobs", jobs) == 2
        assert f"error: jobs={jobs}: must be from 1 to " in capsys.readouterr().err
    assert call("plan", "--device", "tpu") == 2
    assert "error: device='tpu': must be one of auto, cpu, cuda" in capsys.readouterr().err
    for options, message in (
        (("--jobs", "two"), "--jobs 'two': must be a number or auto"),
        (("--profile", "laptob"), "there is no such profile; did you mean 'laptop'"),
    ):
        with pytest.raises(SystemExit) as ended:
            call("plan", *options)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_a_failing_run_does_not_stop_the_others_and_makes_the_exit_status_1(
    call, every_run, capsys, monkeypatch, tmp_path
):
    """Where its lock should be there is a folder: the first of two runs cannot be written."""
    wanted = ("mlp top_k reloading seed=0", "mlp bgd_ii reloading seed=0")
    failing, sound = sorted(
        (s for s in every_run("smoke", MAIN) if s.title in wanted), key=lambda s: s.title, reverse=True
    )
    monkeypatch.setattr(reproduce, "specs_of_presets", lambda profile: {MAIN: [failing, sound]})
    obstacle, store = tmp_path / "runs" / f"{failing.run_id}.lock", Store(tmp_path / "runs")
    obstacle.mkdir(parents=True)
    monkeypatch.setattr(publish, "PAPER", (*TABLES[:2], OVERVIEW))
    monkeypatch.setattr(publish, "REPORT", Report((), (Document("A report"),)))
    assert call("run", "--jobs", "1") == 1
    said = capsys.readouterr().out
    assert f"failed: {failing.title}: {obstacle} cannot be written: Is a directory" in said
    assert "records: 1 of 2 runs of profile smoke, run in this clone" in said, "there are tables all the same"
    assert (store.finished(failing.run_id), store.finished(sound.run_id)) == (False, True)
    (record,) = store.failures()
    assert "IsADirectoryError" in json.loads(record.read_text())["traceback"]

    obstacle.rmdir()
    stamp = (tmp_path / "runs" / sound.run_id / "rows.jsonl").stat().st_mtime_ns
    assert call("run", "--jobs", "1") == 0
    said = capsys.readouterr().out
    assert "2 runs: 1 cached, 1 to run" in said
    assert re.search(
        rf"^took \d+ s, \d+ core-seconds\n  mlp .* {failing.method['name']} .* 100%$", said, re.M
    )
    assert "records: 2 of 2 runs" in said
    assert store.failures() == []
    assert call("run", "--jobs", "1") == 0
    assert "nothing to do: every run is done" in capsys.readouterr().out
    assert (tmp_path / "runs" / sound.run_id / "rows.jsonl").stat().st_mtime_ns == stamp


def test_r16_a_failing_run_leaves_committed_tables_as_they_are(
    call, every_run, capsys, monkeypatch, tmp_path
):
    failing, sound = sorted(
        (s for s in every_run("smoke", "table_4_2") if s.method["name"] in ("top_k", "fine_tune")),
        key=lambda spec: spec.title,
    )
    monkeypatch.setattr(reproduce, "specs_of_presets", lambda profile: {MAIN: [failing, sound]})
    monkeypatch.setattr(reproduce, "is_committed", lambda output: True)
    monkeypatch.setattr(making, "run_all", lambda *_: [f"{failing.title}: no"])
    assert call("run", "--jobs", "1") == 1
    said = capsys.readouterr().out
    assert "tables, figures and report stay as they are, 1 runs are missing" in said
    assert f"failed: {failing.title}: no" in said
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize("command", ["plan", "run", "tables", "reference", "restore"])
@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_signal_while_composing_is_a_sentence(call, capsys, monkeypatch, command, stop, status):
    def stopped(*_):
        try:
            raise stop
        except KeyboardInterrupt:
            raise AssertionError("trying to pop from empty mode stack")  # noqa: B904

    monkeypatch.setattr(reproduce, "specs_of_presets", stopped)
    assert call(command) == status
    assert capsys.readouterr().err.startswith("stopped: the rows so far are kept")


@pytest.mark.parametrize("command", ["run", "tables", "reference", "restore"])
def test_an_output_folder_that_is_none_is_a_sentence(every_run, capsys, monkeypatch, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(reproduce, "specs_of_presets", every_run.members)
    options = ["--profile", "smoke", "--device", "cpu", "--output", str(tmp_path / "file" / "outputs")]
    assert reproduce.main([command, *options]) == 2
    said = capsys.readouterr().err
    assert re.match(r"error: (cannot read or write: |\S+ cannot be written: )", said)
    assert "Not a directory" in said


def test_stopping_it_says_that_it_can_go_on(call, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "_run", stopped)
    assert call("run") == 130
    assert "the same command goes on from there" in capsys.readouterr().err


@pytest.fixture
def staged(call, every_run, monkeypatch):
    """Two runs, one for the thesis' tables and one beyond; gives both and the runs that are made at a time."""
    first = next(s for s in every_run("smoke", MAIN) if s.title == "mlp top_k reloading seed=0")
    beyond = every_run("smoke", "ablations")[0]
    monkeypatch.setattr(reproduce, "specs_of_presets", lambda profile: {MAIN: [first], "ablations": [beyond]})
    monkeypatch.setattr(publish, "PAPER", (*TABLES[:2], OVERVIEW))
    monkeypatch.setattr(publish, "REPORT", Report((), (Document("A report"),)))
    made = []
    return first, beyond, made


def test_the_plan_has_minutes_for_both_parts(staged, call, capsys):
    assert call("plan", "--jobs", "1") == 0
    assert "first the thesis' tables: 1 run; then what lies beyond: 1 run" in capsys.readouterr().out


def test_the_thesis_tables_are_written_before_the_rest_is_made(staged, call, capsys, monkeypatch, tmp_path):
    """Nothing is run: what makes runs notes what it was asked for, and what was written by then."""
    first, beyond, made = staged
    monkeypatch.setattr(
        reproduce, "_write_first", lambda members, *_: made.append(("written", *reproduce._each(members)))
    )

    def make(runs, *_):
        made.append(("made", *(run.run_id for run in runs)))
        if runs[0].run_id == beyond.run_id:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(making, "make", make)
    assert call("run", "--jobs", "1") == 130
    assert made == [("made", first.run_id), ("written", first.run_id), ("made", beyond.run_id)]
    assert not (tmp_path / "tables").exists(), "these are written when every run is there"


def test_presets_alone_are_made_and_no_table_is_written(staged, call, capsys, monkeypatch, tmp_path):
    """The plan and the status are of them too."""
    _, beyond, made = staged
    monkeypatch.setattr(making, "make", lambda runs, *_: made.extend(run.run_id for run in runs) or [])
    for command in ("plan", "run"):
        assert call(command, "--jobs", "1", "--presets", "ablations") == 0
        assert "1 runs: 0 cached, 1 to run" in capsys.readouterr().out
    assert made == [beyond.run_id]
    assert not (tmp_path / "tables").exists()
    assert call("status", "--presets", "ablations,", "--json") == 0
    assert json.loads(capsys.readouterr().out)["left"] == 1
    assert call("run", "--presets", "ablation") == 2
    assert "presets='ablation': there is no such preset; did you mean 'ablations'?" in capsys.readouterr().err
    for command, names, message in (
        ("run", " ,", "--presets ' ,': must name presets"),
        ("tables", "ablations", "--presets: tables is of all presets"),
    ):
        with pytest.raises(SystemExit):
            call(command, "--presets", names)
        assert message in capsys.readouterr().err


def test_presets_alone_with_partial_write_tables_from_what_is_there(staged, call, capsys, monkeypatch):
    monkeypatch.setattr(making, "make", lambda runs, *_: [])
    monkeypatch.setattr(reproduce, "_tables", lambda *about, **more: 7)
    assert call("run", "--jobs", "1", "--presets", "ablations", "--partial") == 7
    assert call("run", "--jobs", "1", "--presets", "ablations") == 0


@pytest.mark.slow
def test_ctrl_c_between_the_two_parts_loses_nothing(staged, call, capsys, monkeypatch, tmp_path):
    first, beyond, _ = staged
    plain = making.make

    def stopped(runs, *rest):
        if runs[0].run_id == beyond.run_id:
            raise KeyboardInterrupt
        return plain(runs, *rest)

    monkeypatch.setattr(making, "make", stopped)
    assert call("run", "--jobs", "1") == 130
    table, store = tmp_path / "thesis" / "tables" / "all_methods.md", Store(tmp_path / "runs")
    assert "Top" in table.read_text() or "top" in table.read_text()
    assert (tmp_path / "thesis" / "report" / "index.html").exists()
    assert (store.finished(first.run_id), store.finished(beyond.run_id)) == (True, False)
    stamps = [path.stat().st_mtime_ns for path in (table, tmp_path / "runs" / first.run_id / "rows.jsonl")]
    capsys.readouterr()

    monkeypatch.setattr(making, "make", plain)
    assert call("run", "--jobs", "1") == 0
    assert "2 runs: 1 cached, 1 to run" in capsys.readouterr().out
    assert [
        path.stat().st_mtime_ns for path in (table, tmp_path / "runs" / first.run_id / "rows.jsonl")
    ] == stamps
    assert (tmp_path / "tables" / "all_methods.md").exists()

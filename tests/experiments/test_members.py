"""Runs that are not what they say are left out by name, or refused by name; never used."""

import pytest
from records_factory import consistent_run

from experiments import from_records, reproduce
from experiments.records import members
from experiments.records.columns import slimmed
from experiments.records.schema import RecordError
from experiments.records.store import Store
from experiments.records.sums import SUMS
from experiments.thesis.tables import MAIN


@pytest.fixture
def output(tmp_path, monkeypatch):
    """An output folder with two finished runs, and nothing committed."""
    monkeypatch.setattr(members, "REFERENCE_RECORDS", tmp_path / "nowhere")
    store, ids = Store(tmp_path / "runs"), []
    for method in ("bgd_ii", "top_k"):
        run = consistent_run(3, method=method)
        with store.writing(run.header) as writer:
            for row in run.rows:
                writer.append(row)
            writer.complete(run.header.summary)
        ids.append(run.header.run_id)
    members.keep_members({MAIN: ids}, tmp_path, "laptop")
    return tmp_path


def change(output, old, new):
    path = output / "runs" / "mlp-reloading-top_k-0" / "rows.jsonl"
    path.write_text(path.read_text().replace(old, new, 1))
    return path


def test_r5_a_damaged_run_is_left_out_of_tables_and_report_with_a_word(output, caplog):
    ids = members.kept_members(output, "laptop")
    assert len(members.records_of(ids, output, "laptop")[0].runs) == 2
    assert caplog.text == ""
    path = change(output, '"test_accuracy":0.8', '"test_accuracy":0.9')
    records, source = members.records_of(ids, output, "laptop")
    assert list(records.runs) == ["mlp-reloading-bgd_ii-0"]
    assert records.presets == {MAIN: ("mlp-reloading-bgd_ii-0",)}
    assert "1 of 2 runs" in source
    assert f"{path} is not what was written" in caplog.text
    assert "the run is left out; make reproduce makes it again" in caplog.text


def test_runs_of_presets_that_are_not_whole_are_read_as_they_are_committed(output):
    ids = members.kept_members(output, "laptop")
    whole = members.own_records(ids, output)
    assert any(row.side_effects.confusion or row.patch for run in whole.runs.values() for row in run.rows)
    for presets, wanted in (
        ((MAIN,), lambda run: run),
        ((), slimmed),
        (("no_such_preset",), slimmed),
    ):
        records = members.own_records(ids, output, presets)
        assert {name: wanted(run) for name, run in whole.runs.items()} == dict(records.runs)


@pytest.mark.parametrize("command", ["verify", "report"])
def test_r5_an_older_run_whose_figures_do_not_fit_ends_the_command_by_name(output, capsys, command):
    (output / "runs" / "mlp-reloading-top_k-0" / SUMS).unlink()
    path = change(output, '"test_accuracy":0.8', '"test_accuracy":1.465')
    assert from_records.main([command, "--output", str(output)]) == 2
    assert f"error: {path}: row 0: test_accuracy is 1.465" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"every_method": 3}'])
def test_r6_a_torn_list_of_presets_is_named(output, capsys, content):
    path = output / "runs" / "presets.laptop.json"
    path.write_text(content)
    with pytest.raises(RecordError, match="presets"):
        members.kept_members(output, "laptop")
    assert from_records.main(["verify", "--output", str(output)]) == 2
    assert f"error: {path}: no presets can be read there" in capsys.readouterr().err
    members.keep_members({MAIN: ["a"]}, output, "laptop")
    assert members.kept_members(output, "laptop") == {MAIN: ["a"]}, "it is written anew"


def test_r6_plan_and_tables_name_what_is_no_run(output, capsys):
    store = Store(output / "runs")
    reproduce.print_notes(store, [])
    assert capsys.readouterr().out == ""
    (output / "runs" / "stray").mkdir()
    path = change(output, '"test_accuracy":0.8', '"test_accuracy":0.9')
    reproduce.print_notes(store, [])
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" is ")[0] for line in said] == [
        f"note: {path}", f"note: {output / 'runs' / 'stray' / 'run.json'}",
    ]  # fmt: skip
    for number in range(9):
        (output / "runs" / f"stray{number}").mkdir()
    reproduce.print_notes(store, [])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert said[-1] == f"note: and 6 more like it in {store.root}"

"""One run from specification to store."""

import json
import logging
from dataclasses import replace

import pytest

from bgd.methods.bgd.search import SubsetSearch
from bgd.store import Store
from experiments.execute import execute
from experiments.workbench import Place, Workshop, choose_device


@pytest.fixture
def workshop(tmp_path):
    return Workshop(Place(tmp_path / "data", tmp_path, "cpu", 1))


def untimed(run):
    return [replace(row, search_seconds=0.0, evaluation_seconds=0.0) for row in run.rows]


def test_a_run_is_complete_and_a_finished_one_is_not_run_again(workshop, spec_of, tmp_path, monkeypatch):
    spec = spec_of("method=bgd_c")
    header = execute(spec, workshop)
    run = Store(tmp_path / "runs").read(spec.run_id)
    assert run.header == header
    assert len(run.rows) == header.samples == 6
    assert header.spec == json.loads(json.dumps(spec.identity))
    assert header.base["parameters"] == 9_614
    monkeypatch.setattr(SubsetSearch, "correct", lambda *_: pytest.fail("it was run again"))
    assert execute(spec, workshop) == header


def test_a_run_made_with_another_n0_is_made_again(workshop, spec_of, tmp_path, caplog):
    spec = spec_of()
    execute(spec, workshop)
    path = tmp_path / "runs" / spec.run_id / "run.json"
    content = json.loads(path.read_text())
    sha256 = content["base"]["sha256"]
    content["base"]["sha256"] = "another"
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        header = execute(spec, workshop)
    assert "made with another N0" in caplog.text
    assert header.base["sha256"] == sha256


@pytest.mark.parametrize("setting", ["reloading", "non_reloading"])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_killed_run_goes_on_to_the_same_records(workshop, spec_of, tmp_path, monkeypatch, setting, after):
    spec, store = spec_of(f"setting={setting}"), Store(tmp_path / "runs")
    execute(spec, workshop)
    whole = untimed(store.read(spec.run_id))
    store.discard(spec.run_id)
    correct, calls = SubsetSearch.correct, []

    def killed(self, trial, sample, stream):
        calls.append(sample.index)
        if len(calls) > after:
            raise KeyboardInterrupt
        return correct(self, trial, sample, stream)

    monkeypatch.setattr(SubsetSearch, "correct", killed)
    with pytest.raises(KeyboardInterrupt):
        execute(spec, workshop)
    assert not store.finished(spec.run_id)
    assert store.done_rows(spec.run_id) >= after
    monkeypatch.setattr(SubsetSearch, "correct", correct)
    execute(spec, workshop)
    assert untimed(store.read(spec.run_id)) == whole


def test_what_does_not_replay_is_started_anew(workshop, spec_of, tmp_path, monkeypatch, caplog):
    spec, store = spec_of("setting=non_reloading"), Store(tmp_path / "runs")
    execute(spec, workshop)
    whole = untimed(store.read(spec.run_id))
    folder = tmp_path / "runs" / spec.run_id
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    first["forward_passes"] += 1
    (folder / "rows.jsonl").write_text(json.dumps(first) + "\n" + lines[1])
    folder.rename(folder.with_name(f"{spec.run_id}.partial"))
    with caplog.at_level(logging.WARNING):
        execute(spec, workshop)
    assert "starts anew" in caplog.text
    assert untimed(store.read(spec.run_id)) == whole


def test_a_failure_is_kept_and_raised(workshop, spec_of, tmp_path, monkeypatch):
    def breaks(*_):
        raise ZeroDivisionError("in the method")

    monkeypatch.setattr(SubsetSearch, "correct", breaks)
    spec = spec_of()
    with pytest.raises(ZeroDivisionError):
        execute(spec, workshop)
    (failure,) = Store(tmp_path / "runs").failures()
    assert "in the method" in json.loads(failure.read_text())["traceback"]


def test_a_network_with_nothing_to_correct_gives_an_empty_run(
    workshop, spec_of, tmp_path, monkeypatch, caplog
):
    spec = spec_of("scale.samples=null")
    bench = workshop.bench(spec)
    monkeypatch.setattr(bench, "base", replace(bench.base, errors=()))
    with caplog.at_level(logging.WARNING):
        header = execute(spec, workshop)
    assert "nothing to correct" in caplog.text
    assert header.samples == 0
    assert Store(tmp_path / "runs").read(spec.run_id).rows == ()


def test_an_n0_outside_its_band_is_reported(workshop, spec_of, caplog):
    with caplog.at_level(logging.WARNING):
        header = execute(spec_of("scale.expected_errors=[1,2]"), workshop)
    assert "OUTSIDE ITS BAND" in caplog.text
    assert header.base["expected_errors"] == [1, 2]


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="device='tpu': must be one of auto, cpu, cuda"):
        choose_device("tpu")
    assert choose_device("cpu") == "cpu"

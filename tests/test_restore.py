"""Committed records as a clone's own runs: the same runs, the same bytes when they are written again."""

import json
from dataclasses import replace

import pytest
from records_factory import consistent_run

from experiments.records.archive import Records, export, load
from experiments.records.restore import restore
from experiments.records.store import Store


@pytest.fixture
def committed(tmp_path):
    """Records of three runs as they are committed, one of them of a sweep."""
    runs = [consistent_run(5), consistent_run(3, seed=1), consistent_run(2, method="top_k")]
    ids = [run.header.run_id for run in runs]
    records = Records(dict(zip(ids, runs, strict=True)), {"main": tuple(ids[:2]), "sweep": (ids[2],)})
    export(records, tmp_path / "reference", whole=["main"])
    return load(tmp_path / "reference")


def own(store, records):
    return Records({name: store.read(name) for name in store.complete()}, records.presets)


def test_restored_runs_are_the_committed_ones_in_the_same_bytes(tmp_path, committed):
    store = Store(tmp_path / "runs")
    assert restore(committed, committed.runs, store, tmp_path / "bases") == 3
    assert own(store, committed).runs == dict(committed.runs)
    written = export(own(store, committed), tmp_path / "again", whole=["main"])
    assert all(path.read_bytes() == (tmp_path / "reference" / path.name).read_bytes() for path in written)
    assert restore(committed, committed.runs, store, tmp_path / "bases") == 0, "what is there stays"


def test_only_what_is_asked_for_and_begun_runs_are_put_aside(tmp_path, committed, caplog):
    store, name = Store(tmp_path / "runs"), sorted(committed.runs)[0]
    run = committed.runs[name]
    with store.writing(run.header) as writer:
        writer.append(replace(run.rows[0], search_seconds=99.0))
    assert restore(committed, [name, "unknown"], store, tmp_path / "bases") == 1
    assert store.complete() == [name]
    assert store.read(name) == run
    assert "the rows so far are in" in caplog.text


def test_runs_of_another_network_are_left_out(tmp_path, committed, caplog):
    store, base = Store(tmp_path / "runs"), next(iter(committed.headers)).base
    (tmp_path / "bases").mkdir()
    facts = tmp_path / "bases" / f"{base['id']}.json"
    facts.write_text(json.dumps({"base_id": base["id"], "sha256": "another"}))
    assert restore(committed, committed.runs, store, tmp_path / "bases") == 0
    assert f"the committed runs of N0 {base['id']} are of another one" in caplog.text
    facts.write_text(json.dumps({"base_id": base["id"], "sha256": base["sha256"]}))
    assert restore(committed, committed.runs, store, tmp_path / "bases") == 3

"""The store: nothing lost, nothing half-written."""

import json
from dataclasses import replace

import pytest
import records_factory

from bgd.records import SCHEMA, Measurement, RecordError, dump, row_from
from bgd.store import Store


def make_run(count, **changes):
    return records_factory.run(records_factory.rows(*["corrected", "uncorrected"] * count)[:count], **changes)


@pytest.fixture
def run():
    return make_run(5)


def write(store, run, rows):
    with store.writing(run.header) as writer:
        for row in rows:
            writer.append(row)
        return writer


def finish(store, run):
    with store.writing(run.header) as writer:
        for row in run.rows[len(writer.rows) :]:
            writer.append(row)
        writer.complete(run.header.summary)


def test_a_run_comes_back_as_it_was_written(tmp_path, run):
    store = Store(tmp_path)
    finish(store, run)
    assert store.finished(run.header.run_id)
    assert store.read(run.header.run_id) == run
    assert store.complete() == [run.header.run_id]
    assert list(store.headers()) == [run.header]
    assert not list(tmp_path.glob("*.partial"))


def test_a_partial_run_is_not_finished_and_keeps_its_rows(tmp_path, run):
    store, name = Store(tmp_path), run.header.run_id
    write(store, run, run.rows[:2])
    assert not store.finished(name)
    assert store.complete() == []
    assert store.done_rows(name) == 2
    with store.writing(run.header) as writer:
        assert tuple(writer.rows) == run.rows[:2]
    finish(store, run)
    assert store.read(name) == run


def test_a_torn_last_line_is_cut_off(tmp_path, run):
    store = Store(tmp_path)
    write(store, run, run.rows[:3])
    path = tmp_path / f"{run.header.run_id}.partial" / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with store.writing(run.header) as writer:
        assert tuple(writer.rows) == run.rows[:2]
    finish(store, run)
    assert store.read(run.header.run_id) == run


def test_rows_made_with_another_n0_are_dropped(tmp_path, run):
    store = Store(tmp_path)
    write(store, run, run.rows[:3])
    other = replace(run.header, base={**run.header.base, "sha256": "else"})
    with store.writing(other) as writer:
        assert writer.rows == []


def test_a_second_writer_is_refused(tmp_path, run):
    store = Store(tmp_path)
    with (
        store.writing(run.header),
        pytest.raises(RecordError, match="another process"),
        store.writing(run.header),
    ):
        pass


def test_starting_anew_forgets_the_rows(tmp_path, run):
    store = Store(tmp_path)
    write(store, run, run.rows[:3])
    with store.writing(run.header) as writer:
        writer.restart()
        for row in run.rows:
            writer.append(row)
        writer.complete(run.header.summary)
    assert store.read(run.header.run_id) == run


def test_a_failure_is_kept_with_its_traceback_until_the_run_succeeds(tmp_path, run):
    store = Store(tmp_path)
    try:
        raise KeyError("why it broke")
    except KeyError as error:
        path = store.fail(run.header.run_id, run.header.spec, error)
    assert store.failures() == [path]
    assert "why it broke" in json.loads(path.read_text())["traceback"]
    assert not store.finished(run.header.run_id)
    finish(store, run)
    assert store.failures() == []


def test_discard_removes_both_kinds(tmp_path, run):
    store = Store(tmp_path)
    finish(store, run)
    store.discard(run.header.run_id)
    assert not store.finished(run.header.run_id)


def test_another_schema_is_refused(tmp_path, run):
    store = Store(tmp_path)
    finish(store, run)
    path = tmp_path / run.header.run_id / "run.json"
    path.write_text(path.read_text().replace(f'"schema":{SCHEMA}', '"schema":99'))
    with pytest.raises(RecordError, match="schema 99"):
        store.header(run.header.run_id)
    assert list(store.headers()) == []  # whoever asks what is there is not stopped by it
    assert path.exists()


def test_numbers_that_are_not_finite_never_reach_the_disk(tmp_path, run):
    store = Store(tmp_path)
    with store.writing(run.header) as writer, pytest.raises(ValueError, match="JSON compliant"):
        writer.append(replace(run.rows[0], l2=float("inf")))


def test_a_row_with_an_unknown_key_is_refused(run):
    with pytest.raises(TypeError, match="surprise"):
        row_from({**json.loads(dump(run.rows[0])), "surprise": 1})


def test_measurements_are_kept_like_rows(tmp_path, run):
    store = Store(tmp_path)
    header = replace(run.header, spec={"network": {"name": "mlp"}, "probe": {"name": "ranks"}}, samples=2)
    found = [Measurement(place, 10 * place, 3, 0.5, {"loss": [0.25, None]}) for place in range(2)]
    with store.writing(header) as writer:
        writer.append(found[0])
    with store.writing(header) as writer:
        assert writer.rows == found[:1], "an interrupted run goes on"
        writer.append(found[1])
        writer.complete({"retained": None, "seconds": 1.0})
    again = store.read(header.run_id)
    assert again.measurements == tuple(found)
    assert again.rows == ()

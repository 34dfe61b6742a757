"""The store: nothing lost, nothing half-written."""

import errno
import json
import logging
import os
import shutil
import subprocess
from dataclasses import replace

import pytest
from records_factory import consistent_run as make_run

from experiments.records import files
from experiments.records.files import BusyError
from experiments.records.schema import SCHEMA, Measurement, RecordError, dump, row_from
from experiments.records.store import Store
from experiments.records.sums import SUMS


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
    (path.parent / SUMS).unlink()  # it was written before there were any
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


def cut(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))


def half_a_line(path):
    path.write_bytes(path.read_bytes()[:-20])


def another_digit(path):
    path.write_text(path.read_text().replace('"test_accuracy":0.8', '"test_accuracy":1.465', 1))


def a_row_gone(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


def a_row_twice(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[1], *lines[3:]]))


def emptied(path):
    path.write_bytes(b"")


def gone(path):
    path.unlink()


DAMAGES = (cut, half_a_line, another_digit, a_row_gone, a_row_twice, emptied, gone)


@pytest.mark.parametrize("sums", [True, False], ids=["checksums", "older"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_r5_a_finished_run_is_held_to_its_header(tmp_path, run, damage, sums):
    """With checksums by every byte; of before there were any by the number of rows, their order and their figures."""
    store, name = Store(tmp_path), run.header.run_id
    finish(store, run)
    if not sums:
        (tmp_path / name / SUMS).unlink()
    assert store.read(name) == run, "an older run is read as it always was"
    path = tmp_path / name / "rows.jsonl"
    damage(path)
    with pytest.raises(RecordError, match=r"rows\.jsonl") as raised:
        store.read(name)
    assert "\n" not in str(raised.value)
    if sums or (damage is not a_row_twice and damage is not another_digit):  # those need the rows to be read
        assert not store.finished(name)
        assert str(path) in store.fault(name)
        assert store.complete() == list(store.headers()) == []
        assert store.faults() == [store.fault(name)]


@pytest.mark.parametrize("what", ["emptied", "gone", "no json", "a list", "other run", "no rows at all"])
@pytest.mark.parametrize("sums", [True, False], ids=["checksums", "older"])
def test_r6_a_torn_header_is_named(tmp_path, run, what, sums):
    store, name = Store(tmp_path), run.header.run_id
    finish(store, run)
    path = tmp_path / name / "run.json"
    if not sums:
        (path.parent / SUMS).unlink()
    if what == "gone":
        path.unlink()
    elif what == "no rows at all":
        shutil.rmtree(path.parent)
        path.parent.mkdir()
    elif what == "other run":
        path.write_text(path.read_text().replace(name, "another"))
    else:
        path.write_text({"emptied": "", "no json": "{", "a list": "[1]"}[what])
    for read in (store.header, store.read):
        with pytest.raises(RecordError, match=r"run\.json"):
            read(name)
    assert store.complete() == []
    assert store.done_rows(name) == 0


def test_r6_stray_files_and_folders_are_named_and_in_nobodys_way(tmp_path, run):
    store = Store(tmp_path)
    finish(store, run)
    (tmp_path / "stray").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("presets.laptop.json", "abc.failed.json", "abc.lock"):
        (tmp_path / name).write_text("")
    assert store.complete() == [run.header.run_id]
    assert store.faults() == [
        f"{tmp_path / 'notes.txt'} is no run",
        f"{tmp_path / 'stray' / 'run.json'} is missing",
    ]


def test_r6_a_damaged_run_is_put_aside_and_made_again(tmp_path, run, caplog):
    store, name = Store(tmp_path), run.header.run_id
    for number in (1, 2):
        finish(store, run)
        cut(tmp_path / name / "rows.jsonl")
        with caplog.at_level(logging.WARNING):
            finish(store, run)
        assert store.read(name) == run
        assert (tmp_path / f"{name}.damaged-{number}" / "rows.jsonl").read_bytes().count(b"\n") == 2
        assert f"{name}.damaged-{number}" in caplog.text
        if number == 1:
            shutil.rmtree(tmp_path / name)
    assert store.faults() == [], "what was put aside is named no more"


@pytest.mark.parametrize("sums", [True, False], ids=["checksums", "older"])
@pytest.mark.parametrize("damage", ["torn", "no json", "digit", "gone", "twice"])
def test_r6_a_partial_run_is_cut_at_its_first_broken_row(tmp_path, run, caplog, damage, sums):
    store, name = Store(tmp_path), run.header.run_id
    write(store, run, run.rows[:4])
    folder = tmp_path / f"{name}.partial"
    lines = (folder / "rows.jsonl").read_bytes().splitlines(keepends=True)
    lines[2:3] = {
        "torn": [lines[2][:40] + b"\n"],
        "no json": [b"\x00" * 30 + b"\n"],
        "digit": [lines[2].replace(b'"test_accuracy":0.8', b'"test_accuracy":0.9')],
        "gone": [],
        "twice": [lines[1]],
    }[damage]
    (folder / "rows.jsonl").write_bytes(b"".join(lines))
    if not sums:
        (folder / "rows.sums").unlink()
    with caplog.at_level(logging.WARNING), store.writing(run.header) as writer:
        assert tuple(writer.rows) == run.rows[:2], "positions are checked: no sample twice, none missing"
    assert "line 3" in caplog.text
    assert "rows.jsonl" in caplog.text
    assert (tmp_path / f"{name}.damaged-1" / "rows.jsonl").read_bytes() == b"".join(lines)
    finish(store, run)
    assert store.read(name) == run


def test_a_row_whose_checksum_was_not_written_any_more_is_made_again(tmp_path, run, caplog):
    store = Store(tmp_path)
    write(store, run, run.rows[:3])
    path = tmp_path / f"{run.header.run_id}.partial" / "rows.sums"
    path.write_bytes(path.read_bytes()[: 2 * 17])
    with store.writing(run.header) as writer:
        assert tuple(writer.rows) == run.rows[:2]
    assert caplog.text == "", "so ends a process that is killed"


@pytest.mark.parametrize("damage", ["emptied", "cut", "gone"])
def test_rows_whose_header_is_gone_are_put_aside(tmp_path, run, caplog, damage):
    store = Store(tmp_path)
    write(store, run, run.rows[:3])
    path = tmp_path / f"{run.header.run_id}.partial" / "run.json"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "emptied" else path.read_bytes()[:50])
    with store.writing(run.header) as writer:
        assert writer.rows == []
    assert str(path) in caplog.text
    assert (tmp_path / f"{run.header.run_id}.damaged-1" / "rows.jsonl").exists()


def test_a_run_without_all_its_rows_is_never_complete(tmp_path, run):
    store = Store(tmp_path)
    with store.writing(run.header) as writer:
        writer.append(run.rows[0])
        with pytest.raises(RecordError, match="has 1 rows of 5"):
            writer.complete({})
    assert not store.finished(run.header.run_id)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum to check with")
def test_the_checksums_are_those_of_sha256sum(tmp_path, run):
    finish(Store(tmp_path), run)
    subprocess.run(["sha256sum", "-c", "--strict", SUMS], cwd=tmp_path / run.header.run_id, check=True)


def test_a_run_that_another_process_completed_meanwhile_is_not_begun_again(tmp_path, run):
    store = Store(tmp_path)
    finish(store, run)
    with pytest.raises(BusyError, match="just been completed"), store.writing(run.header):
        pass
    with store.writing(replace(run.header, run_id="other")), pytest.raises(BusyError, match="being written"):
        store.discard("other")


def test_a_state_is_kept_for_the_rows_it_was_made_after(tmp_path, run, caplog):
    store, folder = Store(tmp_path), tmp_path / f"{run.header.run_id}.partial"
    with store.writing(run.header) as writer:
        assert writer.state() is None
        writer.append(run.rows[0])
        writer.append(run.rows[1])
        writer.keep_state(b"two\nlines")
        writer.append(run.rows[2])
    with store.writing(run.header) as writer:
        assert writer.state() == (2, b"two\nlines")
    content = (folder / "state").read_bytes()
    for damaged in (content[:-1], content.replace(b"two", b"too"), b"", b"\n"):
        (folder / "state").write_bytes(damaged)
        with store.writing(run.header) as writer:
            assert writer.state() is None
        assert "state is not of these rows, or damaged" in caplog.text
        caplog.clear()
    (folder / "state").write_bytes(content)
    lines = (folder / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "rows.jsonl").write_bytes(lines[0])
    with store.writing(run.header) as writer:
        assert writer.state() is None, "it is of rows that are gone"
    finish(store, run)
    assert sorted(path.name for path in (tmp_path / run.header.run_id).iterdir()) == [
        SUMS,
        "rows.jsonl",
        "run.json",
    ]


@pytest.mark.parametrize("at", range(8))
def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path, run, monkeypatch, at):
    """The disk is full at the first, second, ... write; what was there before stays, and the run goes on later."""
    store, name = Store(tmp_path), run.header.run_id
    write(store, run, run.rows[:2])
    left = [at]

    def full(write):
        def written(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(*arguments)

        return written

    with monkeypatch.context() as patch:
        patch.setattr(files, "append", full(files.append))
        patch.setattr("experiments.records.writer.append", full(files.append))
        patch.setattr(files.os, "fsync", full(os.fsync))
        with pytest.raises(RecordError, match=r"cannot be written: No space left on device") as raised:
            finish(store, run)
    assert name in str(raised.value)
    assert not store.finished(name)
    finish(store, run)
    assert store.read(name) == run


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, run, monkeypatch):
    (tmp_path / "runs").write_text("a file is there")
    with pytest.raises(RecordError, match="cannot be written"), Store(tmp_path / "runs").writing(run.header):
        pass

    def refuses(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files.os, "open", refuses)
    with pytest.raises(RecordError, match="cannot be written: Read-only file system"):
        finish(Store(tmp_path / "other"), run)

"""Bytes flipped, cut or gone anywhere on the disk: what was written comes back, or an error names the file."""

import random
import shutil
from dataclasses import replace

import pytest
from records_factory import consistent_run

from experiments.records.archive import Records, export, load
from experiments.records.schema import PROBE, Measurement, RecordError, Run
from experiments.records.store import Store

TRIES = 150


def damaged(folder, draw):
    """Damage one file of a folder in one way; return its path."""
    path = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = bytearray(path.read_bytes())
    way = draw.choice(["flip", "delete", "cut", "empty", "gone", "line gone", "line twice"])
    place = draw.randrange(len(content))
    if way == "flip":
        content[place] ^= 1 << draw.randrange(8)
    elif way == "delete":
        del content[place : place + draw.randrange(1, 50)]
    elif way == "cut":
        del content[place:]
    elif way == "empty":
        content.clear()
    elif way.startswith("line"):
        lines = content.splitlines(keepends=True)
        number = draw.randrange(len(lines))
        lines[number : number + 1] = [lines[number]] * (0 if way == "line gone" else 2)
        content = bytearray(b"".join(lines))
    path.write_bytes(content)
    if way == "gone":
        path.unlink()
    return path


def found(read, what):
    """What was read, or what the error says."""
    try:
        return read(what), ""
    except RecordError as error:
        return None, str(error)


def contents(folder):
    records = load(folder)
    return dict(records.runs), records.presets


@pytest.fixture
def runs():
    run = consistent_run(4)
    header = replace(
        run.header, run_id="probed", samples=2, spec={"network": {"name": "mlp"}, PROBE: {"name": "x"}}
    )
    probed = [Measurement(place, 7 * place, 3, 0.5, {"loss": [0.25, None]}) for place in range(2)]
    return [run, Run(header, measurements=tuple(probed))]


def records(run):
    return run.rows or run.measurements


def test_a_finished_run_comes_back_or_is_refused(tmp_path, runs):
    draw, refused = random.Random(1), 0
    for run in runs:
        with Store(tmp_path / "sound").writing(run.header) as writer:
            for row in records(run):
                writer.append(row)
            writer.complete(run.header.summary)
    for number in range(TRIES):
        run = draw.choice(runs)
        root = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", root)
        path = damaged(root / run.header.run_id, draw)
        store = Store(root)
        fault = store.fault(run.header.run_id)
        again, error = found(store.read, run.header.run_id)
        assert again == run if not error else str(root / run.header.run_id) in error, path
        assert bool(fault) == bool(error), "it would have been taken for a finished run"
        refused += bool(error)
        assert set(store.complete()) == {one.header.run_id for one in runs if one is not run or fault is None}
    assert refused > TRIES / 2


def test_a_partial_run_goes_on_from_rows_that_were_written(tmp_path, runs, caplog):
    """Never from others; and whatever was not taken over is kept."""
    run, draw, shorter = runs[0], random.Random(2), 0
    with Store(tmp_path / "sound").writing(run.header) as writer:
        for row in run.rows[:3]:
            writer.append(row)
    for number in range(TRIES):
        root = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", root)
        path = damaged(root, draw)
        store = Store(root)
        with store.writing(run.header) as writer:
            taken = tuple(writer.rows)
            assert taken == run.rows[: len(taken)], path
            shorter += len(taken) < 3
            for row in run.rows[len(taken) :]:
                writer.append(row)
            writer.complete(run.header.summary)
        assert store.read(run.header.run_id) == run
    assert shorter > TRIES / 4


@pytest.mark.parametrize("whole", [True, False])
def test_an_archive_comes_back_or_is_refused(tmp_path, runs, whole):
    draw, refused = random.Random(3), 0
    ids = tuple(run.header.run_id for run in runs)
    export(
        Records({run.header.run_id: run for run in runs}, {"main": ids}), tmp_path / "sound", ["main"] * whole
    )
    sound = dict(load(tmp_path / "sound").runs)
    for number in range(TRIES):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", folder)
        path = damaged(folder, draw)
        again, error = found(contents, folder)
        assert again == (sound, {"main": tuple(sorted(ids))}) if not error else str(folder) in error, path
        refused += bool(error)
    assert refused > TRIES / 2

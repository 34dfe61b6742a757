"""Committed records: what goes in comes out, in the same bytes whatever the order."""

import gzip
import json
from dataclasses import replace

import pytest
import records_factory

from bgd.archive import PRESETS, Records, export, load
from bgd.records import PROBE, Measurement, RecordError, Run


def make_run(count, **changes):
    return records_factory.run(records_factory.rows(*["corrected", "uncorrected"] * count)[:count], **changes)


def records_of(runs, **presets):
    return Records({run.header.run_id: run for run in runs}, presets)


@pytest.fixture
def probe():
    header = make_run(0).header
    header = replace(
        header, run_id="probed", samples=1, spec={"network": {"name": "mlp"}, PROBE: {"name": "gradients"}}
    )
    return Run(header, measurements=(Measurement(0, 7, 3, 0.5, {"loss": [0.25, None]}),))


@pytest.fixture
def runs(probe):
    return [make_run(5), make_run(3, seed=1), make_run(2, method="top_k"), probe]


def test_records_come_back_and_are_the_same_bytes_in_any_order(tmp_path, runs):
    ids = [run.header.run_id for run in runs]
    records = records_of(runs, main=tuple(ids), other=(ids[2],))
    first = export(records, tmp_path / "a", whole=["main"])
    again = load(tmp_path / "a")
    assert again.runs == records.runs
    assert again.presets == {"main": tuple(sorted(ids)), "other": (ids[2],)}
    backwards = records_of(runs[::-1], other=(ids[2],), main=tuple(ids[::-1]))
    second = export(backwards, tmp_path / "b", whole=["main"])
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    zipped = [path for path in first if path.suffix == ".gz"]
    assert len(zipped) == 3, "one for each network, setting and method"
    assert {path.read_bytes()[4:8] for path in zipped} == {bytes(4)}, "the time is not in the file"
    stale = export(records_of(runs[:1], main=(ids[0],)), tmp_path / "a", whole=["main"])
    assert sorted((tmp_path / "a").iterdir()) == stale, "files of runs that are gone go too"


def test_what_is_not_whole_loses_its_patches_and_nothing_else(tmp_path, runs):
    main, sweep, shared, _ = (run.header.run_id for run in runs)
    records = records_of(runs, main=(main, shared), sweep=(sweep, shared, "probed"))
    export(records, tmp_path, whole=["main"])
    again = load(tmp_path)
    assert [again.runs[name] == records.runs[name] for name in (main, shared, "probed")] == [True] * 3
    assert all(row.patch is None for row in again.runs[sweep].rows)
    bare = tuple(
        replace(
            row, patch=None, layers={}, logits_after=[], side_effects=replace(row.side_effects, confusion=[])
        )
        for row in records.runs[sweep].rows
    )
    assert again.runs[sweep] == replace(records.runs[sweep], rows=bare)
    assert len(again.of("main", "sweep")) == 4, "a run of two presets is there once"
    assert again.of("nothing") == []


def test_a_cut_file_is_an_error(tmp_path, runs):
    path, _ = export(records_of(runs[:1], main=(runs[0].header.run_id,)), tmp_path, whole=["main"])
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(RecordError, match="4 rows of 5"):
        load(tmp_path)


def test_a_preset_with_a_run_that_is_not_there_is_an_error(tmp_path, runs):
    export(records_of(runs[:1], main=(runs[0].header.run_id,)), tmp_path, whole=["main"])
    (tmp_path / PRESETS).write_text(json.dumps({"main": ["nowhere"]}))
    with pytest.raises(RecordError, match="names 1 runs that are not there, nowhere first"):
        load(tmp_path)

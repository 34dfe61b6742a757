"""Committed records: what goes in comes out, in the same bytes whatever the order."""

import gzip
import shutil
import subprocess
from dataclasses import replace

import pytest
from records_factory import consistent_run as make_run

from experiments.records.archive import PRESETS, Records, export, load
from experiments.records.schema import PROBE, Measurement, RecordError, Run
from experiments.records.sums import SUMS


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


def test_r5_a_cut_file_without_checksums_is_an_error(tmp_path, runs):
    sums, path, _ = export(records_of(runs[:1], main=(runs[0].header.run_id,)), tmp_path, whole=["main"])
    sums.unlink()
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(RecordError, match=f"{path}: run .* has 4 rows of 5"):
        load(tmp_path)


@pytest.mark.parametrize("presets", ['{"main": ["nowhere"]}', "", "[1]", '{"main": 7}'])
def test_r6_presets_that_are_not_there_or_not_readable_are_an_error(tmp_path, runs, presets):
    sums, *_ = export(records_of(runs[:1], main=(runs[0].header.run_id,)), tmp_path, whole=["main"])
    sums.unlink()
    (tmp_path / PRESETS).write_text(presets)
    wanted = "names 1 runs that are not there, nowhere first" if "nowhere" in presets else "no presets"
    with pytest.raises(RecordError, match=f"{tmp_path / PRESETS}.*{wanted}"):
        load(tmp_path)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum to check with")
def test_the_checksums_are_those_of_sha256sum(tmp_path, runs):
    written = export(records_of(runs, main=[run.header.run_id for run in runs]), tmp_path, whole=["main"])
    subprocess.run(["sha256sum", "-c", "--strict", SUMS], cwd=tmp_path, check=True)
    names = [line.partition("  ")[2] for line in (tmp_path / SUMS).read_text().splitlines()]
    assert names == sorted(path.name for path in written if path.name != SUMS)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "extra", "no checksum"])
@pytest.mark.parametrize("name", ["mlp.reloading.bgd_ii.jsonl.gz", PRESETS])
def test_r5_a_committed_file_is_held_to_its_checksum(tmp_path, runs, damage, name):
    ids = [run.header.run_id for run in runs]
    export(records_of(runs, main=ids), tmp_path, whole=["main"])
    assert load(tmp_path).runs.keys() == set(ids)
    path, sums = tmp_path / name, tmp_path / SUMS
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-5])
    elif damage == "gone":
        path.unlink()
    elif damage == "extra":
        path = tmp_path / "of.somebody.else.jsonl.gz"
        path.write_bytes(bytes(content))
    else:
        lines = sums.read_text().splitlines(keepends=True)
        sums.write_text("".join(line for line in lines if name not in line))
    with pytest.raises(RecordError, match=str(path)) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_r6_a_file_that_cannot_be_unpacked_is_named(tmp_path, runs, damage):
    """In a folder from before there were checksums."""
    sums, path, _ = export(records_of(runs[:1], main=(runs[0].header.run_id,)), tmp_path, whole=["main"])
    sums.unlink()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes({"flipped": bytes(content), "cut": content[:-30], "empty": b"not gzip"}[damage])
    with pytest.raises(RecordError, match=str(path)):
        load(tmp_path)


def test_r5_rows_without_checksums_are_held_to_each_other(tmp_path, runs):
    sums, path, _ = export(records_of(runs[:1], main=(runs[0].header.run_id,)), tmp_path, whole=["main"])
    sums.unlink()
    assert load(tmp_path).runs[runs[0].header.run_id] == runs[0]
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"test_accuracy":0.8', b'"test_accuracy":0.9')
    path.write_bytes(gzip.compress(b"".join(lines)))
    with pytest.raises(
        RecordError, match=f"{path}, run {runs[0].header.run_id}: row 2: fixed 0 and broken 0"
    ):
        load(tmp_path).runs[runs[0].header.run_id]

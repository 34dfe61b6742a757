"""Committed records: what goes in comes out, in the same bytes whatever the order."""

import builtins
import json
import random
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from records_factory import accumulated, consistent_run as make_run, figures, generality, row, side_effects

from experiments.records.archive import HEADERS, PRESETS, Records, export, load
from experiments.records.columns import COARSE, LEFT_OUT, columns_of, records_in, slimmed
from experiments.records.packing import packed, unpacked
from experiments.records.schema import CORRECTED, PROBE, UNCORRECTED, Measurement, RecordError, Run, compact
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
    names = ["SHA256SUMS", HEADERS, "mlp.probe.jsonl.xz", "mlp.reloading.jsonl.xz", PRESETS]
    assert [path.name for path in first] == names, "one file for each network and setting"
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
            row, patch=None, layers={}, logits_after=[], l1=None, linf=None, evaluation_seconds=None,
            figures=replace(row.figures, released_before=None),
            side_effects=replace(row.side_effects, confusion=[]),
        )
        for row in records.runs[sweep].rows
    )  # fmt: skip
    assert again.runs[sweep] == replace(records.runs[sweep], rows=bare)
    assert {name: slimmed(run) for name, run in records.runs.items()} == {
        **{name: slimmed(run) for name, run in again.runs.items()},
        **{name: again.runs[name] for name in (sweep, "probed")},
    }, "as committed, and once more changes nothing"
    assert len(again.of("main", "sweep")) == 4, "a run of two presets is there once"
    assert again.of("nothing") == []


def test_a_stranger_reads_the_rows_with_xz_and_json(tmp_path, runs):
    export(records_of(runs, main=[run.header.run_id for run in runs]), tmp_path, whole=["main"])
    files = {
        path.name: list(map(json.loads, unpacked(path.read_bytes(), path))) for path in tmp_path.glob("*.xz")
    }
    for line in files.pop(HEADERS):
        columns = files[line["rows"]].pop(0)
        run = next(run for run in runs if run.header.run_id == line["header"]["run_id"])
        assert columns["index"] == [one.index for one in (*run.rows, *run.measurements)]
        if run.rows:
            assert columns["figures.train_loss"] == [one.figures.train_loss for one in run.rows]
    assert not any(files.values()), "each line has a header"


def random_row(draw, position):
    """A row with numbers of any size, and objects that are there or not, as dumping and reading it once leaves it."""

    def number():
        return float(f"{draw.uniform(-1, 1) * 10 ** draw.randint(-30, 30):.10g}")

    def some(value):
        return draw.choice([None, value])

    count = draw.randrange(3)
    return row(
        position, draw.choice([CORRECTED, UNCORRECTED]),
        index=7 * position, l1=number(), l2=number(), linf=number(), search_seconds=abs(number()),
        sample_loss_after=some(number()), logits_after=[some(number()) for _ in range(count)],
        layers={f"lin{number}.weight": [1, 0.5, 0.5] for number in range(count)},
        figures=figures(train_loss=some(number()), released_before=some(number()), released_after=None),
        side_effects=side_effects(confusion=[[3, 5, -count]] * count),
        accumulated=some(accumulated(drift=some(number()))), generality=some(generality()),
        patch=some({"index": [*range(count)], "old": [number()] * count, "new": [number()] * count}),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_rows_come_back_from_columns_bit_for_bit(seed):
    draw = random.Random(seed)
    rows = [random_row(draw, position) for position in range(seed)]
    again = records_in(compact(columns_of(rows)), len(rows))
    assert repr(again) == repr(rows), "0 is not 0.0, nor 0.0 the same as -0.0"
    slim = columns_of(rows, slim=True)
    assert slim == {
        name: coarse(name, column) for name, column in columns_of(rows).items() if not left_out(name)
    }
    assert columns_of(records_in(compact(slim), len(rows)), slim=True) == slim, (
        "a restored sweep is committed again"
    )


def coarse(name, column):
    if name not in COARSE:
        return column
    return [
        None if value is None else float(np.format_float_scientific(value, 5, unique=False))
        for value in column
    ]


def left_out(name):
    return name in LEFT_OUT or name.partition(".")[0] in LEFT_OUT


@pytest.mark.parametrize(
    "values", [[{}, {}], [{"loss": [0.1]}, {"loss": []}], [{"a": [None]}, {"b.c": [1]}], []]
)
def test_measurements_come_back_from_columns(values):
    rows = [Measurement(place, 7 * place, 3, 0.5, each) for place, each in enumerate(values)]
    assert records_in(compact(columns_of(rows)), len(rows)) == rows


def test_a_python_without_lzma_is_told_what_to_do(tmp_path, runs, monkeypatch):
    export(records_of(runs), tmp_path, whole=[])
    genuine = builtins.__import__

    def without(name, *rest):
        if name == "lzma":
            raise ImportError("No module named '_lzma'")
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RecordError, match=r"without lzma.*liblzma-dev"):
        load(tmp_path)


@pytest.mark.parametrize(("change", "says"), [
    (lambda columns: columns["index"].pop(), "shorter"),
    (lambda columns: [column.pop() for column in columns.values()], "shorter"),
    (lambda columns: columns.pop("label"), "label"),
    (lambda columns: columns.pop("figures.test_loss"), "test_loss"),
])  # fmt: skip
def test_r5_columns_without_checksums_are_held_to_their_header(tmp_path, runs, change, says):
    run_id = runs[0].header.run_id
    sums, _, path, _ = export(records_of(runs[:1], main=(run_id,)), tmp_path, whole=["main"])
    sums.unlink()
    columns = json.loads(unpacked(path.read_bytes(), path)[0])
    change(columns)
    path.write_bytes(packed([compact(columns)]))
    with pytest.raises(RecordError, match=f"{path}, run {run_id}: no rows .*{says}"):
        load(tmp_path).runs[run_id]


@pytest.mark.parametrize("damage", ["gone", "a run less"])
def test_r5_rows_that_are_gone_without_checksums_are_an_error(tmp_path, runs, damage):
    ids = [run.header.run_id for run in runs[:2]]
    sums, _, path, _ = export(records_of(runs[:2], main=ids), tmp_path, whole=["main"])
    sums.unlink()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(packed([line.decode() for line in unpacked(path.read_bytes(), path)[:1]]))
    with pytest.raises(RecordError, match=f"{path} (is missing|has 1 runs of 2)"):
        load(tmp_path).runs[ids[0]]


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
@pytest.mark.parametrize("name", ["mlp.reloading.jsonl.xz", HEADERS, PRESETS])
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
        path = tmp_path / "of.somebody.else.jsonl.xz"
        path.write_bytes(bytes(content))
    else:
        lines = sums.read_text().splitlines(keepends=True)
        sums.write_text("".join(line for line in lines if name not in line))
    with pytest.raises(RecordError, match=str(path)) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
@pytest.mark.parametrize("name", ["mlp.reloading.jsonl.xz", HEADERS])
def test_r6_a_file_that_cannot_be_unpacked_is_named(tmp_path, runs, damage, name):
    """In a folder from before there were checksums."""
    run_id = runs[0].header.run_id
    export(records_of(runs[:1], main=(run_id,)), tmp_path, whole=["main"])
    path = tmp_path / name
    (tmp_path / SUMS).unlink()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes({"flipped": bytes(content), "cut": content[:-30], "empty": b"no xz"}[damage])
    with pytest.raises(RecordError, match=str(path)):
        load(tmp_path).runs[run_id]


@pytest.mark.parametrize("whole", [True, False])
def test_r5_rows_without_checksums_are_held_to_each_other(tmp_path, runs, whole):
    run_id = runs[0].header.run_id
    sums, _, path, _ = export(records_of(runs[:1], main=(run_id,)), tmp_path, whole=["main"] * whole)
    sums.unlink()
    assert load(tmp_path).runs[run_id].rows[0].l2 == runs[0].rows[0].l2
    columns = json.loads(unpacked(path.read_bytes(), path)[0])
    columns["figures.test_accuracy"][2] = 0.9
    path.write_bytes(packed([compact(columns)]))
    with pytest.raises(RecordError, match=f"{path}, run {run_id}: row 2: fixed 0 and broken 0"):
        load(tmp_path).runs[run_id]

import csv
from dataclasses import dataclass

import pytest

from experiments.records.archive import Records, export, load
from experiments.records.schema import RecordError
from experiments.records.store import Store
from experiments.report.build import SOURCE, Source, build, is_from, names_of
from experiments.report.frames import KEPT
from experiments.report.overview import Overview
from experiments.report.tables import read_reference
from experiments.thesis.tables import FIGURES, REFERENCE, TABLES, TABLES_FULL
from tests.records_factory import CORRECTED, UNCORRECTED, rows, run


@pytest.fixture
def runs():
    return [
        run(rows(CORRECTED, UNCORRECTED), method=method, setting=setting, seed=seed)
        for method in ("bgd_ii", "bgd_i", "top_k", "a_new_one")
        for setting in SETTINGS
        for seed in (0, 1)
    ]


MAIN = "main"
SETTINGS = ("reloading", "non_reloading")
NONE = (Overview(presets=(MAIN,)),)
SOME = (*TABLES, *NONE, FIGURES[1])


def records_of(runs):
    ids = tuple(one.header.run_id for one in runs)
    presets = {name for part in SOME for name in part.presets}
    return Records(dict(zip(ids, runs, strict=True)), dict.fromkeys(presets, ids))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_records_give_the_same_bytes_in_any_order(runs, tmp_path):
    written = build(records_of(runs), SOME, tmp_path / "one", "test records")
    build(records_of(runs[::-1]), SOME, tmp_path / "two", "test records")
    build(records_of(runs), SOME, tmp_path / "one", "test records")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert {path.relative_to(tmp_path / "one") for path in written} == set(contents(tmp_path / "one"))


@pytest.mark.slow
def test_exported_records_give_the_same_files(runs, tmp_path):
    export(records_of(runs), tmp_path / "records", whole=[MAIN])
    build(records_of(runs), SOME, tmp_path / "one", "x")
    build(load(tmp_path / "records"), SOME, tmp_path / "two", "x")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_files_and_source(runs, tmp_path):
    build(records_of(runs), SOME, tmp_path, "test records")
    tables = {path.name for path in (tmp_path / "tables").iterdir()}
    names = [*(spec.name for spec in TABLES), "all_methods"]
    assert tables == {f"{name}.{end}" for name in names for end in ("csv", "md", "tex")} | {"SOURCE.md"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"figure_4_2.png", "figure_4_2.svg"}
    ids = [one.header.run_id for one in runs]
    assert is_from(ids, tmp_path, names_of(SOME), SOURCE)
    assert not is_from(ids[1:], tmp_path, names_of(SOME), SOURCE), "other runs"
    (tmp_path / "figures" / "figure_4_2.svg").unlink()
    assert is_from(ids, tmp_path, names_of(SOME), SOURCE), "a clone has no svg"
    (tmp_path / "figures" / "figure_4_2.png").unlink()
    assert not is_from(ids, tmp_path, names_of(SOME), SOURCE)
    source = (tmp_path / "tables" / "SOURCE.md").read_text()
    assert "- records: test records\n- 16 runs, 32 rows" in source
    assert "| main | 16 | 32 |" in source


def test_another_run_id_gives_another_source(runs, tmp_path):
    build(records_of(runs), NONE, tmp_path / "one", "x")
    build(records_of(runs[1:]), NONE, tmp_path / "two", "x")
    hashes = [
        next(
            line
            for line in (tmp_path / name / "tables" / "SOURCE.md").read_text().splitlines()
            if "SHA" in line
        )
        for name in ("one", "two")
    ]
    assert hashes[0] != hashes[1]


def test_a_write_that_fails_leaves_the_old_file(runs, tmp_path, monkeypatch):
    build(records_of(runs), NONE, tmp_path, "old")
    before = contents(tmp_path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(RecordError, match="disk"):
        build(records_of(runs), NONE, tmp_path, "new")
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before


def test_no_runs_at_all(tmp_path):
    build(records_of([]), SOME, tmp_path, "nothing")
    lines = list(csv.DictReader((tmp_path / "tables" / "table_4_2.csv").open()))
    assert {line["mean"] for line in lines} == {"missing"}
    assert {line["n"] for line in lines} == {"0"}


def test_a_network_without_errors_has_a_run_without_samples(tmp_path):
    build(records_of([run(())]), SOME, tmp_path, "nothing")
    cells = {
        (row["metric"], row["method"]): row
        for row in csv.DictReader((tmp_path / "tables/table_4_2.csv").open())
    }
    assert cells["POC", "bgd_ii"]["mean"] == "no samples"
    assert cells["POC", "retrain"]["mean"] == "missing"


def test_every_value_of_the_thesis_has_its_place():
    reference = read_reference(REFERENCE)
    places = {
        (spec.number, spec.network, spec.setting, metric, method)
        for spec in TABLES
        for metric in spec.metrics
        for method in spec.methods
        if not method.endswith(KEPT)
    }
    columns = (reference[name] for name in ("table", "network", "setting", "metric", "method"))
    values = set(zip(*columns, strict=True))
    assert len(values) == len(reference) == 124
    assert values <= places
    ours = {metric for _, _, _, metric, _ in places - values}
    assert ours == {
        *("dTL_released", "untouched_dTA", "POPA_corrected"),
        *("final_test_accuracy", "final_untouched_accuracy", "retained"),
    }


def test_the_columns_stand_in_the_order_of_the_thesis():
    reference = read_reference(REFERENCE)
    for spec in TABLES:
        printed = reference[reference["table"] == spec.number]
        own = tuple(name for name in spec.methods if not name.endswith(KEPT))  # the other reading of D15
        assert tuple(printed["method"].unique()) == own
        rows_of_the_thesis = [metric for metric in spec.metrics if metric in set(printed["metric"])]
        assert rows_of_the_thesis == list(printed["metric"].unique())


def test_every_table_and_figure_of_the_report_is_defined():
    assert [spec.number for spec in TABLES] == [
        "4.1",
        "4.2",
        "4.3",
        "4.4",
        "4.5",
        "4.6",
        "4.7",
        "4.8",
        "4.11",
        "4.12",
    ]
    assert [spec.name.split("_")[-1] for spec in FIGURES] == [
        "1",
        "2",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
        "10",
        "14",
    ]
    assert [spec.number for spec in TABLES if spec.common_samples] == ["4.3", "4.4"]


def test_a_table_at_the_full_scale_is_a_part_of_the_one_of_its_number():
    """Beside the same printed values: same network, setting, quantities and samples, some of the methods, in order."""
    tables = {spec.number: spec for spec in TABLES}
    assert [spec.number for spec in TABLES_FULL] == ["4.1", "4.3", "4.5", "4.11"]
    for spec in TABLES_FULL:
        whole = tables[spec.number]
        assert spec.name == f"{whole.name}_full"
        for key in ("network", "setting", "metrics", "common_samples", "thesis"):
            assert getattr(spec, key) == getattr(whole, key)
        assert spec.methods == tuple(name for name in whole.methods if name in spec.methods)
        assert spec.presets == ("alexnet_in_full",)


def test_records_read_from_a_store_make_a_report(runs, tmp_path):
    store = Store(tmp_path / "runs")
    for one in runs:
        with store.writing(one.header) as writer:
            for item in one.rows:
                writer.append(item)
            writer.complete(one.header.summary)
    build(records_of([store.read(name) for name in store.complete()]), SOME, tmp_path / "one", "x")
    build(records_of(runs), SOME, tmp_path / "two", "x")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@dataclass(frozen=True)
class Count:
    """A part that says how many runs it got."""

    presets: tuple[str, ...]
    names: tuple[str, ...] = ("tables/count.md",)

    def files(self, runs):
        return {"tables/count.md": f"{len(runs)} runs".encode()}


def test_a_part_that_chooses_is_from_what_it_shows(tmp_path):
    made = [run(rows(CORRECTED), setting=name, replica=number) for name in SETTINGS for number in (0, 1)]
    source = Source.of(NONE[0], records_of(made))
    assert source.runs(records_of(made)) == [one for one in made if one is not made[1]], (
        "reloading, a replica"
    )


def test_a_part_gets_the_runs_of_its_presets(runs, tmp_path):
    ids = [one.header.run_id for one in runs]
    records = Records(dict(zip(ids, runs, strict=True)), {MAIN: tuple(ids), "sweep": tuple(ids[:3])})
    parts = (*NONE, Count(("sweep", "absent")))
    written = build(records, parts, tmp_path, "x")
    assert (tmp_path / "tables" / "count.md").read_text() == "3 runs"
    assert set(names_of(parts)) | {"tables/SOURCE.md"} == {str(p.relative_to(tmp_path)) for p in written}

"""What made the runs: mixtures that are refused, those that are said, and which runs are behind a file."""

import csv
from dataclasses import replace

import pytest
import records_factory as make

from experiments.report.frames import ReportError
from experiments.report.provenance import caveats, provenance_files, refuse_mixtures

CLEAN = {"torch": "2.14.0", "revision": "abc", "dirty": False, "device": "cpu", "data": {"images": "12ab"}}


def made(seed=0, method="bgd_ii", versions=None, **provenance):
    run = make.run(make.rows(make.CORRECTED), seed=seed, method=method)
    spec = {**run.header.spec, "versions": {"evaluation": 3, "method": 1, **(versions or {})}}
    return replace(run.header, spec=spec, provenance={**CLEAN, **provenance})


def test_another_version_of_a_component_is_refused_by_name():
    with pytest.raises(ReportError, match="evaluation is 3 in run mlp-reloading-bgd_ii-0 and 4 in run"):
        refuse_mixtures([made(), made(1, versions={"evaluation": 4})])
    with pytest.raises(ReportError, match="method bgd_ii is 1"):
        refuse_mixtures([made(), made(1, versions={"method": 2})])


def test_versions_of_different_methods_have_nothing_to_do_with_each_other():
    assert refuse_mixtures([made(), made(method="top_k", versions={"method": 7})]) is None


def test_runs_that_are_alike_need_no_caveat():
    assert caveats([made(), made(1)]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"torch": "2.11.0"}, "versions of torch: 2.11.0, 2.14.0"),
        ({"revision": "def"}, "revisions of the code: abc, def"),
        ({"device": "cuda"}, "devices: cpu, cuda"),
        ({"dirty": True}, "1 of 2 runs are from a tree with changes"),
        ({"revision": None, "dirty": None}, "1 of 2 runs are from a copy without git"),
    ],
)
def test_mixtures_are_said(change, words):
    assert any(words in line for line in caveats([made(), made(1, **change)]))
    fragment = provenance_files([made(), made(1, **change)], {})["report/provenance.md"].decode()
    assert words in fragment


def test_a_file_names_its_runs():
    first, second = made(), made(1)
    files = provenance_files(
        [first, second], {"tables/a.md": [first, second], "tables/b.md": [second], "c": []}
    )
    lines = csv.DictReader(files["report/runs.csv"].decode().splitlines())
    found = {line["run_id"]: line["files"].split() for line in lines}
    assert found == {first.run_id: ["tables/a.md"], second.run_id: ["tables/a.md", "tables/b.md"]}
    fragment = files["report/provenance.md"].decode()
    assert "| [tables/a.md](../tables/a.md) | 2.14.0 | 2 | 2 | 0 | 0.00 |" in fragment
    assert "| [c](../c) | missing | 0 | 0 | 0 | 0.00 |" in fragment
    assert "12ab" in fragment


def test_records_that_do_not_tell_are_called_so():
    fragment = provenance_files([make.run(make.rows(make.CORRECTED)).header], {})[
        "report/provenance.md"
    ].decode()
    assert "not recorded" in fragment

"""One run from specification to store."""

import errno
import json
import logging
import os
from dataclasses import replace

import pytest

from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.descent import SampleDescent
from experiments.jobs import execute as executing, stale as staleness
from experiments.jobs.device import choose_device
from experiments.jobs.execute import execute
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.files import BusyError
from experiments.records.schema import RecordError
from experiments.records.store import Store
from experiments.records.sums import write_sums


@pytest.fixture
def workbenches(tmp_path):
    return Workbenches(Place(tmp_path / "data", tmp_path, "cpu", 1))


@pytest.fixture(autouse=True)
def _one_by_one(monkeypatch):
    """Have searches go one by one, so that one of them can be stopped."""
    monkeypatch.setattr(SubsetSearch, "at_once", lambda *_: 1)


def untimed(run):
    return [replace(row, search_seconds=0.0, evaluation_seconds=0.0) for row in run.rows]


def test_a_run_is_complete_and_a_finished_one_is_not_run_again(workbenches, spec_of, tmp_path, monkeypatch):
    spec = spec_of("method=bgd_c")
    header = execute(spec, workbenches)
    run = Store(tmp_path / "runs").read(spec.run_id)
    assert run.header == header
    assert len(run.rows) == header.samples == 6
    assert header.spec == json.loads(json.dumps(spec.identity))
    assert header.base["parameters"] == 9_614
    monkeypatch.setattr(SubsetSearch, "correct", lambda *_: pytest.fail("it was run again"))
    assert execute(spec, workbenches) == header


def test_a_run_made_with_another_n0_is_made_again(workbenches, spec_of, tmp_path, caplog):
    spec = spec_of()
    execute(spec, workbenches)
    path = tmp_path / "runs" / spec.run_id / "run.json"
    content = json.loads(path.read_text())
    sha256 = content["base"]["sha256"]
    content["base"]["sha256"] = "another"
    path.write_text(json.dumps(content))
    write_sums(path.parent, ("run.json", "rows.jsonl"))
    with caplog.at_level(logging.WARNING):
        header = execute(spec, workbenches)
    assert "made with another N0" in caplog.text
    assert header.base["sha256"] == sha256


@pytest.mark.parametrize("setting", ["reloading", "non_reloading"])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_killed_run_goes_on_to_the_same_records(
    workbenches, spec_of, tmp_path, monkeypatch, setting, after
):
    spec, store = spec_of(f"setting={setting}"), Store(tmp_path / "runs")
    execute(spec, workbenches)
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
        execute(spec, workbenches)
    assert not store.finished(spec.run_id)
    assert store.done_rows(spec.run_id) >= after
    monkeypatch.setattr(SubsetSearch, "correct", correct)
    execute(spec, workbenches)
    assert untimed(store.read(spec.run_id)) == whole


def test_what_does_not_replay_is_started_anew(workbenches, spec_of, tmp_path, monkeypatch, caplog):
    spec, store = spec_of("setting=non_reloading"), Store(tmp_path / "runs")
    execute(spec, workbenches)
    whole = untimed(store.read(spec.run_id))
    folder = tmp_path / "runs" / spec.run_id
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    first["forward_passes"] += 1
    (folder / "rows.jsonl").write_text(json.dumps(first) + "\n" + lines[1])
    folder.rename(folder.with_name(f"{spec.run_id}.partial"))
    with caplog.at_level(logging.WARNING):
        execute(spec, workbenches)
    assert "starts anew" in caplog.text
    assert untimed(store.read(spec.run_id)) == whole


@pytest.mark.parametrize(
    "options",
    [
        ("method=bgd_c",),
        ("method=retrain", "method.carry_momentum=true"),
        ("method=l1", "network=alexnet", "network.width=0.1"),
    ],
)
def test_interrupted_corrections_in_a_row_are_not_looked_for_again(
    workbenches, spec_of, tmp_path, monkeypatch, caplog, options
):
    """Five starts of which each makes one more row: a search is done again at most once a start."""
    monkeypatch.setattr(executing, "AT_MOST", 0.0)
    monkeypatch.setattr(executing, "SHARE", float("inf"))  # a snapshot after every row
    spec, store = spec_of(*options, "setting=non_reloading"), Store(tmp_path / "runs")
    kind = SubsetSearch if "method=bgd_c" in options else SampleDescent
    execute(spec, workbenches)
    whole = store.read(spec.run_id)
    store.discard(spec.run_id)
    correct, calls = kind.correct, []

    def killed(self, trial, sample, stream):
        calls.append(sample.index)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return correct(self, trial, sample, stream)

    monkeypatch.setattr(kind, "correct", killed)
    for _ in range(len(whole.rows)):
        calls.clear()
        with caplog.at_level(logging.INFO):
            try:
                execute(spec, workbenches)
                break
            except KeyboardInterrupt:
                pass
    again = store.read(spec.run_id)
    assert "recorded corrections, of which 1 are looked for again" in caplog.text
    assert [row.patch for row in again.rows] == [row.patch for row in whole.rows]
    assert [row.outcome for row in again.rows] == [row.outcome for row in whole.rows]
    assert again.header.summary["retained"] == whole.header.summary["retained"]
    assert sorted(path.name for path in (tmp_path / "runs" / spec.run_id).iterdir()) == [
        "SHA256SUMS",
        "rows.jsonl",
        "run.json",
    ]


def test_r5_r6_a_damaged_run_is_made_again(workbenches, spec_of, tmp_path, caplog):
    spec, store = spec_of(), Store(tmp_path / "runs")
    execute(spec, workbenches)
    whole = untimed(store.read(spec.run_id))
    path = tmp_path / "runs" / spec.run_id / "rows.jsonl"
    for damage in (
        lambda: path.write_text("\n".join(path.read_text().splitlines()[:2])),
        path.unlink,
        lambda: (path.parent / "run.json").write_text(""),
    ):
        damage()
        caplog.clear()
        execute(spec, workbenches)
        assert untimed(store.read(spec.run_id)) == whole
        assert str(path.parent) in caplog.text
        assert "made again" in caplog.text
    assert len(list((tmp_path / "runs").glob("*.damaged-*"))) == 3


@pytest.mark.parametrize("which", ["changed", "all"])
def test_a_run_made_by_other_source_is_named_and_made_again_on_request(
    workbenches, spec_of, tmp_path, monkeypatch, caplog, which
):
    spec, store, plain = spec_of(), Store(tmp_path / "runs"), staleness._hash
    first = execute(spec, workbenches)
    assert staleness.stale(spec, store) == []
    file = tmp_path / "runs" / spec.run_id / "rows.jsonl"
    stamp = file.stat().st_mtime_ns
    edited = "bgd/methods/bgd/search.py"
    monkeypatch.setattr(
        staleness, "_hash", lambda path: "other" if path.as_posix().endswith(edited) else plain(path)
    )
    with caplog.at_level(logging.WARNING):
        assert execute(spec, workbenches) == first, "it is said, and the run stays"
    assert f"{spec.title} was made by other source: {edited}; rerun=changed makes it again" in caplog.text
    assert staleness.stale_runs([spec], store) == {spec.run_id: [edited]}
    assert "1 cached runs were made by other source: bgd/methods/bgd/search.py" in staleness.in_words(
        staleness.stale_runs([spec], store)
    )
    caplog.clear()
    execute(spec, workbenches, anew=which)
    assert file.stat().st_mtime_ns != stamp
    assert caplog.text == ""
    assert staleness.stale(spec, store) == []
    stamp = file.stat().st_mtime_ns
    execute(spec, workbenches, anew=which)
    assert (file.stat().st_mtime_ns == stamp) == (which == "changed"), (
        "what is of this source is made again for `all` alone"
    )


WRITTEN = '''"""A module."""

import os  # for a reason


class Thing:
    """A thing.

    With a "quoted" word.
    """

    size = "# no comment"  # of it

    def give(self):
        # nothing is lost
        return """a text
        # in lines"""
'''
LEFT = '''import os
class Thing:
    size = "# no comment"
    def give(self):
        return """a text
        # in lines"""'''


def test_words_are_no_code():
    assert staleness.code_of(WRITTEN) == LEFT
    assert staleness.code_of(WRITTEN.replace("A thing.", "Something.").replace("for a reason", "")) == LEFT
    assert staleness.code_of(WRITTEN.replace("# no comment", "# one")) != LEFT


def test_a_header_without_hashes_is_not_called_stale(workbenches, spec_of, tmp_path, caplog):
    spec, store = spec_of(), Store(tmp_path / "runs")
    execute(spec, workbenches)
    path = tmp_path / "runs" / spec.run_id / "run.json"
    content = json.loads(path.read_text())
    del content["provenance"]["sources"]
    path.write_text(json.dumps(content))
    write_sums(path.parent, ("run.json", "rows.jsonl"))
    execute(spec, workbenches, anew="changed")
    assert staleness.stale(spec, store) == []
    assert caplog.text == ""


def test_rows_of_two_sources_are_said_and_stay_known(workbenches, spec_of, tmp_path, monkeypatch, caplog):
    spec, store, correct, plain = spec_of(), Store(tmp_path / "runs"), SubsetSearch.correct, staleness._hash
    calls = []

    def killed(self, trial, sample, stream):
        calls.append(sample.index)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return correct(self, trial, sample, stream)

    monkeypatch.setattr(SubsetSearch, "correct", killed)
    with pytest.raises(KeyboardInterrupt):
        execute(spec, workbenches)
    monkeypatch.setattr(SubsetSearch, "correct", correct)
    monkeypatch.setattr(staleness, "_hash", lambda path: "other" if path.name == "search.py" else plain(path))
    execute(spec, workbenches)
    assert "was begun by other source: bgd/methods/bgd/search.py" in caplog.text
    assert staleness.stale(spec, store) == ["bgd/methods/bgd/search.py"], (
        "the first rows are of the other one"
    )


def test_the_sources_of_a_run_are_those_of_its_components(spec_of):
    def names(*overrides):
        return set(staleness.sources(spec_of(*overrides)))

    bgd, top_k = names("method=bgd_ii"), names("method=top_k")
    assert {
        "bgd/methods/bgd/search.py",
        "bgd/methods/bgd/guard.py",
        "experiments/mnist/networks/mlp.py",
        "experiments/protocol/settings.py",
    } <= bgd
    assert {
        "experiments/mnist/training.py",
        "bgd/evaluation/incremental.py",
        "bgd/methods/base.py",
    } <= bgd & top_k
    assert "bgd/methods/top_k.py" in top_k - bgd
    assert "experiments/mnist/networks/alexnet.py" not in bgd
    assert "bgd/curvature/kfac.py" in names("method=least_harm_kfac") - bgd, (
        "of a component inside the method"
    )
    assert "experiments/protocol/probes/gradient_ranks.py" in names("probe=gradient_ranks")
    assert "experiments/protocol/settings.py" not in names("probe=gradient_ranks")
    with pytest.raises(ValueError, match="rerun='chnged': did you mean 'changed'"):
        staleness.rerun_of("chnged")


def test_a_run_that_another_process_makes_is_no_failure(workbenches, spec_of, tmp_path):
    spec, store = spec_of(), Store(tmp_path / "runs")
    with (
        store.writing(workbenches.bench(spec).header(spec)),
        pytest.raises(BusyError, match="is being written by another process"),
    ):
        execute(spec, workbenches)
    assert store.failures() == []
    execute(spec, workbenches)
    assert store.finished(spec.run_id)


def test_a_full_disk_is_one_sentence(workbenches, spec_of, tmp_path, monkeypatch, caplog):
    spec, store = spec_of(), Store(tmp_path / "runs")
    workbenches.bench(spec)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("experiments.records.writer.append", full)
        patch.setattr("experiments.records.files.os.fsync", full)
        with pytest.raises(RecordError, match="cannot be written: No space left on device"):
            execute(spec, workbenches)
    assert "there is no record of it" in caplog.text
    assert store.complete() == store.failures() == []
    execute(spec, workbenches)
    assert store.finished(spec.run_id)


def test_a_failure_is_kept_and_raised(workbenches, spec_of, tmp_path, monkeypatch):
    def breaks(*_):
        raise ZeroDivisionError("in the method")

    monkeypatch.setattr(SubsetSearch, "correct", breaks)
    spec = spec_of()
    with pytest.raises(ZeroDivisionError):
        execute(spec, workbenches)
    (failure,) = Store(tmp_path / "runs").failures()
    assert "in the method" in json.loads(failure.read_text())["traceback"]


def test_a_network_with_nothing_to_correct_gives_an_empty_run(
    workbenches, spec_of, tmp_path, monkeypatch, caplog
):
    spec = spec_of("scale.samples=null")
    bench = workbenches.bench(spec)
    monkeypatch.setattr(bench, "base", replace(bench.base, errors=()))
    with caplog.at_level(logging.WARNING):
        header = execute(spec, workbenches)
    assert "nothing to correct" in caplog.text
    assert header.samples == 0
    assert Store(tmp_path / "runs").read(spec.run_id).rows == ()


def test_an_n0_outside_its_band_is_reported(workbenches, spec_of, caplog):
    with caplog.at_level(logging.WARNING):
        header = execute(spec_of("scale.expected_errors=[1,2]"), workbenches)
    assert "OUTSIDE ITS BAND" in caplog.text
    assert header.base["expected_errors"] == [1, 2]


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="device='tpu': must be one of auto, cpu, cuda"):
        choose_device("tpu")
    assert choose_device("cpu") == "cpu"

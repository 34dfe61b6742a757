"""Parts of one run: made by different processes, merged into the record of the whole."""

import json
from dataclasses import replace
from itertools import product

import pytest
from records_factory import row, run

from bgd.errors import ConfigError
from bgd.methods.bgd.search import SubsetSearch
from experiments.jobs.execute import execute
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.schema import CORRECTED
from experiments.records.shards import Shard, merged
from experiments.records.store import Store

TIMES = ("search_seconds", "evaluation_seconds", "seconds")


@pytest.fixture
def workbenches(tmp_path):
    return Workbenches(Place(tmp_path / "data", tmp_path, "cpu", 1))


def untimed(path):
    """A file of a run, without the times."""
    found = []
    for line in path.read_text().splitlines():
        value = json.loads(line)
        for part in (value, value.get("summary", {})):
            for key in TIMES:
                part.pop(key, None)
        found.append(json.dumps(value))
    return found


def files(store, run_id):
    """Every file of a run, byte for byte but for the times."""
    folder = store.root / run_id
    names = sorted(path.name for path in folder.iterdir())
    return names, {name: untimed(folder / name) for name in names if name != "SHA256SUMS"}


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("method=retrain", 4),  # there are 6 samples
        *(
            pytest.param(words, count, marks=pytest.mark.slow)
            for words, count in product(
                ("method=bgd_ii", "method=retrain", "probe=gradient_ranks"), (1, 2, 9)
            )
        ),
    ],
)
def test_a_run_of_shards_is_the_run(workbenches, spec_of, tmp_path, words, count):
    spec, store = spec_of(words), Store(tmp_path / "runs")
    execute(spec, workbenches)
    whole = files(store, spec.run_id)
    store.discard(spec.run_id)
    for shard in reversed(Shard.every(count)):
        header = execute(spec, workbenches, shard=shard)
        assert (header is not None) == store.finished(spec.run_id) == (shard.number == 1)
    assert files(store, spec.run_id) == whole
    assert {path.name for path in store.root.iterdir()} == {spec.run_id}
    assert execute(spec, workbenches, shard=Shard(1, count)) == store.header(spec.run_id), "it is cached"


def test_an_interrupted_shard_goes_on_and_a_damaged_one_is_made_again(
    workbenches, spec_of, tmp_path, monkeypatch
):
    monkeypatch.setattr(SubsetSearch, "at_once", lambda *_: 1)
    spec, store = spec_of("method=bgd_c"), Store(tmp_path / "runs")
    execute(spec, workbenches)
    whole = files(store, spec.run_id)
    store.discard(spec.run_id)
    correct, calls = SubsetSearch.correct, []

    def killed(self, trial, sample, stream):
        calls.append(sample.index)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return correct(self, trial, sample, stream)

    monkeypatch.setattr(SubsetSearch, "correct", killed)
    with pytest.raises(KeyboardInterrupt):
        execute(spec, workbenches, shard=Shard(1, 2))
    assert store.done_rows(spec.run_id) == 1
    execute(spec, workbenches, shard=Shard(1, 2))
    assert store.done_rows(spec.run_id) == 3
    assert sorted(set(calls)) == sorted(calls[:1] + calls[1:2] + calls[3:]), "the first was kept"
    damaged = store.parts(spec.run_id).root / "1-of-2" / "rows.jsonl"
    damaged.write_text(damaged.read_text()[:-50])
    assert execute(spec, workbenches, shard=Shard(2, 2)) is None, "half of it is no part"
    assert execute(spec, workbenches, shard=Shard(1, 2)) is not None
    assert files(store, spec.run_id) == whole


def test_what_was_begun_as_a_whole_is_completed_by_shards_and_shards_by_the_whole(
    workbenches, spec_of, tmp_path
):
    spec, store = spec_of("method=bgd_c"), Store(tmp_path / "runs")
    execute(spec, workbenches)
    whole = files(store, spec.run_id)
    read = store.read(spec.run_id)
    store.discard(spec.run_id)
    with store.writing(replace(read.header, summary={})) as writer:
        writer.append(read.rows[0])
    execute(spec, workbenches, shard=Shard(1, 2))
    execute(spec, workbenches, shard=Shard(2, 2))
    assert files(store, spec.run_id) == whole
    store.discard(spec.run_id)
    execute(spec, workbenches, shard=Shard(1, 2))
    execute(spec, workbenches, shard=Shard(1, 3))  # of another division: no part of this one
    execute(spec, workbenches)
    assert files(store, spec.run_id) == whole
    assert {path.name for path in store.root.iterdir()} == {spec.run_id}, "parts go with the run's completion"


def test_shards_of_another_n0_are_no_parts(workbenches, spec_of, tmp_path):
    spec, store = spec_of("method=bgd_c"), Store(tmp_path / "runs")
    execute(spec, workbenches, shard=Shard(1, 2))
    header = store.parts(spec.run_id).root / "1-of-2" / "run.json"
    (header.parent / "SHA256SUMS").unlink()
    header.write_text(header.read_text().replace(workbenches.bench(spec).base.sha256, "another"))
    assert execute(spec, workbenches, shard=Shard(2, 2)) is None
    assert execute(spec, workbenches, shard=Shard(1, 2)) is not None


def test_corrections_in_a_row_have_no_shards(workbenches, spec_of, tmp_path):
    with pytest.raises(ConfigError, match="shard=1/2: in the non-reloading setting each"):
        execute(spec_of("setting=non_reloading"), workbenches, shard=Shard(1, 2))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "", "1.0/2"])
def test_a_shard_is_k_of_n(text):
    with pytest.raises(ConfigError, match="must be k/n with k from 1 to n, for example 2/5"):
        Shard.read(text)


def test_a_shard_has_every_nth_sample():
    assert list(Shard.read("2/3").of(range(8))) == [1, 4, 7]
    assert str(Shard.read("02/3")) == "2/3"
    samples = list(range(17))
    for count in range(1, 20):
        parts = [Shard(number, count).of(samples) for number in range(1, count + 1)]
        assert sorted(sample for part in parts for sample in part) == samples
        records = [
            run(tuple(row(place, CORRECTED, index=sample) for place, sample in enumerate(part)))
            for part in parts
        ]
        together = merged(records)
        assert [record.position for record in together] == [record.index for record in together] == samples

"""Corrections in a row go on from any row to the same rows, and the recorded ones are not looked for again."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from conftest import known
from every_method import METHODS, marked
from oracles import bystanders_of, flat

from bgd.evaluation import FullEvaluator, IncrementalEvaluator
from bgd.methods.base import Correction, Problem
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.descent import SampleDescent
from experiments.config.build import build
from experiments.protocol import resume
from experiments.protocol.figures import Images, Summaries
from experiments.protocol.resume import ReplayError
from experiments.protocol.settings import Setting, Stage
from experiments.protocol.snapshot import Snapshot, StateError, pack, unpack
from experiments.records.schema import ALREADY_RIGHT, CORRECTED, dump, row_in

ROW = ("least_harm_row", "method.consolidation.steps=20")
CASES = {
    **{name: (name,) for name in METHODS},
    "least_harm_row": ROW,
    "momentum": ("retrain", "method.carry_momentum=true"),
    "settled at every second": (*ROW, "method.consolidation.every=2"),
    "estimated at every second": ("least_harm_row_kfac_refreshed", "method.price.price.every=2"),
    "estimated at every one": ("least_harm_row_kfac_refreshed", "method.price.price.every=1"),
}


@dataclass(frozen=True)
class Counted:
    """A method that notes whom it looked for a correction of."""

    method: Any
    notes: list[int]

    def correct(self, trial, sample, stream):
        self.notes.append(sample.index)
        return self.method.correct(trial, sample, stream)

    def __getattr__(self, name):
        return getattr(self.method, name)


@pytest.fixture
def stage(trained, tiny, samples):
    def make(method, evaluator=FullEvaluator, chosen=samples[:5], network=trained):
        images = Images.of(tiny, 100, 80)
        summaries = Summaries(evaluator(network, images.images, images.labels), images)
        bystanders = bystanders_of(network, images, [each.index for each in chosen])
        problem = Problem(network, known(network, tiny))
        return Stage(Setting(True), method, 0, problem, summaries, chosen, bystanders)

    return make


def untimed(rows):
    return [replace(row, search_seconds=0.0, evaluation_seconds=0.0) for row in rows]


def whole(stage):
    """Run a stage; return its rows and the bytes of its snapshot after each of them."""
    rows, snapshots = [], [None]
    for row in stage.rows():
        rows.append(row)
        snapshot = stage.snapshot(len(rows))
        snapshots.append(snapshot and snapshot.dump())
    return rows, snapshots


def go_on(stage, rows, done, snapshots=(), saved=0):
    """Go on after some rows, as they come back from the disk, from the snapshot after `saved` of them."""
    kept = [row_in(dump(row)) for row in rows[:done]]
    content = snapshots[saved] if saved else None
    return list(stage.rows(kept, content and Snapshot.load(saved, content)))


@pytest.mark.parametrize("case", marked(CASES))
def test_every_method_goes_on_to_the_same_rows(stage, small_method, case):
    """With the snapshot after the last row, with an older one, and without; the network is the same to the last bit."""
    method = build(small_method(*CASES[case])[0], "method")
    one = stage(method)
    rows, snapshots = whole(one)
    done, corrected = 4, [row for row in rows if row.outcome == CORRECTED]
    for saved in sorted({0, done - 1, done}) if snapshots[done] else [0]:
        notes = []
        made = stage(Counted(method, notes))
        again = go_on(made, rows, done, snapshots, saved)
        assert untimed(again) == untimed(rows[done:])
        assert torch.equal(made.problem.current.flat, one.problem.current.flat)
        assert made.retained() == one.retained()
    if corrected:  # with the last snapshot
        repeated = [index for index in notes if index in {row.index for row in rows[:done]}]
        assert len(repeated) <= (2 if "estimated" in case or "refreshed" in case else 1)


@pytest.mark.parametrize("method", [SubsetSearch(), SampleDescent(steps=4)], ids=["sparse", "dense"])
def test_the_fast_evaluator_comes_to_the_same_figures(stage, method, samples):
    """To the last bit by patches in rows; to rounding by a snapshot, which goes through the evaluator at once."""
    make = partial(stage, method, IncrementalEvaluator, samples)
    rows, snapshots = whole(make())
    again = go_on(make(), rows, 5, snapshots, saved=5 if snapshots[5] else 0)
    assert [row.patch for row in again] == [row.patch for row in rows[5:]]
    assert [row.side_effects for row in again] == [row.side_effects for row in rows[5:]]
    if isinstance(method, SubsetSearch):
        assert untimed(again) == untimed(rows[5:])
    for one, other in zip(again, rows[5:], strict=True):
        assert one.figures.train_loss == pytest.approx(other.figures.train_loss, rel=1e-6)


def test_a_patch_in_a_row_is_the_patch_to_the_last_bit(stage):
    """Ten digits hold a float32; they do not hold a float64, and no such row is taken for the patch."""
    made = stage(SubsetSearch())
    rows = [row_in(dump(row)) for row in made.rows()]
    vector = flat(made.problem.current.module).clone()
    for row in reversed([row for row in rows if row.patch]):
        index = torch.tensor(row.patch["index"])
        assert torch.equal(vector[index], torch.tensor(row.patch["new"]))
        vector[index] = torch.tensor(row.patch["old"])
    assert torch.equal(vector, stage(SubsetSearch()).problem.original)
    every = torch.cat([torch.randn(10_000), torch.randn(10_000) * 1e-40, torch.tensor([-0.0, 3e38, 1e-45])])
    digits = torch.tensor([float(f"{value:.10g}") for value in every.tolist()])
    assert torch.equal(digits.view(torch.int32), every.view(torch.int32))


@dataclass(frozen=True)
class Handing:
    """Lifts the label's output bias and hands something on."""

    carry: Any
    places: int = 1

    def correct(self, trial, sample, stream):
        place = trial.space.span("lin3.bias").start + int(sample.label)
        with torch.no_grad():
            logits = trial.network(sample.image)[0]
        trial.flat[place] += logits.max() - logits[int(sample.label)] + 1.0
        return Correction(trial.patch(), 1, 1, carry=self.carry)


def test_what_cannot_be_kept_is_looked_for_again(stage):
    method = Handing(object())
    made, notes = stage(method), []
    rows = list(made.rows())
    with pytest.raises(StateError, match="a object cannot be kept"):
        made.snapshot(len(rows))
    again = stage(Counted(method, notes))
    assert untimed(go_on(again, rows, 4)) == untimed(rows[4:])
    assert notes == [row.index for row in rows if row.forward_passes or row.altered]


def test_what_is_handed_on_comes_back(samples):
    carry = {"a": (torch.arange(3.0), [samples[1], None]), "b": 7, "c": "text", "d": {"e": 0.5}}
    again = unpack(pack(carry), samples, torch.device("cpu"))
    assert torch.equal(again["a"][0], carry["a"][0])
    assert again["a"][1][0] is samples[1]
    assert {key: again[key] for key in "bcd"} == {key: carry[key] for key in "bcd"}
    snapshot = Snapshot(3, torch.arange(4.0), torch.tensor([True, False, False, True]), pack(carry))
    back = Snapshot.load(3, snapshot.dump())
    assert torch.equal(back.flat, snapshot.flat)
    assert back.carry["a"][1] == [{"sample of the run": samples[1].index}, None]


def test_a_snapshot_that_cannot_be_read_is_left_out(stage, caplog):
    rows, _ = whole(stage(SubsetSearch()))
    assert Snapshot.load(2, b"nothing") is None
    assert "the snapshot after 2 rows cannot be read" in caplog.text
    assert untimed(go_on(stage(SubsetSearch()), rows, 3)) == untimed(rows[3:])


@pytest.mark.parametrize("what", ["altered", "another value", "another place", "union", "drift"])
def test_what_does_not_come_out_as_recorded_is_noticed(stage, what):
    rows, _ = whole(stage(SubsetSearch()))
    place = 0 if what in ("altered", "another value") else 2
    row, patch = rows[place], rows[place].patch
    rows[place] = {
        "altered": lambda: replace(row, altered=row.altered + 1),
        "another value": lambda: replace(row, patch={**patch, "new": [1.5, *patch["new"][1:]]}),
        "another place": lambda: replace(row, patch={**patch, "index": [i + 1 for i in patch["index"]]}),
        "union": lambda: replace(row, accumulated=replace(row.accumulated, union=1)),
        "drift": lambda: replace(row, accumulated=replace(row.accumulated, drift=77.0)),
    }[what]()
    with pytest.raises(ReplayError):
        go_on(stage(SubsetSearch()), rows, 3)


def test_it_is_said_how_long_going_on_takes(stage, caplog):
    rows, _ = whole(stage(SampleDescent(steps=4, carry_momentum=True)))
    rows = [replace(row, search_seconds=10.0, evaluation_seconds=1.0) for row in rows]
    met = sum(row.outcome != ALREADY_RIGHT for row in rows[:4])
    assert met > 1
    with caplog.at_level("INFO", logger=resume.__name__):
        go_on(stage(SampleDescent(steps=4, carry_momentum=True)), rows, 4)
    said = f"{met} recorded corrections, of which {met} are looked for again, about {10 * met + met - 1} s"
    assert said in caplog.text, "of the first one only the search is done again"

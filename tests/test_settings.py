"""The two settings, and going on where an interrupted run was."""

from dataclasses import dataclass, replace

import pytest
import torch
from oracles import bystanders_of, evaluate, flat, is_right, with_parameters

from bgd import rng
from bgd.curvature.gradient import mean_gradient
from bgd.knowledge import Knowledge
from bgd.methods.base import Correction, Problem, TrialError
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.descent import SampleDescent
from bgd.patch import Patch
from experiments.protocol.figures import Images, full
from experiments.protocol.resume import ReplayError
from experiments.protocol.samples import samples_of
from experiments.protocol.settings import Setting, Stage
from experiments.records.schema import ALREADY_RIGHT, CORRECTED, UNCORRECTED


@pytest.fixture
def stage(trained, tiny, samples):
    def make(method, accumulate, chosen=samples):
        images = Images.of(tiny, 100, 80)
        gradient = mean_gradient(trained, images.train, images.train_labels)
        return Stage(
            setting=Setting(accumulate),
            method=method,
            seed=0,
            problem=Problem(trained, Knowledge(lambda: gradient)),
            summaries=full(trained, images),
            samples=chosen,
            bystanders=bystanders_of(trained, images, [sample.index for sample in chosen]),
        )

    return make


def untimed(rows):
    return [replace(row, search_seconds=0.0, evaluation_seconds=0.0) for row in rows]


def test_r2_a_sample_that_is_right_already_is_an_error_in_reloading(stage, trained, samples):
    right = replace(samples[0], label=trained(samples[0].image).argmax(1))
    with pytest.raises(RuntimeError, match=rf"sample {right.index} is right before Scripted corrects it"):
        list(stage(Scripted(), False, [right]).rows())
    (row,) = stage(Scripted(), True, [right]).rows()
    assert row.outcome == ALREADY_RIGHT


@dataclass(frozen=True)
class Elsewhere:
    """Corrects the sample where no patch can see it: by a hook."""

    def correct(self, trial, sample, stream):
        trial.network.register_forward_hook(lambda _, __, out: torch.eye(10)[sample.label])
        return Correction(trial.patch(), 0, 1)


@pytest.mark.parametrize("accumulate", [False, True])
def test_r1_a_row_with_an_empty_patch_is_refused_by_name(stage, samples, accumulate):
    with pytest.raises(TrialError, match=rf"Elsewhere, sample {samples[0].index}: the patch is empty"):
        list(stage(Elsewhere(), accumulate).rows())


@pytest.mark.parametrize("accumulate", [False, True])
def test_r1_a_method_that_writes_past_the_vector_corrects_as_one_that_does_not(stage, accumulate):
    """faults.md's own input: `weight.data = ...` and `vector_to_parameters`."""
    rows = untimed(stage(Scripted(), accumulate).rows())
    for way in (Past(torch.nn.utils.vector_to_parameters), Past(None)):
        assert untimed(stage(way, accumulate).rows()) == rows


@dataclass(frozen=True)
class Past:
    """As `Scripted`, written to memory of the parameters' own."""

    write: object

    def correct(self, trial, sample, stream):
        wanted = Scripted().correct(trial, sample, stream)
        vector = trial.flat.clone()
        trial.flat.copy_(trial.original)
        if self.write:
            self.write(vector, trial.network.parameters())
        else:
            trial.network.lin3.bias.data = vector[trial.space.span("lin3.bias")].clone()
        return Correction(trial.patch(), wanted.altered, wanted.steps)


@dataclass(frozen=True)
class Scripted:
    """Lifts the label's output bias just far enough, but for the samples it is told to leave."""

    leave: tuple[int, ...] = ()

    def correct(self, trial, sample, stream):
        if sample.index in self.leave:
            return Correction.failed("told to")
        place = trial.space.span("lin3.bias").start + int(sample.label)
        with torch.no_grad():
            logits = trial.network(sample.image)[0]
        trial.flat[place] += logits.max() - logits[int(sample.label)] + 1.0
        return Correction(trial.patch(), 1, 1)


def test_reloading_starts_from_n0_each_time(stage, trained, samples):
    made = stage(Scripted(), accumulate=False)
    rows = list(made.rows())
    assert [row.index for row in rows] == [sample.index for sample in samples]
    assert [row.position for row in rows] == list(range(len(samples)))
    assert {row.outcome for row in rows} == {CORRECTED}
    bias = trained.lin3.bias.detach()
    for row, sample in zip(rows, samples, strict=True):
        assert row.patch["old"] == pytest.approx([float(bias[int(sample.label)])])
        assert row.prediction_before != row.label == row.prediction_after == int(sample.label)
    assert torch.equal(made.problem.current.flat, flat(trained))
    assert made.retained() is None


def test_non_reloading_accumulates_and_a_sample_already_right_changes_nothing(stage, trained, samples):
    same = [sample for sample in samples if int(sample.label) == int(samples[0].label)]
    assert len(same) >= 1
    chosen = [samples[0], *same, *samples[1:3]]  # the first one twice: right already at the second time
    made = stage(Scripted(), True, chosen)
    rows = list(made.rows())
    assert (rows[0].outcome, rows[1].outcome) == (CORRECTED, ALREADY_RIGHT)
    assert rows[1].patch is None
    assert (rows[1].altered, rows[1].l0, rows[1].forward_passes) == (0, 0, 0)
    assert rows[1].figures == rows[0].figures
    vector = flat(trained)
    for row in rows:
        if row.patch:
            vector[row.patch["index"]] = torch.tensor(row.patch["new"])
    assert torch.allclose(made.problem.current.flat, vector)
    last = with_parameters(trained, vector)
    assert made.retained() == sum(is_right(last, sample) for sample in chosen) / len(chosen)


def test_an_uncorrected_sample_leaves_the_network_unchanged(stage, samples):
    left = samples[1].index
    rows = list(stage(Scripted(leave=(left,)), True, samples[:3]).rows())
    assert (rows[1].outcome, rows[1].reason) == (UNCORRECTED, "told to")
    assert rows[1].figures == rows[0].figures
    assert rows[1].prediction_after == rows[1].prediction_before != rows[1].label
    assert rows[1].sample_loss_after == rows[1].sample_loss_before


def test_broken_and_fixed_count_flips_against_n0(stage, trained, tiny, samples):
    (row,) = stage(Scripted(), False, samples[:1]).rows()
    images, labels = Images.of(tiny, 1, 80).test, Images.of(tiny, 1, 80).test_labels
    vector = flat(trained)
    vector[row.patch["index"]] = torch.tensor(row.patch["new"])
    moved = with_parameters(trained, vector)
    was, now = trained(images).argmax(1) == labels, moved(images).argmax(1) == labels
    assert row.side_effects.broken == int((was & ~now).sum()) > 0
    assert row.side_effects.fixed == int((~was & now).sum())


class Liar:
    def correct(self, trial, sample, stream):
        place = trial.space.span("lin3.bias").start + (int(sample.label) + 1) % 10
        trial.flat[place] += 50
        return Correction(trial.patch(), 1, 1)


def test_a_patch_that_leaves_the_sample_wrong_is_no_correction(stage):
    with pytest.raises(RuntimeError, match=r"Liar returned a patch for sample \d+ that leaves it wrong"):
        list(stage(Liar(), False).rows())


class Overflowing:
    def correct(self, trial, sample, stream):
        index = torch.tensor([trial.space.span("lin1.weight").start])
        return Correction(
            Patch.sparse(trial.space, index, trial.flat[index], torch.tensor([float("-inf")])), 1, 3
        )


def test_a_value_that_is_not_finite_is_a_failed_correction(stage):
    for accumulate in (False, True):
        rows = list(stage(Overflowing(), accumulate).rows())
        assert {(row.outcome, row.reason, row.l0) for row in rows} == {
            (UNCORRECTED, "a changed value is not finite", 0)
        }


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("method", [SubsetSearch(), SampleDescent(steps=4, carry_momentum=True), Scripted()])
def test_a_run_goes_on_from_any_row_to_the_same_rows(stage, method, accumulate, samples):
    whole = untimed(stage(method, accumulate).rows())
    for done in (0, 1, 5, len(samples) - 1, len(samples)):
        made = stage(method, accumulate)
        assert [*whole[:done], *untimed(made.rows(whole[:done]))] == whole


def test_a_replay_that_comes_out_otherwise_is_noticed(stage):
    whole = list(stage(Scripted(), True).rows())
    with pytest.raises(ReplayError, match=f"sample {whole[0].index}"):
        list(stage(Scripted(), True).rows([replace(whole[0], altered=7)]))


def test_no_samples_no_rows(stage):
    made = stage(Scripted(), True, [])
    assert list(made.rows()) == []
    assert made.retained() is None


@dataclass(frozen=True)
class Noting:
    """Hands itself a count from sample to sample, and notes it with the first number of the stream."""

    notes: list
    leave: tuple[int, ...] = ()

    def correct(self, trial, sample, stream):
        self.notes.append((sample.index, trial.carry, stream.random()))
        return replace(Scripted(self.leave).correct(trial, sample, stream), carry=1 + (trial.carry or 0))


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_method_gets_what_it_handed_on_and_the_stream_of_its_sample(stage, samples, accumulate):
    """From a failed sample too; in the reloading setting nothing is handed on."""
    chosen, notes = samples[:4], []
    made = replace(stage(Noting(notes, leave=(chosen[1].index,)), accumulate, chosen), seed=5)
    outcomes = [row.outcome for row in made.rows()]
    met = [sample for sample, outcome in zip(chosen, outcomes, strict=True) if outcome != ALREADY_RIGHT]
    assert outcomes[1] == UNCORRECTED
    assert len(met) > 2
    assert notes == [
        (sample.index, place or None if accumulate else None, rng.stream(5, "method", sample.index).random())
        for place, sample in enumerate(met)
    ]


def test_the_figures_and_losses_of_a_row_are_those_of_the_patched_network(stage, trained, tiny, samples):
    """Everything a row says can be found again from N0 and its patch."""
    images = Images.of(tiny, 100, 80)
    pairs = zip(stage(SubsetSearch(), False, samples[:6]).rows(), samples, strict=False)
    corrected = [(row, sample) for row, sample in pairs if row.patch]
    assert len(corrected) > 2
    for row, sample in corrected:
        vector = flat(trained)
        assert vector[row.patch["index"]].tolist() == row.patch["old"]
        vector[row.patch["index"]] = torch.tensor(row.patch["new"])
        moved = with_parameters(trained, vector)
        loss, accuracy, _ = evaluate(moved, images.train, images.train_labels)
        assert row.figures.train_loss == pytest.approx(loss, rel=1e-5)
        assert row.figures.train_accuracy == pytest.approx(accuracy)
        for network, found in ((trained, row.sample_loss_before), (moved, row.sample_loss_after)):
            (loss,) = evaluate(network, sample.image, sample.label)[2]
            assert found == pytest.approx(loss, rel=1e-4, abs=1e-6)


def test_an_order_is_a_permutation_of_its_own(tiny):
    images, labels = tiny.test.tensors()
    indices = (3, 7, 11, 20, 31, 44)
    orders = {
        order: [s.index for s in samples_of(images, labels, indices, order=order)] for order in range(4)
    }
    assert orders[0] == list(indices), "as in the test set"
    assert len({tuple(order) for order in orders.values()}) == 4
    for order, found in orders.items():
        assert sorted(found) == list(indices)
        assert [s.index for s in samples_of(images, labels, indices, order=order)] == found, "always the same"
        assert [s.index for s in samples_of(images, labels, indices, 2, order)] == found[:2]
    sample = samples_of(images, labels, indices, order=1)[0]
    assert torch.equal(sample.image, images[sample.index : sample.index + 1])
    assert int(sample.label) == int(labels[sample.index])

"""Batch normalization, noise, and what may follow early stopping."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import CLOUDS, ROOT, seeds
from torch import nn

from bgd import Corrector
from bgd.methods.bgd.search import SubsetSearch
from bgd.rng import stream
from experiments.companions import corrections
from experiments.companions.bank import Bank
from experiments.companions.compose import composing
from experiments.companions.data.images import Digits
from experiments.companions.evaluation import moments_of, outputs_of
from experiments.companions.losses import CrossEntropy
from experiments.companions.networks import Mlp
from experiments.companions.noise import Noise, normal
from experiments.companions.optimizers import Torch
from experiments.companions.plan import Settings, work_of
from experiments.companions.prior import MetricPrior
from experiments.companions.refit import refit
from experiments.companions.speed import STUDIES, ratios
from experiments.companions.stops import Early, Epochs
from experiments.companions.study import study_names
from experiments.companions.train import train
from experiments.companions.work import work

NORMED = replace(CLOUDS, model=Mlp((2, 6, 2), norm=True))


def test_batch_normalization_in_lanes_is_what_it_is_alone():
    for lane, trained in zip(seeds(NORMED), train(seeds(NORMED), ROOT), strict=True):
        (alone,) = train([lane], ROOT)
        for name, value in trained.parameters.items():
            torch.testing.assert_close(value, alone.parameters[name], rtol=1e-4, atol=1e-5)


def test_evaluation_by_the_training_set_and_by_batches():
    bank = Bank(seeds(NORMED, 2), ROOT)
    mean, variance = moments_of(bank)
    for lane in range(2):
        x = bank.train[lane].inputs(bank.pool)
        own = {name: value[lane] for name, value in bank.parameters.items()}
        plain = bank.call(own, x).plain
        torch.testing.assert_close(mean[lane], plain.mean(0))
        torch.testing.assert_close(variance[lane], plain.var(0, correction=0))
        torch.testing.assert_close(outputs_of(bank, bank.train)[lane], bank.call(own, x).outputs)
    few = Bank([replace(NORMED, batch_statistics=10)], ROOT)
    by_batches, whole = outputs_of(few, few.test), outputs_of(Bank([NORMED], ROOT), few.test)
    assert by_batches.shape == whole.shape
    assert not torch.allclose(by_batches, whole, atol=1e-3)


def test_noise_on_weights_adds_its_variance_times_the_squared_slope():
    """eta E|d y / d W|^2 on a squared error: exact for y = W x, whose slope is x."""
    x, w = np.array([1.0, -2.0]), np.array([0.5, 0.3])
    draws = normal(stream(0, "weights"), (20000, 2), 0.1)
    errors = ((w + draws) @ x - 1.0) ** 2
    expected = (w @ x - 1.0) ** 2 + 0.1**2 * (x @ x)
    assert errors.mean() == pytest.approx(expected, abs=4 * errors.std() / 20000**0.5)


@pytest.mark.parametrize("where", ["inputs", "hidden", "weights"])
def test_noise_changes_the_training_and_is_the_same_alone(where):
    noisy = replace(CLOUDS, noise=Noise(**{where: 0.5}))
    (plain,), (alone,) = train([CLOUDS], ROOT), train([noisy], ROOT)
    together = train(seeds(noisy, 2), ROOT)[0]
    for name, value in alone.parameters.items():
        torch.testing.assert_close(value, together.parameters[name], rtol=1e-4, atol=1e-5)
    assert not torch.equal(plain.parameters["head.weight"], alone.parameters["head.weight"])


EARLY = replace(CLOUDS, stop=Early(6, patience=1, share=0.25), evaluate=6, optimizer=Torch(rate=2.0))


def test_early_stopping_alone_is_what_is_returned():
    (trained,) = train([EARLY], ROOT)
    assert refit(trained, ROOT) is trained


def test_refit_from_the_start_on_all_rows_for_as_many_steps():
    training = replace(EARLY, stop=replace(EARLY.stop, refit="same_steps"))
    (trained,) = train([training], ROOT)
    again = refit(trained, ROOT)
    assert again.stopped == trained.stopped
    for name, value in trained.start.items():
        assert torch.equal(value, again.start[name])


def test_refit_goes_on_from_the_best_and_ends_where_the_loss_is_never_reached():
    training = replace(EARLY, stop=replace(EARLY.stop, refit="below_loss"))
    (trained,) = train([training], ROOT)
    hopeless = {**trained.history, "train_loss": [0.0]}
    again = refit(replace(trained, history=hopeless), ROOT)
    assert again.stopped == 6 * 3, "all epochs, of three batches each"
    for name, value in trained.parameters.items():
        assert torch.equal(value, again.start[name])
    at_once = refit(replace(trained, history={**trained.history, "train_loss": [9.0]}), ROOT)
    assert at_once.stopped == 3, "the first evaluation"


@pytest.fixture(scope="module")
def flat():
    """A small network of digits, and its test images."""
    training = replace(
        CLOUDS, model=Mlp((784, 8, 10), "relu"), data=Digits("tiny", 200, most=60), loss=CrossEntropy(),
        optimizer=Torch("Adam", 0.01), stop=Epochs(2), batch_size=20,
    )  # fmt: skip
    bank = Bank([training], ROOT)
    (trained,) = train([training], ROOT)
    inner = training.model.build()
    inner.load_state_dict(trained.parameters)
    network = nn.Sequential(*inner.body.children(), inner.head).eval()
    part = bank.test[0]
    return network, part.inputs(bank.pool), bank.pool.targets[part.rows], bank.train[0].inputs(bank.pool)


def test_corrections_of_a_network_are_counted(flat, monkeypatch):
    monkeypatch.setattr(corrections, "METHODS", {"least": "least_change"})
    network, x, y, keep = flat
    found = corrections.correct(network, x, y, keep, 2, 0)
    with torch.no_grad():
        assert found["errors"] == int((network(x).argmax(1) != y).sum()) > 2
    assert found["least.poc"] == 1
    size = sum(value.numel() for value in network.parameters())
    assert found["least.popa"] == pytest.approx(100 * found["least.parameters"] / size)
    assert found["least.worst"] <= found["least.accuracy"]
    assert 0 <= found["least.survival"] <= 1


def test_h_is_a_prior_that_bgd_can_search_by(flat):
    network, x, y, _ = flat
    with torch.no_grad():
        wrong = int((network(x).argmax(1) != y).nonzero()[0])
    corrector = Corrector(network, SubsetSearch(prior=MetricPrior()))
    found = corrector.correct(x[wrong : wrong + 1], int(y[wrong]))
    assert found.patch is not None or found.reason
    assert all("bias" not in name for name in (found.patch.tensors() if found.patch else []))


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_each_study_at_the_scale_smoke(name, tmp_path, monkeypatch):
    if name == "cifar":
        pytest.skip("its data are a user's")
    monkeypatch.setattr("experiments.companions.plan.TINY", ROOT)
    settings = Settings((name,), "smoke", "author", 1, False, False, "data", str(tmp_path))
    with composing():
        found = work_of(settings, name)
        for bank in found.banks()[:3]:
            work(settings, bank)
        assert len(work_of(settings, name).there) >= 1


@pytest.mark.slow
def test_lanes_together_are_quicker():
    with composing():
        for name, alone, together in ratios(ROOT, steps=30):
            assert name in STUDIES
            assert alone > 2 * together

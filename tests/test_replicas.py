"""Replicas of N0: another machine's rounding, on this one."""

import numpy as np
import pytest
import torch

from experiments.mnist import training
from experiments.mnist.replicas import nudged, replica_of
from experiments.mnist.training import Base


def steps_between(before, after):
    """How many float32 numbers lie between two tensors' elements, with a sign; for elements that are not 0."""
    old, new = (tensor.detach().numpy() for tensor in (before, after))
    same_sign = np.sign(old) * np.sign(new) > 0
    return new.view(np.int32)[same_sign] - old.view(np.int32)[same_sign]


@pytest.fixture
def base(trained, tiny):
    return Base("id", trained, "sha", training.misclassified(trained, tiny))


def test_each_parameter_moves_to_a_neighbour_or_stays(trained):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    moved = nudged(trained, 1)
    for (name, old), new in zip(trained.named_parameters(), moved.parameters(), strict=True):
        assert torch.equal(old, before[name]), "N0 stays as it is"
        steps = steps_between(old, new)
        assert set(np.unique(steps)) <= {-1, 0, 1}
        if steps.size > 100:
            shares = [(steps == value).mean() for value in (-1, 0, 1)]
            assert min(shares) > 0.2, "a third of the chance each"


def test_a_number_is_a_replica(trained):
    first, again, second = (nudged(trained, number).state_dict() for number in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_zero_is_the_network_itself(base, tiny):
    assert replica_of(base, 0, tiny) is base


def test_a_replica_knows_its_own_errors_and_checksum(base, tiny):
    replica = replica_of(base, 3, tiny)
    assert replica.id == base.id
    assert replica.sha256 != base.sha256
    assert replica.errors == training.misclassified(replica.network, tiny)


def test_buffers_stay():
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    network(torch.rand(5, 3))
    moved = nudged(network, 1)
    assert torch.equal(moved[1].running_mean, network[1].running_mean)
    assert not torch.equal(moved[0].weight, network[0].weight)


def test_the_identity_of_n0_itself_has_no_replica(spec_of):
    own, again, replica = spec_of(), spec_of("replica=0"), spec_of("replica=2")
    assert own.run_id == again.run_id
    assert "replica" not in own.identity
    assert replica.identity == {**own.identity, "replica": 2}
    assert (replica.base_id, replica.bench_id != own.bench_id) == (own.base_id, True)
    assert "replica=2" in replica.title

"""The flat view of a network, and patches of it."""

import pytest
import torch
from oracles import flat, with_parameters

from bgd.flat import FlatNetwork
from bgd.parameters import ParameterSpace
from bgd.patch import Patch, PatchError
from experiments.mnist.networks import MLP, AlexNet


@pytest.fixture
def network():
    torch.manual_seed(1)
    return MLP().eval()


def random_patch(network, seed, count=20):
    generator = torch.Generator().manual_seed(seed)
    space, old = ParameterSpace.of(network), flat(network)
    index = torch.randperm(space.size, generator=generator)[:count]
    return Patch.sparse(space, index, old[index], old[index] + torch.randn(count, generator=generator))


def test_the_space_is_in_the_order_of_the_parameters(network):
    space = ParameterSpace.of(network)
    assert space.size == 9_614
    vector = flat(network)
    for name, parameter in network.named_parameters():
        assert torch.equal(vector[space.span(name)], parameter.detach().reshape(-1))
    assert space.weights == ("lin1.weight", "lin2.weight", "lin3.weight")
    with pytest.raises(KeyError, match=r"no parameter 'lin9.weight'; there are lin1.weight"):
        space.span("lin9.weight")


def test_candidates_are_the_weights():
    space = ParameterSpace.of(AlexNet(width=0.1))
    for name in space.names:
        assert bool(space.candidates[space.span(name)].all()) == name.endswith("weight")
        assert bool(space.candidates[space.span(name)].any()) == name.endswith("weight")
    kept = space.drop_biases(torch.ones(space.size))
    assert torch.equal(kept.bool(), space.candidates)


def test_a_flat_network_is_edited_through_its_vector_and_is_a_copy(network):
    before = flat(network)
    copied = FlatNetwork(network)
    copied.flat += 1.0
    assert torch.equal(flat(copied.module), before + 1.0)
    assert torch.equal(flat(network), before)
    images = torch.randn(4, 1, 28, 28)
    assert torch.equal(copied.module(images), with_parameters(network, before + 1.0)(images))


@pytest.mark.parametrize("seed", range(5))
def test_apply_and_revert_are_bit_for_bit(network, seed):
    before = flat(network)
    vector, patch = before.clone(), random_patch(network, seed)
    patch.apply(vector)
    changed = (vector != before).nonzero().flatten()
    assert torch.equal(changed, patch.indices)
    assert torch.equal(vector[patch.indices], patch.new)
    patch.revert(vector)
    assert torch.equal(vector, before)


def test_values_that_are_no_numbers_are_reverted_too(network):
    space, vector = ParameterSpace.of(network), flat(network)
    index = torch.tensor([3, 5])
    patch = Patch.sparse(space, index, vector[index], torch.tensor([float("nan"), float("inf")]))
    before = vector.clone()
    patch.apply(vector)
    assert vector[3].isnan()
    patch.revert(vector)
    assert torch.equal(vector, before)


def test_another_network_is_refused_and_left_alone(network):
    patch, vector = random_patch(network, 0), flat(network)
    vector[patch.indices[4]] += 1e-6
    vector[patch.indices[7]] += 1.0
    before = vector.clone()
    with pytest.raises(PatchError, match="2 of 20"):
        patch.apply(vector)
    assert torch.equal(vector, before)
    with pytest.raises(PatchError, match="9,614 parameters, the network has 10"):
        patch.apply(torch.zeros(10))
    with pytest.raises(PatchError, match="20 of 20"):
        patch.revert(flat(network))


def test_between_and_sparse_agree_and_leave_out_what_keeps_its_value(network):
    space, old = ParameterSpace.of(network), flat(network)
    index = torch.tensor([900, 3, 77])
    new = old[index] + torch.tensor([1.0, 0.0, -2.0])
    after = old.clone()
    after[index] = new
    for patch in (Patch.sparse(space, index, old[index], new), Patch.between(space, old, after)):
        assert patch.indices.tolist() == [77, 900]
        assert torch.equal(patch.new, after[[77, 900]])
        assert len(patch) == 2


def test_norms_and_layers_against_a_loop(network):
    patch = random_patch(network, 3)
    change = [float(new) - float(old) for old, new in zip(patch.old, patch.new, strict=True)]
    l1, l2, linf = patch.norms()
    assert l1 == pytest.approx(sum(map(abs, change)))
    assert l2 == pytest.approx(sum(value**2 for value in change) ** 0.5)
    assert linf == max(map(abs, change))
    space = patch.space
    owners = [
        name
        for name in space.names
        if any(space.span(name).start <= i < space.span(name).stop for i in patch.indices)
    ]
    assert patch.tensors == owners
    empty = Patch.between(space, patch.old, patch.old)
    assert (len(empty), empty.norms(), empty.tensors) == (0, (0.0, 0.0, 0.0), [])


def test_the_patched_network_is_as_before_even_after_an_error(network):
    copied, patch = FlatNetwork(network), random_patch(network, 2)
    before = copied.flat.clone()

    def fail():
        with copied.patched(patch):
            assert torch.equal(copied.flat[patch.indices], patch.new)
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(copied.flat, before)

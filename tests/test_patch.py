"""The flat view of a network, and patches of it: on a vector, on a model, on one another."""

import copy
import dataclasses
import hashlib
import sys
from contextlib import nullcontext

import pytest
import torch
from odd_patches import KINDS, SEVERAL, bytes_of, odd_model, odd_patch, patch_of, same, state
from oracles import flat, with_parameters
from torch import nn

from bgd import rng
from bgd.flat import FlatNetwork
from bgd.parameters import ParameterSpace
from bgd.patch import Conflict, Patch, PatchError, parts
from bgd.patch.parts import bits
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
    ends = [edge + step for edge in space.bounds[:-1] for step in (0, 7)] + [space.size - 1]
    for index in ends:
        name, place = space.locate(index)
        assert dict(network.named_parameters())[name][place] == vector[index]


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_long_vector_is_compared_as_a_short_one(dtype, monkeypatch):
    """Blocks that differ all, in part and not at all; and the values that equal or do not equal themselves."""
    with rng.torch_seeded(rng.stream(0)):
        before = torch.randn(1000, dtype=dtype)
        after = before + torch.randn(1000, dtype=dtype) * (torch.rand(1000) < 0.4)
    after[:130], after[200:400] = before[:130], before[200:400] + 1
    before[500:504] = torch.tensor([0.0, torch.nan, torch.nan, 1.0], dtype=dtype)
    after[500:504] = torch.tensor([-0.0, torch.nan, 1.0, torch.nan], dtype=dtype)
    wanted = parts.differing(before, after)
    monkeypatch.setattr(parts, "LONG", 0)
    found = parts.differing(before, after)
    assert all(torch.equal(bits(one), bits(other)) for one, other in zip(found, wanted, strict=True))
    assert not {500, 501} & set(found[0].tolist())
    assert {502, 503} <= set(found[0].tolist())


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


def test_apply_says_that_a_model_goes_to_its_sister(network):
    with pytest.raises(TypeError, match="a model has apply_ and revert_, with an underscore"):
        random_patch(network, 0).apply(network)


@pytest.mark.parametrize("thing", [None, "model", torch.zeros(3)])
def test_what_is_no_model_is_refused(thing, network):
    patch = random_patch(network, 0)
    for call in (patch.apply_, patch.revert_, patch.verify, patch.hashed):
        with pytest.raises(TypeError, match=f"a {type(thing).__name__}, and an nn.Module is wanted"):
            call(thing)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(SEVERAL))
def test_a_model_is_patched_and_reverted_bit_for_bit(kind, seed):
    """Of any shape, non-contiguous, frozen; NaN, infinity and -0 among the values."""
    stream = rng.stream(seed, "patched", str(kind))
    model = odd_model(stream, kind)
    before, patch = state(model), odd_patch(model, stream)
    wanted = copy.deepcopy(model)
    for part in patch.parts():  # one value after the other, by its index
        for at, value in enumerate(part.new):
            dict(wanted.named_parameters())[part.name].data[part.place(at)] = value
    assert patch.apply_(model) == {}
    assert state(model) == state(wanted)
    assert patch.verify(model).state == "patched"
    assert patch.revert_(model) == {}
    assert state(model) == before
    assert patch.verify(model).state == "base"
    patch.apply(vector := flat(model))
    assert bytes_of(vector) == bytes_of(flat(wanted)), "the flat vector and the model agree"


@pytest.mark.parametrize("seed", range(SEVERAL))
def test_patches_one_after_another_are_one_patch(seed):
    stream = rng.stream(seed, "then")
    model = odd_model(stream, torch.float32)
    base = copy.deepcopy(model)
    first = odd_patch(model, stream)
    first.apply_(model)
    second = odd_patch(model, stream, near=first)
    second.apply_(model)
    both = first.then(second)
    changed = sum(
        a != b for a, b in zip(flat(base).view(torch.int32), flat(model).view(torch.int32), strict=True)
    )
    assert len(both) == changed
    both.apply_(base)
    assert state(base) == state(model)
    both.revert_(base)
    assert bytes_of(both.old) == bytes_of(flat(base)[both.indices])
    back = Patch(second.space, second.indices, second.new, second.old)
    assert same(both.then(back), first), "what goes back is left out"


def test_a_patch_follows_one_that_leads_to_where_it_starts(network):
    first = patch_of(network, {5: 0.25, 9_000: 0.5, 9_500: 1.0})
    other = patch_of(network, {5: 0.75, 9_500: 2.0, 9_501: 1.0})
    with pytest.raises(PatchError, match=r"lin1.weight: 2 of 2 .* at \(0, 5\): one leads to 0.25, the other"):
        first.then(other)
    with pytest.raises(PatchError, match="float32 and float64: one type"):
        first.then(patch_of(copy.deepcopy(network).double(), {5: 0.25}))
    wide = Patch(
        dataclasses.replace(first.space, shapes=((9_408,), *first.space.shapes[1:])), *_values(first)
    )
    with pytest.raises(
        PatchError, match=r"lin1.weight has the shape \(12, 784\) in one patch, \(9408,\) in another"
    ):
        first.then(wide)


@pytest.mark.parametrize("seed", range(SEVERAL))
def test_the_union_of_patches_is_each_written_in_turn_and_names_what_is_overwritten(seed):
    stream = rng.stream(seed, "compose")
    model = odd_model(stream, torch.float32)
    patches = [odd_patch(model, stream)]
    patches += [odd_patch(model, stream, near=patches[0]) for _ in range(2)]
    union, conflicts = Patch.compose(patches)
    values, told, vector = {}, [], flat(model)  # one value after the other
    for number, patch in enumerate(patches):
        for index, value in zip(patch.indices.tolist(), patch.new, strict=True):
            earlier, was = values.get(index, (number, value))
            if bytes_of(was) != bytes_of(value):
                told.append(
                    (patch.space.locate(index), (earlier, number), (str(was.item()), str(value.item())))
                )
            values[index] = number, value
            vector[index] = value
    found = [((c.parameter, c.index), c.patches, tuple(map(str, c.values))) for c in conflicts]
    assert sorted(found) == sorted(told)
    union.apply_(model)
    assert bytes_of(flat(model)) == bytes_of(vector)


def test_patches_of_different_networks_have_no_union(network):
    one, other = patch_of(network, {5: 0.25, 9_500: 1.0}), patch_of(MLP(), {5: 0.5})
    with pytest.raises(
        PatchError, match=r"lin1.weight at \(0, 5\): patch 0 starts from .*, patch 1 from .* different"
    ):
        Patch.compose([one, other])
    with pytest.raises(PatchError, match="no patch"):
        Patch.compose([])
    nudged = copy.deepcopy(network)
    nudged.lin1.weight.data[0, 0] = 9.0
    with pytest.raises(PatchError, match=r"lin1.weight: .* different networks, by its SHA-256"):
        Patch.compose([one.hashed(network), one.hashed(nudged)])
    union, conflicts = Patch.compose([one.hashed(network), patch_of(network, {5: 0.75, 9_500: 1.0})])
    assert conflicts == [Conflict("lin1.weight", (0, 5), (0, 1), (0.25, 0.75))]
    assert union.hashes == one.hashed(network).hashes


def _values(patch):
    return patch.indices, patch.old, patch.new


def test_hashes_follow_the_tensors_of_one_base(network):
    first = patch_of(network, {5: 0.25}).hashed(network)
    first.apply_(network)
    second = patch_of(network, {6: 0.5, 9_500: 1.0}).hashed(network)
    both = first.then(second)
    assert both.hashes == {**second.hashes, **first.hashes}
    unknown = dataclasses.replace(first, hashes={})
    assert set(unknown.then(second).hashes) == {"lin2.weight"}, "that of lin1.weight is of what comes between"
    back = Patch(second.space, second.indices[1:], second.new[1:], second.old[1:])
    assert set(both.then(back).hashes) == {"lin1.weight"}, "of the tensors that change"
    assert both.verify(network).state == "neither"
    second.apply_(network)
    assert both.verify(network).state == "patched"


@pytest.mark.parametrize("outer", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
@pytest.mark.parametrize("inner", ["", "module.", "model."])
def test_the_names_of_wrappers_are_no_other_network(network, outer, inner):
    def wrapped(names):
        model = copy.deepcopy(network)
        for name in reversed(names.split(".")[:-1]):
            model = nn.ModuleDict({name: model})
        return model

    patch, model = patch_of(wrapped(inner), {5: 0.25, 9_530: 1.0}), wrapped(outer)
    renamed = {
        f"{inner}{name}": f"{outer}{name}" for name in ("lin1.weight", "lin3.weight") if inner != outer
    }
    assert patch.verify(model).renamed == renamed
    assert patch.apply_(model) == renamed
    assert patch.verify(model).state == "patched"
    assert patch.revert_(model) == renamed
    assert same(patch.over(ParameterSpace.of(model)), patch_of(model, {5: 0.25, 9_530: 1.0}))


def test_a_name_that_may_be_two_tensors_is_refused(network):
    patch = patch_of(network, {5: 0.25})
    pair = nn.ModuleDict({"module": network, "model": copy.deepcopy(network)})
    with pytest.raises(
        PatchError, match=r"lin1.weight may be model.lin1.weight or module.lin1.weight in the model"
    ):
        patch.apply_(pair)
    deeper = nn.ModuleDict({"module": nn.ModuleDict({"model": copy.deepcopy(network), "lin1": network.lin1})})
    assert patch.apply_(deeper) == {"lin1.weight": "module.lin1.weight"}, "the shortest way"


def test_tied_tensors_are_one():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    apart = copy.deepcopy(model)
    model[1].weight = model[0].weight
    patch, before = patch_of(model, {2: 0.5}), state(model)
    for holder in (model, nn.ModuleDict({"1": model[1], "0": model[0]})):  # the other name comes first
        patch.apply_(holder)
        assert model[1].weight[0, 2] == model[0].weight[0, 2] == 0.5
        patch.revert_(holder)
        assert state(model) == before
    apart[1].weight.data.copy_(apart[0].weight.data)
    tied = copy.deepcopy(apart)
    tied[1].weight = nn.Parameter(tied[0].weight.data)  # the same memory, another parameter
    patch_of(apart, {2: 0.5, 14: 0.5}).apply_(tied)
    assert tied[0].weight[0, 2] == tied[1].weight[0, 2] == 0.5
    tied[0].weight.data[0, 2] = apart[0].weight[0, 2]
    with pytest.raises(PatchError, match=r"0.weight and 1.weight are one tensor in the model"):
        patch_of(apart, {2: 0.5, 14: 0.75}).apply_(tied)


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("made", [nullcontext, torch.inference_mode])
def test_a_model_is_patched_in_whatever_mode(mode, made):
    with made():
        model = nn.Linear(3, 2)
    before = state(model)
    with torch.no_grad():
        patch = patch_of(model, {1: 0.5, 7: 2.0}).hashed(model)
    with mode(), patch.applied(model):
        assert model.weight[0, 1] == 0.5
        assert patch.verify(model).state == "patched"
    assert state(model) == before
    assert model.weight.requires_grad
    assert model.weight.is_leaf


def test_a_model_is_patched_in_a_block_of_autocast_that_has_called_it():
    """The block keeps its casts of parameters: findings/torch_autocast_keeps_old_weights.sh."""
    model, x = nn.Linear(3, 2, bias=False), torch.eye(3)
    patch = patch_of(model, {1: 8.0})
    with torch.autocast("cpu", torch.bfloat16):
        before = model(x)
        with patch.applied(model):
            assert model(x)[1, 0] == 8
        assert torch.equal(model(x), before)


def test_a_write_is_seen_by_a_gradient_that_needs_the_old_values():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    loss = model(torch.ones(1, 3)).sum()
    patch_of(model, {8: 0.5}).apply_(model)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def lose(model):
    del model.lin3.weight


def reshape(model):
    model.lin3.weight.data = model.lin3.weight.data.T


def retype(model):
    model.lin3.double()


def nudge(model):
    model.lin3.weight.data[0, 2] = float("nan")
    model.lin3.weight.data[0, 1] += 1


def negate(model):
    model.lin3.weight.data[0, 3] = -0.0


def expand(model):
    model.lin3.weight = nn.Parameter(model.lin3.weight.data[:1].expand(10, -1), requires_grad=False)


def forget(model):
    model.lin3.to("meta")


def defer(model):
    model.lin3 = nn.LazyLinear(10)


WRONG = {
    lose: r"no parameter 'lin3.weight': did you mean 'lin\d.weight'\? valid: lin1.bias",
    reshape: r"lin3.weight has the shape \(8, 10\) in the model, \(10, 8\) in the patch",
    retype: "lin3.weight is float64 in the model, float32 in the patch",
    nudge: r"lin3.weight: 2 of 3 values differ, the first at \(0, 1\): the model holds .*, the patch starts from",
    negate: r"lin3.weight: 1 of 3 values differ, the first at \(0, 3\): the model holds -0.0, the patch .* 0.0",
    expand: "lin3.weight has several places in one piece of memory",
    forget: "lin3.weight is no plain dense tensor",
    defer: "lin3.weight has no shape yet",
}


@pytest.mark.parametrize("harm", WRONG)
def test_another_model_is_refused_as_a_whole(network, harm):
    network.lin3.weight.data[0, 3] = 0.0
    start = ParameterSpace.of(network).span("lin3.weight").start
    patch = patch_of(network, {5: 0.25, start + 1: 1.0, start + 2: 1.0, start + 3: 1.0})
    harm(network)
    first = network.lin1.weight.clone()
    verdict = patch.verify(network)
    with pytest.raises(PatchError, match=WRONG[harm]) as error:
        patch.apply_(network)
    assert torch.equal(network.lin1.weight, first)
    assert verdict.state == "neither"
    assert str(error.value).split(" (and")[0] in verdict.reason


def test_how_many_tensors_are_wrong(network):
    patch = patch_of(network, {5: 0.25, 9_412: 1.0, 9_500: 1.0})
    with pytest.raises(
        PatchError, match=r"^lin1.weight: .* the patch leads to 0.25 \(and 2 more of its tensors"
    ):
        patch.revert_(network)
    patch.apply_(network)
    network.lin1.weight.data[0, 5] = 3.0
    assert patch.verify(network).reason.count("the model holds 3.0") == 2, (
        "neither what it was nor what it became"
    )


def test_a_block_ends_as_it_began(network):
    patch, before = patch_of(network, {5: 0.25}), state(network)

    def fail():
        with patch.applied(network):
            assert network.lin1.weight[0, 5] == 0.25
            raise KeyError("inside")

    def overwrite():
        with patch.applied(network):
            network.lin1.weight.data.fill_(7.0)

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert state(network) == before
    with pytest.raises(PatchError, match=r"the model holds 7.0, the patch leads to 0.25"):
        overwrite()


def test_hashes_tell_networks_apart_that_agree_at_the_patch(network):
    patch, tensors = (
        patch_of(network, {5: 0.25, 9_500: 1.0}).hashed(network),
        dict(network.named_parameters()),
    )
    assert patch.hashes == {
        name: hashlib.sha256(bytes_of(tensors[name])).hexdigest() for name in ("lin1.weight", "lin2.weight")
    }
    network.lin3.weight.data[3, 3] = 9.0  # in no tensor of the patch
    assert patch.verify(network).state == "base"
    with patch.applied(network):
        assert patch.verify(network).state == "patched"
        network.lin1.weight.data[3, 3] = 9.0
        assert patch.verify(network).state == "neither"
        assert "lin1.weight: the patch's own 1 places hold its new values" in patch.verify(network).reason
        assert patch.verify(network, strict=False).state == "patched"
    assert patch.verify(network).state == "neither"
    assert patch.verify(network, strict=False).state == "base"
    before = state(network)
    with pytest.raises(
        PatchError, match=r"places hold its old values .* strict=False compares the patch's own"
    ):
        patch.apply_(network)
    assert state(network) == before
    with patch.applied(network, strict=False):
        assert network.lin1.weight[0, 5] == 0.25
    assert state(network) == before
    with pytest.raises(PatchError, match="by SHA-256"):
        patch.hashed(network)


def test_a_patch_is_a_table(network):
    patch = patch_of(network, {5: 0.25, 9_500: 1.0})
    frame = patch.to_frame()
    assert list(frame.columns) == ["parameter", "index", "flat", "old", "new", "change"]
    for row, index in zip(frame.itertuples(), patch.indices.tolist(), strict=True):
        tensor = dict(network.named_parameters())[row.parameter]
        assert (row.parameter, row.index) == patch.space.locate(index)
        assert tensor[row.index] == tensor.flatten()[row.flat] == row.old
    assert frame.new.tolist() == [0.25, 1.0]
    assert frame.change.tolist() == (patch.new.double() - patch.old.double()).tolist()
    single = nn.ParameterDict({"scale": nn.Parameter(torch.tensor(2.0))})
    assert patch_of(single, {0: 3.0}).to_frame()["index"].tolist() == [()]


def test_a_table_without_pandas_says_what_is_missing(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="a patch as a table needs pandas: pip install pandas"):
        random_patch(network, 0).to_frame()


def test_a_patch_moves_to_the_space_of_another_order(network):
    patch = random_patch(network, 4)
    reordered = nn.ModuleDict({name: getattr(network, name) for name in ("lin3", "lin2", "lin1")})
    moved = patch.over(ParameterSpace.of(reordered))
    vector = flat(reordered)
    moved.apply(vector)
    patch.apply_(network)
    assert torch.equal(vector, flat(reordered))
    assert same(moved.over(patch.space), patch)
    with pytest.raises(PatchError, match=r"no parameter 'lin1.weight': did you mean"):
        patch.over(ParameterSpace.of(nn.ModuleDict({"lin3": network.lin3})))
    with pytest.raises(
        PatchError, match=r"lin1.weight has the shape \(2, 2\) there, \(12, 784\) in the patch"
    ):
        patch_of(MLP(), {0: 0.5}).over(ParameterSpace(("lin1.weight",), ((2, 2),)))

"""The tail of a network and what an edit makes of it, against the network itself with the edit written in."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from oracles import flat
from small_tails import ALL, WIDE, images_of, network, rewritten, support_of, tail_of, vector_of
from torch import nn

from bgd.layers import LayerError
from bgd.methods.least_harm import tail as module
from bgd.methods.least_harm.tail import Activations, Edited, Tail, edited_weights
from bgd.parameters import ParameterSpace
from experiments.mnist.networks import MLP, AlexNet, ResNet

SHAPES = [
    ((6, 5, 4, 3), True),
    ((6, 5, 4, 3), False),
    ((4, 3), True),
    ((7, 1, 2), True),
    ((5, 6, 5, 4, 2), True),
]


@pytest.mark.parametrize(
    ("make", "scope", "names"),
    [
        (MLP, 20000, ["lin1", "lin2", "lin3"]),
        (MLP, 9614, ["lin1", "lin2", "lin3"]),
        (MLP, 9613, ["lin2", "lin3"]),  # biases count
        (MLP, 194, ["lin2", "lin3"]),
        (MLP, 193, ["lin3"]),
        (MLP, 1, ["lin3"]),  # the last one, however large
        (lambda: AlexNet(width=0.1), 20000, ["lin3"]),
        (lambda: AlexNet(width=0.1), 30000, ["lin2", "lin3"]),
        (lambda: AlexNet(width=0.1), ALL, ["lin1", "lin2", "lin3"]),  # over dropout, not over convolutions
        (lambda: ResNet(width=0.25), ALL, ["lin"]),
    ],
)
def test_as_many_of_the_last_layers_as_the_scope_allows(make, scope, names):
    made = make().eval()
    tail = tail_of(made, scope)
    assert [layer.name for layer in tail.layers] == names
    parameters = dict(made.named_parameters())
    assert tail.size == sum(parameters[name].numel() for name in tail.tensors)
    assert tail.size <= scope or len(names) == 1
    assert tail.classes == 10
    assert set(tail.before) == set(parameters) - set(tail.tensors)
    assert torch.equal(
        flat(made)[tail.places], torch.cat([parameters[name].flatten() for name in tail.tensors])
    )
    images = torch.randn(7, 1, 28, 28)
    with torch.no_grad():
        logits = Activations(tail.inputs(images), tail.weights(flat(made))).logits
        assert torch.allclose(logits.T, made(images), atol=1e-5)


class Residual(nn.Module):
    """Not one layer after the other, and no single layer at the end."""

    def __init__(self):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, images):
        return self.lin2(images.flatten(1)) + self.lin1(images.flatten(1))


def tied():
    made = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    made.append(made[1])
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU()), "no nn.Linear that runs once.*is '1'"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.LogSoftmax(1)), "no nn.Linear that runs once"),
        (nn.Sequential(nn.Conv2d(1, 3, (1, 4)), nn.Flatten()), "none of them runs"),
        (nn.Sequential(nn.Linear(4, 3)), "no logits"),
        (Residual(), "no nn.Linear that runs once"),
        (tied(), "no nn.Linear that runs once"),
    ],
)
def test_a_network_without_a_linear_end_is_named(made, message):
    with pytest.raises(LayerError, match=message):
        Tail(made.eval(), ParameterSpace.of(made), 100, torch.randn(1, 1, 1, 4))


@pytest.mark.parametrize("after", [nn.Dropout, nn.Identity, nn.Flatten])
def test_what_changes_nothing_may_follow_the_last_layer(after):
    made = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), after()).eval()
    assert [layer.name for layer in tail_of(made).layers] == ["1", "3"]


@pytest.mark.parametrize("between", [[], [nn.Identity()], [nn.Dropout()], [nn.Tanh()]])
def test_a_layer_without_a_rectifier_behind_it_is_no_part_of_a_tail(between):
    made = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), *between, nn.Linear(5, 3)).eval()
    assert [layer.name for layer in tail_of(made).layers] == [str(len(made) - 1)]


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
def test_weights_are_the_layers_own_and_pack_undoes_unpack(sizes, bias):
    made = network(sizes, bias)
    tail = tail_of(made)
    linear = [layer for layer in made if isinstance(layer, nn.Linear)]
    for layer, matrix in zip(linear, tail.weights(flat(made)), strict=True):
        assert torch.equal(matrix[:, :-1], layer.weight)
        assert torch.equal(matrix[:, -1], layer.bias if bias else torch.zeros(len(matrix)).double())
    vector = torch.arange(tail.size).double()
    assert torch.equal(tail.pack(tail.unpack(vector)), vector)
    several = torch.arange(3 * tail.size).double().view(3, -1)
    each = [tail.unpack(row) for row in several]
    assert torch.equal(tail.pack([torch.stack(parts) for parts in zip(*each, strict=True)]), several)
    tail.weights(flat(made))[0].fill_(7.0)
    assert not (flat(made) == 7.0).any(), "weights are copies"


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
def test_a_support_knows_the_place_of_every_parameter(sizes, bias):
    tail = tail_of(network(sizes, bias))
    table = []  # in the order of the vector: weights row by row, then the bias
    for place, (inputs, units) in enumerate(pairwise(sizes)):
        table += [(place, unit, column) for unit in range(units) for column in range(inputs)]
        table += [(place, unit, inputs) for unit in range(units)] if bias else []
    assert len(table) == tail.size
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(tail.size))
    for indices in (torch.arange(tail.size), shuffled, shuffled[:4], shuffled[:0]):
        support = tail.support(indices)
        assert len(support) == len(indices)
        found = list(zip(support.layer.tolist(), support.unit.tolist(), support.column.tolist(), strict=True))
        assert found == [table[index] for index in indices.tolist()]
        again = {}
        for place, part in support.parts.items():
            assert part.rows.tolist() == sorted(set(part.rows.tolist()))
            for which, row, column in zip(part.which, part.rows[part.to], part.columns, strict=True):
                again[int(which)] = (place, int(row), int(column))
        assert [again[which] for which in range(len(indices))] == found


def values_on_the_way(made, images):
    """What goes into each linear layer, and what comes out of it."""
    into, out, values = [], [], images
    with torch.no_grad():
        for layer in made:
            if isinstance(layer, nn.Linear):
                into.append(values)
                out.append(layer(values))
            values = layer(values)
    return into, out


def assert_edited_is_the_network(made, tail, support, change, images):
    weights = tail.weights(flat(made))
    kept = [weight.clone() for weight in weights]
    edited = Edited(Activations(tail.inputs(images), weights), weights, support, change)
    into, out = values_on_the_way(rewritten(made, tail, support, change), images)
    assert torch.allclose(edited.logits.T, out[-1], rtol=1e-10, atol=1e-12)
    for place in range(len(tail.layers)):
        assert torch.allclose(edited.outputs(place).T, out[place], rtol=1e-10, atol=1e-12)
        wanted = torch.cat([into[place], torch.ones(len(images), 1).double()], dim=1)
        assert torch.allclose(edited.inputs(place).T, wanted, rtol=1e-10, atol=1e-12)
    written = tail.pack(edited_weights(weights, support, change))
    assert torch.equal(written, vector_of(made, tail, support, change))
    assert all(torch.equal(one, other) for one, other in zip(kept, weights, strict=True)), (
        "nothing is changed"
    )


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_an_edited_tail_is_the_network_with_the_edit_written_in(sizes, bias, seed):
    """Of any size, in any layers: what a support draws decides both."""
    made = network(sizes, bias, seed)
    tail, images = tail_of(made), images_of(9, sizes)
    for size in {0, 1, 2, 5, tail.size // 2, tail.size}:
        support, change = support_of(tail, seed, min(size, tail.size))
        assert_edited_is_the_network(made, tail, support, change, images)


@pytest.mark.parametrize("places", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("biases", [False, True])
def test_edits_of_chosen_layers_and_of_biases_alone(places, biases):
    made = network()
    tail, images = tail_of(made), images_of(9)
    whole = tail.support(torch.arange(tail.size))
    kept = torch.isin(whole.layer, torch.tensor(places))
    if biases:
        kept &= whole.column == torch.tensor(WIDE)[whole.layer]
    support = tail.support(kept.nonzero().flatten().flip(0))
    assert set(support.parts) == set(places)
    change = torch.from_numpy(np.random.default_rng(0).normal(size=len(support)))
    assert_edited_is_the_network(made, tail, support, change, images)


def test_an_edit_that_switches_units_off_and_on():
    made = network()
    tail, images = tail_of(made), images_of(9)
    bias = tail.layers[0].start + 5 * 6
    for change in (-1e3, 1e3):
        support = tail.support(torch.tensor([bias]))
        assert_edited_is_the_network(made, tail, support, torch.tensor([change]).double(), images)


def test_what_goes_in_does_not_depend_on_the_batch(monkeypatch):
    made = AlexNet(width=0.1).double().eval()
    tail, images = tail_of(made), torch.randn(7, 1, 28, 28).double()
    whole = tail.inputs(images)
    monkeypatch.setattr(module, "BATCH", 3)
    assert torch.allclose(tail.inputs(images), whole, rtol=1e-12)
    assert whole.shape == (7, 433)
    assert (whole[:, -1] == 1).all()

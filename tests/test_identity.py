"""Identities and random streams."""

import pytest
import torch

from bgd import rng
from experiments.mnist.training import state_sha256
from experiments.records.identity import canonical_json, digest


def test_canonical_json_is_one_text_for_one_value():
    assert canonical_json({"b": 1.0, "a": [True, None, 0.5]}) == '{"a":[true,null,0.5],"b":1}'
    assert digest({"x": 1, "y": (2.0,)}) == digest({"y": [2], "x": 1.0})
    assert digest({"x": 1}) != digest({"x": 1.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


def test_a_state_is_known_by_names_shapes_and_bytes():
    state = {"a": torch.arange(6.0), "b": torch.ones(2)}
    assert state_sha256(state) == state_sha256(dict(reversed(state.items())))
    assert state_sha256(state) != state_sha256({**state, "a": torch.arange(6.0).view(2, 3)})
    assert state_sha256(state) != state_sha256({"a": state["a"], "c": state["b"]})
    other = state["a"].clone()
    other[3] = 3.0000002
    assert state_sha256(state) != state_sha256({**state, "a": other})


def test_a_stream_is_known_by_its_name_alone():
    alone = rng.stream(0, "method", 7).random(5)
    for index in range(7):
        rng.stream(0, "method", index).random(100)
    assert (rng.stream(0, "method", 7).random(5) == alone).all()
    others = [
        rng.stream(1, "method", 7),
        rng.stream(0, "method", 8),
        rng.stream(0, "order", 7),
        rng.stream(0),
    ]
    assert all((other.random(5) != alone).any() for other in others)
    assert (rng.stream(0, "a", "bc").random(5) != rng.stream(0, "ab", "c").random(5)).any()


def test_torch_is_seeded_inside_the_block_and_as_before_after_it():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with rng.torch_seeded(rng.stream(0, "x")):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with rng.torch_seeded(rng.stream(0, "x")):
        assert torch.equal(torch.rand(3), first)

"""A correction is the same whatever block of torch it is asked for in."""

import pytest
import torch
from every_method import METHODS, marked
from odd_networks import known_of, naming, odd_network, wrong_sample

from bgd import rng
from bgd.methods.base import Problem, Sample
from bgd.modes import ordinary
from experiments.config.build import build

MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


def corrected(name, small_method):
    """A method's correction of the wrong sample of a small network, posed where this is called."""
    config, knows = small_method(name)
    config = naming(config, ["lin2.weight"])
    with ordinary():
        network = odd_network("batch norm")
        given, knowledge = wrong_sample(network), known_of(network).restricted(knows)
    sample = Sample(given.index, given.image * 1, given.label * 1)
    problem = Problem(network, knowledge)
    return problem.correct(build(config, "method"), sample, rng.stream(0, "method", sample.index))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", marked(METHODS))
def test_a_correction_is_the_same_in_any_mode(name, mode, small_method):
    wanted = corrected(name, small_method)
    with MODES[mode]():
        found = corrected(name, small_method)
    assert (found.reason, found.steps) == (wanted.reason, wanted.steps)
    assert (found.patch is None) == (wanted.patch is None)
    if wanted.patch is not None:
        assert torch.equal(found.patch.indices, wanted.patch.indices)
        assert torch.equal(found.patch.new, wanted.patch.new)


def test_inside_the_block_modes_are_ordinary_and_afterwards_as_before():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with ordinary():
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert not torch.is_grad_enabled()

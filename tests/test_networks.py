"""The networks are the thesis'."""

import pytest
import torch

from bgd.networks import MLP, AlexNet


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts():
    assert count(MLP()) == 9_614
    assert count(AlexNet()) == 11_696_202


def test_the_penultimate_weights_are_the_shares_that_the_thesis_prints():
    """17.93 % of AlexNet; 0.9985 % of the MLP, which the thesis prints as 99.85 (docs/deviations.md, D7)."""
    assert round(100 * AlexNet().lin2.weight.numel() / 11_696_202, 2) == 17.93
    assert round(100 * MLP().lin2.weight.numel() / 9_614, 4) == 0.9985


@pytest.mark.parametrize("network", [MLP(), AlexNet(width=0.1)])
def test_images_in_logits_out(network):
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_the_mlp_has_no_relu_after_its_last_layer():
    torch.manual_seed(0)
    assert (MLP()(torch.randn(50, 1, 28, 28)) < 0).any()

"""The diagonal of the Hessian by probes, against the Hessian."""

import numpy as np
import pytest
import torch
from curvature_oracles import NETWORKS, case, close, conv, estimated, gauss_newton, hadamard, hessian, mlp
from torch import nn

from bgd.curvature.hutchinson import Hutchinson, hessian_diagonal, rademacher


def exact(network, space, images, labels):
    """The diagonal by the rows of a Hadamard matrix: every pair of entries cancels."""
    order = 1 << (space.size - 1).bit_length()
    return hessian_diagonal(network, images, labels, hadamard(order)[:, : space.size])


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_hadamard_probes_give_the_diagonal_of_the_hessian(build):
    network, space, images, labels = case(build)
    found = exact(network, space, images, labels)
    close(found, hessian(network, images, labels).diagonal())


def test_random_probes_are_right_on_average_and_as_far_off_as_the_paper_says():
    """Mean and variance of 400 estimates of one probe: Var = sum of squares off the diagonal (Bekas et al. 2007)."""
    network, space, images, labels = case(mlp)
    matrix, stream, count = hessian(network, images, labels), np.random.default_rng(2), 400
    drawn = torch.stack(
        [
            hessian_diagonal(network, images, labels, [rademacher(stream, images, space.size)])
            for _ in range(count)
        ]
    )
    variance = (matrix - matrix.diagonal().diag()).square().sum(1)
    error = (drawn.mean(0) - matrix.diagonal()).abs() / (variance / count).sqrt()
    assert error.max() < 5
    assert 0.8 < float(drawn.var(0).sum() / variance.sum()) < 1.25


def test_the_curvature_is_the_magnitude():
    network, space, images, labels = case(mlp)
    with torch.no_grad():
        network.lin1.weight *= 3  # into the bend of tanh
    signed = hessian(network, images, labels).diagonal()
    assert (signed < -1e-4).any()
    found = estimated(Hutchinson(probes=3000), network, space, images, labels).diagonal()
    assert (found >= 0).all()
    down = signed.argmin()
    assert found[down] == pytest.approx(-float(signed[down]), rel=0.3)


def test_batches_have_probes_of_their_own_and_count_by_their_images():
    network, space, images, labels = case(conv)
    found = estimated(Hutchinson(batch_size=4, probes=2), network, space, images, labels).diagonal()
    stream, total = np.random.default_rng(0), 0
    for part, share in ((slice(0, 4), 4 / 7), (slice(4, 7), 3 / 7)):
        probes = [rademacher(stream, images, space.size) for _ in range(2)]
        matrix = hessian(network, images[part], labels[part])
        total = total + share * sum(v * (matrix @ v) for v in probes) / 2
    close(found, total.abs())


@pytest.mark.parametrize("build", [mlp, conv])
def test_with_relu_it_is_gauss_newton(build):
    """The network is piecewise linear in each parameter, so the diagonals are the same."""
    network, space, images, labels = case(lambda: build(nn.ReLU))
    close(exact(network, space, images, labels), gauss_newton(network, images).diagonal())


def test_a_linear_network_has_a_hessian_all_the_same():
    """The gradient of a parameter may not depend on others at all."""
    network, space, images, labels = case(lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))
    close(exact(network, space, images, labels), gauss_newton(network, images).diagonal())


def test_probes_are_signs():
    probe = rademacher(np.random.default_rng(0), torch.zeros(1, dtype=torch.float64), 10_001)
    assert probe.dtype == torch.float64
    assert set(probe.tolist()) == {-1.0, 1.0}
    assert abs(float(probe.mean())) < 0.05

"""KFAC where it is exact, against dense Kronecker products, and against curvlinops."""

import pytest
import torch
from curvature_oracles import NETWORKS, case, close, conv, dense, estimated, gauss_newton, mlp, other, rows
from torch import nn

from bgd.curvature.base import CurvatureError
from bgd.curvature.diagonal import TrueFisher
from bgd.curvature.kfac import KFAC


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


def one_position():
    """A kernel as large as the image: a linear layer in all but name."""
    return nn.Sequential(nn.Conv2d(1, 4, 6), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3))


def layer_spans(space):
    """Flat positions of each layer, weight then bias."""
    groups = {}
    for name in space.names:
        span = space.span(name)
        groups.setdefault(name.rpartition(".")[0], []).extend(range(span.start, span.stop))
    return groups.values()


def kronecker(curvature, space, change_inputs=None, change_outputs=None):
    """The blocks of a curvature as one dense matrix (|W|, |W|), entry by entry of the layers' matrices."""
    matrix = torch.zeros(space.size, space.size, dtype=torch.float64)
    for block in curvature.blocks:
        a, g = block.inputs, block.outputs
        if change_inputs:
            a, g = change_inputs(a, g), change_outputs(a, g)
        weight = torch.arange(space.size)[space.span(block.weight)].view(len(g), -1)
        where = weight
        if block.bias:
            where = torch.cat([weight, torch.arange(space.size)[space.span(block.bias), None]], 1)
        flat = where.flatten()
        matrix[flat[:, None], flat] = torch.kron(g, a)
    return matrix


@pytest.mark.parametrize("build", [mlp, one_position], ids=["mlp", "one_position"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_for_a_single_image_the_blocks_are_those_of_gauss_newton(build, temperature):
    network, space, images, labels = case(build, images=1)
    curvature = estimated(KFAC(temperature=temperature), network, space, images, labels)
    found, exact = dense(curvature, space.size, images), gauss_newton(network, images, temperature)
    for span in layer_spans(space):
        close(found[span][:, span], exact[span][:, span])
    close(curvature.diagonal(), exact.diagonal())


def test_where_gradients_are_the_same_for_every_image_it_is_gauss_newton():
    """One linear layer of zeros: p is uniform, so d does not depend on the image, and there is one block."""
    network, space, images, labels = case(linear)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    curvature = estimated(KFAC(batch_size=2), network, space, images, labels)
    close(dense(curvature, space.size, images), gauss_newton(network, images))


@pytest.mark.parametrize("build", [conv, rows], ids=["conv", "rows"])
def test_factors_over_positions_are_sums_and_means(build):
    """A sums over positions and G takes their mean (Grosse & Martens 2016, Eq. 23), image by image, class by class."""
    network, space, images, labels = case(build)
    curvature = estimated(KFAC(batch_size=3), network, space, images, labels)
    layers = {name: layer for name, layer in network.named_children() if hasattr(layer, "weight")}
    for block in curvature.blocks:
        layer = layers[block.weight.removesuffix(".weight")]
        a, g = torch.zeros_like(block.inputs), torch.zeros_like(block.outputs)
        for image in images:
            seen = {}
            handle = layer.register_forward_hook(lambda _, i, o, seen=seen: seen.update(h=i[0], z=o))
            logits = network(image[None])[0]
            handle.remove()
            h, p = seen["h"].detach(), logits.softmax(0).detach()
            if isinstance(layer, nn.Conv2d):
                h = nn.functional.unfold(h, layer.kernel_size, layer.dilation, layer.padding, layer.stride)[
                    0
                ].T
            h = h.reshape(-1, layer.weight[0].numel())
            for t in range(len(h)):
                row = torch.cat([h[t], h.new_ones(1)]) if block.bias else h[t]
                a += torch.outer(row, row)
            for c in range(3):
                loss = -logits.log_softmax(0)[c]
                d = torch.autograd.grad(loss, seen["z"], retain_graph=True)[0]
                d = d[0].flatten(1).T if isinstance(layer, nn.Conv2d) else d.reshape(-1, d.shape[-1])
                for t in range(len(d)):
                    g += p[c] * torch.outer(d[t], d[t]) / len(d)
        close(block.inputs, a / len(images))
        close(block.outputs, g / len(images))


@pytest.mark.parametrize("build", [mlp, conv, rows], ids=["mlp", "conv", "rows"])
def test_diagonal_and_products_are_those_of_the_kronecker_products(build):
    network, space, images, labels = case(build)
    curvature = estimated(KFAC(), network, space, images, labels)
    matrix = kronecker(curvature, space)
    close(dense(curvature, space.size, images), matrix)
    close(curvature.diagonal(), matrix.diagonal())
    assert torch.linalg.eigvalsh(matrix).min() > -1e-10


@pytest.mark.parametrize("build", [mlp, conv, rows], ids=["mlp", "conv", "rows"])
def test_solutions_are_those_of_the_dense_inverse_with_factored_damping(build):
    network, space, images, labels = case(build)
    curvature = estimated(KFAC(), network, space, images, labels)

    def correction(a, g):
        return ((a.trace() / len(a)) / (g.trace() / len(g))).sqrt()

    v = torch.linspace(-1, 1, space.size, dtype=torch.float64)
    for damping in (1e-1, 1e-4, 1e-1):
        matrix = kronecker(
            curvature,
            space,
            lambda a, g, x=damping: a + correction(a, g) * x**0.5 * torch.eye(len(a)).double(),
            lambda a, g, x=damping: g + x**0.5 / correction(a, g) * torch.eye(len(g)).double(),
        )
        close(curvature.solve(v, damping), torch.linalg.inv(matrix) @ v)


def test_a_layer_that_is_dead_is_damping_alone():
    network, space, images, labels = case(lambda: mlp(nn.ReLU))
    with torch.no_grad():
        network.lin1.bias.fill_(-1000.0)
    curvature = estimated(KFAC(), network, space, images, labels)
    v = torch.linspace(-1, 1, space.size, dtype=torch.float64)
    span = space.span("lin1.weight")
    close(curvature.solve(v, 0.25)[span], 4 * v[span])
    assert not curvature.multiply(v)[span].any()


def test_damping_too_small_for_the_numbers_is_named():
    network, space, images, labels = case(mlp)
    curvature = estimated(KFAC(), network.float(), space, images.float(), labels)
    with pytest.raises(CurvatureError, match=r"damping=1e-30: too small to solve with lin1.weight"):
        curvature.solve(torch.ones(space.size), 1e-30)


def test_what_is_in_no_known_layer_has_its_diagonal():
    network, space, images, labels = case(other)
    curvature = estimated(KFAC(batch_size=3), network, space, images, labels)
    fisher = estimated(TrueFisher(), network, space, images, labels).diagonal()
    again = KFAC().restore(curvature.tensors(), space)
    v = torch.linspace(-1, 1, space.size, dtype=torch.float64)
    for name in ("norm.weight", "norm.bias", "grouped.weight", "circular.bias"):
        span = space.span(name)
        close(curvature.diagonal()[span], fisher[span])
        close(curvature.multiply(v)[span], fisher[span] * v[span])
        close(curvature.solve(v, 0.1)[span], v[span] / (fisher[span] + 0.1))
    assert {block.weight for block in curvature.blocks} == {"conv1.weight", "same.weight", "lin.weight"}
    assert torch.equal(again.diagonal(), curvature.diagonal())
    assert torch.equal(again.solve(v, 0.1), curvature.solve(v, 0.1))


def test_drawn_labels_give_the_factors_on_average():
    network, space, images, labels = case(mlp)
    exact = estimated(KFAC(), network, space, images, labels)
    drawn = estimated(KFAC(draws=5000), network, space, images, labels)
    for one, other_ in zip(exact.blocks, drawn.blocks, strict=True):
        assert torch.equal(one.inputs, other_.inputs)
        assert 0 < float((one.outputs - other_.outputs).norm() / one.outputs.norm()) < 0.05


@pytest.mark.parametrize("build", [NETWORKS["mlp"], conv], ids=["mlp", "conv"])
def test_the_same_as_curvlinops(build):
    """A library with an implementation of its own: the exact expectation, KFAC-expand, weight and bias as one."""
    curvlinops = pytest.importorskip("curvlinops")
    network, space, images, labels = case(build)
    named = dict(network.named_parameters())
    theirs = curvlinops.KFACLinearOperator(
        network,
        nn.CrossEntropyLoss(),
        list(named.values()),
        [(images[:3], labels[:3]), (images[3:], labels[3:])],
        fisher_type=curvlinops.FisherType.TYPE2,
        kfac_approx=curvlinops.KFACType.EXPAND,
        separate_weight_and_bias=False,
    )
    matrix = theirs @ torch.eye(space.size, dtype=torch.float64)
    curvature = estimated(KFAC(), network, space, images, labels)
    close(dense(curvature, space.size, images), matrix)

"""Derivatives at an edited tail, against the Jacobian that autograd gives of the edited network."""

import pytest
import torch
from oracles import flat
from small_tails import WIDE, images_of, jacobian, network, run, support_of, tail_of, vector_of

from bgd.methods.least_harm.local import Local, RankOneMetric, SoftmaxMetric
from bgd.methods.least_harm.tail import Activations, Edited

CASES = [
    (sizes, bias, size, chosen)
    for sizes, bias in [(WIDE, True), (WIDE, False), ((4, 3), True), ((6, 5, 3), True)]
    for size in (0, 1, 6)
    for chosen in (None, [4, 1, 7])
]


class Case:
    """A random edit, its derivatives, and the same with everything held explicitly."""

    def __init__(self, sizes, bias, size, chosen):
        made = network(sizes, bias)
        self.tail, images = tail_of(made), images_of(8, sizes)
        support, change = support_of(self.tail, 3, size)
        weights = self.tail.weights(flat(made))
        edited = Edited(Activations(self.tail.inputs(images), weights), weights, support, change)
        pick = None if chosen is None else torch.tensor(chosen)
        self.local = Local(self.tail, weights, edited, support, change, pick)
        seen = images if chosen is None else images[chosen]
        vector = vector_of(made, self.tail, support, change)
        self.jacobian = jacobian(made, self.tail, vector, seen)  # (m, C, P)
        self.logits = run(made, self.tail, vector, seen).detach()  # (m, C)
        self.generator = torch.Generator().manual_seed(0)

    def random(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def metrics(self):
        """Each metric with its matrices (m, C, C)."""
        p, a = self.logits.softmax(1), self.random(*self.logits.shape)
        return [
            (SoftmaxMetric(p.T), torch.diag_embed(p) - p[:, :, None] * p[:, None, :]),
            (RankOneMetric(a.T), a[:, :, None] * a[:, None, :]),
        ]


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return Case(*request.param)


def close(found, wanted):
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-9, atol=1e-11)


def test_backward_and_forward(case):
    count, classes, size = case.jacobian.shape
    residuals = case.random(classes, count)
    assert close(case.local.backward(residuals), torch.einsum("ncp,cn->p", case.jacobian, residuals))
    several = case.random(4, classes, count)
    assert close(case.local.backward(several), torch.einsum("ncp,kcn->kp", case.jacobian, several))
    vector = case.random(size)
    assert close(case.local.forward(vector), (case.jacobian @ vector).T)


def test_columns_of_any_parameters(case):
    size = case.tail.size
    for indices in (torch.arange(size), torch.tensor([size - 1, 0, size // 2]), torch.arange(0)):
        found = case.local.columns(case.tail.support(indices))
        assert close(found, case.jacobian[:, :, indices].permute(2, 1, 0))


def test_squares_are_the_diagonal_of_the_gauss_newton_matrix(case):
    for metric, matrices in case.metrics():
        hessian = torch.einsum("ncp,ncd,ndq->pq", case.jacobian, matrices, case.jacobian)
        assert close(case.local.squares(metric), hessian.diagonal())


def test_metrics_are_their_matrices(case):
    for metric, matrices in case.metrics():
        count, classes, _ = case.jacobian.shape
        vectors = case.random(2, 3, classes, count)
        assert close(metric.apply(vectors), torch.einsum("ncd,abdn->abcn", matrices, vectors))
        assert close(metric.diagonal(), matrices.diagonal(dim1=1, dim2=2).T)


def test_metrics_are_second_derivatives():
    """Of the divergence from q at p = q, and of half a squared function of the logits where that is zero."""
    logits = torch.randn(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, a = logits.softmax(0), torch.tensor([1.0, -0.5, 0.25, 0.0]).double()
    for function, metric in (
        (lambda z: (q * (q.log() - z.log_softmax(0))).sum(), SoftmaxMetric(q[:, None])),
        (lambda z: 0.5 * (a @ (z - logits)).square(), RankOneMetric(a[:, None])),
    ):
        wanted = torch.autograd.functional.hessian(function, logits)
        assert torch.allclose(metric.apply(torch.eye(4).double()[:, :, None])[:, :, 0], wanted, atol=1e-12)

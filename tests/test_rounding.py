"""The pretended processor of tests/rounding.py: other bits, near the same numbers, always the same ones."""

import pytest
import torch
from rounding import OtherRounding


def operands(dtype):
    draw = torch.Generator().manual_seed(0)
    return (torch.rand(size, generator=draw, dtype=dtype) - 0.5 for size in ((30, 40), (40, 20)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_operation_has_the_same_bits_and_another_way_has_others(dtype):
    a, b = operands(dtype)
    plain = a @ b
    with OtherRounding(1):
        one, again, other = a @ b, a @ b, (b.T @ a.T).T
    with OtherRounding(2):
        another = a @ b
    assert torch.equal(one, again)
    for each in (other, another, plain):
        assert not torch.equal(one, each)
    assert torch.allclose(one, plain, rtol=3 * torch.finfo(dtype).eps, atol=0), (
        "by a unit in the last place or so"
    )


def test_what_is_exact_everywhere_stays():
    whole = torch.arange(12.0).view(3, 4)
    column, row = next(iter(operands(torch.float32)))[:, :1], torch.rand(1, 7)
    with OtherRounding(1):
        assert torch.equal(whole @ whole.T, torch.tensor([[14.0, 38, 62], [38, 126, 214], [62, 214, 366]]))
        product = column @ row  # of one term each: rounded once
        assert float((torch.arange(7) % 3 == 0).double().mean()) == 3 / 7
    assert torch.equal(product, column * row)


def test_gradients_are_rounded_otherwise_too_and_what_is_not_finite_stays():
    a, b = operands(torch.float64)
    a.requires_grad_()

    def gradient():
        return torch.autograd.grad(torch.nn.functional.cross_entropy(a @ b, torch.arange(30) % 20), a)[0]

    plain = gradient()
    with OtherRounding(1):
        found = gradient()
        odd = torch.tensor([float("nan"), float("inf"), -float("inf")]).exp()
    assert not torch.equal(found, plain)
    assert torch.allclose(found, plain, rtol=1e-12, atol=1e-15)
    assert odd.isnan()[0]
    assert odd[1:].tolist() == [float("inf"), 0.0]

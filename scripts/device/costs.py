"""The arithmetic of a device: that float32 is full whatever others set, and what the same bits every time cost."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from bgd import rng
from bgd.flat import FlatNetwork
from bgd.methods.base import Sample
from bgd.methods.gradient import write_gradient
from experiments.jobs import arithmetic
from experiments.mnist.networks import AlexNet

SIZE = 512
FULL = 1e-5  # relative error of a product in full float32; TF32 rounds factors to 5e-4
REPEATS = 20
IMAGES = 500

OTHERS: dict[str, Callable[[], None]] = {  # what other libraries do
    "matmul.allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "cudnn.allow_tf32": lambda: setattr(torch.backends.cudnn, "allow_tf32", True),
    "set_float32_matmul_precision": lambda: torch.set_float32_matmul_precision("high"),
    "fp32_precision": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
}


def _drawn(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.stream(0, "device check", name).normal(size=shape)).float()


def error_of_products(device: str) -> float:
    """Return the largest relative error of a matrix product and of a convolution in float32."""
    one, other = _drawn("left", SIZE, SIZE).to(device), _drawn("right", SIZE, SIZE).to(device)
    images, kernels = _drawn("images", 8, 64, 28, 28).to(device), _drawn("kernels", 64, 64, 3, 3).to(device)
    pairs = [
        (one @ other, one.double() @ other.double()),
        (F.conv2d(images, kernels), F.conv2d(images.double(), kernels.double())),
    ]
    return max(float((found - wanted).abs().max() / wanted.abs().max()) for found, wanted in pairs)


def arithmetic_holds(device: str) -> dict[str, Any]:
    """Return the errors of products after each thing that others do, before and after the arithmetic is settled.

    `rounded` is the error with TF32 on, which on a card shows that the check would see it; `noticed` says whether a run
    under way would end, which it must.
    """
    before, after, rounded, noticed = {}, {}, {}, {}
    for name, disturb in OTHERS.items():
        disturb()
        arithmetic.settle(device)
        before[name] = error_of_products(device)
        disturb()
        rounded[name] = error_of_products(device)
        noticed[name] = bool(arithmetic.unsettled(device))
        arithmetic.settle(device)
        after[name] = error_of_products(device)
    holds = max(*before.values(), *after.values()) < FULL and all(noticed.values())
    if device == "cuda":
        holds = holds and max(rounded.values()) > FULL
    return {"before": before, "after": after, "rounded": rounded, "noticed": noticed, "holds": holds}


def of_determinism(device: str, width: float) -> dict[str, Any]:
    """Measure a gradient of one sample and a pass over images, with deterministic algorithms and without.

    `same_bits` is how many of some gradients came out the same when taken again.

    Args:
        device: `cpu` or `cuda`; the CPU has one way only, timed twice.
        width: Of AlexNet, as at the start.
    """
    with rng.torch_seeded(rng.stream(0, "init")):
        flat = FlatNetwork(AlexNet(width=width), device)
    images, labels = _drawn("pass", IMAGES, 1, 28, 28).to(device), torch.arange(IMAGES, device=device) % 10
    out: dict[str, Any] = {}
    for name, on in (("free", False), ("deterministic", True)):
        if device == "cuda":
            torch.use_deterministic_algorithms(on)
            torch.backends.cudnn.deterministic = on
        out[name] = _timed(flat, images, labels, device)
    arithmetic.settle(device)
    return {**out, "width": width, "holds": out["deterministic"]["same_bits"] == REPEATS}


def _timed(flat: FlatNetwork, images: torch.Tensor, labels: torch.Tensor, device: str) -> dict[str, Any]:
    def gradient(at: int) -> torch.Tensor:
        part, place = slice(at, at + 1), torch.empty_like(flat.flat)
        return write_gradient(flat.module, flat.space, Sample(0, images[part], labels[part]), place)

    @torch.no_grad()
    def whole() -> torch.Tensor:
        return torch.cat([flat.module(batch) for batch in torch.split(images, 100)])

    same = sum(torch.equal(gradient(at), gradient(at)) for at in range(REPEATS))  # which warms up, too
    whole()
    return {
        "same_bits": same,
        "of": REPEATS,
        "gradient_ms": _median(lambda: gradient(0), device, REPEATS),
        "pass_ms": _median(whole, device, 3),
        "images": len(images),
    }


def _median(call: Callable[[], torch.Tensor], device: str, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        _wait(device)
        started = time.perf_counter()
        call()
        _wait(device)
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 3)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()

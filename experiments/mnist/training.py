"""The base network N0: trained once, cached by what made it, with the test samples it gets wrong."""

import hashlib
import io
import json
import logging
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bgd import rng
from experiments.mnist.data import Data
from experiments.mnist.release import released, weights_name
from experiments.records.files import locked, write
from experiments.records.identity import digest

log = logging.getLogger(__name__)

VERSION = 1  # raised whenever training the same recipe may give another network
# What reading a damaged file may raise.
DAMAGED = (ValueError, LookupError, TypeError, RuntimeError, EOFError, OSError, pickle.UnpicklingError)
DIGEST = "digest"  # of the other facts beside kept weights
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Recipe:
    """How N0 is trained: SGD on the cross-entropy of D.

    Attributes:
        epochs: Passes over D.
        learning_rate: Of SGD, at the start.
        momentum: Of SGD.
        batch_size: Images a step.
        decay_every: Epochs between two decays of the rate.
        decay: Factor on the rate at each of them.
        precision: `float32`, or `bfloat16` for autocast.
        seed: Of the initial weights, the order of the images and dropout.
    """

    epochs: int
    learning_rate: float
    momentum: float = 0.9
    batch_size: int = 64
    decay_every: int = 10
    decay: float = 0.997
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "decay_every"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate}: must be above 0")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: must be at least 0 and below 1")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: must be one of {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class Base:
    """A trained N0.

    Attributes:
        id: Identity of what made it.
        network: In eval mode, on the CPU. Nobody changes it.
        sha256: Of its state dict.
        errors: Indices into the test set that it gets wrong, ascending: the samples, in their fixed order.
    """

    id: str
    network: nn.Module
    sha256: str
    errors: tuple[int, ...]


def identity(network: dict[str, Any], recipe: Recipe, dataset: str) -> str:
    """Return the identity of the N0 that this network, recipe and data set give."""
    return digest({"network": network, "recipe": asdict(recipe), "dataset": dataset, "version": VERSION})


def state_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a state dict: names, shapes, types and bytes, in order of name."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype};".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def obtain(
    folder: Path,
    base_id: str,
    build: Callable[[], nn.Module],
    recipe: Recipe,
    data: Data,
    device: torch.device | str = "cpu",
    release: Path | None = None,
) -> Base:
    """Return the N0 kept in `folder`, or take it from a release or train it, and keep it.

    A kept file that does not have its recorded checksum is reported and trained again, never used; one whose list of
    errors is altered is evaluated again.

    Args:
        folder: Where base networks are kept; `base_id` names the files.
        base_id: From `identity`.
        build: Makes the network, with weights drawn from torch's generator.
        recipe: How to train it.
        data: What to train and test it on.
        device: Where to train it.
        release: Folder of released base networks; None to train.

    Raises:
        DataError: The released file is not the one that is listed.
    """
    weights, facts = folder / weights_name(base_id), folder / f"{base_id}.json"
    with locked(folder / f"{base_id}.lock", wait=True):  # of two processes one trains it, the other reads it
        if weights.exists() and facts.exists():
            try:
                return _read(weights, facts, base_id, build(), data)
            except DAMAGED as error:
                log.warning("kept N0 %s is damaged (%s): training it again", weights, error)
        content = None if release is None else released(release, base_id)
        with rng.torch_seeded(rng.stream(recipe.seed, "init")):
            network = build()
        started = time.perf_counter()
        if content is None:
            train(network, recipe, data, device, checkpoint=folder / f"{base_id}.partial.pt")
        else:
            network.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
            network.eval()
        base = Base(base_id, network, state_sha256(network.state_dict()), misclassified(network, data))
        save_tensors(network.state_dict(), weights)
        seconds = round(time.perf_counter() - started, 1)
        _write_facts(facts, base, {"recipe": asdict(recipe), "seconds": seconds})
        (folder / f"{base_id}.partial.pt").unlink(missing_ok=True)
        return base


def _write_facts(path: Path, base: Base, more: dict[str, Any]) -> None:
    facts = {"base_id": base.id, "sha256": base.sha256, **more, "errors": list(base.errors)}
    write(path, (json.dumps({**facts, DIGEST: digest(facts)}, indent=1) + "\n").encode())


def _read(weights: Path, facts: Path, base_id: str, network: nn.Module, data: Data) -> Base:
    """Return a kept N0; where only the facts beside its weights are altered, they are found anew."""
    record = json.loads(facts.read_text())
    said = record.pop(DIGEST, None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    sha256 = state_sha256(network.state_dict())
    if sha256 != record["sha256"]:
        raise ValueError(f"SHA-256 is {sha256}, recorded {record['sha256']}")
    base = Base(base_id, network.eval(), sha256, tuple(record["errors"]))
    if said == digest(record):
        return base
    errors = misclassified(network, data)  # its facts are altered, or from before they had a digest
    if said is not None or errors != base.errors:
        log.warning("%s is not what was written: N0 is evaluated again from its weights", facts)
    base = replace(base, errors=errors)
    _write_facts(facts, base, {key: record.get(key) for key in ("recipe", "seconds")})
    return base


def train(
    network: nn.Module, recipe: Recipe, data: Data, device: torch.device | str, checkpoint: Path | None = None
) -> None:
    """Train `network` in place and leave it in eval mode on the CPU.

    After each epoch the state goes to `checkpoint`; a training that was interrupted goes on from there, to the
    same network.
    """
    images, labels = data.train.tensors(device)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, recipe.decay_every, recipe.decay)
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "scheduler": scheduler}
    first = _resume(parts, checkpoint)
    started = time.perf_counter()
    for epoch in range(first, recipe.epochs):
        loss = _epoch(network, optimizer, images, labels, recipe, epoch)
        scheduler.step()
        each = (time.perf_counter() - started) / (epoch + 1 - first)
        log.info(
            "training N0: epoch %d of %d, loss %.4f, %.0f s an epoch, %.0f s left",
            epoch + 1, recipe.epochs, loss, each, each * (recipe.epochs - epoch - 1),
        )  # fmt: skip
        if checkpoint is not None and epoch + 1 < recipe.epochs and each > 5:
            save_tensors({"epoch": epoch + 1, **{k: v.state_dict() for k, v in parts.items()}}, checkpoint)
    network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    recipe: Recipe,
    epoch: int,
) -> float:
    order = torch.from_numpy(rng.stream(recipe.seed, "order", epoch).permutation(len(labels)))
    precision = PRECISIONS[recipe.precision]
    total = torch.zeros((), device=images.device)
    with rng.torch_seeded(rng.stream(recipe.seed, "dropout", epoch)):
        for batch in order.to(images.device).split(recipe.batch_size):
            with torch.autocast(images.device.type, dtype=precision, enabled=precision != torch.float32):
                loss = F.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
    return float(total) / len(labels)


def misclassified(network: nn.Module, data: Data, batch_size: int = 500) -> tuple[int, ...]:
    """Return the indices of the test samples that `network` gets wrong, ascending."""
    images, labels = data.test.tensors()
    with torch.no_grad():
        predictions = torch.cat([network(batch).argmax(1) for batch in images.split(batch_size)])
    return tuple((predictions != labels).nonzero().flatten().tolist())


def _resume(parts: dict[str, Any], checkpoint: Path | None) -> int:
    if checkpoint is None or not checkpoint.exists():
        return 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except DAMAGED as error:
        raise RuntimeError(
            f"checkpoint {checkpoint} is damaged ({error}); delete it to start anew"
        ) from error
    log.info("training N0: going on after epoch %d", state["epoch"])
    return int(state["epoch"])


def kept_tensors(path: Path) -> dict[str, torch.Tensor] | None:
    """Read the tensors that `keep_tensors` wrote; None where they are missing or damaged, to be made again."""
    if not path.exists():
        return None
    try:
        kept = torch.load(path, weights_only=True)
        if not isinstance(kept, dict):
            raise TypeError(f"it holds a {type(kept).__name__}")
        sha256 = kept.pop("sha256")
        if state_sha256(kept) == sha256:
            return kept
        log.warning("%s is altered: making it again", path)
    except DAMAGED as error:
        log.warning("%s is damaged (%s): making it again", path, error)
    return None


def keep_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors and their checksum, for `kept_tensors`."""
    tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
    save_tensors({**tensors, "sha256": state_sha256(tensors)}, path)


def save_tensors(state: Any, path: Path) -> None:
    """Write tensors, or a dict of them, to a file that is either whole or not there."""
    content = io.BytesIO()
    torch.save(
        state, content
    )  # into a file that cannot be written it fails with "unexpected pos", no word of the disk
    write(path, content.getbuffer())

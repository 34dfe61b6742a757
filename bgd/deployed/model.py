"""A model as commands work on it, torch or ONNX alike: a network to correct, and what the deployed model says."""

import importlib
import re
import sys
import warnings
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from bgd.deployed.exported import read_program
from bgd.deployed.file import TensorFile, equal
from bgd.deployed.onnx_head import OnnxModel, Progress
from bgd.deployed.tensors import open_tensors
from bgd.errors import ConfigError, first_line, nearest
from bgd.flat import check_model, private_copy
from bgd.outputs import logits_in
from bgd.patch import Patch

BATCH = 100  # inputs at a time
DEVICES = ("cpu", "cuda")
WEIGHTS = ("safetensors", "state dict", "GGUF")  # files without a network
FACTORY = re.compile(r"[\w.]+:[\w.]+")


class Deployed(Protocol):
    """A model, whatever runs it.

    Attributes:
        network: Gives logits: for `bgd.correct`, `Corrector`, `effects` and `Evaluator`.
        source: The file that patches are written into; None where there is none.
    """

    network: nn.Module
    source: Path | None

    def inputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the inputs of `network` for those of the model (N, ...): the same, or features of them."""
        ...

    def outputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the scores (N, C) of inputs (N, ...), as the deployed model gives them."""
        ...

    def stored(self, patch: Patch) -> Patch:
        """Return a patch of `network` as it is saved: in the file's names and shapes, with hashes of its tensors."""
        ...

    def loaded(self, patch: Patch) -> Patch:
        """Return a patch that was saved as one of `network`."""
        ...

    def patched(self, patch: Patch) -> "Deployed":
        """Return the same model, running with a patch of `network` or one that was saved."""
        ...


class TorchModel:
    """A model in torch.

    Attributes:
        network: Gives what its author made it give; in eval mode.
        source: The file of its weights; None for those of the factory.
        device: Where it runs.
    """

    def __init__(self, network: nn.Module, source: Path | None = None, device: str = "cpu") -> None:
        self.network, self.source, self.device = network.eval().to(device), source, device

    def inputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the inputs themselves, where the network is."""
        return raw.to(self.device)

    @torch.no_grad()
    def outputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the scores (N, C) of inputs (N, ...)."""
        lots = torch.split(raw, BATCH)
        return torch.cat([logits_in(self.network(some.to(self.device, copy=True))) for some in lots]).cpu()

    def stored(self, patch: Patch) -> Patch:
        """Return a patch with the hashes of the tensors that it changes."""
        return patch.hashed(self.network)

    def loaded(self, patch: Patch) -> Patch:
        """Return a patch as it is."""
        return patch

    def patched(self, patch: Patch) -> "TorchModel":
        """Return the same model with a patch in it."""
        network = private_copy(self.network)
        patch.apply_(network)
        return TorchModel(network, self.source, self.device)


def load(
    text: str | PathLike[str],
    weights: str | PathLike[str] | None = None,
    *,
    head: str | None = None,
    cache: str | PathLike[str] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Deployed:
    """Load a model.

    Args:
        text: `package.module:factory`, what makes the network or the network itself; or a file of ONNX, torch.export or
            TorchScript, told by its content.
        weights: With a factory: its weights, a state dict, safetensors or GGUF under the names of the network.
        head: Of an ONNX file, another MatMul or Gemm than the last: see `OnnxModel.open`.
        cache: Of an ONNX file, a folder to keep features in.
        device: Where a network of torch runs, one of `DEVICES`.
        progress: Of an ONNX file, is told how many inputs are done, and of how many.

    Raises:
        ConfigError: There is no such factory, file or device, it gives no network, or the weights are another's.
        FormatError: A file is none of these formats, or has no weights that can be changed.
        NetworkError: An ONNX file has no head that a patch can change.
        ModuleNotFoundError: A package that the file needs is not installed.
    """
    _check_device(device)
    path = Path(text)
    if path.is_file():
        kind = open_tensors(path).kind
        if kind in WEIGHTS:
            raise ConfigError(
                f"model={str(path)!r} holds weights alone ({kind}): give package.module:factory, which makes the "
                "network, and this file as its weights"
            )
        if weights is not None:
            raise ConfigError(
                f"weights={str(weights)!r}: {path} has its own; weights go with package.module:factory"
            )
        if kind == "ONNX":
            if device != "cpu":
                raise ConfigError(f"device={device!r}: ONNX Runtime runs {path} on the CPU here")
            return OnnxModel.open(path, head, cache=cache, progress=progress)
        _refuse_onnx(text, head=head, cache=cache)
        return TorchModel(_network_of(path, kind), path, device)
    _refuse_onnx(text, head=head, cache=cache)
    if not FACTORY.fullmatch(str(text)):
        raise ConfigError(
            f"model={str(text)!r}: no such file; package.module:factory is wanted, or a file of ONNX, torch.export or "
            "TorchScript"
        )
    network = _made(str(text))
    if weights is None:
        _warn_of_chance(network, str(text))
        return TorchModel(network, device=device)
    _fill(network, Path(weights))
    return TorchModel(network, Path(weights), device)


def _check_device(device: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ConfigError: It says what is.
    """
    if device not in DEVICES:
        raise ConfigError(f"device={device!r}: no such device; {nearest(device, DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device='cuda': torch finds no CUDA device here; device='cpu' runs anywhere")


def _warn_of_chance(network: nn.Module, text: str) -> None:
    """Warn where a factory gives other weights each time: a patch would be of a model that nobody sees again."""
    try:
        again = _made(text)
    except ConfigError:  # it may be called once
        return
    mine, theirs = (dict(each.named_parameters()) for each in (network, again))
    other = [name for name, value in mine.items() if name not in theirs or not equal(value, theirs[name])]
    if other:
        warnings.warn(
            f"{text} gives other weights each time, {other[0]} for one: a patch of these fits no other; where trained "
            "ones are meant, give their file as weights",
            stacklevel=3,
        )


def _refuse_onnx(text: str | PathLike[str], **given: str | PathLike[str] | None) -> None:
    """Refuse what is given of an ONNX file alone.

    Raises:
        ConfigError: Something is.
    """
    for key, value in given.items():
        if value is not None:
            raise ConfigError(f"{key}={str(value)!r}: it is of an ONNX file, and {str(text)!r} is none")


def _network_of(path: Path, kind: str) -> nn.Module:
    """Return the network in a file of torch's."""
    if kind == "torch.export":
        return read_program(path)
    script: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return script


def _made(text: str) -> nn.Module:
    """Call a factory, which may lie in the folder at hand."""
    module, _, name = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"model={text!r}: {error}, neither installed nor in this folder") from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise ConfigError(f"model={text!r}: {_raised(error)} while {module} was imported") from error
    for part in name.split("."):
        if not hasattr(found, part):
            shown = [each for each in dir(found) if not each.startswith("_")]
            raise ConfigError(f"model={text!r}: {module} has no {part!r}; {nearest(part, shown)}")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        check_model(found)
    try:
        made = private_copy(found) if isinstance(found, nn.Module) else found()
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise ConfigError(f"model={text!r}: {_raised(error)}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"model={text!r}: it gives a {type(made).__name__}, and no nn.Module")
    check_model(made)
    return made


def _raised(error: BaseException) -> str:
    return f"it raised {type(error).__name__}: {first_line(error)}"


def _fill(network: nn.Module, path: Path) -> None:
    """Load weights into a network, from behind whatever prefix the file has.

    Warns of tensors of whole numbers that the file has not, which stay the factory's, and where the file has another
    type of floating-point number, as a patch of the network is none of the file.
    """
    if not path.is_file():
        raise ConfigError(f"weights={str(path)!r}: no such file")
    file = open_tensors(path)
    if file.kind not in WEIGHTS:
        raise ConfigError(
            f"weights={str(path)!r} is {file.kind}, a model of its own: give it without a factory"
        )
    state = {name: each for name, each in network.state_dict().items() if isinstance(each, torch.Tensor)}
    own = {name: each for name, each in state.items() if each.is_floating_point()}
    prefix = _prefix(list(own), file)
    for name in file.names:
        if name.startswith(prefix) and name.removeprefix(prefix) not in own:
            raise ConfigError(f"{path} holds {name!r}, which the network has not; {nearest(name, own)}")
    for name, tensor in own.items():
        _copy(tensor, file.tensor(prefix + name), prefix + name, path)
    for name in (each for each in state if each not in own):
        if prefix + name in file.rest:
            _copy(state[name], file.rest[prefix + name], prefix + name, path)
        elif not name.endswith("num_batches_tracked"):  # BatchNorm does not compute with it in eval mode
            warnings.warn(
                f"{path} holds no {prefix + name!r}: it stays as the factory makes it", stacklevel=3
            )
    theirs = _types(file.tensor(prefix + name) for name in own)
    if theirs != _types(own.values()):
        warnings.warn(
            f"{path} holds {theirs}, and the network {_types(own.values())}: no patch of it can be written there",
            stacklevel=3,
        )


def _types(tensors: Iterable[torch.Tensor]) -> str:
    return " and ".join(sorted({str(each.dtype).removeprefix("torch.") for each in tensors}))


def _copy(tensor: torch.Tensor, theirs: torch.Tensor, name: str, path: Path) -> None:
    """Copy a tensor of a file into one of the network.

    Raises:
        ConfigError: It has another shape.
    """
    if theirs.shape != tensor.shape:
        raise ConfigError(
            f"{path} holds the weights of another network: {name} is {tuple(theirs.shape)} there, "
            f"{tuple(tensor.shape)} in the network"
        )
    tensor.copy_(theirs)


def _prefix(own: list[str], file: TensorFile) -> str:
    """Return the prefix of the network's names in a file, as `module.` or `state_dict.`: mostly empty."""
    starts = {name.removesuffix(own[0]) for name in file.names if name.endswith(own[0])}
    found = sorted(start for start in starts if all(start + name in file.names for name in own))
    if "" in found or len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(
            f"{file.path} holds the network's weights several times, behind {', '.join(found)}: save one"
        )
    absent = next(name for name in own if name not in file.names)
    raise ConfigError(
        f"{file.path} holds the weights of another network: it has no {absent!r}; {nearest(absent, file.names)}"
    )

"""What the files of a command line hold: a model, inputs and labels for it, a patch, what a method may know."""

from argparse import Namespace
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from bgd.cli import arrays
from bgd.cli.classes import Classes, labels
from bgd.cli.inputs import Inputs, Reader
from bgd.cli.parser import UsageError
from bgd.deployed import carried, open_tensors
from bgd.deployed.model import Deployed, load
from bgd.deployed.onnx_head import OnnxModel
from bgd.errors import ConfigError
from bgd.knowledge import Knowledge
from bgd.outputs import InputError, passed, readable
from bgd.patch import Patch, PatchError
from bgd.progress import told


@dataclass(frozen=True, eq=False)
class Asked:
    """What commands that run a model have in common.

    Attributes:
        model: The model.
        reader: Reads inputs.
        classes: Names of the model's classes.
    """

    model: Deployed
    reader: Reader
    classes: Classes
    _read: dict[str, Inputs] = field(default_factory=dict)
    _given: dict[Inputs, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: Namespace) -> "Asked":
        """Load the model, and what is needed to read inputs for it."""
        reader = Reader.of(arguments.transform, arguments.dtype)
        classes = Classes.of(arguments.classes)
        model = model_of(
            arguments,
            head=arguments.head,
            cache=arguments.cache,
            device=getattr(arguments, "device", "cpu"),
            progress=partial(told, "inputs through ONNX Runtime"),
        )
        return cls(model, reader, classes)

    def read(self, text: str, where: str) -> Inputs:
        """Read inputs, once."""
        if text not in self._read:
            self._read[text] = self.reader.read(text, where)
        return self._read[text]

    def given(self, inputs: Inputs) -> torch.Tensor:
        """Return inputs as the model's network takes them: of an ONNX file the features, computed once.

        Raises:
            InputError: They are of another type of number, or the model does not take them.
        """
        if inputs not in self._given:
            self._given[inputs] = self._checked(inputs)
        return self._given[inputs]

    def _checked(self, inputs: Inputs) -> torch.Tensor:
        try:
            values = self.model.inputs(inputs.values)
        except InputError as error:
            raise InputError(f"{inputs.text}: {error}") from error
        network = self.model.network
        kinds = {each.dtype for each in network.parameters()}
        if len(kinds) != 1 or values.dtype in kinds or values.is_complex():
            return values
        (wanted,) = kinds
        if values.is_floating_point() or (not _takes(network, values) and _takes(network, values.to(wanted))):
            own, kind = (str(each).removeprefix("torch.") for each in (values.dtype, wanted))
            raise InputError(
                f"{inputs.text} is {own}, and the model takes {kind}: --dtype {kind} turns it into that"
            )
        return values

    @torch.no_grad()
    def looked_at(self, text: str, where: str) -> Inputs:
        """Read inputs that are run later, and run the first: what the model does not take is refused before a search.

        Raises:
            InputError: The model does not take them.
        """
        found = self.read(text, where)
        passed(self.model.network, self.given(found)[:1], where)
        return found

    def sample(self, arguments: Namespace) -> Inputs:
        """Read the sample: the inputs that --index takes, or all.

        Raises:
            InputError: The model does not take it.
            ConfigError: Names of classes are more or fewer than the model has.
        """
        found = self.read(arguments.sample, "sample")
        found = found if arguments.index is None else found.taken(arguments.index)
        x = self.given(found)[:1]
        with torch.no_grad():
            passed(self.model.network, x, found.text)
        if self.classes.names:
            self._check_names(x)
        return found

    @torch.no_grad()
    def _check_names(self, x: torch.Tensor) -> None:
        classes = readable(self.model.network, x, where="sample")(x.clone()).shape[-1]
        if len(self.classes.names) != classes:
            raise ConfigError(
                f"--classes: it names {len(self.classes.names)} classes, and the model has {classes}"
            )

    def labels(self, text: str | None, inputs: Inputs, where: str) -> torch.Tensor | None:
        """Read the labels of inputs (N,), where the inputs are; None where there are none.

        Raises:
            InputError: There are more or fewer of them than inputs.
        """
        if text is None:
            return None
        found = labels(text, self.classes, where)
        if len(found) != len(inputs):
            raise InputError(
                f"{where}: {text} holds {len(found)} labels, and {inputs.text} {len(inputs)} inputs"
            )
        return found.to(self.given(inputs).device)

    def fix(self, path: str) -> Patch:
        """Read a patch as one of the model's network, whatever it starts from; of an ONNX file its own names are known.

        Raises:
            PatchError: It is of tensors that the model has not.
        """
        patch, source = Patch.load(path), self.model.source
        if isinstance(self.model, OnnxModel) and source is not None:
            file = open_tensors(source)
            patch = patch if set(patch.tensors) <= set(file.names) else carried(patch, file).patch
        return self.model.loaded(patch)

    def patch(self, path: str) -> Patch:
        """Read a patch as one of the model's network; into an ONNX file it is carried by value.

        Raises:
            PatchError: It does not start from the model.
        """
        patch, source = Patch.load(path), self.model.source
        if isinstance(self.model, OnnxModel) and source is not None:
            patch = carried(patch, open_tensors(source)).patch
        patch = self.model.loaded(patch)
        found = patch.verify(self.model.network)
        if found.state != "base":
            reason = found.reason or "the model has it in it already"
            raise PatchError(f"{path} does not start from the model: {reason}")
        return patch

    def knowledge(self, arguments: Namespace) -> Knowledge:
        """Gather what a method may know."""
        return Knowledge.of(
            self.model.network,
            keep=self._features(arguments.keep, "keep"),
            training=self.training(arguments.training),
            statistics=self.statistics(arguments.statistics),
            seed=getattr(arguments, "seed", 0),
        )

    def _features(self, text: str | None, where: str) -> torch.Tensor | None:
        return None if text is None else self.given(self.read(text, where))

    def training(self, given: tuple[str, str] | None) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Read training data: inputs as the network takes them, and labels; None for none."""
        if given is None:
            return None
        inputs = self.read(given[0], "training")
        found = self.labels(given[1], inputs, "training")
        assert found is not None, "the pair has both"
        return self.given(inputs), found

    @staticmethod
    def statistics(text: str | None) -> dict[str, torch.Tensor] | None:
        """Read statistics of training data by name; None for none.

        Raises:
            InputError: The file holds something else.
        """
        if text is None:
            return None
        path, _ = arrays.split(text)
        found = arrays.tensors(path, "statistics")
        if not all(isinstance(each, torch.Tensor) for each in found.values()):
            raise InputError(f"statistics: {text} holds other things than tensors by name")
        return found


@torch.no_grad()
def _takes(network: nn.Module, inputs: torch.Tensor) -> bool:
    """Whether a network takes the first of some inputs."""
    try:
        passed(network, inputs[:1])
    except InputError:
        return False
    return True


def model_of(arguments: Namespace, **running: Any) -> Deployed:
    """Load the model of a command line.

    Args:
        arguments: Of the command.
        **running: How it is run, see `bgd.deployed.model.load`.

    Raises:
        UsageError: --weights and --factory say two things.
    """
    if arguments.factory and arguments.weights:
        raise UsageError(
            "--factory goes with a MODEL that is a file of weights, --weights with one that is a factory"
        )
    made, weights = (
        (arguments.factory, arguments.model) if arguments.factory else (arguments.model, arguments.weights)
    )
    return load(made, weights, **running)

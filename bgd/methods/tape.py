"""A tape: one pass of any network as the tensor operations it was, gone through again from an edit on.

How a network is written does not matter: branches, attention and functions of torch come out as operations alike. After
an edit of a few parameters only those operations run again that they lead to, on the same numbers as in a pass of the
edited network, so that the outcome is the same bit for bit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from bgd.parameters import ParameterSpace

# An operation whose outcome is a number of Python, has a shape that hangs on values, or is drawn.
BEYOND = (
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
)
GROWN = 1.5  # by which the first parameters are multiplied, to compare a tape with the network

Places = dict[int, torch.Tensor]  # values by their number on the tape


@dataclass(frozen=True)
class _Read:
    """Stands in an operation's arguments for a value of the tape."""

    place: int


@dataclass(frozen=True)
class _Operation:
    """A tensor operation.

    Attributes:
        function: Of torch, as it is dispatched.
        leaves: Its arguments one by one; parameters and constants as they are, values of the tape as `_Read`.
        form: How they hang together.
        writes: Whether it writes into its first argument.
        parameters: Names of the weights that it reads: what a correction may change.
        reads: Values of the tape that it reads.
        gives: Numbers of the values that come out; None for what is no tensor.
    """

    function: Any
    leaves: tuple[Any, ...]
    form: TreeSpec
    writes: bool
    parameters: frozenset[str]
    reads: frozenset[int]
    gives: tuple[int | None, ...]

    @property
    def keeps(self) -> frozenset[int]:
        """Values that it may have to read again as they were: not its only source, with which alone it runs again."""
        return self.reads if self.parameters or len(self.reads) > 1 else frozenset()


class Tape:
    """A pass of a network over one image, and the values on the way.

    Args:
        network: In eval mode; its parameters are views into one vector.
        space: Flat index over them.
        flat: That vector (|W|,).
        image: The input (1, ...).

    Attributes:
        logits: What the network gives (1, C).
        holds: Whether the pass can be gone through again; where not, running the network is all there is.
    """

    @torch.no_grad()
    def __init__(
        self, network: nn.Module, space: ParameterSpace, flat: torch.Tensor, image: torch.Tensor
    ) -> None:
        recorder = _Recorder(space, flat)
        with recorder:
            outputs = network(image)
        self.logits: torch.Tensor = outputs
        self._end = recorder.place_of(outputs)
        self.holds = recorder.holds and self._end is not None
        self._operations = recorder.operations
        kept = frozenset().union(*(each.keeps for each in self._operations))
        self._values = {place: value for place, value in recorder.values.items() if place in kept}

    @torch.no_grad()
    def again(self, tensors: Collection[str]) -> tuple[torch.Tensor, Places]:
        """Go through the pass again with other values of some weights, which are in the vector now.

        Returns:
            The logits (1, C), and every value that was computed anew. The tape stays as it is: see `keep`.
        """
        fresh: Places = {}
        for each in self._operations:
            if each.parameters.isdisjoint(tensors) and each.reads.isdisjoint(fresh):
                continue
            leaves = [self._read(leaf, fresh) if isinstance(leaf, _Read) else leaf for leaf in each.leaves]
            if each.writes:
                leaves[0] = leaves[0].clone()
            args, named = tree_unflatten(leaves, each.form)
            found = tree_leaves(each.function(*args, **named))
            fresh.update(
                (place, value) for place, value in zip(each.gives, found, strict=True) if place is not None
            )
        assert self._end is not None, "asked of a tape that holds"
        return fresh.get(self._end, self.logits), fresh

    def keep(self, logits: torch.Tensor, places: Places) -> None:
        """Make what `again` gave the pass of the tape."""
        self._values.update((place, value) for place, value in places.items() if place in self._values)
        self.logits = logits

    def _read(self, leaf: _Read, fresh: Places) -> torch.Tensor:
        value = fresh.get(leaf.place)
        return self._values[leaf.place] if value is None else value


@torch.no_grad()
def is_faithful(network: nn.Module, space: ParameterSpace, flat: torch.Tensor, image: torch.Tensor) -> bool:
    """Return whether a tape of a network says what the network says; the network is as before at the end.

    A forward function may take values out of torch, into numpy, and go on with those: no tape sees that. So the first
    parameters that a pass reads are changed, and the two are compared. It takes three passes.
    """
    tape = Tape(network, space, flat, image)
    if not tape.holds:
        return False
    first = next((name for each in tape._operations for name in each.parameters), None)
    if first is None:
        return False
    span = space.span(first)
    before = flat[span].clone()
    flat[span] *= GROWN
    taped, ran = tape.again({first})[0], network(image)
    flat[span] = before
    return bool(((taped == ran) | (taped.isnan() & ran.isnan())).all())


class _Recorder(TorchDispatchMode):
    """Notes the operations of a pass.

    An operation that writes into a value gives another value, with a number of its own, and of the one before a copy is
    kept. Whatever shares memory with it may not be read any more: no tape is made of that.
    """

    def __init__(self, space: ParameterSpace, flat: torch.Tensor) -> None:
        super().__init__()
        self.holds = True
        self.operations: list[_Operation] = []
        self.values: Places = {}
        self._weights = set(space.weights)
        self._space, self._memory = space, flat.untyped_storage().data_ptr()
        self._places: dict[int, int] = {}  # by identity of the tensor; `_alive` keeps these apart
        self._alive: list[torch.Tensor] = []
        self._sharing: dict[int, list[int]] = {}  # values by their memory
        self._spoilt: set[int] = set()

    def place_of(self, tensor: Any) -> int | None:
        """Return the number of a value; None where it is none of the tape's."""
        return self._places.get(id(tensor))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self.holds or any(tag in func.tags for tag in BEYOND):
            self.holds = False
            return func(*args, **kwargs)
        leaves, form = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        named = {name for tensor in tensors for name in self._parameters_in(tensor)}
        parameters = frozenset(named & self._weights)
        noted = tuple(
            _Read(place)
            if isinstance(leaf, torch.Tensor) and (place := self.place_of(leaf)) is not None
            else leaf
            for leaf in leaves
        )
        reads = frozenset(leaf.place for leaf in noted if isinstance(leaf, _Read))
        written = _written(func, args, kwargs)
        self.holds = reads.isdisjoint(self._spoilt) and self._can_write(written, noted)
        if written and self.holds:
            self._set_aside(written[0], alone=not parameters and len(reads) == 1)
        found = func(*args, **kwargs)
        if not self.holds:
            return found
        gives = tuple(self._note(value) for value in tree_leaves(found))
        self.operations.append(_Operation(func, noted, form, bool(written), parameters, reads, gives))
        return found

    def _parameters_in(self, tensor: torch.Tensor) -> Sequence[str]:
        """Return the parameters whose memory a tensor is in, where it is no value of the tape."""
        if id(tensor) in self._places or not tensor.numel():
            return ()
        memory = tensor.untyped_storage().data_ptr()
        if memory != self._memory:
            self.holds &= memory not in self._sharing  # a value by another way than an operation
            return ()
        start = int(tensor.storage_offset())
        reach = sum(step * (size - 1) for step, size in zip(tensor.stride(), tensor.shape, strict=True))
        first, last = (self._space.locate(index)[0] for index in (start, start + int(reach)))
        names = self._space.names
        return names[names.index(first) : names.index(last) + 1]

    def _can_write(self, written: Sequence[Any], noted: Sequence[Any]) -> bool:
        """Return whether an operation writes into nothing, or into its first argument, a value of the tape."""
        if not written:
            return True
        return (
            len(written) == 1 and isinstance(noted[0], _Read) and noted[0].place == self.place_of(written[0])
        )

    def _set_aside(self, tensor: torch.Tensor, alone: bool) -> None:
        """Keep a value, and those that share its memory, as they are before it is written over.

        Args:
            tensor: The value.
            alone: Whether the operation that writes has no other source.
        """
        place = self.place_of(tensor)
        kept = frozenset().union(*(each.keeps for each in self.operations))
        for other in self._sharing.pop(tensor.untyped_storage().data_ptr(), ()):
            if other in kept or not alone:
                self.values[other] = self.values[other].clone()
            if other != place:
                self._spoilt.add(other)

    def _note(self, value: Any) -> int | None:
        if not isinstance(value, torch.Tensor):
            self.holds &= value is None
            return None
        place = len(self.values)
        self.values[place] = value
        self._places[id(value)] = place
        self._alive.append(value)
        if value.numel():
            self._sharing.setdefault(value.untyped_storage().data_ptr(), []).append(place)
        return place


def _written(function: Any, args: Sequence[Any], named: dict[str, Any]) -> list[Any]:
    """Return the arguments that an operation writes into: tensors, or lists of them."""
    if not function._schema.is_mutable:
        return []
    given = dict(zip((about.name for about in function._schema.arguments), args, strict=False)) | named
    found = (given.get(about.name) for about in function._schema.arguments if about.is_write)
    return [value for value in found if value is not None]

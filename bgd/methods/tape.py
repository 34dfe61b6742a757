"""A tape: one pass of any network as the tensor operations it was, gone through again from an edit on.

How a network is written does not matter: branches, attention and functions of torch come out as operations alike. After
an edit of a few parameters only those operations run again that they lead to, on the same numbers as in a pass of the
edited network, so that the outcome is the same bit for bit.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from bgd.modes import Watch
from bgd.parameters import ParameterSpace

# An operation whose outcome is a number of Python, has a shape that hangs on values, or is drawn.
BEYOND = (
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
)
OUTSIDE = -1  # among values that share memory: it was there before the pass
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
        given: Its arguments by place; parameters and constants as they are, values of the tape as `_Read`.
        named: Its arguments by name, likewise.
        copies: Whether it writes into its first argument, and into a copy of it when it runs again.
        parameters: Names of the weights that it reads: what a correction may change.
        reads: Values of the tape that it reads.
        gives: Numbers of the values that come out; None for what is no tensor.
    """

    function: Any
    given: tuple[Any, ...]
    named: dict[str, Any]
    copies: bool
    parameters: frozenset[str]
    reads: frozenset[int]
    gives: tuple[int | None, ...]

    def run(self, read: Callable[[_Read], torch.Tensor]) -> tuple[Any, ...]:
        """Run it again on values of the tape, and return what comes out."""
        given = [_replaced(each, _Read, read) for each in self.given]
        if self.copies:
            given[0] = given[0].clone()
        named = {name: _replaced(each, _Read, read) for name, each in self.named.items()}
        return tuple(_leaves(self.function(*given, **named)))


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
        self._values = recorder.values
        self._last = self._last_reads()

    @torch.no_grad()
    def again(self, tensors: Collection[str]) -> tuple[torch.Tensor, Places]:
        """Go through the pass again with other values of some weights, which are in the vector now.

        Returns:
            The logits (1, C), and what is new of the tape's values. The tape stays as it is: see `keep`.
        """
        fresh: Places = {}
        for each, last in zip(self._operations, self._last, strict=True):
            if each.parameters.isdisjoint(tensors) and each.reads.isdisjoint(fresh):
                continue
            found = each.run(lambda leaf: self._read(leaf, fresh))
            fresh.update(
                (place, value) for place, value in zip(each.gives, found, strict=True) if place is not None
            )
            del found
            for place in last:
                fresh.pop(place, None)
        assert self._end is not None, "asked of a tape that holds"
        return fresh.get(self._end, self.logits), fresh

    def keep(self, logits: torch.Tensor, places: Places) -> None:
        """Make what `again` gave the pass of the tape."""
        self._values.update((place, value) for place, value in places.items() if place in self._values)
        self.logits = logits

    def _last_reads(self) -> list[list[int]]:
        """Return, for each operation, the values that none after it reads and that need not be kept: let go there."""
        last: list[list[int]] = []
        later = {self._end, *self._values}
        for each in reversed(self._operations):
            last.append([place for place in {*each.reads, *each.gives} - later if place is not None])
            later |= each.reads
        return last[::-1]

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


class _Recorder(Watch):
    """Notes the operations of a pass, and holds those of its values that may have to be read again.

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
        self._numbers = count()
        self._places = WeakTensorKeyDictionary()  # number of each value that the network still has
        self._sharing: dict[int, list[int]] = {}  # values by their memory
        self._spoilt: set[int] = set()

    def place_of(self, tensor: Any) -> int | None:
        """Return the number of a value; None where it is none of the tape's."""
        found: int | None = self._places.get(tensor) if isinstance(tensor, torch.Tensor) else None
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.holds &= not _is_beyond(func)
        if not self.holds:
            return func(*args, **kwargs)
        tensors = list(_tensors((args, tuple(kwargs.values()))))
        places = {id(tensor): self.place_of(tensor) for tensor in tensors}
        read = {place: tensor for tensor in tensors if (place := places[id(tensor)]) is not None}
        outside = (tensor for tensor in tensors if places[id(tensor)] is None)
        parameters = self._weights.intersection(
            name for each in outside for name in self._parameters_in(each)
        )
        written = _written(func, args, kwargs)
        self.holds &= self._spoilt.isdisjoint(read) and self._can_write(written, args)
        if not self.holds:
            return func(*args, **kwargs)
        if parameters or len(read) > 1:  # else it runs again with its only source alone, which is then new
            self.values.update(read)

        def noted(tensor: torch.Tensor) -> torch.Tensor | _Read:
            place = places[id(tensor)]
            return tensor if place is None else _Read(place)

        given = tuple(_replaced(each, torch.Tensor, noted) for each in args)
        named = {name: _replaced(each, torch.Tensor, noted) for name, each in kwargs.items()}
        copies = bool(written) and self._set_aside(written[0])
        memory = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        found = func(*args, **kwargs)
        gives = tuple(self._note(value, memory) for value in _leaves(found))
        self.operations.append(
            _Operation(func, given, named, copies, frozenset(parameters), frozenset(read), gives)
        )
        return found

    def _parameters_in(self, tensor: torch.Tensor) -> Sequence[str]:
        """Return the parameters whose memory a tensor is in, where it is no value of the tape."""
        if not tensor.numel():
            return ()
        memory = tensor.untyped_storage().data_ptr()
        if memory != self._memory:
            self.holds &= memory not in self._sharing  # a value by another way than an operation
            return ()
        start = int(tensor.storage_offset())
        reach = sum(step * (size - 1) for step, size in zip(tensor.stride(), tensor.shape, strict=True))
        bounds = self._space.bounds
        first, after = bisect_right(bounds, start) - 1, bisect_left(bounds, start + int(reach) + 1)
        return self._space.names[first:after]

    def _can_write(self, written: Sequence[Any], args: Sequence[Any]) -> bool:
        """Return whether an operation writes into nothing, or into its first argument, a value of the tape."""
        if not written:
            return True
        return len(written) == 1 and written[0] is args[0] and self.place_of(args[0]) is not None

    def _set_aside(self, tensor: torch.Tensor) -> bool:
        """Hold a value, and those that share its memory, as they are before it is written over.

        Returns:
            Whether there are any, so that only a copy may be written to when the operation runs again.
        """
        place, memory = self.place_of(tensor), tensor.untyped_storage().data_ptr()
        sharing = self._sharing.get(memory, [])
        for other in sharing:
            if other in self.values:
                self.values[other] = self.values[other].clone()
            if other != place:
                self._spoilt.add(other)
        self._sharing[memory] = [OUTSIDE] if OUTSIDE in sharing else []
        return sharing != [place] or place in self.values

    def _note(self, value: Any, memory: Collection[int]) -> int | None:
        """Number a value that came out, of an operation on what lies in some memory."""
        if not isinstance(value, torch.Tensor):
            self.holds &= value is None
            return None
        place = next(self._numbers)
        self._places[value] = place
        if value.numel():
            own = value.untyped_storage().data_ptr()
            if own not in memory:
                self._sharing[own] = []  # whatever lay there before is gone
            self._sharing.setdefault(own, [OUTSIDE]).append(place)
        return place


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors among arguments, those in lists too."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            if not isinstance(each, (int, float)):
                yield from _tensors(each)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the arguments of an operation, or what comes out of it, one by one: those in lists too."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _replaced(value: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """Return an argument with what is of a kind in it replaced: itself, or those in a list."""
    if isinstance(value, kind):
        return by(value)
    if isinstance(value, (list, tuple)):
        return [_replaced(each, kind, by) for each in value]
    return value


@cache
def _is_beyond(function: Any) -> bool:
    """Return whether an operation is one of those that no tape holds."""
    return any(tag in function.tags for tag in BEYOND)


@cache
def _names_written(function: Any) -> tuple[tuple[int, str], ...]:
    """Return place and name of the arguments that an operation writes into."""
    arguments = function._schema.arguments if function._schema.is_mutable else ()
    return tuple((place, about.name) for place, about in enumerate(arguments) if about.is_write)


def _written(function: Any, args: Sequence[Any], named: dict[str, Any]) -> list[Any]:
    """Return the arguments that an operation writes into: tensors, or lists of them."""
    found = (
        args[place] if place < len(args) else named.get(name) for place, name in _names_written(function)
    )
    return [value for value in found if value is not None]

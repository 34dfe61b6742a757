"""What a survey of methods finds: an attempt for each method and input, a point for each method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from statistics import median
from typing import TYPE_CHECKING, Any

from bgd.errors import nearest
from bgd.markdown import markdown
from bgd.patch import Patch

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Attempt:
    """A method on one input.

    Attributes:
        method: Its name.
        input: Number of the input.
        reason: Why it was not corrected; empty where it was. Everything below is None then, but for the seconds.
        seconds: That the correction took; the first of a method has what the others share.
        parameters: Changed.
        flips: Held-out inputs whose class is another one.
        broken, fixed: Of them, those that were right or are right now; None without their labels.
        loss_median, loss_95, loss_worst: Quantiles of the change in loss over the held-out inputs, in nats.
        margin_worst: The largest fall of a held-out input's margin, in logits, below 0.
        patch: The change; None where it is of more values than are kept.
    """

    method: str
    input: int
    reason: str
    seconds: float
    parameters: int | None = None
    flips: int | None = None
    broken: int | None = None
    fixed: int | None = None
    loss_median: float | None = None
    loss_95: float | None = None
    loss_worst: float | None = None
    margin_worst: float | None = None
    patch: Patch | None = None


@dataclass(frozen=True)
class Point:
    """A method over the inputs that it corrected: medians over them, and the worst.

    Attributes:
        method: Its name.
        knows: What it knows, one of `bgd.knowledge.LEVELS`; empty where it does not say.
        closed_form: Whether it is one: a formula in place of a search.
        optimal: Whether no other method corrects as many with as few parameters and as few flips, at the medians, and
            is better in one of the three.
        corrected: Inputs.
        parameters, flips, broken: Median; `broken` is None without labels.
        flips_worst, broken_worst: Largest.
        loss_95: Median of the 95th percentile of the change in loss, in nats.
        loss_worst: Largest change in loss of any held-out input by any correction, in nats.
        seconds: Median for a correction.
    """

    method: str
    knows: str
    closed_form: bool
    optimal: bool
    corrected: int
    parameters: float
    flips: float
    flips_worst: int
    broken: float | None
    broken_worst: int | None
    loss_95: float
    loss_worst: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Frontier:
    """Methods on the same inputs of one model.

    Attributes:
        attempts: Of each method on each input, in the order in which they were made.
        refused: The methods that do not apply, each with the sentence in which it says why.
        about: Of the methods that do: what each knows, and whether it is a closed form.
        inputs: How many were to be corrected.
        held_out: On how many others the effects were seen.
        labelled: Whether these had labels.
        said: How the inputs were divided, in words.
    """

    attempts: tuple[Attempt, ...]
    refused: Mapping[str, str]
    about: Mapping[str, tuple[str, bool]]
    inputs: int
    held_out: int
    labelled: bool
    said: str

    @property
    def points(self) -> tuple[Point, ...]:
        """One for each method that corrected an input: by parameters, then by flips."""
        numbers = {name: self._numbers(name) for name in self.about}
        numbers = {name: each for name, each in numbers.items() if each["corrected"]}
        found = [
            Point(
                name,
                *self.about[name],
                optimal=not any(_beats(other, own) for other in numbers.values()),
                **own,
            )
            for name, own in numbers.items()
        ]
        return tuple(sorted(found, key=lambda point: (point.parameters, point.flips, point.method)))

    def attempt(self, method: str, input: int = 0) -> Attempt:
        """Return the attempt of a method on the input of a number.

        Raises:
            LookupError: There is none.
        """
        for each in self.attempts:
            if (each.method, each.input) == (method, input):
                return each
        there = nearest(method, {each.method for each in self.attempts})
        inputs = ", ".join(map(str, sorted({each.input for each in self.attempts})))
        raise LookupError(f"there is no attempt of {method!r} on input {input}; {there}; inputs {inputs}")

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each attempt, as a pandas DataFrame: the fields of `Attempt` without the patch.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_frame gives a pandas DataFrame: pip install pandas") from error
        names = [each.name for each in fields(Attempt) if each.name != "patch"]
        rows = [[getattr(each, name) for name in names] for each in self.attempts]
        return pd.DataFrame(rows, columns=names)

    def table(self) -> str:
        """Write a line for each method, as a table in Markdown; it reads in a terminal too."""
        columns = ["method", "knows", "closed form", "optimal", f"corrected of {self.inputs:,}", "parameters"]
        columns += [f"flips of {self.held_out:,}", "worst"]
        columns += ["broken", "worst"] if self.labelled else []
        columns += ["loss, 95 %", "worst", "seconds"]
        return markdown(columns, [self._row(point) for point in self.points])

    def figure(self, path: str | PathLike[str]) -> None:
        """Draw flips against parameters into a file of the kind that its suffix names, such as .png or .svg.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            ValueError: There is no such kind.
        """
        from bgd.pareto.figure import draw

        draw(self, path)

    def __str__(self) -> str:
        failed = [f"- {name}: {self._reason(name)}" for name in self._failing()]
        refused = [f"- {name}: {sentence}" for name, sentence in self.refused.items()]
        parts = [self.said, self.table()]
        parts += ["Corrected nothing:\n" + "\n".join(failed)] if failed else []
        parts += ["Do not apply:\n" + "\n".join(refused)] if refused else []
        return "\n\n".join(parts)

    def _of(self, method: str) -> list[Attempt]:
        return [each for each in self.attempts if each.method == method]

    def _failing(self) -> Sequence[str]:
        return [name for name in self.about if all(each.reason for each in self._of(name))]

    def _reason(self, method: str) -> str:
        return next((each.reason for each in self._of(method)), "it was given no input")

    def _numbers(self, method: str) -> dict[str, Any]:
        """Return the numbers of a method's point, over the inputs that it corrected."""
        own = [each for each in self._of(method) if not each.reason]
        if not own:
            return {"corrected": 0}

        def all_of(name: str) -> list[Any]:
            return [getattr(each, name) for each in own]

        return {
            "corrected": len(own),
            "parameters": median(all_of("parameters")),
            "flips": median(all_of("flips")),
            "flips_worst": max(all_of("flips")),
            "broken": median(all_of("broken")) if self.labelled else None,
            "broken_worst": max(all_of("broken")) if self.labelled else None,
            "loss_95": median(all_of("loss_95")),
            "loss_worst": max(all_of("loss_worst")),
            "seconds": median(all_of("seconds")),
        }

    def _row(self, point: Point) -> list[object]:
        yes = {True: "yes", False: ""}
        return [
            point.method,
            point.knows.replace("_", " "),
            yes[point.closed_form],
            yes[point.optimal],
            point.corrected,
            point.parameters,
            point.flips,
            point.flips_worst,
            *([point.broken, point.broken_worst] if self.labelled else []),
            point.loss_95,
            point.loss_worst,
            point.seconds,
        ]


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether one method's numbers are nowhere worse than another's, and better somewhere."""
    first, second = (
        (-numbers["corrected"], numbers["parameters"], numbers["flips"]) for numbers in (one, other)
    )
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))

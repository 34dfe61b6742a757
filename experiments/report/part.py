"""What every part of a report beyond the thesis' result tables has in common: runs in, files out.

A study says which runs it is of and which files it makes, computes what is its own, and hands over tables
(`experiments.report.sheet`) and figures (`experiments.report.canvas`). Its words are in `words.yaml`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import yaml

from experiments.records.schema import Run
from experiments.report.knowledge import Knowledge
from experiments.report.sheet import Block, Sheet
from experiments.report.style import NETWORKS

WORDS = Path(__file__).with_name("words.yaml")


class Part(Protocol):
    """Some files of a report that are made from the runs of some presets.

    Attributes:
        presets: Whose runs it is made from.
        names: The files it makes, under the output folder, whatever the runs are: "tables/table_4_9.md".
    """

    @property
    def presets(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return each file of `names`, the same bytes from the same runs; where there are none the files say so."""
        ...


class Made(Protocol):
    """A table, a figure or a text: some files."""

    def files(self) -> dict[str, bytes]: ...  # noqa: D102


@dataclass(frozen=True)
class Text:
    """One file of words, under the output folder."""

    name: str
    content: str

    def files(self) -> dict[str, bytes]:
        """Encode it."""
        return {self.name: self.content.encode()}


@dataclass(frozen=True)
class Thesis:
    """What a report is told beside the records: by the thesis, and by the yaml of each method.

    Attributes:
        errors: By network, how many test images the thesis' N0 gets wrong.
        knowledge: The level of each method.
        tables, ranks: The files with the values that its tables of methods and of gradient ranks print.
    """

    errors: tuple[tuple[str, int], ...] = ()
    knowledge: Knowledge = ()
    tables: Path = Path()
    ranks: Path = Path()

    def errors_of(self, network: str) -> int | None:
        """Look up how many test images the thesis' N0 gets wrong."""
        return dict(self.errors).get(network)


UNTOLD = Thesis()


@dataclass(frozen=True)
class Study:
    """A part made of tables, figures and texts.

    Attributes:
        thesis: What it is told.
        presets: Whose runs it is made from.
        networks, methods: Which of them, in the order that they are shown; what is missing is named.
        tables, figures, texts: Names of what it makes; a study that chooses them itself has its own `names`.
    """

    thesis: Thesis = UNTOLD
    presets: tuple[str, ...] = ()
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = ()
    tables: ClassVar[tuple[str, ...]] = ()
    figures: ClassVar[tuple[str, ...]] = ()
    texts: ClassVar[tuple[str, ...]] = ()

    @property
    def network(self) -> str:
        """The network of a study of one."""
        (network,) = self.networks
        return network

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return file_names(self.tables, self.figures, self.texts)

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `Part`."""
        return {name: content for made in self.made(runs) for name, content in made.files().items()}

    def sheet(
        self,
        sentences: Iterable[str],
        warnings: Sequence[str],
        blocks: Sequence[Block],
        records: Iterable[Sequence[object]],
        name: str = "",
        **filled: object,
    ) -> Sheet:
        """Lay out a table; heading, columns and the first part of the caption are among the words.

        Args:
            sentences: The rest of the caption.
            warnings: See `Sheet`.
            blocks: See `Sheet`.
            records: See `Sheet`.
            name: Of the table; the study's first where nothing is said.
            **filled: What the caption's braces stand for.
        """
        name = name or self.tables[0]
        told = words(name)
        caption = [told["caption"].format(**filled), *sentences]
        return Sheet(name, told["heading"], caption, warnings, blocks, told["columns"], list(records))

    def made(self, runs: Sequence[Run]) -> Iterable[Made]:
        """Make the tables, figures and texts from the runs of `presets`."""
        raise NotImplementedError


def file_names(tables: Iterable[str], figures: Iterable[str], texts: Iterable[str] = ()) -> tuple[str, ...]:
    """Name the files of tables, figures and texts, under the output folder."""
    of_tables = (f"tables/{name}.{kind}" for name in tables for kind in ("csv", "md", "tex"))
    of_figures = (f"figures/{name}.{kind}" for name in figures for kind in ("png", "svg"))
    return (*of_tables, *of_figures, *texts)


def words(name: str) -> Mapping[str, Any]:
    """Look up the words of a study.

    `heading`, `columns` (of the csv file) and `caption` of its table, `figure` for the foot of its figure.
    """
    return _words()[name]


@cache
def _words() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(WORDS.read_text())
    return found

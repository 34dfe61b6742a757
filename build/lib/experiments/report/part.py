"""What every part of a report beyond the thesis' result tables has in common."""

from collections.abc import Sequence
from typing import Protocol

from experiments.records.schema import Run


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
        """Return the content of each file of `names`; the same runs give the same bytes.

        Args:
            runs: The runs of `presets` that there are; where there are none the files say so.
        """
        ...

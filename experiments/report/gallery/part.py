"""The gallery as a part of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from experiments.records.schema import Run
from experiments.report.gallery.card import absent_card, card
from experiments.report.gallery.contact_sheet import contact_sheet
from experiments.report.gallery.prose import gallery_csv, gallery_markdown
from experiments.report.gallery.scene import card_name, scenes
from experiments.report.gallery.selection import RULES
from experiments.report.style import network_label


@dataclass(frozen=True)
class Gallery:
    """Cards of a few samples of each network, a sheet of them all, their numbers, and a text.

    Attributes:
        presets: Whose runs: corrections, and the probe `portraits`.
        networks: Each with how many samples every rule of `experiments.report.gallery.selection` chooses.
    """

    presets: tuple[str, ...] = ("every_method", "gallery")
    networks: tuple[tuple[str, int], ...] = (("alexnet", 2), ("mlp", 3))

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        figures = [name for network, each in self.networks for name in _figures(network, each)]
        return ("report/gallery.md", "tables/gallery.csv", *(f"figures/{name}.png" for name in figures))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`.

        Raises:
            ReportError: Two runs of a method on a network, runs on a network from different N0, or a portrait that
                is not square.
        """
        found = {network: scenes(runs, network, each) for network, each in self.networks}
        files = {
            "report/gallery.md": gallery_markdown(found).encode(),
            "tables/gallery.csv": gallery_csv(found).encode(),
        }
        for network, each in self.networks:
            absent = absent_card(f"missing: fewer samples of the {network_label(network)} among the records")
            cards = [card(scene) for scene in found[network]]
            images = [contact_sheet(found[network]), *cards] if cards else []
            for name, image in zip_longest(_figures(network, each), images, fillvalue=absent):
                files[f"figures/{name}.png"] = image
        return files


def _figures(network: str, each: int) -> list[str]:
    """Return the names of a network's figures: the sheet, then the cards."""
    numbers = range(1, each * len(RULES) + 1)
    return [f"gallery_{network}", *(card_name(network, number) for number in numbers)]

"""The gallery as a part of the report: the cards, their numbers, and the words around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.records.schema import Row, Run
from experiments.report.gallery.card import absent_card, card
from experiments.report.gallery.contact_sheet import contact_sheet
from experiments.report.gallery.look import minus
from experiments.report.gallery.scene import (
    METHODS,
    REFERENCE_METHOD,
    REFERENCE_SEED,
    RULES,
    Scene,
    card_name,
    class_name,
    is_corrected,
    probabilities,
    scenes,
)
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, listing
from experiments.report.render import bold_markdown, csv_text, markdown
from experiments.report.sheet import plain
from experiments.report.style import method_style, network_label
from experiments.report.surveys import bold, scale

TABLED = ("bgd_ii", "top_k", "retrain")  # the methods with columns in the table of samples
COLUMNS = (
    *("network", "card", "figure", "rule", "index", "label", "prediction_before", "sample_loss_before"),
    *("label_probability_before", "method", "outcome", "prediction_after", "label_probability_after"),
    *("altered", "l0", "l2", "test_accuracy_change", "broken", "fixed"),
)
HOW_TO_READ = (
    "Each card shows the sample, N0's class probabilities and those after each method's correction, how many"
    " parameters the method altered (the numerator of POPA; where a gradient is 0 fewer of them change), ΔTA (test"
    " accuracy after it minus N0's), how many test images went from right to wrong, and the L2 norm of the change of"
    " each layer. Below that the network stands as its layers: each changed parameter is a dot, green where it was"
    " raised and purple where it was lowered; weights that see the image lie in receptive fields, over a shadow of the"
    " digit. A change of more parameters than a record keeps is a shade, by its L2 norm. At the foot is the change of"
    " the confusion matrix of the test images: orange where the correction did harm, blue where it did good. Every"
    " method starts from the same N0."
)


@dataclass(frozen=True)
class Gallery:
    """Cards of a few samples of each network, a sheet of them all, their numbers, and a text.

    Attributes:
        presets: Whose runs: corrections, and the probe `portraits`.
        networks: Each with how many samples every rule of `RULES` chooses.
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
            names = _figures(network, each)
            absent = absent_card(f"missing: fewer samples of the {network_label(network)} among the records")
            files |= {f"figures/{name}.png": absent for name in names}
            cards = [card(scene) for scene in found[network]]
            images = [contact_sheet(found[network]), *cards] if cards else []
            files |= {f"figures/{name}.png": image for name, image in zip(names, images, strict=False)}
        return files


def _figures(network: str, each: int) -> list[str]:
    """Return the names of a network's figures: the sheet, then the cards."""
    numbers = range(1, each * len(RULES) + 1)
    return [f"gallery_{network}", *(card_name(network, number) for number in numbers)]


def gallery_csv(found: Mapping[str, Sequence[Scene]]) -> str:
    """Return the numbers of every card as csv, a line per sample and method."""
    records = [_record(scene, method) for own in found.values() for scene in own for method in METHODS]
    return csv_text(COLUMNS, [[plain(record.get(name)) for name in COLUMNS] for record in records])


def _record(scene: Scene, method: str) -> dict[str, object]:
    """Return what a method did to a sample by `COLUMNS`; what is not known is left out."""
    before, row = scene.base_probabilities, scene.rows.get(method)
    record: dict[str, object] = {
        **{"network": scene.network, "card": scene.number, "figure": f"{scene.name}.png"},
        **{"rule": scene.rule.name, "method": method},
        **{
            name: getattr(scene.row, name)
            for name in ("index", "label", "prediction_before", "sample_loss_before")
        },
        "label_probability_before": None if before is None else float(before[scene.row.label]),
    }
    if row is None:
        return {**record, "outcome": MISSING}
    after, effects = probabilities(row.logits_after), row.side_effects
    return {
        **record,
        **{name: getattr(row, name) for name in ("outcome", "prediction_after", "l0", "l2")},
        "label_probability_after": None if after is None else float(after[scene.row.label]),
        "altered": row.altered if is_corrected(row) else 0,
        "test_accuracy_change": scene.accuracy_change(row),
        **{"broken": effects.broken, "fixed": effects.fixed},
    }


def gallery_markdown(found: Mapping[str, Sequence[Scene]]) -> str:
    """Return the gallery, scenes by network, as Markdown, with links relative to the folder beside `figures`."""
    parts = ["# Gallery\n", f"{rule_text()}\n", f"{HOW_TO_READ}\n"]
    for network, of_network in found.items():
        parts += [f"## Gallery: {network_label(network)}\n", *_network(network, of_network)]
    return "\n".join(parts)


def rule_text() -> str:
    """Return the rule in words."""
    words = listing([f"{rule.name} ({rule.words})" for rule in RULES])
    return (
        f"Of the samples of each network's reloading run of BGD-II with seed {REFERENCE_SEED} the gallery shows the"
        f" {words}, as many of each. A sample that an earlier rule has taken is passed over by the later ones; ties"
        " go to the sample that comes first in the run."
    )


def _network(network: str, found: Sequence[Scene]) -> list[str]:
    label = network_label(network)
    if not found:
        method = f"{method_style(REFERENCE_METHOD).label} with seed {REFERENCE_SEED}"
        return [f"{label}: missing, no reloading run of {method} is among the records.\n"]
    run = Run(found[0].header)
    about = (
        f"{bold_markdown(bold(network, run))}{scale(network, run)} Of these the gallery shows {len(found)}."
    )
    alt = f"{len(found)} samples of the {label} at a glance: {listing([scene.title for scene in found])}"
    sheet = f"![{alt}](../figures/gallery_{network}.png)\n"
    return [f"{about}\n", sheet, _table(found), *map(_card, found)]


def _table(found: Sequence[Scene]) -> str:
    names = [method_style(method).short for method in TABLED]
    header = ["card", "rule", "test image", "right", "N0 says", "N0's loss"]
    header += [f"{name} {column}" for name in names for column in ("altered", "ΔTA")]
    lines = []
    for scene in found:
        row, loss = scene.row, scene.row.sample_loss_before
        lines.append(
            [
                *(f"[{scene.number}](#{scene.name})", scene.rule.name, str(row.index), str(row.label)),
                *(class_name(row.prediction_before), "not finite" if loss is None else format_number(loss)),
                *(cell for method in TABLED for cell in _cells(scene, scene.rows.get(method))),
            ]
        )
    return markdown(header, lines, texts=2)


def _cells(scene: Scene, row: Row | None) -> list[str]:
    if row is None:
        return [MISSING, MISSING]
    if not is_corrected(row):
        return ["not corrected", ""]
    return [format_count(row.altered), format_number(scene.accuracy_change(row))]


def _card(scene: Scene) -> str:
    rule = scene.rule.name
    title = f"{network_label(scene.network)} {scene.number}, {rule}: {scene.title}"
    image = f"![Card of test image {scene.row.index}, {scene.title}](../figures/{scene.name}.png)"
    return f'<a id="{scene.name}"></a>\n\n### {title}\n\n{image}\n\n{story(scene)}\n'


def story(scene: Scene) -> str:
    """Return the story of a sample in a few sentences."""
    sentences = [_before(scene)]
    done = [method for method, row in scene.rows.items() if is_corrected(row)]
    if done:
        by_change = sorted(done, key=lambda method: scene.accuracy_change(scene.rows[method]))
        least, most = by_change[-1], by_change[0]
        end = f"; most: {_effect(scene, most)}" if most != least else ""
        sentences.append(f"Least harm of the methods that correct it: {_effect(scene, least)}{end}.")
    for start, methods in (
        ("Not corrected by", [method for method in scene.rows if method not in done]),
        ("Missing:", [method for method in METHODS if method not in scene.rows]),
    ):
        if methods:
            sentences.append(f"{start} {listing([method_style(method).label for method in methods])}.")
    return " ".join(sentences)


def _before(scene: Scene) -> str:
    before, label, wrong = scene.base_probabilities, scene.row.label, scene.row.prediction_before
    if before is None or wrong < 0:
        return f"N0 takes this {label} for {class_name(wrong)}."
    right, taken = (format_number(round(float(before[number]), 6)) for number in (label, wrong))
    return f"N0 gives the right {label} a probability of {right} and the {wrong} one of {taken}."


def _effect(scene: Scene, method: str) -> str:
    row = scene.rows[method]
    change = minus(format_number(scene.accuracy_change(row)))
    plural = "" if row.altered == 1 else "s"
    effects = row.side_effects
    return (
        f"{method_style(method).label} with {format_count(row.altered)} parameter{plural} (ΔTA {change},"
        f" {format_count(effects.broken)} test images broken, {format_count(effects.fixed)} fixed)"
    )

"""The gallery as a part of the report: the cards, their numbers, and the words around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.records.schema import Row, Run
from experiments.report.gallery.card import absent_card, card
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
    loss_text,
    probabilities,
    scenes,
)
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, listing
from experiments.report.part import words
from experiments.report.render import bold_markdown, markdown
from experiments.report.sheet import records_csv
from experiments.report.style import method_style, network_label
from experiments.report.surveys import bold, scale

Found = Mapping[str, Sequence[Scene]]  # by network

TABLED = ("bgd_ii", "top_k", "retrain")  # the methods with columns in the table of samples


@dataclass(frozen=True)
class Gallery:
    """Cards of a few samples of a network, their numbers, and a text.

    The presets have corrections, and the probe `portraits`. Each network has as many samples for every rule of `RULES`.
    """

    presets: tuple[str, ...] = ("every_method", "gallery")
    networks: tuple[tuple[str, int], ...] = (("mlp", 1),)

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        figures = (name for network, each in self.networks for name in _figures(network, each))
        return ("report/gallery.md", "tables/gallery.csv", *figures)

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        found = {network: scenes(runs, network, each) for network, each in self.networks}
        texts = (gallery_markdown(found).encode(), gallery_csv(found).encode())
        files = dict(zip(self.names, texts, strict=False))
        for network, each in self.networks:
            own = found[network]
            absent = absent_card(f"missing: fewer samples of the {network_label(network)} among the records")
            files |= dict.fromkeys(_figures(network, each), absent)
            files |= dict(zip(_figures(network, each), map(card, own), strict=False))
        return files


def _figures(network: str, each: int) -> list[str]:
    """Return the files of a network's cards."""
    return [f"figures/{card_name(network, number)}.png" for number in range(1, each * len(RULES) + 1)]


def gallery_csv(found: Found) -> str:
    """Return the numbers of every card as csv, a line per sample and method."""
    records = (_record(scene, method) for own in found.values() for scene in own for method in METHODS)
    return records_csv(words("gallery")["columns"], records)


def _record(scene: Scene, method: str) -> dict[str, object]:
    """Return what a method did to a sample by the columns of the csv file; what is not known is left out."""
    before, reference, row = scene.base_probabilities, scene.row, scene.rows.get(method)
    label = reference.label
    record: dict[str, object] = {
        **{"network": scene.network, "card": scene.number, "figure": f"{scene.name}.png"},
        **{"rule": scene.rule.name, "index": reference.index, "label": label, "method": method},
        "prediction_before": reference.prediction_before,
        "sample_loss_before": reference.sample_loss_before,
        "label_probability_before": None if before is None else float(before[label]),
    }
    if row is None:
        return record | {"outcome": MISSING}
    after = probabilities(row.logits_after)
    return record | {
        **{"outcome": row.outcome, "prediction_after": row.prediction_after, "l0": row.l0, "l2": row.l2},
        "label_probability_after": None if after is None else float(after[label]),
        "altered": row.altered if is_corrected(row) else 0,
        "test_accuracy_change": scene.accuracy_change(row),
        **{"broken": row.side_effects.broken, "fixed": row.side_effects.fixed},
    }


def gallery_markdown(found: Found) -> str:
    """Return the gallery as Markdown, with links relative to the folder beside `figures`."""
    parts = ["# Gallery\n", f"{rule_text()}\n", f"{words('gallery')['reading']}\n"]
    for network, of_network in found.items():
        parts += [f"## Gallery: {network_label(network)}\n", *_network(network, of_network)]
    return "\n".join(parts)


def rule_text() -> str:
    """Return the rule in words."""
    text: str = words("gallery")["rule"]
    return text.format(seed=REFERENCE_SEED, rules=listing([f"{rule.name} ({rule.words})" for rule in RULES]))


def _network(network: str, found: Sequence[Scene]) -> list[str]:
    label = network_label(network)
    if not found:
        method = f"{method_style(REFERENCE_METHOD).label} with seed {REFERENCE_SEED}"
        return [f"{label}: missing, no reloading run of {method} is among the records.\n"]
    run = Run(found[0].header)
    about = f"{scale(network, run)} Of these the gallery shows {len(found)}."
    return [f"{bold_markdown(bold(network, run))}{about}\n", _table(found), *map(_card, found)]


def _table(found: Sequence[Scene]) -> str:
    header = ["card", "rule", "test image", "right", "N0 says", "N0's loss"]
    header += [f"{method_style(name).short} {column}" for name in TABLED for column in ("altered", "ΔTA")]
    lines = []
    for scene in found:
        row = scene.row
        about = [f"[{scene.number}](#{scene.name})", scene.rule.name, str(row.index), str(row.label)]
        before = [class_name(row.prediction_before), loss_text(row, format_number)]
        cells = (cell for method in TABLED for cell in _cells(scene, scene.rows.get(method)))
        lines.append([*about, *before, *cells])
    return markdown(header, lines, texts=2)


def _cells(scene: Scene, row: Row | None) -> list[str]:
    if row is None:
        return [MISSING, MISSING]
    if not is_corrected(row):
        return ["not corrected", ""]
    return [format_count(row.altered), format_number(scene.accuracy_change(row))]


def _card(scene: Scene) -> str:
    title = f"{network_label(scene.network)} {scene.number}, {scene.rule.name}: {scene.title}"
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
    failed = [method for method in scene.rows if method not in done]
    absent = [method for method in METHODS if method not in scene.rows]
    for start, methods in (("Not corrected by", failed), ("Missing:", absent)):
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
    broken, fixed = map(format_count, (row.side_effects.broken, row.side_effects.fixed))
    return (
        f"{method_style(method).label} with {format_count(row.altered)} parameter{plural} (ΔTA {change},"
        f" {broken} test images broken, {fixed} fixed)"
    )

"""The gallery in words: Markdown with the cards, and the numbers of every card."""

from collections.abc import Mapping, Sequence

from experiments.records.schema import Row, Run
from experiments.report.gallery.look import minus
from experiments.report.gallery.scene import METHODS, Scene, class_name, is_corrected, probabilities
from experiments.report.gallery.selection import REFERENCE_METHOD, REFERENCE_SEED, rule_text
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, listing
from experiments.report.render import csv_text, loud_markdown, markdown
from experiments.report.sheet import plain
from experiments.report.style import method_style, network_label
from experiments.report.surveys import loud, scale

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


def gallery_csv(found: Mapping[str, Sequence[Scene]]) -> str:
    """Return the numbers of every card as csv, a line per sample and method."""
    records = [
        [plain(value) for value in _record(scene, method)]
        for network in found.values()
        for scene in network
        for method in METHODS
    ]
    return csv_text(COLUMNS, records)


def _record(scene: Scene, method: str) -> list[object]:
    about = scene.choice.row
    before, row = scene.base_probabilities, scene.rows.get(method)
    of_label = None if before is None else float(before[scene.label])
    head: list[object] = [
        *(scene.network, scene.number, f"{scene.name}.png", scene.choice.rule.name, about.index, scene.label),
        *(scene.prediction, about.sample_loss_before, of_label, method),
    ]
    if row is None:
        return [*head, MISSING, *[None] * (len(COLUMNS) - len(head) - 1)]
    after, effects = probabilities(row.logits_after), row.side_effects
    return [
        *(*head, row.outcome, row.prediction_after, None if after is None else float(after[scene.label])),
        *(row.altered if is_corrected(row) else 0, row.l0, row.l2, scene.accuracy_change(row)),
        *(effects.broken, effects.fixed),
    ]


def gallery_markdown(found: Mapping[str, Sequence[Scene]]) -> str:
    """Return the gallery as Markdown, with links relative to the folder beside `figures`.

    Args:
        found: Scenes by network, none where there is no run.
    """
    parts = ["# Gallery\n", f"{rule_text()}\n", f"{HOW_TO_READ}\n"]
    for network, of_network in found.items():
        parts += [f"## Gallery: {network_label(network)}\n", *_network(network, of_network)]
    return "\n".join(parts)


def _network(network: str, found: Sequence[Scene]) -> list[str]:
    if not found:
        label, method = network_label(network), method_style(REFERENCE_METHOD).label
        text = f"missing, no reloading run of {method} with seed {REFERENCE_SEED} is among the records."
        return [f"{label}: {text}\n"]
    run = Run(found[0].header)
    sheet = f"![{_alt_of_sheet(network, found)}](../figures/gallery_{network}.png)\n"
    about = (
        f"{loud_markdown(loud(network, run))}{scale(network, run)} Of these the gallery shows {len(found)}."
    )
    return [f"{about}\n", sheet, _table(found), *map(_card, found)]


def _alt_of_sheet(network: str, found: Sequence[Scene]) -> str:
    titles = listing([scene.title for scene in found])
    return f"{len(found)} samples of the {network_label(network)} at a glance: {titles}"


def _table(found: Sequence[Scene]) -> str:
    methods = [method_style(method).short for method in TABLED]
    header = ["card", "rule", "test image", "right", "N0 says", "N0's loss"]
    header += [f"{name} {column}" for name in methods for column in ("altered", "ΔTA")]
    lines = []
    for scene in found:
        row = scene.choice.row
        loss = "not finite" if row.sample_loss_before is None else format_number(row.sample_loss_before)
        line = [f"[{scene.number}](#{scene.name})", scene.choice.rule.name, str(row.index)]
        line += [str(scene.label), class_name(scene.prediction), loss]
        lines.append(line + [cell for method in TABLED for cell in _cells(scene, scene.rows.get(method))])
    return markdown(header, lines, texts=2)


def _cells(scene: Scene, row: Row | None) -> list[str]:
    if row is None:
        return [MISSING, MISSING]
    if not is_corrected(row):
        return ["not corrected", ""]
    return [format_count(row.altered), format_number(scene.accuracy_change(row))]


def _card(scene: Scene) -> str:
    rule = scene.choice.rule.name
    title = f"{network_label(scene.network)} {scene.number}, {rule}: {scene.title}"
    image = f"![Card of test image {scene.choice.row.index}, {scene.title}](../figures/{scene.name}.png)"
    return f'<a id="{scene.name}"></a>\n\n### {title}\n\n{image}\n\n{story(scene)}\n'


def story(scene: Scene) -> str:
    """Return the story of a sample in a few sentences."""
    sentences = [_before(scene)]
    done = {method: row for method, row in scene.rows.items() if is_corrected(row)}
    if done:
        by_change = sorted(done, key=lambda method: scene.accuracy_change(done[method]))
        least, most = by_change[-1], by_change[0]
        sentences.append(f"Least harm of the methods that correct it: {_effect(scene, least)}")
        sentences += [f"most: {_effect(scene, most)}"] if most != least else []
        sentences = [sentences[0], "; ".join(sentences[1:]) + "."]
    failed = [method_style(method).label for method, row in scene.rows.items() if not is_corrected(row)]
    sentences += [f"Not corrected by {listing(failed)}."] if failed else []
    absent = [method_style(method).label for method in METHODS if method not in scene.rows]
    sentences += [f"Missing: {listing(absent)}."] if absent else []
    return " ".join(sentences)


def _before(scene: Scene) -> str:
    before, wrong = scene.base_probabilities, class_name(scene.prediction)
    if before is None or scene.prediction < 0:
        return f"N0 takes this {scene.label} for {wrong}."
    right, taken = (
        format_number(round(float(before[number]), 6)) for number in (scene.label, scene.prediction)
    )
    return f"N0 gives the right {scene.label} a probability of {right} and the {wrong} one of {taken}."


def _effect(scene: Scene, method: str) -> str:
    row = scene.rows[method]
    change = minus(format_number(scene.accuracy_change(row)))
    plural = "" if row.altered == 1 else "s"
    effects = row.side_effects
    return (
        f"{method_style(method).label} with {format_count(row.altered)} parameter{plural} (ΔTA {change},"
        f" {format_count(effects.broken)} test images broken, {format_count(effects.fixed)} fixed)"
    )

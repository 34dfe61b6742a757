"""Every method found in the records, those that the thesis does not have included."""

from collections.abc import Iterator, Mapping

from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.frames import Frames
from experiments.report.knowledge import Knowledge, describe_knowledge
from experiments.report.metrics import METRICS, Summary, measure
from experiments.report.numbers import format_summary
from experiments.report.render import (
    csv_text,
    loud_markdown,
    loud_tex,
    markdown,
    summary_values,
    tex,
    tex_table,
)
from experiments.report.style import (
    SETTINGS,
    method_order,
    method_style,
    network_label,
    network_order,
    setting_label,
)

Group = tuple[str, str, Frames, Mapping[str, Mapping[str, Summary]]]


def groups(frames: Frames) -> Iterator[Group]:
    """Yield network, setting, their frames, and the summaries by method and metric, for what there is."""
    settings = [*SETTINGS, *sorted(set(frames.runs["setting"]) - set(SETTINGS))]
    for network in network_order(frames.runs["network"]):
        for setting in settings:
            part = frames.select(network=network, setting=setting)
            if part.runs.empty:
                continue
            values = {}
            for method in method_order(part.runs["method"]):
                samples = part.select(method=method).samples
                values[method] = {
                    name: measure(samples, metric)
                    for name, metric in METRICS.items()
                    if metric.setting in (None, setting)
                }
            yield network, setting, part, values


def all_methods_csv(frames: Frames) -> str:
    """Return every metric of every method as tidy csv."""
    columns = ("network", "setting", "metric", "method", "mean", "sd", "n", "sd_over")
    rows = [
        (network, setting, metric, method, *summary_values(summary))
        for network, setting, _, values in groups(frames)
        for method, summaries in values.items()
        for metric, summary in summaries.items()
    ]
    return csv_text(columns, rows)


_MEANING = (
    "Every method among the records. Mean ± sample standard deviation (ddof = 1): over seeds, and in the"
    " non-reloading setting over replicas of N0 as well, for POC, final test accuracy and retained (no ± where rounding"
    " is not known: no replica), over the pooled pairs of seed and corrected sample (n) for the rest."
    " Changes are against N0 and signed."
)


def _lines(values: Mapping[str, Mapping[str, Summary]]) -> list[list[str]]:
    return [
        [method_style(method).label, f"{summaries['POPA'].n:,}", *map(format_summary, summaries.values())]
        for method, summaries in values.items()
    ]


def _left_out(values: Mapping[str, Mapping[str, Summary]]) -> str:
    """Return how many values were not finite, by metric and method, as a sentence after a space."""
    counts = [
        f"{METRICS[metric].label} of {method_style(method).label}: {summary.left_out:,}"
        for method, summaries in values.items()
        for metric, summary in summaries.items()
        if summary.left_out
    ]
    return f" Rows left out because a loss is not finite: {'; '.join(counts)}." if counts else ""


def _header(values: Mapping[str, Mapping[str, Summary]]) -> list[str]:
    """Return the names of the columns; every method has the same metrics."""
    return ["method", "n", *(METRICS[name].label for name in next(iter(values.values())))]


def _title(network: str, setting: str) -> str:
    return f"{network_label(network)}, {setting_label(setting)} setting"


def _meaning(frames: Frames, knowledge: Knowledge) -> str:
    about = describe_knowledge(method_order(frames.runs["method"]), knowledge)
    return f"{_MEANING} {about}".strip()


def all_methods_markdown(frames: Frames, knowledge: Knowledge = ()) -> str:
    """Return every metric of every method as Markdown, a table per network and setting.

    Args:
        frames: Of any runs.
        knowledge: The level of each method.
    """
    text = f"{_meaning(frames, knowledge)}\n"
    for network, setting, part, values in groups(frames):
        caption = f"{describe_base(part.runs)} {describe_scale(part.runs)}{_left_out(values)}"
        text += f"\n**{_title(network, setting)}.** {caption}\n\n{loud_markdown(warnings(part.runs))}"
        text += markdown(_header(values), _lines(values))
    return text


def all_methods_tex(frames: Frames, knowledge: Knowledge = ()) -> str:
    """Return every metric of every method as LaTeX, as `all_methods_markdown` has them."""
    tables = []
    for network, setting, part, values in groups(frames):
        about = (describe_base(part.runs), describe_scale(part.runs), _meaning(frames, knowledge))
        caption = loud_tex(warnings(part.runs)) + tex(
            " ".join((f"{_title(network, setting)}.", *about)) + _left_out(values)
        )
        tables.append(tex_table(f"all_methods_{network}_{setting}", caption, _header(values), _lines(values)))
    return "\n".join(tables)

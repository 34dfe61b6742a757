"""Every method found in the records, those that the thesis does not have included: in full, and in one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.records.schema import Run
from experiments.report.captions import describe_base, describe_scale, describe_scale_briefly, warnings
from experiments.report.frames import Frames, build_frames
from experiments.report.knowledge import Knowledge, describe_knowledge
from experiments.report.metrics import METRICS, MISSING, Summary, measure
from experiments.report.numbers import format_summary
from experiments.report.render import (
    bold_markdown,
    csv_text,
    loud_tex,
    markdown,
    summary_values,
    tex,
    tex_table,
)
from experiments.report.style import (
    NETWORKS,
    SETTINGS,
    method_order,
    method_style,
    network_label,
    network_order,
    setting_label,
)

_MEANING = (
    "Every method among the records. Mean ± sample standard deviation (ddof = 1): over seeds, and in the"
    " non-reloading setting over replicas of N0 as well, for POC, final test accuracy and retained (no ± where rounding"
    " is not known: no replica), over the pooled pairs of seed and corrected sample (n) for the rest."
    " Changes are against N0 and signed."
)


@dataclass(frozen=True)
class Group:
    """The methods of a network in a setting.

    Attributes:
        network, setting: Their names.
        runs: Of the methods, as `experiments.report.frames.Frames` has them.
        values: The summaries by method and metric; every method has the same metrics.
    """

    network: str
    setting: str
    runs: pd.DataFrame
    values: Mapping[str, Mapping[str, Summary]]


def groups(frames: Frames) -> Iterator[Group]:
    """Yield a group for each network and setting that there is."""
    settings = [*SETTINGS, *sorted(set(frames.runs["setting"]) - set(SETTINGS))]
    for network in network_order(frames.runs["network"]):
        for setting in settings:
            part = frames.select(network=network, setting=setting)
            metrics = [metric for metric in METRICS.values() if metric.setting in (None, setting)]
            values = {}
            for method in method_order(part.runs["method"]):
                samples = part.select(method=method).samples
                values[method] = {metric.name: measure(samples, metric) for metric in metrics}
            if values:
                yield Group(network, setting, part.runs, values)


def all_methods(frames: Frames, knowledge: Knowledge = ()) -> dict[str, str]:
    """Return every metric of every method: tidy csv ("csv"), and a table per network and setting ("md", "tex")."""
    meaning = f"{_MEANING} {describe_knowledge(method_order(frames.runs['method']), knowledge)}".strip()
    records, markdowns, texs = [], [f"{meaning}\n"], []
    for group in groups(frames):
        cells = [(method, *item) for method, values in group.values.items() for item in values.items()]
        records += [
            (group.network, group.setting, metric, method, *summary_values(summary))
            for method, metric, summary in cells
        ]
        title = f"{network_label(group.network)}, {setting_label(group.setting)} setting."
        about = f"{describe_base(group.runs)} {describe_scale(group.runs)}"
        left_out = [
            f"{METRICS[metric].label} of {method_style(method).label}: {summary.left_out:,}"
            for method, metric, summary in cells
            if summary.left_out
        ]
        gaps = f" Rows left out because a loss is not finite: {'; '.join(left_out)}." if left_out else ""
        header = ["method", "n", *(METRICS[name].label for name in next(iter(group.values.values())))]
        lines = [
            [method_style(method).label, f"{values['POPA'].n:,}", *map(format_summary, values.values())]
            for method, values in group.values.items()
        ]
        faults = warnings(group.runs)
        caption = f"**{title}** {about}{gaps}\n\n{bold_markdown(faults)}"
        markdowns.append(caption + markdown(header, lines))
        caption = loud_tex(faults) + tex(f"{title} {about} {meaning}{gaps}")
        texs.append(tex_table(f"all_methods_{group.network}_{group.setting}", caption, header, lines))
    columns = ("network", "setting", "metric", "method", "mean", "sd", "n", "sd_over")
    return {"csv": csv_text(columns, records), "md": "\n".join(markdowns), "tex": "\n".join(texs)}


# The columns of the README's table: setting and metric.
README_COLUMNS = {
    **{METRICS[name].label: ("reloading", name) for name in ("POC", "POPA", "dTL", "dTA")},
    "POC (%), non-reloading": ("non_reloading", "POC"),
    "Final test accuracy, non-reloading": ("non_reloading", "final_test_accuracy"),
}

README_MEANING = (
    "Reloading unless the column says otherwise. Mean ± sample standard deviation (ddof = 1): over seeds for"
    " POC, over seeds and replicas of N0 for what is non-reloading (no ± without a replica), over corrected samples and"
    " seeds pooled for POPA, ΔTL and ΔTA (negative:"
    " accuracy lost)."
)
ABSENT = Summary(None, None, 0, "", note=MISSING)


def result_table(runs: Sequence[Run]) -> str:
    """Return the README's table: Markdown, a line per network and method, a caption line below."""
    frames = build_frames(runs)
    found: dict[tuple[str, str], dict[str, Mapping[str, Summary]]] = {}
    bold = []
    for group in groups(frames):
        bold += [f"{network_label(group.network)}: {warning}" for warning in warnings(group.runs)]
        for method, summaries in group.values.items():
            found.setdefault((group.network, method), {})[group.setting] = summaries
    lines, gaps = [], []
    for network in network_order(frames.runs["network"]):
        for method in method_order(method for other, method in found if other == network):
            by_setting = found[network, method]
            cells = [
                by_setting.get(setting, {}).get(metric, ABSENT) for setting, metric in README_COLUMNS.values()
            ]
            name = (network_label(network), method_style(method).label)
            lines.append([*name, *map(format_summary, cells)])
            gaps += [f"{', '.join(name)}: {cell.left_out:,}" for cell in cells if cell.left_out]
    caption = README_MEANING
    for network in network_order({*NETWORKS, *frames.runs["network"]}):
        own = frames.select(network=network).runs
        caption += f" {network_label(network)}: {'no runs' if own.empty else describe_scale_briefly(own)}."
    if gaps:
        caption += f" Rows left out because a loss is not finite: {'; '.join(gaps)}."
    warned = "".join(f"**{warning}** " for warning in dict.fromkeys(bold))
    return f"{markdown(['network', 'method', *README_COLUMNS], lines, texts=2)}\n{warned}{caption}\n"

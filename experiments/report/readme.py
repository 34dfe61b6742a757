"""The README's table of results, and its place in the README."""

from collections.abc import Mapping, Sequence

from experiments.records.schema import Run
from experiments.report.captions import describe_scale_briefly, warnings
from experiments.report.frames import ReportError, build_frames
from experiments.report.metrics import METRICS, MISSING, Summary
from experiments.report.numbers import format_summary
from experiments.report.overview import groups
from experiments.report.render import markdown
from experiments.report.style import NETWORKS, method_order, method_style, network_label, network_order

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

# The columns of the README's table: setting and metric.
COLUMNS = {
    **{METRICS[name].label: ("reloading", name) for name in ("POC", "POPA", "dTL", "dTA")},
    "POC (%), non-reloading": ("non_reloading", "POC"),
    "Final test accuracy, non-reloading": ("non_reloading", "final_test_accuracy"),
}

MEANING = (
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
    loud = []
    for group in groups(frames):
        loud += [f"{network_label(group.network)}: {warning}" for warning in warnings(group.runs)]
        for method, summaries in group.values.items():
            found.setdefault((group.network, method), {})[group.setting] = summaries
    lines, gaps = [], []
    for network in network_order(frames.runs["network"]):
        for method in method_order(method for other, method in found if other == network):
            by_setting = found[network, method]
            cells = [by_setting.get(setting, {}).get(metric, ABSENT) for setting, metric in COLUMNS.values()]
            name = (network_label(network), method_style(method).label)
            lines.append([*name, *map(format_summary, cells)])
            gaps += [f"{', '.join(name)}: {cell.left_out:,}" for cell in cells if cell.left_out]
    caption = MEANING
    for network in network_order({*NETWORKS, *frames.runs["network"]}):
        own = frames.select(network=network).runs
        caption += f" {network_label(network)}: {'no runs' if own.empty else describe_scale_briefly(own)}."
    if gaps:
        caption += f" Rows left out because a loss is not finite: {'; '.join(gaps)}."
    warned = "".join(f"**{warning}** " for warning in dict.fromkeys(loud))
    return f"{markdown(['network', 'method', *COLUMNS], lines, texts=2)}\n{warned}{caption}\n"


def insert_between_markers(text: str, table: str) -> str:
    """Return the text with the table between its two markers, in the place of what stood there.

    Raises:
        ReportError: A marker is missing, stands twice, or the end comes first.
    """
    for marker in (BEGIN, END):
        if text.count(marker) != 1:
            raise ReportError(f"expected {marker} once, found it {text.count(marker)} times")
    before, rest = text.split(BEGIN)
    if END not in rest:
        raise ReportError(f"{END} comes before {BEGIN}")
    return f"{before}{BEGIN}\n{table.strip()}\n{END}{rest.split(END)[1]}"

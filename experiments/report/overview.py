"""Every method found in the records, those that the thesis does not have included: in full, and in one table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import pandas as pd

from experiments.records.schema import Header, Run, subject
from experiments.report.captions import (
    describe_base,
    describe_left_out,
    describe_scale,
    describe_scale_briefly,
    warnings,
    warnings_of,
)
from experiments.report.frames import Frames, at_one_scale, by_recipe, drawn, draws, method_of
from experiments.report.knowledge import Knowledge, describe_knowledge
from experiments.report.metrics import METRICS, Summary, absent, measure
from experiments.report.numbers import format_count, format_summary
from experiments.report.part import Study, Text, words
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

HEADLINE = "report/headline.md"  # the result table of docs/results.md
OTHER = " (other scale)"  # behind a method
COLUMNS = {  # of that table: setting and metric
    **{METRICS[name].label: ("reloading", name) for name in ("POC", "POPA", "dTL", "dTA", "untouched_dTA")},
    "POC (%), non-reloading": ("non_reloading", "POC"),
    "Final untouched accuracy, non-reloading": ("non_reloading", "final_untouched_accuracy"),
}


@dataclass(frozen=True)
class OfDraws(Study):
    """Something of every method, from N0 and, where they are draws of the same, from its replicas."""

    def shows(self, header: Header) -> bool:
        """Whether it is a run of the study."""
        return bool(draws([Run(header)]))


@dataclass(frozen=True)
class Overview(OfDraws):
    """Every metric of every method: tidy csv, and a table per network and setting."""

    tables = ("all_methods",)

    def made(self, runs: Sequence[Run]) -> Iterator[Text]:
        """Make the three files."""
        found = all_methods(drawn(runs), self.thesis.knowledge)
        return (Text(f"tables/all_methods.{kind}", text) for kind, text in found.items())


@dataclass(frozen=True)
class Headline(OfDraws):
    """The table of docs/results.md.

    A network in a setting is at its largest scale that has each of `methods`. Another method without a run there has
    a line that says so, by its own largest scale.
    """

    texts = (HEADLINE,)

    def made(self, runs: Sequence[Run]) -> Iterator[Text]:
        """Make the one file."""
        yield Text(HEADLINE, result_table(runs, self.methods))


Summaries = Mapping[str, Mapping[str, Summary]]  # by method and metric; every method has the same metrics


def groups(frames: Frames) -> Iterator[tuple[str, str, pd.DataFrame, Summaries]]:
    """Yield each network and setting that there is, with their runs and the summaries of their methods."""
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
                yield network, setting, part.runs, values


def all_methods(frames: Frames, knowledge: Knowledge = ()) -> dict[str, str]:
    """Return every metric of every method: tidy csv ("csv"), and a table per network and setting ("md", "tex")."""
    told = words("overview")
    known = describe_knowledge(method_order(frames.runs["method"]), knowledge)
    meaning = f"{told['every_method']} {known}".strip()
    records, markdowns, texs = [], [f"{meaning}\n"], []
    for network, setting, runs, found in groups(frames):
        title = f"{network_label(network)}, {setting_label(setting)} setting."
        about = f"{describe_base(runs)} {describe_scale(runs)}"
        lines, left_out = [], []
        for method, own in found.items():
            records += [(network, setting, name, method, *summary_values(own[name])) for name in own]
            left_out += [(METRICS[name].label, method, own[name].left_out) for name in own]
            label, count = method_style(method).label, format_count(own["POPA"].n)
            lines.append([label, count, *map(format_summary, own.values())])
        header = ["method", "n", *(METRICS[name].label for name in own)]
        gaps = describe_left_out(left_out)
        gaps = gaps and f" {gaps}"
        faults = warnings(runs)
        markdowns.append(f"**{title}** {about}{gaps}\n\n{bold_markdown(faults)}{markdown(header, lines)}")
        caption = loud_tex(faults) + tex(f"{title} {about} {meaning}{gaps}")
        texs.append(tex_table(f"all_methods_{network}_{setting}", caption, header, lines))
    return {"csv": csv_text(told["columns"], records), "md": "\n".join(markdowns), "tex": "\n".join(texs)}


def result_table(runs: Sequence[Run], methods: Iterable[str] = ()) -> str:
    """Return the table of docs/results.md: Markdown, a line per network and method, a caption line below.

    Args:
        runs: Of any scale.
        methods: What a larger scale must have; see `Headline`.
    """
    chosen, others = _by_scale(runs, methods)
    elsewhere = {_names(run) for run in others}
    frames = drawn([*chosen, *others])
    networks = {name: network_label(name) for name in network_order(frames.runs["network"])}
    found = {(network, setting): values for network, setting, _, values in groups(frames)}
    lines, gaps = [], []
    for network, label in networks.items():
        for method in method_order(frames.select(network=network).runs["method"]):
            cells = [
                found.get((network, setting), {}).get(method, {}).get(metric, absent(""))
                for setting, metric in COLUMNS.values()
            ]
            other = OTHER if any((network, setting, method) in elsewhere for setting in SETTINGS) else ""
            name = (label, method_style(method).label + other)
            lines.append([*name, *map(format_summary, cells)])
            gaps += [f"{', '.join(name)}: {format_count(cell.left_out)}" for cell in cells if cell.left_out]
    caption, faults = [words("overview")["headline"]], dict[str, None]()
    for suffix, part, always in (("", drawn(chosen), [*NETWORKS, *networks]), (OTHER, drawn(others), [])):
        for network in network_order({*always, *part.runs["network"]}):
            caption.append(f"{network_label(network)}{suffix}: {_scales(part.select(network=network))}.")
        of_settings = (part.select(setting=setting).runs for setting in SETTINGS)
        faults |= dict.fromkeys(fault for of in of_settings for fault in warnings_of(of, "network", networks))
    if gaps:
        caption.append(f"Rows left out because a loss is not finite: {'; '.join(gaps)}.")
    warned = "".join(f"**{fault}** " for fault in faults)
    return f"{markdown(['network', 'method', *COLUMNS], lines, texts=2)}\n{warned}{' '.join(caption)}\n"


def _names(run: Run) -> tuple[str, str, str]:
    network, setting, _ = subject(run.header.spec)
    return network, setting, method_of(run.header.spec)


def _by_scale(runs: Sequence[Run], methods: Iterable[str]) -> tuple[list[Run], list[Run]]:
    """Select the runs of each network and setting at one scale, and those of methods without a run there.

    Those are at their own largest scale.
    """
    wanted, chosen, others = set(methods), list[Run](), list[Run]()
    for setting in dict.fromkeys(_names(run)[1] for run in runs):
        own = [run for run in runs if _names(run)[1] == setting]
        part = at_one_scale(own, wanted)
        chosen += part
        there = set(map(_names, part))
        for scale in chain(*by_recipe(own).values()):
            more = [run for run in scale if _names(run) not in there]
            others += more
            there.update(map(_names, more))
    return chosen, others


def _scales(frames: Frames) -> str:
    """Say of what scale the runs of a network are, setting by setting where settings differ."""
    parts = {name: frames.select(setting=name).runs for name in SETTINGS}
    said = {name: _scale(part) for name, part in parts.items() if not part.empty}
    if len(set(said.values())) < 2:
        return next(iter(said.values()), "no runs")
    return "; ".join(f"{setting_label(name)}: {text}" for name, text in said.items())


def _scale(runs: pd.DataFrame) -> str:
    """Describe a scale in short, and method by method where figures over D are by a part of it for some."""
    if (runs["train_part"] < runs["train_images"]).nunique() < 2:
        return describe_scale_briefly(runs)
    text = describe_scale(runs).removesuffix(".")
    return f"{text[0].lower()}{text[1:]}"

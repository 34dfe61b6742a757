"""The ledger of claims as files: a table of verdicts, the tests behind each, csv and json."""

import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.records.schema import Run
from experiments.report.build import run_ids_sha256
from experiments.report.captions import describe_scale_briefly, warnings
from experiments.report.claims.data import Ledger, read_ledger
from experiments.report.claims.evidence import Evidence, Missing, shown
from experiments.report.claims.verdicts import HOLDS, VERDICTS, Judged, Ruling, judge, on
from experiments.report.frames import REPLICAS, draws
from experiments.report.numbers import format_number, listing
from experiments.report.render import csv_text, loud_markdown, markdown
from experiments.report.sheet import plain
from experiments.report.statistics import Interval
from experiments.report.style import NETWORKS, SETTINGS, network_label, setting_label

OVERVIEW = (
    *("id", "claim", "verdict", *NETWORKS.values(), "where", "tests that hold", "deciding test", "ours"),
    *("against", "tested value", "95 % interval", "p (Holm)"),
)
DETAILS = (
    *(
        "network",
        "test",
        "result",
        "note",
        "ours",
        "against",
        "tested value",
        "95 % interval",
        "p",
        "p (Holm)",
    ),
    *("n", "seeds"),
)
COLUMNS = (
    *("id", "claim", "where", "verdict", "reason", "network", "table", "test", "result", "ours", "against"),
    *("value", "low", "high", "p", "p_holm", "p_exact", "n", "seeds", "note"),
)
SMALLEST = 1e-4  # a p value below it is shown as such
NONE = "–"
READING = (
    "Ours: the method's mean over the pairs of the test, or a share or level as the test says; against: the other"
    " method's, or the stated value. Tested value: the mean difference over the pairs of seed and sample that both"
    " have, with the interval beside it. n: pairs, samples or seeds. p: two-sided, of a sign-flip permutation;"
    " p (Holm): corrected within the claim's table. The deciding test is the worst one; of equal ones that with the"
    " largest p."
)


@dataclass(frozen=True)
class Claims:
    """The ledger of the thesis' claims.

    Attributes:
        path: The claims as data, see `experiments.report.claims.data`.
        presets: Whose runs: those of the tables, and of the probes that claims are about.
    """

    path: Path
    presets: tuple[str, ...] = (
        "every_method",
        *REPLICAS,
        "table_4_9",
        "table_4_10",
        "figure_4_13",
        "idealized_selector_mlp",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return ("report/claims.md", "report/claims.csv", "report/verdicts.json")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`.

        Raises:
            ReportError: The data are not as they should be, or two runs cannot be told apart.
        """
        ledger = read_ledger(self.path)
        evidence = Evidence.of(draws(runs))
        rulings = sorted(judge(ledger.claims, evidence), key=lambda item: _natural(item.claim.id))
        texts = (
            _markdown(ledger, rulings, _scale(evidence)),
            _csv(rulings),
            _json(rulings, [run.header.run_id for run in runs]),
        )
        return {name: text.encode() for name, text in zip(self.names, texts, strict=True)}


def _scale(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Return a description of the runs of each network, and the faults of its N0."""
    lines, loud = [], []
    for network in NETWORKS:
        label, own = network_label(network), evidence.runs[evidence.runs["network"] == network]
        parts = []
        for setting in SETTINGS:
            runs = own[own["setting"] == setting]
            about = describe_scale_briefly(runs) if len(runs) else "missing, no runs among the records"
            parts.append(f"{setting_label(setting)}: {about}")
        lines.append(f"{label}, {'; '.join(parts)}.")
        loud += [f"{label}: {text}" for text in warnings(own)]
    return lines, loud


def _markdown(ledger: Ledger, rulings: Sequence[Ruling], scale: tuple[list[str], list[str]]) -> str:
    counts = [f"{sum(item.verdict == name for item in rulings)} {name}" for name in VERDICTS]
    head = [
        "# Claims",
        f"{len(rulings)} claims: {listing(counts)}.",
    ]
    reading = ["## The rule", ledger.rule, READING, " ".join(scale[0])]
    table = markdown(OVERVIEW, [_overview(item) for item in rulings], texts=8)
    details = "\n".join(map(_details, rulings))
    parts = [*head, loud_markdown(scale[1]).strip(), table.strip(), *reading, "## The tests of each claim"]
    return "\n\n".join(part for part in parts if part) + f"\n\n{details}"


def _overview(ruling: Ruling) -> list[str]:
    claim, deciding = ruling.claim, ruling.deciding
    grades = [ruling.grade_on(network) or NONE for network in NETWORKS]
    line = [f"[{claim.id}](#claim-{claim.id})", claim.claim, ruling.verdict, *grades, claim.where]
    if deciding is None:
        return [*line, *[NONE] * (len(OVERVIEW) - len(line))]
    held = sum(item.grade == HOLDS for item in ruling.judged)
    numbers = _numbers(deciding)
    return [
        *(*line, f"{held} of {len(ruling.judged)}", f"{on(deciding.test)}{deciding.test.subject}"),
        *(*numbers[:4], _p(deciding.adjusted)),
    ]


def _numbers(judged: Judged) -> list[str]:
    """Return ours, against, the tested value, its interval and n of a test."""
    outcome = judged.outcome
    if isinstance(outcome, Missing):
        return ["missing", *[NONE] * 4]
    against = NONE if outcome.against is None else shown(outcome.against)
    return [shown(outcome.ours), against, shown(outcome.value), _interval(outcome.interval), f"{outcome.n:,}"]


def _interval(interval: Interval | None) -> str:
    return NONE if interval is None else f"[{shown(interval.low)}, {shown(interval.high)}]"


def _p(p: float | None) -> str:
    if p is None:
        return NONE
    return f"<{SMALLEST:.4f}" if p < SMALLEST else format_number(p)


def _details(ruling: Ruling) -> str:
    """Return a claim with every test, folded away."""
    claim = ruling.claim
    title = html.escape(f"{claim.id}. {claim.claim}", quote=False)
    parts = [
        f'<details id="claim-{claim.id}">\n<summary>{title} <b>{ruling.verdict}</b></summary>',
        f"Where: {claim.where}. Verdict: **{ruling.verdict}**, because {ruling.reason}.",
        *([claim.note] if claim.note else []),
    ]
    if ruling.judged:
        parts.append(markdown(DETAILS, [_line(item) for item in ruling.judged], texts=4).rstrip())
    return "\n\n".join([*parts, "</details>\n"])


def _line(judged: Judged) -> list[str]:
    outcome, test = judged.outcome, judged.test
    numbers = _numbers(judged)
    line = [network_label(test.network) if test.network else "both", test.subject, judged.grade]
    if isinstance(outcome, Missing):
        return [*line, outcome.why, *numbers[:4], NONE, NONE, numbers[4], NONE]
    seeds = str(outcome.seeds) if outcome.seeds else NONE
    return [*line, outcome.note or NONE, *numbers[:4], _p(outcome.p), _p(judged.adjusted), numbers[4], seeds]


def _csv(rulings: Sequence[Ruling]) -> str:
    lines: list[list[object]] = []
    for ruling in rulings:
        claim = ruling.claim
        head = [claim.id, claim.claim, claim.where, ruling.verdict, ruling.reason]
        if not ruling.judged:
            lines.append([*head, *[""] * (len(COLUMNS) - len(head))])
        for judged in ruling.judged:
            network = judged.test.network
            about = [network, claim.tables.get(network, ""), judged.test.subject, judged.grade]
            lines.append([plain(value) for value in (*head, *about, *_record(judged))])
    return csv_text(COLUMNS, lines)


def _record(judged: Judged) -> list[object]:
    """Return the numbers of a test for the csv file."""
    outcome = judged.outcome
    if isinstance(outcome, Missing):
        return [*[None] * 10, outcome.why]
    interval = outcome.interval
    ends = (None, None) if interval is None else (interval.low, interval.high)
    exact = None if outcome.p is None else str(outcome.exact).lower()
    values = [_finite(value) for value in (outcome.ours, outcome.against, outcome.value)]
    return [*values, *ends, outcome.p, judged.adjusted, exact, outcome.n, outcome.seeds or None, outcome.note]


def _finite(value: float | None) -> object:
    """Return a number, or the word for one that is not finite."""
    return value if value is None or math.isfinite(value) else shown(value)


def _json(rulings: Sequence[Ruling], run_ids: Sequence[str]) -> str:
    verdicts = {item.claim.id: item.verdict for item in rulings}
    return json.dumps({"runs_sha256": run_ids_sha256(run_ids), "verdicts": verdicts}, indent=1) + "\n"


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts 2 before 10, and 7a before 7b."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.findall(r"\d+|\D+", name)]

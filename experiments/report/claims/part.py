"""The ledger of claims as files: a table of verdicts, the tests behind each, csv and json."""

import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.records.schema import Run
from experiments.report.build import run_ids_sha256
from experiments.report.captions import describe_scale_briefly, warnings_of
from experiments.report.claims.data import Ledger, read_ledger
from experiments.report.claims.evidence import Evidence, Missing, shown
from experiments.report.claims.lines import NAME, verdict_sheet
from experiments.report.claims.verdicts import HOLDS, VERDICTS, Judged, Ruling, judge
from experiments.report.frames import DRAWS
from experiments.report.numbers import listing
from experiments.report.part import Made, Study, Text, words
from experiments.report.render import bold_markdown, markdown
from experiments.report.sheet import records_csv
from experiments.report.style import NETWORKS, SETTINGS, network_label, setting_label

NUMBERS = {"ours": "ours", "against": "against", "value": "tested value", "interval": "95 % interval"}
OVERVIEW = (
    *("id", "claim", "verdict", *NETWORKS.values(), "where", "tests that hold", "deciding test"),
    *(*NUMBERS.values(), "p (Holm)"),
)
DETAILS = {  # of a test's record, and what it is called
    **{name: name for name in ("network", "test", "result", "note")},
    **NUMBERS,
    **{"p": "p", "p_holm": "p (Holm)", "n": "n", "seeds": "seeds", "errors": "N0's errors"},
}
Record = dict[str, str | float | None]  # a test by the columns of the csv file

SMALLEST = 1e-4  # a p value below it is shown as such
NONE = "–"


@dataclass(frozen=True)
class Claims(Study):
    """The ledger of the thesis' claims, data at a path; of the presets of its tables, and of probes."""

    path: Path = Path()
    presets: tuple[str, ...] = (
        *("every_method", "alexnet_in_full", *DRAWS, "table_4_9", "table_4_10", "figure_4_3", "figure_4_13"),
        "idealized_selector_mlp",
    )

    tables = (NAME,)
    texts = ("report/claims.md", "report/claims.csv", "report/verdicts.json")

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table of verdicts, the numbers and the bare verdicts."""
        ledger = read_ledger(self.path)
        evidence = Evidence.by_scale(runs)
        rulings = sorted(judge(ledger.claims, *evidence), key=_place)
        verdicts = {
            "runs_sha256": run_ids_sha256(run.header.run_id for run in runs),
            "verdicts": {item.claim.id: item.verdict for item in rulings if not item.claim.other_reading_of},
        }
        texts = (_markdown(ledger, rulings, evidence), _csv(rulings), json.dumps(verdicts, indent=1) + "\n")
        yield verdict_sheet(ledger.lines, rulings, runs)
        yield from map(Text, self.texts, texts)


def _scale(evidence: Evidence) -> list[str]:
    """Return a description of the runs of each network."""
    lines = []
    for network, label in NETWORKS.items():
        own, parts = evidence.runs[evidence.runs["network"] == network], []
        for setting in SETTINGS:
            runs = own[own["setting"] == setting]
            about = describe_scale_briefly(runs) if len(runs) else "missing, no runs among the records"
            parts.append(f"{setting_label(setting)}: {about}")
        lines.append(f"{label}, {'; '.join(parts)}.")
    return lines


def _markdown(ledger: Ledger, rulings: Sequence[Ruling], evidence: Sequence[Evidence]) -> str:
    about = dict.fromkeys(line for each in evidence for line in _scale(each))
    faults = list(
        dict.fromkeys(line for each in evidence for line in warnings_of(each.runs, "network", NETWORKS))
    )
    own = [item.verdict for item in rulings if not item.claim.other_reading_of]
    counts = [f"{own.count(name)} {name}" for name in VERDICTS]
    parts = [
        "# Claims",
        f"{len(own)} claims: {listing(counts)}.",
        bold_markdown(faults).strip(),
        markdown(OVERVIEW, [_overview(item) for item in rulings], texts=8).strip(),
        *("## The rule", ledger.rule, ledger.reading, " ".join(about)),
        "## The tests of each claim",
        "\n".join(map(_details, rulings)),
    ]
    return "\n\n".join(part for part in parts if part)


def _record(judged: Judged) -> Record:
    """Return a test by the columns of the csv file; what it has nothing for is left out."""
    outcome = judged.outcome
    about: Record = {"network": judged.test.network, "test": judged.test.subject, "result": judged.grade}
    if isinstance(outcome, Missing):
        return about | {"note": str(outcome)}
    numbers = {name: getattr(outcome, name) for name in ("ours", "against", "value", "p", "n", "note")}
    ends = asdict(outcome.interval) if outcome.interval else {}
    exact = "" if outcome.p is None else str(outcome.exact).lower()
    about |= {"p_holm": judged.adjusted, "p_exact": exact, "seeds": outcome.seeds or None}
    about["errors"] = judged.errors
    return about | numbers | ends


def _text(record: Record, name: str) -> str:
    value, low, high = (record.get(key) for key in (name, "low", "high"))
    if name == "network":
        return network_label(str(value)) if value else "both"
    if name == "interval" and isinstance(low, float) and isinstance(high, float):
        return f"[{shown(low)}, {shown(high)}]"
    if value is None or value == "":
        return "missing" if name == "ours" else NONE
    if isinstance(value, float):
        return f"<{SMALLEST:.4f}" if name in ("p", "p_holm") and value < SMALLEST else shown(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _overview(ruling: Ruling) -> list[str]:
    claim, deciding = ruling.claim, ruling.deciding
    grades = [ruling.grade_on(network) or NONE for network in NETWORKS]
    said = f"(the other reading of {claim.other_reading_of}) " if claim.other_reading_of else ""
    line = [f"[{claim.id}](#claim-{claim.id})", said + claim.claim, ruling.verdict, *grades, claim.where]
    if deciding is None:
        return line + [NONE] * (len(OVERVIEW) - len(line))
    held, record = sum(item.grade == HOLDS for item in ruling.judged), _record(deciding)
    line += [f"{held} of {len(ruling.judged)}", deciding.subject]
    return line + [_text(record, name) for name in (*NUMBERS, "p_holm")]


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
        lines = [[_text(record, name) for name in DETAILS] for record in map(_record, ruling.judged)]
        parts.append(markdown(list(DETAILS.values()), lines, texts=4).rstrip())
    return "\n\n".join([*parts, "</details>\n"])


def _csv(rulings: Sequence[Ruling]) -> str:
    records = []
    for ruling in rulings:
        claim = ruling.claim
        about = {name: getattr(claim, name) for name in ("id", "claim", "where")}
        about |= {"verdict": ruling.verdict, "reason": ruling.reason}
        records += [
            {**about, "table": claim.tables.get(item.test.network, ""), **_record(item)}
            for item in ruling.judged
        ] or [about]
    in_words = ({name: _finite(value) for name, value in record.items()} for record in records)
    return records_csv(words("claims")["columns"], in_words)


def _finite(value: object) -> object:
    """Return a number that is not finite in words."""
    return shown(value) if isinstance(value, float) and not math.isfinite(value) else value


def _place(ruling: Ruling) -> tuple[tuple[int, str], str]:
    """Return a key that sorts 2 before 10, 7a before 7b, and another reading behind its claim."""
    name = ruling.claim.other_reading_of or ruling.claim.id
    return (int("".join(filter(str.isdigit, name))), name), ruling.claim.other_reading_of

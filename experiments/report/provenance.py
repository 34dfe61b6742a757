"""Which runs a report is from, what made them, and what must not be mixed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from experiments.records.schema import PROBE, Header, subject
from experiments.report.frames import ReportError
from experiments.report.numbers import format_count
from experiments.report.part import words
from experiments.report.render import csv_text, markdown

UNKNOWN = "not recorded"
LIBRARIES = ("python", "torch", "torchvision", "numpy", "hydra-core", "bgd")
FRAGMENT, RUNS = "report/provenance.md", "report/runs.csv"

Sources = Mapping[str, Sequence[Header]]  # by a file of the report, those of the runs it is made from


def refuse_mixtures(headers: Iterable[Header]) -> None:
    """Refuse records that different versions of a component made: no table could say what it shows.

    Records of another schema cannot be read in the first place (`experiments.records.schema.header_from`).

    Raises:
        ReportError: Two runs differ in the version of the same component.
    """
    seen: dict[str, tuple[int, str]] = {}
    for header in headers:
        for component, version in _components(header).items():
            first, where = seen.setdefault(component, (version, header.run_id))
            if version != first:
                raise ReportError(
                    f"records of different versions: {component} is {first} in run {where} and {version} in run"
                    f" {header.run_id}; run the older one again (make reproduce)"
                )


def _components(header: Header) -> dict[str, int]:
    """Return the version of each component by a name that says which one it is."""
    _, _, name = subject(header.spec)
    own = {PROBE: f"probe {name}", "method": f"method {name}"}
    return {own.get(key, key): version for key, version in header.spec.get("versions", {}).items()}


def caveats(headers: Sequence[Header]) -> list[str]:
    """Return warnings on how the runs were made; empty where all are alike and from clean trees."""
    lines, told = [], words("provenance")
    for name, kinds in told["mixed"].items():
        found = sorted({_told(header, name) for header in headers})
        if len(found) > 1:
            lines.append(f"The records mix {kinds}: {', '.join(found)}.")
    for name, value in (("dirty", str(True)), ("revision", UNKNOWN)):
        count = sum(_told(header, name) == value for header in headers)
        if count:
            lines.append(f"{format_count(count)} of {format_count(len(headers))} runs are from {told[name]}.")
    return lines


def _told(header: Header, name: str) -> str:
    value = header.provenance.get(name)
    return UNKNOWN if value is None else str(value)


def provenance_files(headers: Sequence[Header], sources: Sources) -> dict[str, bytes]:
    """Return the chapter on provenance, from the headers of every run, and which runs are behind each file."""
    headers = sorted(headers, key=lambda header: header.run_id)
    versions = {name: version for header in headers for name, version in _components(header).items()}
    files = {
        (str(header.spec.get("dataset")), name, sha256)
        for header in headers
        for name, sha256 in (header.provenance.get("data") or {UNKNOWN: ""}).items()
    }
    told, lines = words("provenance"), [[name, str(version)] for name, version in sorted(versions.items())]
    parts = [
        *(f"**{line}**" for line in caveats(headers)),
        *(told["runs"], _machines(headers)),
        *(told["bases"], _bases(headers), markdown(["component", "version"], lines)),
        *(told["data"], markdown(["data set", "file", "SHA-256"], sorted(files), texts=3)),
        *(told["files"], _sources(sources)),
    ]
    text = "\n\n".join(part.strip() for part in parts) + "\n"
    return {FRAGMENT: text.encode(), RUNS: _runs_csv(sources).encode()}


def _machines(headers: Sequence[Header]) -> str:
    columns = ("revision", "dirty", *LIBRARIES, "device", "hardware", "cores", "threads")
    groups: dict[tuple[str, ...], list[Header]] = {}
    for header in headers:
        groups.setdefault(tuple(_told(header, name) for name in columns), []).append(header)
    lines = [[*key, format_count(len(own)), _hours(own)] for key, own in sorted(groups.items())]
    titles = {"dirty": "changed", "threads": "threads a run"}
    named = [titles.get(name, name) for name in columns]
    return markdown([*named, "runs", "hours"], lines, texts=len(columns))


def _hours(headers: Iterable[Header]) -> str:
    return f"{sum(header.summary.get('seconds') or 0.0 for header in headers) / 3600:.2f}"


def _bases(headers: Sequence[Header]) -> str:
    counts = Counter(
        (
            *(header.spec["network"]["name"], str(header.base.get("id")), str(header.base["sha256"])[:16]),
            *(format_count(header.base[name]) for name in ("errors", "parameters")),
        )
        for header in headers
    )
    lines = [[*key, format_count(count)] for key, count in sorted(counts.items())]
    return markdown(["network", "N0", "SHA-256 begins", "errors", "parameters", "runs"], lines, texts=3)


def _sources(sources: Sources) -> str:
    lines = []
    for name, headers in sorted(sources.items()):
        torch = sorted({_told(header, "torch") for header in headers})
        changed = sum(header.provenance.get("dirty") is not False for header in headers)
        counts = (len(headers), sum(header.samples for header in headers), changed)
        about = [f"[{name}](../{name})", ", ".join(torch) or "missing"]
        lines.append([*about, *map(format_count, counts), _hours(headers)])
    header = ["file", "torch", "runs", "rows", "runs not from a clean revision", "hours"]
    return markdown(header, lines, texts=2)


def _runs_csv(sources: Sources) -> str:
    """Return a line for each run, with the files that are made from it, a space between them."""
    headers = {header.run_id: header for group in sources.values() for header in group}
    files: dict[str, list[str]] = {}
    for name, group in sorted(sources.items()):
        for header in group:
            files.setdefault(header.run_id, []).append(name)
    rows = []
    for run_id, names in sorted(files.items()):
        header = headers[run_id]
        about = (*subject(header.spec), header.spec.get("seed", ""), header.spec.get("order", 0))
        made = (header.summary.get("seconds", ""), _told(header, "revision"), _told(header, "torch"))
        rows.append((run_id, *about, *made, " ".join(names)))
    return csv_text(words("provenance")["columns"], rows)

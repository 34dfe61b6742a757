"""The tables of docs/performance.md, from what the last benches wrote: `python -m scripts.bench.report`."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.report.render import markdown
from scripts.bench import commands, descents, small
from scripts.bench.against import cells
from scripts.bench.growth import power
from scripts.bench.tables import milliseconds, percent, times

FOLDER, DOCUMENT = Path("outputs", "bench"), Path("docs", "performance.md")
HOLDS = {True: "yes", False: "**no**", None: ""}

Json = dict[str, Any]


def evaluation(found: Json) -> str:
    """Return the table of an edit of each layer, for each network."""
    header = ["network", "lowest layer edited", "weights", "full (ms)", "incremental (ms)", "ratio", "target", "holds",
              "non-reloading, ratio", "cannot be avoided"]  # fmt: skip
    lines = [
        [
            network["network"],
            row["edit"],
            f"{row['weights']:,}",
            milliseconds(row["full"]),
            milliseconds(row["reloading"]),
            times(row["reloading_ratio"]),
            times(row["target"]) if row["target"] else "",
            HOLDS[row["holds"]],
            times(row["accumulating_ratio"]),
            percent(row["floor"]),
        ]
        for network in found["networks"]
        for row in network["rows"]
    ]
    passes = [
        f"{network['network']}: {network['images']:,} images, {network['threads']} threads, a full pass "
        f"at {network['full_pass_gflops']:.0f} GFLOP/s, {percent(network['full_pass_share_of_peak'])} of the peak"
        for network in found["networks"]
    ]
    return f"{'; '.join(passes)}.\n\n{markdown(header, lines, texts=2)}"


def methods(found: Json) -> str:
    """Return the table of each method's search and of the evaluation of its patches."""
    header = ["network", "method", "search, obvious (s)", "fast (s)", "ratio", "evaluation, full (ms)",
              "incremental, mean (ms)", "median ratio", "total ratio"]  # fmt: skip
    lines = []
    for network in found["networks"]:
        for row in network["rows"]:
            obvious, patches = row["obvious_samples"], row["patches"]
            lines.append(
                [
                    network["network"],
                    row["method"],
                    f"{row['obvious_search']:.3g}" if obvious else "the same",
                    f"{row['search_same_samples'] if obvious else row['search']:.3g}",
                    times(row["search_ratio"]) if obvious else "",
                    milliseconds(row["full_evaluation"]),
                    milliseconds(row["evaluation"]) if patches else "none corrected",
                    times(row["evaluation_median_ratio"]) if patches else "",
                    times(row["evaluation_total_ratio"]) if patches else "",
                ]
            )
    said = [f"{network['network']}: {network['images']:,} images" for network in found["networks"]]
    return f"One thread; seconds and milliseconds a sample. {'; '.join(said)}.\n\n{markdown(header, lines, texts=2)}"


def large(found: Json) -> str:
    """Return the table of BGD-II's searches on large networks."""
    header = ["network", "forward pass (ms)", "search, in forward passes", "before", "memory, in networks", "before",
              "a gradient alone"]  # fmt: skip
    *networks, draws = found["networks"]
    lines = [
        [
            network["network"],
            milliseconds(network["forward_seconds"]),
            *(f"{network[key]:.1f}" for key in ("search_passes", "search_passes_before")),
            *(f"{network[key]:.1f}" for key in ("memory", "memory_before", "memory_of_a_gradient")),
        ]
        for network in networks
    ]
    drawn = (
        f"20 draws from {draws['parameters']:,} parameters: {draws['seconds']:.2f} s, with numpy's weighted choice "
        f"{draws['obvious_seconds']:.1f} s."
    )
    return f"{markdown(header, lines)}\n\n{drawn}"


def against(found: Json) -> str:
    """Return the table of this tree beside an earlier commit."""
    header = ["what", "method", "seconds of", "runs", "samples", "images", f"at {found['against']}", "now", "ratio",
              "target", "holds", "whole process", "its cores", "memory (GiB)", "before", "same change"]  # fmt: skip
    lines = []
    for row in found["rows"]:
        line = list(cells(row))
        lines.append([*line[:10], HOLDS[row["holds"]], *line[11:]])
    said = (
        "Seconds of a sample, or of all cores where there are no samples; medians over so many runs. "
        "`whole process` and `its cores`: the same ratio, of the time of the whole process and of its cores."
    )
    return f"{said}\n\n{markdown(header, lines, texts=3)}"


def growth(found: Json) -> str:
    """Return the table of how an evaluation grows, with the least and the most of what was measured."""
    header = ["network", "what", "with the number of", "from", "to", "from (ms)", "to (ms)", "grows as"]
    lines = []
    for network in found["networks"]:
        for axis, points in network["axes"].items():
            for line in ("full", *network["layers"]):
                first, last = points[0], points[-1]
                lines.append(
                    [
                        network["network"],
                        "full pass" if line == "full" else f"edit of {line}",
                        axis,
                        *(f"{point['at']:,}" for point in (first, last)),
                        *(milliseconds(point[line]) for point in (first, last)),
                        power(network["exponents"][axis][line]),
                    ]
                )
    return markdown(header, lines, texts=3)


def whole_commands(found: Json) -> str:
    """Return the table of how whole commands grow."""
    return markdown(list(commands.HEADINGS), [list(commands.cells(row)) for row in found["rows"]], texts=2)


def by_method(headings: Sequence[str], cells: Callable[[str, Json], Sequence[str]], found: Json) -> str:
    """Return the table of a part that has a row for each method of a network."""
    lines = [
        [network["network"], *cells(name, row)]
        for network in found["networks"]
        for name, row in network["methods"].items()
    ]
    return markdown(["network", *headings], lines, texts=2)


PARTS: dict[str, Callable[[Json], str]] = {
    "against": against,
    "commands": whole_commands,
    "descents": partial(by_method, descents.HEADINGS, descents.cells),
    "evaluation": evaluation,
    "growth": growth,
    "large": large,
    "methods": methods,
    "small": partial(by_method, small.HEADINGS, small.cells),
}


def update(text: str, folder: Path) -> str:
    """Return a document with what stands between `bench:PART` and `/bench:PART` made from a folder's json.

    What was not measured yet stays as it is.

    Raises:
        KeyError: The document has no such place for a part.
    """
    for part, table in PARTS.items():
        if not (folder / f"{part}.json").exists():
            continue
        found = json.loads((folder / f"{part}.json").read_text())
        first, last = f"<!-- bench:{part} -->", f"<!-- /bench:{part} -->"
        place = re.compile(f"{first}.*?{last}", re.DOTALL)
        if not place.search(text):
            raise KeyError(f"no {first} ... {last} in the document")
        made = f"{first}\n{table(found).strip()}\n{last}"
        text = place.sub(lambda _, made=made: made, text)
    return text


def main(arguments: Sequence[str] = ()) -> int:
    """Update the document."""
    if not any((FOLDER / f"{part}.json").exists() for part in PARTS):
        print(f"error: nothing in {FOLDER}: make bench", file=sys.stderr)
        return 2
    DOCUMENT.write_text(update(DOCUMENT.read_text(), FOLDER))
    print(f"{DOCUMENT} updated")
    return 0


if __name__ == "__main__":
    sys.exit(main())

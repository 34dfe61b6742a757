"""The results of the device check as JSON and as a page. Without pandas, which `experiments.report` needs."""

import json
from pathlib import Path
from typing import Any

TITLES = [
    "network", "setting", "method", "holds", "samples", "corrected", "same subset as on the CPU",
    "largest difference of a loss", "same bits twice", "parts at", "by", "seconds, CPU", "seconds, card",
]  # fmt: skip


def write(output: Path, results: dict[str, Any], planned: int) -> None:
    """Write check.json and check.md, each whole or not at all."""
    output.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("check.json", json.dumps(results, indent=1) + "\n"),
        ("check.md", page(results, planned)),
    ):
        partial = output / f"{name}.partial"
        partial.write_text(text)
        partial.replace(output / name)


def page(results: dict[str, Any], planned: int) -> str:
    """Return the results in Markdown."""
    items = list(results["items"].values())
    facts = ", ".join(f"{key} {value}" for key, value in results["identity"].items())
    methods = [item for item in items if item["kind"] == "method"]
    parts = [
        "# Device check",
        f"{len(items)} of {planned} checks made. {facts}.",
        *(f"**{item_name} does not hold.** {item.get('error', '')}" for item_name, item in results["items"].items()
          if not item["holds"]),
        *(_arithmetic(item) for item in items if item["kind"] == "arithmetic" and "error" not in item),
        *(_cost(item) for item in items if item["kind"] == "cost" and "error" not in item),
        "`parts at`: which decision first came out otherwise than on the CPU, and at which look. `by`: how far from a"
        " tie it was, in logits for `right`, in nats for `lower`; a `draw` or ranking shows in no look.",
        _table(TITLES, [_cells(item) for item in methods if "error" not in item], texts=4),
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(titles: list[str], rows: list[list[str]], texts: int) -> str:
    """Return a table in Markdown; the columns after the first so many are numbers."""
    rule = ["---"] * texts + ["---:"] * (len(titles) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows))


def _arithmetic(item: dict[str, Any]) -> str:
    names = list(item["before"])
    columns = ("before", "after", "rounded")
    rows = [
        [name, *(f"{item[column][name]:.1e}" for column in columns), str(item["noticed"][name])]
        for name in names
    ]
    titles = [
        "set by somebody else",
        "error, set before",
        "error, settled again",
        "error, in between",
        "noticed",
    ]
    return "Relative error of float32 products:\n\n" + _table(titles, rows, texts=1)


def _cost(item: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{found['same_bits']} of {found['of']}",
            f"{found['gradient_ms']:.2f}",
            f"{found['pass_ms']:.1f}",
        ]
        for name, found in ((name, item[name]) for name in ("free", "deterministic"))
    ]
    titles = ["algorithms", "gradients of the same bits", "a gradient (ms)", "a pass over 500 images (ms)"]
    return f"AlexNet of width {item['width']}:\n\n" + _table(titles, rows, texts=1)


def _cells(item: dict[str, Any]) -> list[str]:
    parting, count = item["parting"] or {}, item["samples"]
    distance = parting.get("distance")
    return [
        item["network"],
        item["setting"].replace("_", "-"),
        item["method"],
        "yes" if item["holds"] else "no",
        str(count),
        str(item["corrected"]),
        f"{item['same_subset']} of {count}",
        f"{item['largest_loss_difference']:.1e}",
        f"{item['same_bits_twice']} of {count}",
        f"{parting['decision']}, look {parting['look']}" if parting else "",
        "" if distance is None else f"{distance:.1e}",
        f"{item['seconds']['cpu']:.2f}",
        f"{item['seconds']['card']:.2f}",
    ]

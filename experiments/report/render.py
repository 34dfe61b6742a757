"""Tables as csv (tidy, full precision), Markdown and LaTeX (for people)."""

import csv
import io
from collections.abc import Sequence

from experiments.report.metrics import Summary

_TEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "%&_#$"},
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "Ḡ": r"$\bar{G}$",
    "†": r"$^\dagger$",
    "|": r"$|$",
    "<": r"$<$",
    ">": r"$>$",
    "✓": r"$\surd$",
    "✗": r"$\times$",
}


SUMMARY = ("mean", "sd", "low", "median", "high", "n", "sd_over")  # columns of a csv file


def summary_values(summary: Summary) -> tuple[object, ...]:
    """Return the values of `SUMMARY`; where there is no mean its place says why."""
    spread = (summary.sd, summary.low, summary.median, summary.high)
    return (summary.told, *("" if value is None else value for value in spread), summary.n, summary.over)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as csv."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Return a Markdown table whose first columns are texts and whose others are numbers."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (header, rule, *lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def bold_markdown(warnings: Sequence[str]) -> str:
    """Return warnings as bold paragraphs of Markdown."""
    return "".join(f"**{warning}**\n\n" for warning in warnings)


def loud_tex(warnings: Sequence[str]) -> str:
    """Return warnings as bold LaTeX."""
    return "".join(rf"\textbf{{{tex(warning)}}} " for warning in warnings)


def tex(text: str) -> str:
    """Return plain text as LaTeX."""
    return "".join(_TEX.get(char, char) for char in text)


def tex_table(name: str, caption: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    r"""Return a `table*` with booktabs rules, no wider than the text (packages booktabs and graphicx).

    Args:
        name: For `\label`.
        caption: LaTeX already.
        header: Plain text, as are the lines.
        lines: One list of cells each.
    """
    body = "".join("    " + " & ".join(map(tex, line)) + r" \\" + "\n" for line in lines)
    return (
        "\\begin{table*}\n  \\centering\n"
        f"  \\caption{{{caption}}}\n  \\label{{tab:{name}}}\n"
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"  \\begin{{tabular}}{{@{{}}ll{'r' * (len(header) - 2)}@{{}}}}\n    \\toprule\n"
        f"    {' & '.join(map(tex, header))} \\\\\n    \\midrule\n{body}    \\bottomrule\n"
        "  \\end{tabular}}\n\\end{table*}\n"
    )

"""Tables as csv (tidy, full precision), Markdown and LaTeX (for people)."""

import csv
import io
from collections.abc import Sequence

from experiments.report.metrics import METRICS, MISSING, Summary
from experiments.report.numbers import format_count, format_printed, format_summary
from experiments.report.style import method_style
from experiments.report.tables import Cell, Table

CSV_COLUMNS = ("metric", "method", "mean", "sd", "n", "sd_over", "thesis_mean", "thesis_sd")
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


def summary_values(summary: Summary) -> tuple[object, ...]:
    """Return mean, sd, n and sd_over for a csv file; where there is no mean its place says why."""
    mean = summary.note if summary.mean is None else summary.mean
    return (mean, "" if summary.sd is None else summary.sd, summary.n, summary.over)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as csv."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def table_csv(table: Table) -> str:
    """Return a table as tidy csv: a line per metric and method, numbers in full precision."""
    rows = []
    for metric in table.spec.metrics:
        for method in table.spec.methods:
            cell = table.cells[metric, method]
            thesis = ["" if value is None else value for value in (cell.thesis_mean, cell.thesis_sd)]
            rows.append((metric, method, *summary_values(cell.ours), *thesis))
    return csv_text(CSV_COLUMNS, rows)


def cell_text(summary: Summary) -> str:
    """Return a cell of ours; a dagger points at the caption."""
    return f"{MISSING} †" if summary.note == MISSING else format_summary(summary)


def _thesis_text(cell: Cell) -> str:
    return "" if cell.thesis_mean is None else format_printed(cell.thesis_mean, cell.thesis_sd)


def table_lines(table: Table) -> list[list[str]]:
    """Return a table's lines as text: metric, whose value, one column per method.

    A metric that the thesis prints has a second line with the thesis' values; the last line counts samples.
    """
    methods = table.spec.methods
    lines = []
    for metric in table.spec.metrics:
        cells = [table.cells[metric, method] for method in methods]
        lines.append([METRICS[metric].label, "ours", *(cell_text(cell.ours) for cell in cells)])
        if any(cell.thesis_mean is not None for cell in cells):
            lines.append(["", "thesis", *map(_thesis_text, cells)])
    per_sample = [name for name in table.spec.metrics if METRICS[name].over == "samples"]
    if per_sample:
        # Without those left out: the caption counts them.
        summaries = [table.cells[per_sample[0], method].ours for method in methods]
        counts = [cell_text(item) if item.note == MISSING else format_count(item.n) for item in summaries]
        lines.append(["n", "ours", *counts])
    return lines


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


def table_markdown(table: Table) -> str:
    """Return a table as Markdown: warnings, caption, values."""
    header = ["", "", *(method_style(name).label for name in table.spec.methods)]
    top = f"**Table {table.spec.number}.** {table.caption}\n\n"
    return top + bold_markdown(table.warnings) + markdown(header, table_lines(table), texts=2)


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


def table_tex(table: Table) -> str:
    """Return a table as LaTeX."""
    header = ["", "", *(method_style(name).label for name in table.spec.methods)]
    caption = loud_tex(table.warnings) + tex(table.caption)
    return tex_table(table.spec.name, caption, header, table_lines(table))

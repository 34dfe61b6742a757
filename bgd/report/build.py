"""Everything that is made from records: tables, figures, and a word on which records they are from."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bgd.records import Run
from bgd.report.figures import FigureSpec, render
from bgd.report.frames import Frames, build_frames
from bgd.report.numbers import format_count
from bgd.report.overview import all_methods_csv, all_methods_markdown, all_methods_tex
from bgd.report.readme import insert_between_markers, result_table
from bgd.report.render import table_csv, table_markdown, table_tex
from bgd.report.style import method_order, method_style, network_label, network_order, setting_label
from bgd.report.tables import TableSpec, evaluate

__all__ = ["Definitions", "build", "insert_between_markers", "result_table"]


@dataclass(frozen=True)
class Definitions:
    """The tables and figures of a report."""

    tables: tuple[TableSpec, ...]
    figures: tuple[FigureSpec, ...]


def build(
    runs: Sequence[Run], definitions: Definitions, reference: pd.DataFrame, folder: Path, source: str
) -> list[Path]:
    """Write every table to `folder/tables` and every figure to `folder/figures`.

    Each file is written beside its place and renamed into it. The same records give the same bytes, in
    whatever order the runs come.

    Args:
        runs: One for each network, setting, method and seed.
        definitions: What to make of them.
        reference: The values of the thesis, from `bgd.report.tables.read_reference`.
        folder: Made where it does not exist.
        source: Which records these are, in words, for `tables/SOURCE.md`.

    Returns:
        The files written.

    Raises:
        ReportError: Two runs have the same network, setting, method and seed.
    """
    frames = build_frames(runs)
    written = []
    for name, content in _table_files(frames, definitions, reference):
        written.append(_write(folder / "tables" / name, content.encode()))
    written.append(_write(folder / "tables" / "SOURCE.md", _source_text(frames, source).encode()))
    for spec in definitions.figures:
        for kind, image in render(spec, frames).items():
            written.append(_write(folder / "figures" / f"{spec.name}.{kind}", image))
    return written


def _table_files(frames: Frames, definitions: Definitions, reference: pd.DataFrame) -> list[tuple[str, str]]:
    files = []
    for spec in definitions.tables:
        table = evaluate(spec, frames, reference)
        for suffix, writer in (("csv", table_csv), ("md", table_markdown), ("tex", table_tex)):
            files.append((f"{spec.name}.{suffix}", writer(table)))
    files.append(("all_methods.csv", all_methods_csv(frames)))
    files.append(("all_methods.md", all_methods_markdown(frames)))
    files.append(("all_methods.tex", all_methods_tex(frames)))
    return files


def _write(path: Path, content: bytes) -> Path:
    """Write a whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path


def run_ids_sha256(run_ids: Iterable[str]) -> str:
    """Return the SHA-256 of run ids, sorted, a line each: which records a report is from."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(run_ids)).encode()).hexdigest()


def is_built_from(folder: Path, run_ids: Iterable[str]) -> bool:
    """Return whether the report in `folder` is from the runs with these ids."""
    source = folder / "tables" / "SOURCE.md"
    return source.exists() and run_ids_sha256(run_ids) in source.read_text()


def _source_text(frames: Frames, source: str) -> str:
    runs, samples = frames.runs, frames.samples
    lines = [
        "# Source of these tables and figures",
        "",
        f"- records: {source}",
        f"- {format_count(len(runs))} runs, {format_count(len(samples))} rows (one per sample)",
        f"- SHA-256 of the sorted run ids: `{run_ids_sha256(runs['run_id'])}`",
        "",
        "| network | setting | method | seeds | rows |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for network in network_order(runs["network"]):
        for setting in sorted(set(runs["setting"]), reverse=True):
            part = frames.select(network=network, setting=setting)
            for method in method_order(part.runs["method"]):
                own = part.select(method=method)
                seeds = ", ".join(str(seed) for seed in sorted(own.runs["seed"]))
                place = f"{network_label(network)} | {setting_label(setting)} | {method_style(method).label}"
                lines.append(f"| {place} | {seeds} | {format_count(len(own.samples))} |")
    return "\n".join(lines) + "\n"

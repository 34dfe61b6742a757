"""Records as committed files: compressed, in an order of their own, and read back whole."""

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bgd.records import PROBE, RecordError, Row, Run, dump, header_from, row_from, subject

PRESETS = "presets.json"


@dataclass(frozen=True)
class Records:
    """Complete runs, and which of them belong to which preset.

    Attributes:
        runs: By run id.
        presets: By a preset's name, the ids of its runs that are there.
    """

    runs: Mapping[str, Run]
    presets: Mapping[str, tuple[str, ...]]

    def of(self, *presets: str) -> list[Run]:
        """Return the runs of some presets, each run once."""
        ids = dict.fromkeys(run_id for preset in presets for run_id in self.presets.get(preset, ()))
        return [self.runs[run_id] for run_id in ids]


def export(records: Records, folder: Path, whole: Iterable[str]) -> list[Path]:
    """Write records as compressed files, one for each network, setting and method, and `presets.json`.

    A file holds, for each run in order of seed, its header line and then its rows, a JSON object a line.

    Args:
        records: What to write.
        folder: Made where it does not exist; record files in it that are not written again go.
        whole: Presets whose rows are kept whole. The others', hundreds of runs of a sweep, leave out patch,
            layers, logits and change of the confusion matrix: most of a row's bytes, and found again by running.
    """
    kept = {run_id for preset in whole for run_id in records.presets.get(preset, ())}
    groups: dict[str, list[Run]] = {}
    for run_id, run in records.runs.items():
        groups.setdefault(_name(run.header.spec, run_id in kept), []).append(run)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in set(folder.glob("*.jsonl.gz")) - {folder / name for name in groups}:
        stale.unlink()
    for name, group in groups.items():
        lines = [
            line
            for run in sorted(group, key=lambda run: (run.header.spec.get("seed", 0), run.header.run_id))
            for line in _lines(run, run.header.run_id in kept)
        ]
        (folder / name).write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))
    presets = {name: sorted(ids) for name, ids in sorted(records.presets.items())}
    (folder / PRESETS).write_text(json.dumps(presets, indent=1) + "\n")
    return sorted(folder / name for name in (*groups, PRESETS))


def _name(spec: dict[str, Any], whole: bool) -> str:
    sweep = "" if whole or PROBE in spec else ".sweep"
    return f"{'.'.join(subject(spec))}{sweep}.jsonl.gz"


def _lines(run: Run, whole: bool) -> list[str]:
    rows = run.rows if whole else map(_slim, run.rows)
    return [dump(run.header), *map(dump, rows), *map(dump, run.measurements)]


def _slim(row: Row) -> Row:
    side_effects = replace(row.side_effects, confusion=[])
    return replace(row, patch=None, layers={}, logits_after=[], side_effects=side_effects)


def load(folder: Path) -> Records:
    """Read a folder that `export` wrote.

    Raises:
        RecordError: A file is cut short, or the presets name a run that is not there.
    """
    runs: dict[str, Run] = {}
    for path in sorted(folder.glob("*.jsonl.gz")):
        lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
        while lines:
            header = header_from(lines[0])
            count = 1 + header.samples
            if len(lines) < count:
                raise RecordError(
                    f"{path}: run {header.run_id} has {len(lines) - 1} rows of {header.samples}"
                )
            runs[header.run_id] = Run.of(header, map(row_from, lines[1:count]))
            lines = lines[count:]
    presets = {name: tuple(ids) for name, ids in json.loads((folder / PRESETS).read_text()).items()}
    absent = {run_id for ids in presets.values() for run_id in ids} - set(runs)
    if absent:
        raise RecordError(
            f"{folder / PRESETS} names {len(absent)} runs that are not there, {min(absent)} first"
        )
    return Records(runs, presets)

"""Records as committed files: compressed, in an order of their own, and read back whole."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bgd.records import PROBE, Header, RecordError, Row, Run, dump, header_from, row_from, subject

PRESETS = "presets.json"


class OnDemand(Mapping[str, Run]):
    """Runs whose rows are read when they are first asked for: a report needs a tenth of them.

    Args:
        headers: By run id.
        read: From a run id to the run.
    """

    def __init__(self, headers: Mapping[str, Header], read: Callable[[str], Run]) -> None:
        self.headers = headers
        self._read = read
        self._kept: dict[str, Run] = {}

    def __getitem__(self, run_id: str) -> Run:
        if run_id not in self._kept:
            self._kept[run_id] = self._read(run_id)
        return self._kept[run_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)

    def __len__(self) -> int:
        return len(self.headers)


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
        return [self.runs[run_id] for run_id in self._ids(presets)]

    @property
    def headers(self) -> list[Header]:
        """The header of every run."""
        return [self._header(run_id) for run_id in self.runs]

    def headers_of(self, *presets: str) -> list[Header]:
        """Return the headers of the runs of some presets, each once."""
        return [self._header(run_id) for run_id in self._ids(presets)]

    def _ids(self, presets: Iterable[str]) -> Iterable[str]:
        return dict.fromkeys(run_id for preset in presets for run_id in self.presets.get(preset, ()))

    def _header(self, run_id: str) -> Header:
        return self.runs.headers[run_id] if isinstance(self.runs, OnDemand) else self.runs[run_id].header


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
    sweep = "" if whole or PROBE in spec else ".replicas" if "replica" in spec else ".sweep"
    return f"{'.'.join(subject(spec))}{sweep}.jsonl.gz"


def _lines(run: Run, whole: bool) -> list[str]:
    rows = run.rows if whole else map(_slim, run.rows)
    return [dump(run.header), *map(dump, rows), *map(dump, run.measurements)]


def _slim(row: Row) -> Row:
    side_effects = replace(row.side_effects, confusion=[])
    return replace(row, patch=None, layers={}, logits_after=[], side_effects=side_effects)


def load(folder: Path) -> Records:
    """Read a folder that `export` wrote: the headers now, the rows of a run when they are asked for.

    Raises:
        RecordError: A file is cut short, or the presets name a run that is not there.
    """
    headers: dict[str, Header] = {}
    places: dict[str, tuple[Path, int]] = {}
    for path in sorted(folder.glob("*.jsonl.gz")):
        lines, start = _unpacked(path), 0
        while start < len(lines):
            header = header_from(json.loads(lines[start]))
            start += 1
            if len(lines) < start + header.samples:
                raise RecordError(
                    f"{path}: run {header.run_id} has {len(lines) - start} rows of {header.samples}"
                )
            headers[header.run_id], places[header.run_id] = header, (path, start)
            start += header.samples

    def read(run_id: str) -> Run:
        header, (path, start) = headers[run_id], places[run_id]
        lines = _unpacked(path)[start : start + header.samples]
        return Run.of(header, (row_from(json.loads(line)) for line in lines))

    presets = {name: tuple(ids) for name, ids in json.loads((folder / PRESETS).read_text()).items()}
    absent = {run_id for ids in presets.values() for run_id in ids} - set(headers)
    if absent:
        raise RecordError(
            f"{folder / PRESETS} names {len(absent)} runs that are not there, {min(absent)} first"
        )
    return Records(OnDemand(headers, read), presets)


@lru_cache(maxsize=2)
def _unpacked(path: Path) -> list[bytes]:
    """Return the lines of a file; the runs of one file are asked for one after the other."""
    return gzip.decompress(path.read_bytes()).splitlines()

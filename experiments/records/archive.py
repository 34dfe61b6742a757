"""Records as committed files: compressed, in an order of their own, and read back whole."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.records.checks import check_header, checked
from experiments.records.files import write
from experiments.records.schema import PROBE, Header, RecordError, Row, Run, dump, header_in, subject
from experiments.records.sums import Sums, read, read_sums, write_sums

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
    """Write records as compressed files, one for each network, setting and method, `presets.json` and checksums.

    A file holds, for each run in order of seed, its header line and then its rows, a JSON object a line. The checksums
    are `SHA256SUMS`, which `sha256sum -c` reads.

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
        write(folder / name, gzip.compress("".join(lines).encode(), 9, mtime=0))
    presets = {name: sorted(ids) for name, ids in sorted(records.presets.items())}
    write(folder / PRESETS, (json.dumps(presets, indent=1) + "\n").encode())
    names = (*groups, PRESETS)
    return sorted([write_sums(folder, names), *(folder / name for name in names)])


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
        RecordError: A file is not what its checksum says, is cut short or missing, or the presets name a run that is
            not there. In a folder without checksums, rows are held to their header and to each other instead.
    """
    sums = read_sums(folder)
    headers: dict[str, Header] = {}
    places: dict[str, tuple[Path, int]] = {}
    unpacked = lru_cache(maxsize=2)(
        lambda path: _unpacked(path, sums)
    )  # runs of one file are asked for in a row
    for path in _files(folder, sums):
        for number, header in _headers(path, unpacked(path), sums):
            headers[header.run_id], places[header.run_id] = header, (path, number)

    def read_run(run_id: str) -> Run:
        header, (path, start) = headers[run_id], places[run_id]
        lines = unpacked(path)[start : start + header.samples]
        return checked(header, lines, f"{path}, run {run_id}", sums is not None)

    return Records(OnDemand(headers, read_run), _presets(folder, sums, headers))


def _files(folder: Path, sums: Sums | None) -> list[Path]:
    """Return the record files of a folder; with checksums, those that these name, whether they are there or not."""
    found = set(folder.glob("*.jsonl.gz"))
    named = {folder / name for name in sums or () if name.endswith(".jsonl.gz")}
    return sorted(found | named)


def _headers(path: Path, lines: list[bytes], sums: Sums | None) -> Iterator[tuple[int, Header]]:
    """Yield the header of each run in a file, and where its rows begin."""
    start = 0
    while start < len(lines):
        try:
            header = header_in(lines[start])
            if sums is None:
                check_header(header)
        except RecordError as error:
            raise RecordError(f"{path}, line {start + 1}: {error}") from error
        start += 1
        if len(lines) < start + header.samples:
            raise RecordError(
                f"{path}: run {header.run_id} has {len(lines) - start} rows of {header.samples}"
            )
        yield start, header
        start += header.samples


def _presets(folder: Path, sums: Sums | None, headers: Mapping[str, Header]) -> dict[str, tuple[str, ...]]:
    path = folder / PRESETS
    try:
        found = json.loads(read(path, sums))
        presets = {name: tuple(map(str, ids)) for name, ids in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise RecordError(f"{path}: no presets can be read there ({error})") from error
    absent = {run_id for ids in presets.values() for run_id in ids} - set(headers)
    if absent:
        raise RecordError(f"{path} names {len(absent)} runs that are not there, {min(absent)} first")
    return presets


def _unpacked(path: Path, sums: Sums | None) -> list[bytes]:
    """Return the lines of a file that has been held to its checksum."""
    content = read(path, sums)
    try:
        return gzip.decompress(content).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise RecordError(f"{path} cannot be unpacked: {error}") from error

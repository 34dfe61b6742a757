"""Records as committed files: packed, in an order of their own, and read back whole.

A folder of them can be read with any xz and any JSON:

- `headers.jsonl.xz` has a line for each run: `{"rows": FILE, "header": HEADER}`. The n-th line that names a file is of
  the run in that file's n-th line.
- `NETWORK.SETTING.jsonl.xz` has a line for each run of a network in a setting: an object of columns, which are lists
  with a value for each row. `figures.train_loss` is the field `train_loss` of the row's `figures`; null in every such
  column of a row means that the row has no such object. Fields are explained in `records.schema`. The position of a
  row is its place in the list, from 0. Runs of a probe are in `NETWORK.probe.jsonl.xz`.
- `NETWORK.SETTING.sweep.jsonl.xz` has the runs that only sweeps have, and `NETWORK.SETTING.replicas.jsonl.xz` those
  from replicas of N0: the same without the columns of `records.columns.LEFT_OUT`, and with 6 significant digits of
  the L2 norm and of the sample's losses, which are in `records.columns.COARSE`.
- `presets.json` has the ids of each preset's runs, and `SHA256SUMS` the checksums, which `sha256sum -c` reads.

Other numbers have 10 significant digits, as in the run's own folder: what is kept of them comes back bit for bit.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from experiments.records.checks import check_header, check_order, checked
from experiments.records.columns import columns_of, records_in
from experiments.records.files import write
from experiments.records.packing import packed, unpacked
from experiments.records.schema import (
    PROBE,
    Header,
    Measurement,
    RecordError,
    Row,
    Run,
    compact,
    header_from,
    plain,
    subject,
    understood,
)
from experiments.records.sums import Sums, read, read_sums, write_sums

HEADERS, PRESETS = "headers.jsonl.xz", "presets.json"


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
    """Write records in the format above.

    Args:
        records: What to write. The same ones give the same bytes, in whatever order they come.
        folder: Made where it does not exist; record files in it that are not written again go.
        whole: Presets whose rows are kept whole. The others', hundreds of runs of a sweep, leave out what no table
            reads, most of a row's bytes, and round what is in `COARSE`: found again by running.

    Raises:
        RecordError: A run is not what its header says, or a file cannot be written.
    """
    kept = {run_id for preset in whole for run_id in records.presets.get(preset, ())}
    headers: list[str] = []
    files: dict[str, list[str]] = {}
    for run in sorted(records.runs.values(), key=_place):
        name = _name(run.header.spec, run.header.run_id in kept)
        headers.append(compact({"rows": name, "header": plain(run.header)}))
        files.setdefault(name, []).append(_columns(run, run.header.run_id in kept))
    files[HEADERS] = headers
    folder.mkdir(parents=True, exist_ok=True)
    for stale in set(folder.glob("*.xz")) - {folder / name for name in files}:
        stale.unlink()
    for name, lines in files.items():
        write(folder / name, packed(lines))
    presets = {name: sorted(ids) for name, ids in sorted(records.presets.items())}
    write(folder / PRESETS, (json.dumps(presets, indent=1) + "\n").encode())
    names = (*files, PRESETS)
    return sorted([write_sums(folder, names), *(folder / name for name in names)])


def _place(run: Run) -> tuple[Any, ...]:
    return (*subject(run.header.spec), run.header.spec.get("seed", 0), run.header.run_id)


def _name(spec: dict[str, Any], whole: bool) -> str:
    """Return the file for the rows of a run."""
    sweep = "" if whole or PROBE in spec else ".replicas" if "replica" in spec else ".sweep"
    network, setting, _ = subject(spec)
    return f"{network}.{setting}{sweep}.jsonl.xz"


def _columns(run: Run, whole: bool) -> str:
    rows: Sequence[Row | Measurement] = (*run.rows, *run.measurements)
    check_order(run.header, rows)
    return compact(columns_of(rows, slim=not whole))


def load(folder: Path) -> Records:
    """Read a folder that `export` wrote: the headers now, the rows of a run when they are asked for.

    Raises:
        RecordError: A file is not what its checksum says, is cut short or missing, or the presets name a run that is
            not there. In a folder without checksums, rows are held to their header and to each other instead.
    """
    sums = read_sums(folder)
    headers: dict[str, Header] = {}
    places: dict[str, tuple[Path, int]] = {}  # the file of a run's rows, and the number of its line
    lines: Counter[Path] = Counter()
    for path, header in _headers(folder / HEADERS, sums):
        headers[header.run_id], places[header.run_id] = header, (path, lines[path])
        lines[path] += 1
    for path in _files(folder, sums) | set(lines):
        read(path, sums)  # held to its checksum now, unpacked when it is asked for
    content = cache(lambda path: unpacked(read(path, sums), path))

    def read_run(run_id: str) -> Run:
        header, (path, number) = headers[run_id], places[run_id]
        if len(content(path)) != lines[path]:
            raise RecordError(f"{path} has {len(content(path))} runs of {lines[path]}")
        line = content(path)[number]
        rows = partial(records_in, line, header.samples)
        return checked(header, rows, f"{path}, run {run_id}", sums is not None)

    return Records(OnDemand(headers, read_run), _presets(folder, sums, headers))


def _files(folder: Path, sums: Sums | None) -> set[Path]:
    """Return the packed files of a folder, and those that its checksums name, whether they are there or not."""
    named = {folder / name for name in sums or () if name != PRESETS}
    return named | set(folder.glob("*.xz"))


def _headers(path: Path, sums: Sums | None) -> Iterator[tuple[Path, Header]]:
    """Yield the file of each run's rows and the run's header."""
    for number, line in enumerate(unpacked(read(path, sums), path), 1):
        try:
            name, header = understood(
                line, lambda each: (each["rows"], header_from(each["header"])), "header"
            )
            if sums is None:
                check_header(header)
        except RecordError as error:
            raise RecordError(f"{path}, line {number}: {error}") from error
        yield path.with_name(name), header


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

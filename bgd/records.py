"""The only meeting point of running and reporting: run headers, one row per sample, and their store.

A run is a folder `runs/<run_id>/` with `run.json` (the header) and `rows.jsonl` (one row a line). While it is
being made the folder is `<run_id>.partial`; the rename at the end is what makes it complete. Rows of a partial
run survive a kill. A failure is kept apart as `<run_id>.failed.json`. Nothing here imports torch.
"""

import contextlib
import fcntl
import gzip
import json
import math
import os
import shutil
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1  # version of header and row; raised when a reader of the old ones would misread the new

ALREADY_RIGHT, CORRECTED, UNCORRECTED = "already_right", "corrected", "uncorrected"


class RecordError(RuntimeError):
    """A record cannot be read or is not what it says it is."""


@dataclass(frozen=True)
class Figures:
    """How a network does on D and on the test set.

    Attributes:
        train_loss: Mean cross-entropy over D, in nats. None where it is not finite.
        train_accuracy: In [0, 1], over D. An image with a logit that is not finite counts as wrong.
        test_loss: As `train_loss`, over the test images.
        test_accuracy: As `train_accuracy`, over the test images.
        released_before: Sum over batches of 64 of the mean loss, divided by |D|: the released code's loss
            before a correction.
        released_after: Mean loss of the last batch, divided by |D|: the released code's loss after one.
    """

    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float
    released_before: float | None
    released_after: float | None


@dataclass(frozen=True)
class Row:
    """What happened to one sample.

    Attributes:
        position: Place in the order of samples, from 0.
        index: Index into the test set.
        label: The right class.
        prediction_before: Of the network the sample met: N0, or the current one in the non-reloading setting.
        prediction_after: After the correction, or the same where it failed.
        outcome: `already_right` (counts as correct, changes nothing), `corrected` or `uncorrected`
            (the network is left unchanged).
        reason: Why it failed, in words; empty otherwise.
        altered: Number of parameters the method altered, the numerator of POPA; 0 where nothing changed.
        l0: Number of parameters whose value differs.
        l1, l2, linf: Norms of the change.
        layers: Names of the tensors with a changed value.
        steps: Iterations of the search, or gradient steps.
        forward_passes, backward_passes: On the one sample.
        search_seconds, evaluation_seconds: Wall time.
        sample_loss_before, sample_loss_after: Cross-entropy of the sample, in nats.
        figures: Of the network after the sample.
        broken, fixed: Test images that went from right to wrong and from wrong to right, against N0.
        patch: `{"index": [...], "old": [...], "new": [...]}` with positions in the flat vector of all
            parameters; None where more than `PATCH_LIMIT` values change or nothing does.
    """

    position: int
    index: int
    label: int
    prediction_before: int
    prediction_after: int
    outcome: str
    reason: str
    altered: int
    l0: int
    l1: float
    l2: float
    linf: float
    layers: list[str]
    steps: int
    forward_passes: int
    backward_passes: int
    search_seconds: float
    evaluation_seconds: float
    sample_loss_before: float | None
    sample_loss_after: float | None
    figures: Figures
    broken: int
    fixed: int
    patch: dict[str, list[float]] | None = None


PATCH_LIMIT = 1000  # values; larger patches are not kept in a row


@dataclass(frozen=True)
class Header:
    """What a run was and on what it ran.

    Attributes:
        run_id: Hash of `spec`, also the folder's name.
        spec: Everything that can change a number: `network`, `method`, `setting` (each with its `name`),
            `scale`, `dataset`, `seed`, `versions`.
        base: The N0: `id`, `sha256`, `errors` (how many test images it gets wrong), `expected_errors`
            (`[low, high]`) and `parameters` (how many it has).
        figures: Of N0.
        samples: How many samples the run has.
        train_images, test_images: How many images the figures are over.
        provenance: Versions, device, threads: what may matter to a reader but is no part of the identity.
        summary: Written at the end: `retained`, the share of the samples that the last network gets right
            (None in the reloading setting), and `seconds`.
    """

    run_id: str
    spec: dict[str, Any]
    base: dict[str, Any]
    figures: Figures
    samples: int
    train_images: int
    test_images: int
    provenance: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True)
class Run:
    """A complete run."""

    header: Header
    rows: tuple[Row, ...]


def finite(value: float) -> float | None:
    """Return the value, None where it is not finite: JSON has no word for it."""
    return float(value) if math.isfinite(value) else None


def header_from(value: dict[str, Any]) -> Header:
    """Return the header in a JSON object.

    Raises:
        RecordError: It was written by another schema.
    """
    if value.get("schema") != SCHEMA:
        raise RecordError(f"record has schema {value.get('schema')!r}, this code reads {SCHEMA}")
    return Header(**{**value, "figures": Figures(**value["figures"])})


def row_from(value: dict[str, Any]) -> Row:
    """Return the row in a JSON object."""
    return Row(**{**value, "figures": Figures(**value["figures"])})


def _dump(value: Header | Row) -> str:
    return json.dumps(_rounded(asdict(value)), separators=(",", ":"), allow_nan=False) + "\n"


def _rounded(value: Any) -> Any:
    """Round every number to 10 significant digits: more than float32 and any measurement here have."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


class Store:
    """Runs in a folder, complete ones and partial ones."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def finished(self, run_id: str) -> bool:
        """Return whether the run is complete."""
        return (self.root / run_id).is_dir()

    def done_rows(self, run_id: str) -> int:
        """Return how many rows the run has so far, complete or not."""
        for folder in (self.root / run_id, self.root / f"{run_id}.partial"):
            with contextlib.suppress(FileNotFoundError):
                return (folder / "rows.jsonl").read_bytes().count(b"\n")
        return 0

    def header(self, run_id: str) -> Header:
        """Read the header of a complete run."""
        return header_from(json.loads((self.root / run_id / "run.json").read_text()))

    def read(self, run_id: str) -> Run:
        """Read a complete run."""
        lines = (self.root / run_id / "rows.jsonl").read_text().splitlines()
        return Run(self.header(run_id), tuple(row_from(json.loads(line)) for line in lines))

    def complete(self) -> list[str]:
        """Return the ids of the complete runs, in order."""
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        return [folder.name for folder in folders if folder.is_dir() and "." not in folder.name]

    def headers(self) -> Iterator[Header]:
        """Read the header of every complete run."""
        return map(self.header, self.complete())

    def discard(self, run_id: str) -> None:
        """Remove a run, complete or partial, for example one made with another N0."""
        for folder in (self.root / run_id, self.root / f"{run_id}.partial"):
            shutil.rmtree(folder, ignore_errors=True)

    def fail(self, run_id: str, spec: dict[str, Any], error: BaseException) -> Path:
        """Keep a failure with its traceback; return where."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / f"{run_id}.failed.json"
        text = "".join(traceback.format_exception(error))
        path.write_text(json.dumps({"run_id": run_id, "spec": spec, "traceback": text}, indent=1) + "\n")
        return path

    def failures(self) -> list[Path]:
        """Return the failure records."""
        return sorted(self.root.glob("*.failed.json"))

    @contextlib.contextmanager
    def writing(self, header: Header) -> Iterator["Writer"]:
        """Open a run to append rows to; the writer holds the rows that an earlier attempt left.

        Raises:
            RecordError: Another process is writing it.
        """
        folder = self.root / f"{header.run_id}.partial"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RecordError(f"run {header.run_id} is being written by another process") from error
            writer = Writer(self, folder, header)
            try:
                yield writer
            finally:
                writer.close()


class Writer:
    """Appends rows to a partial run and makes it complete.

    Attributes:
        rows: Every row so far, those of an earlier attempt included.
    """

    def __init__(self, store: Store, folder: Path, header: Header) -> None:
        self._store, self._folder, self._header = store, folder, header
        self.rows = self._recover(folder / "rows.jsonl", folder / "run.json")
        self._file = (folder / "rows.jsonl").open("a")

    def _recover(self, rows: Path, header: Path) -> list[Row]:
        """Return the whole rows of an earlier attempt with the same N0, and cut off a torn last line."""
        same = False
        with contextlib.suppress(FileNotFoundError, ValueError, RecordError):
            same = header_from(json.loads(header.read_text())).base == self._header.base
        if not same:
            rows.unlink(missing_ok=True)
            header.write_text(_dump(self._header))
            return []
        with contextlib.suppress(FileNotFoundError):
            content = rows.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                rows.write_bytes(whole)
            return [row_from(json.loads(line)) for line in whole.splitlines()]
        return []

    def append(self, row: Row) -> None:
        """Add one row; it is on its way to the disk when this returns."""
        self._file.write(_dump(row))
        self._file.flush()
        self.rows.append(row)

    def restart(self) -> None:
        """Forget the rows of an earlier attempt."""
        self._file.truncate(0)
        self.rows.clear()

    def complete(self, summary: dict[str, Any]) -> None:
        """Write the header with its summary and make the run complete."""
        os.fsync(self._file.fileno())
        header = Header(**{**vars(self._header), "summary": summary})
        partial = self._folder / "run.json.partial"
        partial.write_text(_dump(header))
        partial.replace(self._folder / "run.json")
        (self._folder / "lock").unlink(missing_ok=True)
        self._folder.rename(self._store.root / self._header.run_id)
        (self._store.root / f"{self._header.run_id}.failed.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what was appended stays."""
        self._file.close()


def reference_name(spec: dict[str, Any]) -> str:
    """Return the name of the reference file that a run goes into."""
    return ".".join((spec["network"]["name"], spec["setting"]["name"], spec["method"]["name"])) + ".jsonl.gz"


def export(runs: Iterable[Run], folder: Path) -> list[Path]:
    """Write runs as compressed reference files, one for each network, setting and method.

    A file holds, for each run in order of seed, its header line and then its rows, a JSON object a line.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(reference_name(run.header.spec), []).append(run)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in set(folder.glob("*.jsonl.gz")) - {folder / name for name in groups}:
        stale.unlink()
    for name, group in groups.items():
        ordered = sorted(group, key=lambda run: (run.header.spec["seed"], run.header.run_id))
        lines = [line for run in ordered for line in (_dump(run.header), *map(_dump, run.rows))]
        (folder / name).write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))
    return sorted(folder / name for name in groups)


def load_reference(folder: Path) -> list[Run]:
    """Read every run of a folder that `export` wrote."""
    runs = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
        while lines:
            header = header_from(lines[0])
            count = 1 + header.samples
            if len(lines) < count:
                raise RecordError(
                    f"{path}: run {header.run_id} has {len(lines) - 1} rows of {header.samples}"
                )
            runs.append(Run(header, tuple(row_from(line) for line in lines[1:count])))
            lines = lines[count:]
    return runs

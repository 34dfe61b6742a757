"""Committed records as runs of this clone: what they have need not be made again, and new runs stand beside them."""

import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from experiments.records.archive import Records
from experiments.records.schema import Measurement, Row, Run
from experiments.records.store import Store

log = logging.getLogger(__name__)

SAY_EVERY = 10.0  # seconds between two lines of progress


def restore(records: Records, ids: Collection[str], store: Store, bases: Path) -> int:
    """Put committed runs where this clone's are.

    What is there stays. Rows of a sweep come back without what its committed file leaves out, which no table reads.

    Args:
        records: The committed ones.
        ids: Which runs; those that are not among the records are left out.
        store: Where this clone's runs are.
        bases: Folder of this clone's base networks. A run of another N0 than the one in there is left out: with it
            in place a table would compare corrections of two networks.

    Returns:
        How many runs were put there.
    """
    kept, count, others = _kept(bases), 0, set[str]()
    wanted, said = sorted(set(ids) & set(records.runs)), time.monotonic()
    for place, run_id in enumerate(wanted):
        run = records.runs[run_id]
        base = run.header.base
        if kept.get(base["id"], base["sha256"]) != base["sha256"]:
            others.add(base["id"])
        elif not store.finished(run_id):
            _put(run, store)
            count += 1
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            log.info("%d of %d committed runs", place + 1, len(wanted))
    for base_id in sorted(others):
        log.warning(
            "the committed runs of N0 %s are of another one than the N0 in %s: left out", base_id, bases
        )
    return count


def _put(run: Run, store: Store) -> None:
    with store.writing(run.header) as writer:
        if writer.rows:
            writer.restart()
        rows: Sequence[Row | Measurement] = (*run.rows, *run.measurements)
        for row in rows:
            writer.append(row)
        writer.complete(run.header.summary)


def _kept(bases: Path) -> Mapping[str, str]:
    """Return the SHA-256 of each N0 of a folder, by its id."""
    facts = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(bases.glob("*.json")))
    return {each["base_id"]: each["sha256"] for each in facts}

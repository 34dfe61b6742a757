"""Which corrections are right wherever their network was looked at in other arithmetics."""

import json
from collections.abc import Mapping, Sequence

from experiments.records.schema import PROBE, Run, subject

OWN = "own"  # in the place of an arithmetic: the network's own


def looked_elsewhere(run: Run) -> bool:
    """Return whether a run looked at its corrections in other arithmetics."""
    return bool(run.header.spec.get("survival"))


def survived(runs: Sequence[Run]) -> dict[str, float]:
    """Return the share of corrections that are right in every other arithmetic, in %, by run id.

    Runs of corrections as they are alone count, without a goal beyond the largest logit. The share of a run that did
    not look is that of those runs of the same network and method, options included, that did.
    """
    counted = [run for run in runs if PROBE not in run.header.spec and not run.header.spec.get("goal")]
    found: dict[str, list[bool]] = {}
    for run in counted:
        measured = [row.survival for row in run.rows if row.survival]
        found.setdefault(_key(run), []).extend(map(_is_everywhere, measured))
    shares = {key: 100 * sum(each) / len(each) for key, each in found.items() if each}
    return {run.header.run_id: shares[_key(run)] for run in counted if _key(run) in shares}


def _key(run: Run) -> str:
    network, setting, _ = subject(run.header.spec)
    return json.dumps([network, setting, run.header.spec["method"]], sort_keys=True)


def _is_everywhere(leads: Mapping[str, float | None]) -> bool:
    return all(lead is not None and lead > 0 for name, lead in leads.items() if name != OWN)

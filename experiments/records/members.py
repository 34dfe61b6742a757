"""Which runs belong to which preset, kept beside the runs so that a report needs no configuration and no torch."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bgd.errors import ConfigError
from experiments.records.archive import OnDemand, Records, load
from experiments.records.columns import slimmed
from experiments.records.files import write
from experiments.records.schema import RecordError, Run
from experiments.records.store import Store
from experiments.records.sums import read

log = logging.getLogger(__name__)

REFERENCE_RECORDS = Path(__file__).parents[2] / "outputs" / "reference"

PARTIAL = "--partial (PARTIAL=1 with make) for what is there"
PARTIAL_HELP = "take this clone's runs even where some are missing, not the committed ones in their place"

Members = Mapping[str, Sequence[str]]  # the run ids of each preset


def output_of(profile: str, chosen: Path | None = None) -> Path:
    """Return the output folder of a profile."""
    return chosen or Path("outputs", *(["smoke"] if profile == "smoke" else []))


def reference_folder(profile: str) -> Path:
    """Return where the committed records of a profile are."""
    return REFERENCE_RECORDS / profile


def _path(output: Path, profile: str) -> Path:
    return output / "runs" / f"presets.{profile}.json"


def keep_members(members: Members, output: Path, profile: str) -> None:
    """Write which runs a profile's presets have, whether they are there yet or not."""
    content = json.dumps({name: list(ids) for name, ids in members.items()}, indent=1) + "\n"
    path = _path(output, profile)
    if not path.exists() or read(path) != content.encode():
        write(path, content.encode())


def kept_members(output: Path, profile: str) -> Members:
    """Read the members that `keep_members` wrote; empty where it never did.

    Raises:
        RecordError: The file is not what was written.
    """
    path = _path(output, profile)
    if not path.exists():
        return {}
    try:
        return {name: [str(run_id) for run_id in ids] for name, ids in json.loads(read(path)).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise RecordError(
            f"{path}: no presets can be read there ({error}); make tables writes it anew"
        ) from error


def count(members: Members) -> int:
    """Return how many different runs there are."""
    return len({run_id for ids in members.values() for run_id in ids})


def own_records(members: Members, output: Path, whole: Iterable[str] | None = None) -> Records:
    """Return the complete runs under an output folder, by preset; those that are not what they say are left out.

    Args:
        members: The runs of each preset.
        output: Where they are.
        whole: Presets whose rows are read whole; the others' as `columns.slimmed` has them, in a fraction of the
            memory. None: all of them.
    """
    store = Store(output / "runs")
    every = {run_id for ids in members.values() for run_id in ids}
    for fault in filter(None, map(store.fault, sorted(every))):
        log.warning("%s: the run is left out; make reproduce makes it again", fault)
    done = {run_id for run_id in every if store.finished(run_id)}
    presets = {name: tuple(run_id for run_id in ids if run_id in done) for name, ids in members.items()}
    kept = done if whole is None else {run_id for name in whole for run_id in presets.get(name, ())}

    def read_run(run_id: str) -> Run:
        run = store.read(run_id)
        return run if run_id in kept else slimmed(run)

    return Records(OnDemand({run_id: store.header(run_id) for run_id in sorted(done)}, read_run), presets)


def is_committed(output: Path) -> bool:
    """Return whether the tables, figures and report in a folder are the ones that are part of the repository."""
    return output.resolve() == REFERENCE_RECORDS.parent


def records_of(
    members: Members, output: Path, profile: str, partial: bool = True, whole: Iterable[str] | None = None
) -> tuple[Records, str]:
    """Return this clone's records, or the committed ones in their place, and which they are, in words.

    Args:
        members: The runs of each preset.
        output: Where this clone's are.
        profile: Name of the profile.
        partial: Whether some of the runs will do; otherwise all have to be there.
        whole: See `own_records`.

    Raises:
        ConfigError: There are neither.
    """
    records, reference = own_records(members, output, whole), reference_folder(profile)
    there = f"{len(records.runs)} of {count(members)} runs of profile {profile}"
    if records.runs and (partial or len(records.runs) == count(members)):
        return records, f"{there}, run in this clone"
    if reference.is_dir():
        records = load(reference)
        source = f"the {len(records.runs)} committed reference runs in outputs/reference/{profile}; none was run here"
        return records, source
    if records.runs:
        raise ConfigError(
            f"{there} are there: run make reproduce PROFILE={profile} for the rest, or add {PARTIAL}"
        )
    raise ConfigError(f"no records for profile {profile}: run make reproduce PROFILE={profile}")

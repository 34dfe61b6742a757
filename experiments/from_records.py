"""The report and the verdicts from records alone, without torch: `python -m experiments.from_records report|verify`."""

import argparse
import gc
from pathlib import Path

from bgd.errors import ConfigError
from experiments.jobs.ending import ended
from experiments.records.archive import Records
from experiments.records.members import (
    PARTIAL,
    PARTIAL_HELP,
    Members,
    count,
    is_committed,
    kept_members,
    output_of,
    own_records,
    records_of,
)
from experiments.thesis.levels import check_methods
from experiments.thesis.publish import PUBLISHED, is_published, publish, report, verdicts_of, worse_verdicts
from experiments.thesis.tables import WHOLE

PROFILES = tuple(sorted(path.stem for path in (Path(__file__).parent / "conf" / "profile").glob("*.yaml")))


def main(arguments: list[str] | None = None) -> int:
    """Do one of: report, verify. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.from_records", description=__doc__)
    parser.add_argument("command", choices=("report", "verify"))
    parser.add_argument("--profile", default="laptop", choices=PROFILES)
    parser.add_argument(
        "--output", type=Path, help="default: outputs, and outputs/smoke for the smoke profile"
    )
    parser.add_argument("--partial", action="store_true", help=PARTIAL_HELP)
    options = parser.parse_args(arguments)
    gc.disable()  # millions of small objects that live to the end: looking for garbage takes longer than reading them
    return ended(lambda: _do(options))


def _do(options: argparse.Namespace) -> int:
    check_methods()
    profile, output = options.profile, output_of(options.profile, options.output)
    if options.command == "verify":
        kept = verdicts_of(profile)
        if not kept.exists():
            raise ConfigError(
                f"profile {profile}: no verdicts are kept for it; make verify PROFILE={PUBLISHED}"
            )
        records, _ = records_for(kept_members(output, profile), output, profile, options.partial)
        return verify(records, kept)
    partial = options.partial or not is_committed(output)
    records, source = records_for(kept_members(output, profile), output, profile, partial)
    return write_report(records, output, source)


def records_for(members: Members, output: Path, profile: str, partial: bool) -> tuple[Records, str]:
    """Return records and which they are, as `records_of` does, and say so."""
    records, source = records_of(members, output, profile, partial, WHOLE)
    print(f"records: {source}", flush=True)
    own = len(own_records(members, output).runs)
    if own and not partial and own < count(members):
        print(f"note: {own} of {count(members)} runs are in {output}, too few to take their place; {PARTIAL}")
    return records, source


def write_tables(records: Records, output: Path, source: str) -> int:
    """Write tables and figures; return the exit status."""
    for line in publish(records, output, source):
        print(line, flush=True)
    return 0


def write_report(records: Records, output: Path, source: str) -> int:
    """Write the report, after the tables and figures where those are not from the same records."""
    if not is_published(records.runs, output):
        print(f"tables and figures in {output} are not from these records: they come first", flush=True)
        write_tables(records, output, source)
    for line in report(records, output):
        print(line)
    print(f"open {output / 'report' / 'index.html'}")
    return 0


def verify(records: Records, kept: Path) -> int:
    """Say which verdicts are worse than the kept ones; return the exit status."""
    worse = worse_verdicts(records, kept)
    for line in worse:
        print(line)
    print(
        f"{len(worse)} verdicts are worse than the kept ones"
        if worse
        else "no verdict is worse than the kept one"
    )
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())

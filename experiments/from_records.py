"""The report and the verdicts from records alone, without torch: `python -m experiments.from_records report|verify`."""

import argparse
import gc
import sys
from pathlib import Path

from bgd.archive import Records
from bgd.build import ConfigError
from bgd.records import RecordError
from bgd.report.frames import ReportError
from experiments.members import kept_members, records_of
from experiments.publish import is_published, publish, report, worse_verdicts

PROFILES = tuple(
    sorted(path.stem for path in (Path(__file__).parents[1] / "conf" / "profile").glob("*.yaml"))
)


def output_of(profile: str, chosen: Path | None = None) -> Path:
    """Return the output folder of a profile."""
    return chosen or Path("outputs", *(["smoke"] if profile == "smoke" else []))


def main(arguments: list[str] | None = None) -> int:
    """Do one of: report, verify. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.from_records", description=__doc__)
    parser.add_argument("command", choices=("report", "verify"))
    parser.add_argument("--profile", default="laptop", choices=PROFILES)
    parser.add_argument(
        "--output", type=Path, help="default: outputs, and outputs/smoke for the smoke profile"
    )
    options = parser.parse_args(arguments)
    output = output_of(options.profile, options.output)
    gc.disable()  # millions of small objects that live to the end: looking for garbage takes longer than reading them
    try:
        records, source = records_of(kept_members(output, options.profile), output, options.profile)
        print(f"records: {source}", flush=True)
        return verify(records) if options.command == "verify" else write_report(records, output, source)
    except (ConfigError, RecordError, ReportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


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


def verify(records: Records) -> int:
    """Say which verdicts are worse than the kept ones; return the exit status."""
    worse = worse_verdicts(records)
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

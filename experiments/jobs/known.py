"""What a plan needs of every run, kept beside the runs: composing them takes seconds, importing torch as well.

It follows from the code and the configuration of this tree alone, so their hash says whether what is kept still holds.
The same for the times in the committed records, which their checksums name.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgd.errors import ConfigError, nearest
from experiments.jobs.costs import Kind, seconds_per_sample
from experiments.jobs.stale import ROOT, sources
from experiments.records.archive import load
from experiments.records.files import sha256, write
from experiments.records.identity import digest
from experiments.records.members import reference_folder
from experiments.records.schema import RecordError
from experiments.records.store import PLANS
from experiments.records.sums import SUMS

if TYPE_CHECKING:
    from experiments.config.spec import RunSpec

CODE = ("bgd", "experiments")


@dataclass(frozen=True)
class Known:
    """What is known of a run without composing it: as of `RunSpec`, and `jobs.stale.sources` of it."""

    title: str
    run_id: str
    base_id: str
    bench_id: str
    training_seconds: float | None
    identity: dict[str, Any]
    sources: dict[str, str]

    @classmethod
    def of(cls, spec: "RunSpec") -> "Known":
        """Note it of a composed run."""
        ids = (spec.run_id, spec.base_id, spec.bench_id)
        return cls(spec.title, *ids, spec.training_seconds, spec.identity, sources(spec))


@dataclass(frozen=True)
class Programme:
    """The runs of a profile.

    Attributes:
        members: The runs of each preset.
        first: The presets that the thesis' tables are made from.
    """

    members: dict[str, list[Known]]
    first: tuple[str, ...]

    @property
    def runs(self) -> list[Known]:
        """Every run, once."""
        return list({run.run_id: run for runs in self.members.values() for run in runs}.values())

    @property
    def ids(self) -> dict[str, list[str]]:
        """The run ids of each preset."""
        return {name: [run.run_id for run in runs] for name, runs in self.members.items()}

    @property
    def first_ids(self) -> dict[str, list[str]]:
        """The run ids of each preset that the thesis' tables are made from."""
        return {name: ids for name, ids in self.ids.items() if name in self.first}

    def only(self, presets: Sequence[str]) -> "Programme":
        """Return the part of some presets; all of it where none is named.

        Raises:
            ConfigError: There is no such preset.
        """
        for name in presets:
            if name not in self.members:
                raise ConfigError(f"presets={name!r}: there is no such preset; {nearest(name, self.members)}")
        return Programme({name: self.members[name] for name in presets or self.members}, self.first)


def programme(
    output: Path,
    profile: str,
    compose: Callable[[], Mapping[str, Sequence["RunSpec"]]],
    first: Callable[[], Collection[str]],
) -> Programme:
    """Look up the runs of a profile, or compose them and keep what came out.

    Args:
        output: Folder of `runs/`.
        profile: Name of the profile.
        compose: Gives the runs of each preset.
        first: Gives the presets that the thesis' tables are made from.
    """

    def made() -> dict[str, Any]:
        members = {name: [Known.of(spec) for spec in runs] for name, runs in compose().items()}
        return _packed(Programme(members, tuple(sorted(first()))))

    return _unpacked(_kept(output / "runs" / f"{PLANS}{profile}.json", _hash_of_code(), made))


def committed_costs(output: Path, profile: str) -> dict[Kind, float]:
    """Look up the seconds that a sample takes by the committed records of a profile, by kind; empty without any."""
    folder = reference_folder(profile)
    if not folder.is_dir():
        return {}

    def made() -> list[Any]:
        return [[*kind, seconds] for kind, seconds in seconds_per_sample(load(folder).headers).items()]

    sums = folder / SUMS
    if not sums.exists():
        return {(network, setting, method, images): each for network, setting, method, images, each in made()}
    found = _kept(output / "runs" / f"{PLANS}{profile}.costs.json", sha256(sums.read_bytes()), made)
    return {(network, setting, method, images): each for network, setting, method, images, each in found}


def _kept(path: Path, key: str, make: Callable[[], Any]) -> Any:
    """Read what is kept under a key; make it and keep it where it is not there, or of another key."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_bytes())
        if kept["key"] == key and kept["sha256"] == digest(kept["content"], 64):
            return kept["content"]
    content = make()
    with contextlib.suppress(RecordError):  # a folder that cannot be written: it is made again next time
        text = json.dumps({"key": key, "sha256": digest(content, 64), "content": content})
        write(path, text.encode())
    return content


def _hash_of_code() -> str:
    """Hash every file that a run's identity can depend on."""
    files = sorted(
        path for folder in CODE for kind in ("py", "yaml") for path in (ROOT / folder).rglob(f"*.{kind}")
    )
    return sha256(b"".join(sha256(path.read_bytes()).encode() for path in files))


def _packed(found: Programme) -> dict[str, Any]:
    """Turn it into plain values, each run once and each set of sources once."""
    shared = {digest(run.sources): run.sources for run in found.runs}
    runs = {run.run_id: asdict(run) | {"sources": digest(run.sources)} for run in found.runs}
    return {"sources": shared, "runs": runs, "members": found.ids, "first": list(found.first)}


def _unpacked(content: dict[str, Any]) -> Programme:
    runs = {
        run_id: Known(**run | {"sources": content["sources"][run["sources"]]})
        for run_id, run in content["runs"].items()
    }
    members = {name: [runs[run_id] for run_id in ids] for name, ids in content["members"].items()}
    return Programme(members, tuple(content["first"]))

"""Groups of methods: a method's yaml names its groups, a preset runs the methods of one, `method: group(frontier)`.

A group exists where a preset runs it; there is no other list. Reads yaml alone, without torch and without Hydra.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bgd.errors import ConfigError, nearest

CONF = Path(__file__).parents[1] / "conf"
GROUPS = "groups"  # a method's: which presets run it; no argument and no part of a run's identity
FILES = "files"  # a preset's: what is made from its runs, under the output folder and without suffix


def choices_in(group: str) -> list[str]:
    """Return the names of a group's choices."""
    folder = CONF / group
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def methods_in(group: str) -> tuple[str, ...]:
    """Find the methods of a group, by name.

    Raises:
        ConfigError: No method is in it, or a method's yaml does not name valid groups.
    """
    members: dict[str, list[str]] = {}
    for path, content in _contents(CONF / "method"):
        check_groups(content, f"{path.name}: {GROUPS}")
        for name in content[GROUPS]:
            members.setdefault(name, []).append(path.stem)
    if group not in members:
        raise ConfigError(f"group({group}): no method is in it; {nearest(group, members)}")
    return tuple(members[group])


def check_groups(method: Mapping[str, Any], where: str) -> None:
    """Check that a method names its groups, and only those that a preset runs.

    Args:
        method: The content of its yaml, or its part of a configuration.
        where: The key, for messages.

    Raises:
        ConfigError: It names none at all, or one that no preset runs.
    """
    known, given = groups_run(CONF), method.get(GROUPS)
    if not isinstance(given, (list, tuple)):
        said = ": missing" if given is None else f"={given!r}: must be a list"
        raise ConfigError(f"{where}{said}; [] for no preset, or some of {', '.join(known)}")
    for name in given:
        if name not in known:
            raise ConfigError(f"{where}={name!r}: there is no such group; {nearest(str(name), known)}")


@cache
def groups_run(conf: Path) -> tuple[str, ...]:
    """Find the groups that presets run."""
    found = set()
    for _, content in _contents(conf / "experiment"):
        params = content.get("hydra", {}).get("sweeper", {}).get("params", {})
        found |= set(re.findall(r"^group\((\w+)\)$", str(params.get("method"))))
    return tuple(sorted(found))


def files_of(preset: str) -> tuple[str, ...]:
    """Read which files are made from a preset's runs: names without suffix, or patterns of names."""
    content = dict(_contents(CONF / "experiment"))[CONF / "experiment" / f"{preset}.yaml"]
    return tuple(content.get(FILES, ()))


def presets_of(name: str) -> tuple[str, ...]:
    """Find the presets whose runs a file is made from, by its entry in their `files`."""
    return tuple(
        path.stem for path, content in _contents(CONF / "experiment") if name in content.get(FILES, ())
    )


@cache
def _contents(folder: Path) -> tuple[tuple[Path, dict[str, Any]], ...]:
    """Read the yamls of a folder."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.append((path, content if isinstance(content, dict) else {}))
    return tuple(found)

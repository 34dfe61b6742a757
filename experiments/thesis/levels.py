"""What each method may know, from its yaml: records do not have it, since it changes no number."""

from pathlib import Path
from typing import Any

import yaml

from bgd.errors import ConfigError
from experiments.config.groups import CONF, GROUPS, check_groups
from experiments.report.knowledge import LEVELS, Knowledge

METHODS = CONF / "method"


def knowledge(folder: Path = METHODS) -> Knowledge:
    """Return the level of each method that has a yaml, by name; `check_methods` says whether there is such a level."""
    return tuple((path.stem, str(content.get("knows"))) for path, content in _contents(folder))


def remembering(folder: Path = METHODS) -> tuple[str, ...]:
    """Return the names of the methods that look at the samples corrected before."""
    return tuple(path.stem for path, content in _contents(folder) if content.get("remembers"))


def check_methods(folder: Path = METHODS) -> None:
    """Check what each method's yaml says of itself.

    Raises:
        ConfigError: One names no level, no valid groups, or not its file: runs of two with one name would mix.
    """
    for path, content in _contents(folder):
        level, name = content.get("knows"), content.get("name")
        if level not in LEVELS:
            raise ConfigError(f"{path.name}: knows={level!r}: must be one of {', '.join(LEVELS)}")
        if name != path.stem:
            raise ConfigError(f"{path.name}: name={name!r}: must be {path.stem!r}, as the file is called")
        check_groups(content, f"{path.name}: {GROUPS}")


def _contents(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    return [(path, yaml.safe_load(path.read_text()) or {}) for path in sorted(folder.glob("*.yaml"))]

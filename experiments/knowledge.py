"""What each method may know, from its yaml: records do not have it, since it changes no number."""

from pathlib import Path

import yaml

from bgd.build import ConfigError
from bgd.report.knowledge import LEVELS, Knowledge

METHODS = Path(__file__).resolve().parents[1] / "conf" / "method"


def knowledge(folder: Path = METHODS) -> Knowledge:
    """Return the level of each method that has a yaml, by name.

    Raises:
        ConfigError: A yaml names no level.
    """
    found = []
    for path in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        level = content.get("knows")
        if level not in LEVELS:
            raise ConfigError(f"{path.name}: knows={level!r}: must be one of {', '.join(LEVELS)}")
        found.append((str(content["name"]), str(level)))
    return tuple(found)

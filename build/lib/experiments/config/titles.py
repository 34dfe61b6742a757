"""A run in a few words: its names, and every option that is not what the files under experiments/conf say."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.config.build import ABOUT, NAME
from experiments.config.groups import CONF
from experiments.config.overrides import leaves

SAID = (NAME, "seed", *ABOUT)  # in the title already, or changes no number


def changes(profile: str, sections: Mapping[str, Mapping[str, Any]], setting: str) -> Iterator[str]:
    """Yield `key=value` for each option of a run that is not the default of its files.

    Args:
        profile: Name of the profile.
        sections: The run's own `method` or `probe`, its `network` and its `scale`, in the order of the words.
        setting: Name of the setting, which defaults may depend on.
    """
    names = {group: config["name"] for group, config in sections.items() if "name" in config}
    default = _defaults(profile, setting, tuple(sorted(names.items())))
    from_files = {key.partition(".")[0] for key in default}
    for section, config in sections.items():
        for key, value in leaves(config if section in from_files else {}).items():
            known = default.get(f"{section}.{key}", "not there")
            if value != known and key.rpartition(".")[2] not in SAID:
                yield f"{_prefix(section)}{key.removesuffix('._target_')}={_word(key, value)}"


def default_dataset(profile: str) -> str:
    """Return the data set of a profile."""
    return str(_load(CONF / "profile" / f"{profile}.yaml").get("dataset"))


@lru_cache
def _defaults(profile: str, setting: str, names: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Return the options of a profile's run of these names, as the files have them."""
    chosen = dict(names)
    content: Any = {"profile": _load(CONF / "profile" / f"{profile}.yaml"), "setting": {"name": setting}}
    content |= {group: _load(CONF / group / f"{name}.yaml") for group, name in names}
    scale = _load(CONF / "scale" / profile / f"{chosen['network']}.yaml")
    merged = OmegaConf.merge(
        content, scale if "scale" in scale else {"scale": scale}
    )  # the first is a global package
    plain = OmegaConf.to_container(merged, resolve=True)
    assert isinstance(plain, dict)
    return leaves({str(key): value for key, value in plain.items() if key in (*chosen, "scale")})


@lru_cache
def _load(path: Path) -> Any:
    return OmegaConf.load(path) if path.exists() else OmegaConf.create()


def _prefix(section: str) -> str:
    return "network." if section == "network" else ""


def _word(key: str, value: Any) -> str:
    if value is None:
        return "all" if key == "samples" else "null"
    if key.endswith("_target_"):
        return str(value).rpartition(".")[2]
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, (list, tuple)) else str(value)

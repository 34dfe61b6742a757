"""Starting workers by a launcher of Hydra: joblib, Ray, submitit. Each is an optional package with a preset here."""

import contextlib
import importlib.util
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgd.errors import ConfigError, first_line, nearest
from experiments.config.groups import CONF, choices_in

GROUP = "hydra/launcher"
PRESETS = f"{GROUP}/workers"  # plugins have names of their own in the group itself: joblib, ray
OPTIONS = "hydra.launcher."
FIXED = (
    "hydra/hydra_logging=none",  # this process logs as it did before
    "hydra.job_logging.root.handlers=[file]",  # and workers into files
    "hydra.output_subdir=null",
    "hydra.job.name=worker",
)


@dataclass(frozen=True)
class Launcher:
    """A launcher, and how many workers it starts.

    Attributes:
        name: Of its preset, `experiments/conf/hydra/launcher/workers/NAME.yaml`.
        workers: How many.
        options: Overrides of the preset, `hydra.launcher.key=value`.
    """

    name: str
    workers: int
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = choices_in(PRESETS)
        if self.name not in known:
            raise ConfigError(
                f"{GROUP}={self.name!r}: there is no such launcher; {nearest(self.name, known)}"
            )
        preset = OmegaConf.load(CONF / PRESETS / f"{self.name}.yaml")
        plugin, extra = _package(OmegaConf.select(preset, "_target_"))
        if not _is_installed(plugin):
            raise ConfigError(f"{GROUP}={self.name}: {plugin} is not installed; pip install 'bgd[{extra}]'")

    @classmethod
    def read(cls, words: str, workers: int) -> "Launcher":
        """Read `slurm partition=short account=me`: a name, and values for keys of its preset."""
        name, *options = words.split()
        return cls(name, workers, tuple(f"{OPTIONS}{option}" for option in options))

    def start(self, function: Callable[[DictConfig], Any], output: Path) -> None:
        """Start the workers, each of which calls a function, and wait until they end.

        Args:
            function: Can be pickled; it gets the job's configuration, and an error that it raises is raised here.
            output: Folder of this clone's outputs; what workers print and log goes to `hydra` there.

        Raises:
            ConfigError: The launcher does not take an option.
            Exception: A worker ended badly, as the launcher has it: others may still be at work.
        """
        folder = (output / "hydra" / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}").resolve()
        overrides = [
            f"{GROUP}=workers/{self.name}",
            f"workers={self.workers}",
            f"hydra.sweep.dir={_quoted(folder)}",
            *FIXED,
            *self.options,
        ]
        with _hydra(overrides) as (context, config):
            plugins = Plugins.instance()
            launcher = plugins.instantiate_launcher(
                hydra_context=context, task_function=function, config=config
            )
            jobs: list[list[str]] = [[] for _ in range(self.workers)]
            for job in launcher.launch(jobs, initial_job_idx=0):
                _ = job.return_value  # raises what the worker did


def taken_from(arguments: Sequence[str]) -> tuple[list[str], str | None, tuple[str, ...]]:
    """Part a command line: what is not about the launcher, the launcher's name, and its options."""
    rest, name, options = [], None, []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == GROUP:
            name = value
        elif key.lstrip("+").startswith(OPTIONS):
            options.append(argument)
        else:
            rest.append(argument)
    return rest, name, tuple(options)


def _package(target: str) -> tuple[str, str]:
    """Return the package that a launcher's class is in, and the extra of this project that brings it."""
    package = ".".join(target.split(".")[:2])
    found = re.search(r"hydra_(\w+)_launcher$", package)
    assert found, package
    return package, found.group(1)


def _is_installed(package: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):  # of the part before the dot
        return importlib.util.find_spec(package) is not None
    return False


@contextlib.contextmanager
def _hydra(overrides: list[str]) -> Iterator[tuple[HydraContext, DictConfig]]:
    """Compose as for a sweep, and leave Hydra afterwards as it was."""
    settings, around = HydraConfig.instance(), GlobalHydra.instance()
    before = settings.cfg, around.hydra
    around.clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            hydra = around.hydra
            assert hydra is not None
            try:
                config = hydra.compose_config("config", overrides, RunMode.MULTIRUN, from_shell=False)
            except (HydraException, OmegaConfBaseException) as error:
                raise ConfigError(f"hydra.launcher: {first_line(error)}") from error
            settings.set_config(config)
            yield HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config)), config
    finally:
        settings.cfg, around.hydra = before


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"

"""One run, or with `-m` a sweep.

python -m experiments.run network=mlp method=bgd_ii setting=reloading seed=0
"""

import sys
from collections.abc import Sequence

from experiments.config.groups import CONF

ASKING = (
    "-h",
    "--help",
    "--hydra-help",
    "--version",
    "-c",
    "--cfg",
    "-i",
    "--info",
)  # Hydra answers, nothing runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a run or a sweep. Return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if any(argument.partition("=")[0] in ASKING for argument in given):
        _answer()
        return 0
    from experiments import command  # after the questions: torch takes longer than all the answers

    return command.main(given, ASKING)


def _answer() -> None:
    """Let Hydra answer `--help`, `--cfg job`, `--info`: it reads the command line itself, and runs nothing."""
    import hydra

    hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(_nothing)()


def _nothing(config: object) -> None:
    """The job of an answer."""


if __name__ == "__main__":
    raise SystemExit(main())

"""The tree of an earlier commit, beside this one."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bgd.errors import ConfigError, first_line

ROOT = Path(__file__).parents[2]


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Give a folder with the tree of a commit, inside the block.

    Raises:
        ConfigError: git has no such commit here.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
        if done.returncode:
            said = RuntimeError(done.stderr.decode(errors="replace").strip())
            raise ConfigError(f"--against {commit}: {first_line(said)}")
        subprocess.run(["tar", "-x", "-C", folder], input=done.stdout, check=True)
        yield Path(folder)

"""Run a command, and write its seconds and its memory to a file as JSON: `python -S one_process.py FILE COMMAND...`.

Linux counts in a process' peak what its parent had in memory when it was forked; this parent is small.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main(file: str, command: list[str]) -> int:
    """Do it; return the exit status of the command."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    found = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}
    Path(file).write_text(json.dumps(found))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

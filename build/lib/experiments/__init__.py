"""The experiment harness: from a command line to rows, and from rows to the thesis' tables and figures."""

import os
import sys
from types import TracebackType

# Large pages for large tensors: evaluations of edits of AlexNet's lin1 take less time, and no number changes. torch
# looks at this when it first needs memory, so it stands here, before anything imports torch.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in a word that Ctrl-C came while modules were still being imported; later a command says it itself."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _end

"""The experiment harness: from a command line to rows, and from rows to the thesis' tables and figures."""

import os

# Large pages for large tensors: evaluations of edits of AlexNet's lin1 take less time, and no number changes. torch
# looks at this when it first needs memory, so it stands here, before anything imports torch.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

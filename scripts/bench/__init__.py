"""Where the time goes: every fast way beside the obvious one, in the same run, on this machine.

    python -m scripts.bench [--full] [--parts evaluation,methods] [--networks mlp] [--images 1000] [--threads 1]

Seconds differ between machines and from hour to hour; the ratio to the obvious way, and the share of what a matrix
product reaches in the same run, are what may be quoted. Nothing is needed: without MNIST, or without a trained N0 under
outputs/bases, networks are trained on the tiny subset for some seconds.

| module | part |
|---|---|
| `options.py` | the command line, checked |
| `timing.py` | the least of some wall times; the number of threads |
| `machine.py` | peak of a matrix product, copy bandwidth |
| `subjects.py` | the networks that are measured, their images and samples, their work from the layers' shapes |
| `evaluation.py` | an edit of each layer: full pass beside incremental, reloading and accumulating, and the targets |
| `search.py` | what a search is made of: a forward pass, a gradient, draws |
| `large.py`, `one_search.py` | BGD-II on large networks of torchvision's, beside an earlier commit |
| `small.py` | searches on a small network, many at once beside one by one, and what they are made of |
| `descents.py` | corrections by descent, beside the plain way of each |
| `against.py` | whole runs by this tree and by an earlier commit (`--against REV`) |
| `commands.py` | how whole commands grow, with samples and with JOBS |
| `tree.py`, `one_base.py`, `one_process.py`, `checkout.py` | a tree whose commands are measured |
| `methods.py`, `obvious.py` | each method: its search, and the evaluation of the patches it made |
| `growth.py` | cost against the number of images and the parameters, with a figure |
| `report.py` | the tables of docs/performance.md |
| `tables.py` | console tables, json files |
"""

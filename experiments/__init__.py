"""The experiment harness: from a command line to rows, and from rows to the thesis' tables and figures."""

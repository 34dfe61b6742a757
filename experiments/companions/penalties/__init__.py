"""Penalties: a term of the loss each, one idea a file; a new one is a file here and a yaml under conf/companions."""

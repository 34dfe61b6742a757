"""The companion studies in the report."""

PARTS = ()

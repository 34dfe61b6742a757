"""The thesis' protocol: settings, probes, and what is measured beside them."""

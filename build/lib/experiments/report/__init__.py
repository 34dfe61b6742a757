"""Records -> frames -> tables and figures. Never computes a run, never imports torch."""

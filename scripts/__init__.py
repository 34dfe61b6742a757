"""What is run beside the harness: the bench, the smoke test, the tiny subset."""

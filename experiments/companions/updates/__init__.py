"""Updates beside the optimizer's step: decay by rules, and steps of the second order; one idea a file."""

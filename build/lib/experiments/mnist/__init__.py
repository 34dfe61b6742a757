"""The data, the networks of the thesis and how they are trained."""

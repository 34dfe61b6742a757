"""Corrections of least harm: the smallest expected effect on everything else, within a budget of parameters.

The method section, with derivation and pseudo-code, is docs/methods/least_harm.md.
"""

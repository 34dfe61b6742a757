"""The command `bgd`: what the library does, from a shell. docs/command-line.md describes it.

`main` parses, runs one command and prints. A command is a function from arguments to an `Outcome`; it prints
nothing but notes and progress, on stderr. Nothing of torch is imported before a command runs.
"""

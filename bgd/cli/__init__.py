"""The command `bgd`: what the library does, from a shell. docs/command-line.md describes it.

`main` parses, runs one command and prints; a command's module takes arguments and gives an `Outcome`, and prints nothing.
Nothing of torch is imported before a command runs.
"""

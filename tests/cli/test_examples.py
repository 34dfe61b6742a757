"""The examples of `bgd COMMAND --help` are one session, and run as printed."""

import shlex

import pytest

from bgd.cli.main import main
from bgd.cli.parser import COMMANDS, parsed


def printed(command, capsys):
    """The command lines at the end of a command's help."""
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out.split("examples:\n")[1]
    return [line.strip() for line in text.splitlines() if line.startswith("  bgd ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_they_are_command_lines(command, capsys):
    """The first one is of the command itself; docs/command-line.md has a session that always runs."""
    lines = printed(command, capsys)
    assert {parsed(shlex.split(line)[1:]).command for line in lines} <= set(COMMANDS)
    assert lines[0].split()[1] == command


@pytest.mark.slow
def test_they_run_as_printed(bgd, capsys):
    for command in COMMANDS:
        for line in printed(command, capsys):
            said = bgd(*shlex.split(line)[1:])
            assert said.status == 0, f"{line}\n{said.err}"
            assert said.out

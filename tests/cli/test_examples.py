"""The examples of `bgd COMMAND --help` are one session, and run as printed."""

import shlex

from bgd.cli.main import main
from bgd.cli.parser import COMMANDS


def examples(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    return [line.strip() for line in text.split("examples:\n")[1].splitlines() if line.startswith("  bgd ")]


def test_they_run_as_printed(bgd, capsys):
    for command in COMMANDS:
        lines = examples(command, capsys)
        assert lines == [" ".join(line.split()) for line in COMMANDS[command].examples]
        assert all(line.split()[1] in COMMANDS for line in lines)
        for line in lines:
            print(line)
            said = bgd(*shlex.split(line)[1:])
            print(said.out, said.err)
            assert said.status == 0, f"{line}\n{said.err}"
            assert said.out

"""The way through the command: arguments, one command, its answer on stdout, its exit status."""

import json
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from bgd.cli.outcome import DONE, FAULT, STOPPED, WRONG, Outcome, plain
from bgd.cli.parser import COMMANDS, parsed
from bgd.cli.progress import noted_warnings, progress
from bgd.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        argv: The words after `bgd`; those of this process by default.
    """
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the help has gone, as `head` does
        _silence()
        return DONE
    except OSError as error:  # of stdout: what a command reads and writes has been told of before
        print(f"bgd: error: the answer cannot be printed: {error.strerror}", file=sys.stderr, flush=True)
        _silence()
        return WRONG


def _run(words: Sequence[str]) -> int:
    """Run the words after `bgd`, print the answer or the error, and return the status."""
    as_json = "--json" in words
    try:
        arguments = parsed(words)
    except SystemExit as end:  # argparse has printed its help or its version
        return int(end.code or DONE)
    except ConfigError as error:
        return _failed(str(error), type(error).__name__, WRONG, as_json)
    try:
        outcome = command(arguments)
    except KeyboardInterrupt:
        return _failed("stopped; nothing more is written", "KeyboardInterrupt", STOPPED, as_json)
    except Exception as error:
        if _is_users(error):
            return _failed(_sentence(error), type(error).__name__, WRONG, as_json)
        traceback.print_exc()
        return _failed(f"a fault of bgd: {error!r}", type(error).__name__, FAULT, as_json)
    return _printed(arguments.command, outcome, as_json)


def command(arguments: Namespace) -> Outcome:
    """Run the command that is asked for; what the user's code prints goes to stderr, with the notes."""
    module = import_module(COMMANDS[arguments.command].module)
    with noted_warnings(), progress(), redirect_stdout(sys.stderr):
        outcome: Outcome = getattr(module, arguments.command)(arguments)
    return outcome


def _printed(name: str, outcome: Outcome, as_json: bool) -> int:
    """Print an outcome and return its status."""
    if as_json:
        error = {"error": outcome.error} if outcome.error else {}
        _print_json({"command": name, "status": outcome.status, **error, **outcome.record})
        return outcome.status
    _print(outcome.words)
    if outcome.error:
        print(f"bgd: {outcome.error}", file=sys.stderr, flush=True)
    return outcome.status


def _failed(sentence: str, kind: str, status: int, as_json: bool) -> int:
    if as_json:
        _print_json({"status": status, "error": sentence, "kind": kind})
    else:
        print(f"bgd: error: {sentence}", file=sys.stderr, flush=True)
    return status


def _print_json(record: Any) -> None:
    _print(json.dumps(plain(record), ensure_ascii=False, allow_nan=False))


def _print(text: str) -> None:
    """Print an answer; it goes nowhere where whoever read it has gone, and the status stays."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _silence()


def _silence() -> None:
    """Let what is left to print on stdout go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_users(error: Exception) -> bool:
    """Return whether an error is about what the user gave, and no fault of the library."""
    if isinstance(error, (ConfigError, OSError, ModuleNotFoundError)) or type(error) is LookupError:
        return True
    from bgd.curvature.base import CurvatureError
    from bgd.deployed import FormatError
    from bgd.flat import NetworkError
    from bgd.patch import PatchError

    return isinstance(error, (NetworkError, PatchError, FormatError, CurvatureError))


def _sentence(error: Exception) -> str:
    """Return an error's message: of the system's errors the file first, options where the library names arguments."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    from bgd.cli.sentences import as_options

    return as_options(str(error))

"""The grammar of the command: its subcommands, and what each takes. Nothing of torch is imported here."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from bgd import __version__
from bgd.cli import arguments as take
from bgd.cli.arguments import Add
from bgd.errors import ConfigError, nearest

STATUSES = "exit status: 0 done, 1 no, 2 wrong use or bad input, 3 a fault of bgd, 130 stopped (docs/command-line.md)"


class UsageError(ConfigError):
    """The words of a command line are none that it takes."""


class Parser(ArgumentParser):
    """Raises `UsageError` where argparse would print and exit: the command prints its errors in one place."""

    def error(self, message: str) -> NoReturn:
        """Raise the error that argparse found."""
        raise UsageError(f"{message}; {self.prog} --help says more")


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        module: Where its function is, of the subcommand's name.
        help: What it does, in a line.
        takes: Add its arguments to a parser.
        examples: Command lines, one after another; those of all commands are one session.
    """

    module: str
    help: str
    takes: tuple[Add, ...]
    examples: tuple[str, ...]


def parsed(words: Sequence[str]) -> Namespace:
    """Read the words after `bgd`.

    Raises:
        UsageError: They are none that a command takes.
        SystemExit: They ask for help or the version, which is printed.
    """
    found, rest = parser().parse_known_args(words)
    if rest:
        options = [each for each in _options(found.command) if each.startswith("--")]
        advice = f"; {nearest(rest[0].partition('=')[0], options)}" if rest[0].startswith("-") else ""
        raise UsageError(f"bgd {found.command} does not take {rest[0]!r}{advice}")
    return found


def parser() -> Parser:
    """Return the parser of all commands."""
    whole = Parser(
        prog="bgd",
        description="Correct a classifier's mistakes by changing very few of its parameters.",
        epilog=f"{STATUSES}\nbgd COMMAND --help says more of each.",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"bgd {__version__}")
    below = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, each in COMMANDS.items():
        _fill(
            below.add_parser(
                name,
                help=each.help,
                description=f"{each.help[0].upper()}{each.help[1:]}.",
                epilog="\n".join(["examples:", *(f"  {line}" for line in each.examples), "", STATUSES]),
                formatter_class=RawDescriptionHelpFormatter,
                allow_abbrev=False,
            ),
            each,
        )
    return whole


def _fill(of: ArgumentParser, each: Command) -> None:
    for take_in in each.takes:
        take_in(of)
    of.add_argument("--json", action="store_true", help="one JSON object on stdout, errors too")


def _options(command: str) -> list[str]:
    """Return the options that a command takes."""
    alone = Parser(add_help=True)
    _fill(alone, COMMANDS[command])
    return list(alone._option_string_actions)


def _patched_file(of: ArgumentParser) -> None:
    take.output(of, "the model's file with the change", required=True)
    of.add_argument(
        "--shared", action="store_true", help="change a tensor with everything in the file that shares it"
    )


def _correct(of: ArgumentParser) -> None:
    take.output(of, "where the patch is written; without it nothing is")


def _frontier(of: ArgumentParser) -> None:
    of.add_argument("--methods", metavar="NAME,NAME", help="of bgd.METHODS; by default one of each kind")
    take.seed(of)
    take.output(of, "where a figure is written, such as frontier.png")


def _stack(of: ArgumentParser) -> None:
    of.add_argument("stack", metavar="STACK", help="the stack's file; --add begins one")
    take.running(of)
    group = of.add_argument_group("what to do; nothing: say how each fix stands")
    group.add_argument(
        "--add", metavar="FIX", help="put a patch on top, made on top of the stack or of MODEL"
    )
    group.add_argument("--sample", metavar="SAMPLE", help="the input that it is for, with --label")
    group.add_argument("--note", help="words to know it by; by default its file")
    group.add_argument(
        "--undo", metavar="N", type=int, help="take the fix of this number out, wherever it is"
    )
    group.add_argument("--squash", metavar="FILE", help="write one patch that does what the stack does")
    take.output(of, "where the changed stack is written; by default its own file, with --overwrite")


COMMANDS: dict[str, Command] = {
    "correct": Command(
        "bgd.cli.correct",
        "find a small change that makes a model get an input right",
        (
            take.running,
            take.device,
            take.sample,
            take.goal,
            take.method,
            take.knowledge,
            take.limits,
            take.check,
            _correct,
            take.reading,
        ),
        (
            "bgd correct net:make wrong.npy --weights net.pt --label 3 -o fix.safetensors --keep keep.npz:x",
            "bgd correct net:make digit.png --transform grayscale,resize=8x8,scale=0..1 --weights net.pt --label 7",
            "bgd correct net:make wrong.npy --weights net.pt --label three --classes names.txt --margin 0.3",
            "bgd correct net:make many.npy --index 2 --weights net.pt --accept 3,5 --method bgd_ii --set subset_size=3 "
            "-o other.safetensors",
            "bgd correct net.onnx wrong.npy --label 3 --keep keep.npz:x --cache features -o head.safetensors",
            "bgd correct net.pt wrong.npy --factory net:make --label 3 --check other.npz:x "
            "--check-labels other.npz:y --max-drop 0.5 --json",
        ),
    ),
    "effects": Command(
        "bgd.cli.effects",
        "say which inputs change their class by a fix, from what to what",
        (take.fix, take.running, take.device, take.inputs, take.limits, take.reading),
        (
            "bgd effects fix.safetensors net:make other.npz:x --weights net.pt --labels other.npz:y",
            "bgd effects fix.safetensors net:make 'pictures/*.png' --weights net.pt "
            "--transform grayscale,resize=8x8,scale=0..1 --classes names.txt",
            "bgd effects head.safetensors net.onnx other.npz:x --max-flips 0.2",
        ),
    ),
    "verify": Command(
        "bgd.cli.files",
        "say whether a model is the one that a fix starts from, the patched one, or neither",
        (take.fix, take.model),
        ("bgd verify fix.safetensors net.pt", "bgd verify head.safetensors net.onnx"),
    ),
    "apply": Command(
        "bgd.cli.files",
        "write a model's file with a fix in it; the model's own file stays",
        (take.fix, take.model, _patched_file),
        (
            "bgd apply fix.safetensors net.pt -o fixed.pt",
            "bgd apply head.safetensors net.onnx -o fixed.onnx",
            "bgd verify fix.safetensors fixed.pt --json",
        ),
    ),
    "revert": Command(
        "bgd.cli.files",
        "write a model's file without a fix that is in it, bit for bit",
        (take.fix, take.model, _patched_file),
        ("bgd revert fix.safetensors fixed.pt -o back.pt",),
    ),
    "inspect": Command(
        "bgd.cli.inspect",
        "read a fix without a model: what it changes, and what its maker says",
        (take.fix,),
        ("bgd inspect fix.safetensors", "bgd inspect fix.safetensors --json"),
    ),
    "frontier": Command(
        "bgd.cli.frontier",
        "set parameters changed against inputs that flip, by each method that applies",
        (
            take.running,
            take.device,
            take.sample,
            take.goal,
            take.knowledge,
            take.check,
            _frontier,
            take.reading,
        ),
        (
            "bgd frontier net:make many.npy --weights net.pt --label 3,5,7,3 --keep keep.npz:x "
            "--methods output_bias,last_layer_weight,least_change -o frontier.png",
        ),
    ),
    "stack": Command(
        "bgd.cli.stack",
        "keep fixes of one model in a row: add, undo any, see which broke which, make one of all",
        (_stack, take.index, take.goal, take.reading),
        (
            "bgd stack all.stack net:make --weights net.pt --add fix.safetensors --sample wrong.npy --label 3",
            "bgd stack all.stack net:make --weights net.pt --add other.safetensors --overwrite",
            "bgd stack all.stack net:make --weights net.pt --undo 1 -o without.stack",
            "bgd stack all.stack net:make --weights net.pt --squash both.safetensors",
        ),
    ),
    "checks": Command(
        "bgd.cli.checks",
        "say what can be done with a model, before anything is tried",
        (take.running, take.sample, take.knowledge, take.reading),
        ("bgd checks net:make wrong.npy --weights net.pt --keep keep.npz:x",),
    ),
}

"""Arguments that several commands take, in groups, so that they are spelt and explained alike."""

from argparse import ArgumentParser, ArgumentTypeError, _ArgumentGroup
from collections.abc import Callable

MARGIN = 0.3  # the smallest with which every correction that was measured is right in 16 bits too: docs/arithmetic.md
INPUTS = "a file (.npy, .npz:KEY, .pt:KEY, a picture), a folder or a glob; an array's first dimension counts inputs"


def model(parser: ArgumentParser) -> None:
    """MODEL, and where its weights or its source are."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="package.module:factory, or a file: .onnx, .pt2, TorchScript; .safetensors or a state dict with --factory",
    )
    parser.add_argument("--weights", metavar="FILE", help="weights of a factory's model")
    parser.add_argument(
        "--factory", metavar="MODULE:NAME", help="what makes the model whose weights MODEL holds"
    )


def running(parser: ArgumentParser) -> None:
    """MODEL, and how it is run."""
    model(parser)
    parser.add_argument(
        "--head", metavar="NODE", help="of an ONNX file, another MatMul or Gemm than the last"
    )
    parser.add_argument(
        "--cache", metavar="FOLDER", help="of an ONNX file, where features of inputs are kept"
    )


def device(parser: ArgumentParser) -> None:
    """Where the model runs."""
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        default="cpu",
        help="where a model of torch runs: cpu, by default, or cuda",
    )


def reading(parser: ArgumentParser) -> None:
    """How inputs are read."""
    parser.add_argument(
        "--transform",
        metavar="STEPS",
        help="how a picture becomes an input, such as grayscale,resize=28x28,scale=0..1 (docs/command-line.md)",
    )
    parser.add_argument("--dtype", metavar="TYPE", help="turn arrays into this type, such as float32")
    parser.add_argument("--classes", metavar="FILE", help="names of the classes: one a line, or JSON")


def sample(parser: ArgumentParser) -> None:
    """SAMPLE, and which of several it is."""
    parser.add_argument("sample", metavar="SAMPLE", help=INPUTS)
    index(parser)


def index(parser: ArgumentParser) -> None:
    """Which of several inputs."""
    parser.add_argument(
        "--index", type=numbers, metavar="N", help="take input N of SAMPLE, from 0; several as in 3,7"
    )


def inputs(parser: ArgumentParser) -> None:
    """INPUTS with their labels."""
    parser.add_argument("inputs", metavar="INPUTS", help=INPUTS)
    parser.add_argument(
        "--labels", metavar="FILE", help="their right classes: .npy, .npz:KEY, .pt:KEY, or text, one a line"
    )


def goal(parser: ArgumentParser) -> None:
    """What has to hold after the change."""
    group = parser.add_argument_group("goal")
    group.add_argument(
        "--label", metavar="L", help="the right class, by number or name; one for each input as in 3,5"
    )
    group.add_argument("--accept", metavar="L,L", help="any of these classes will do")
    group.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        metavar="M",
        help=f"logits by which the class has to lead (default: {MARGIN}, which survives 16 bits; docs/arithmetic.md)",
    )
    group.add_argument("--probability", type=float, help="least probability of the class")
    group.add_argument(
        "--where", metavar="A,A", help="arithmetics in which it has to hold, such as bfloat16,int8"
    )


def method(parser: ArgumentParser) -> None:
    """How a change is looked for."""
    group = parser.add_argument_group("method")
    group.add_argument(
        "--method", metavar="NAME", help="of bgd.METHODS; by default the best for what is known"
    )
    group.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        type=assignment,
        default=[],
        help="an option of it; may be given again",
    )
    seed(group)


def seed(parser: ArgumentParser | _ArgumentGroup) -> None:
    """The seed of random numbers."""
    parser.add_argument("--seed", type=int, default=0, help="of its random numbers")


def check(parser: ArgumentParser) -> None:
    """Inputs on which side effects are told."""
    parser.add_argument(
        "--check",
        metavar="INPUTS",
        help="inputs that neither choose nor are kept: what happens to them is told",
    )
    parser.add_argument("--check-labels", metavar="FILE", help="their right classes")


def knowledge(parser: ArgumentParser) -> None:
    """What a method may know."""
    group = parser.add_argument_group("knowledge")
    group.add_argument("--keep", metavar="INPUTS", help="unlabelled inputs whose classes should stay")
    group.add_argument("--training", metavar="INPUTS,LABELS", type=pair, help="training data")
    group.add_argument(
        "--statistics", metavar="FILE", help="statistics of training data, kept from Knowledge.measure"
    )


def limits(parser: ArgumentParser) -> None:
    """Side effects that are refused."""
    group = parser.add_argument_group("side effects that are refused, with status 1")
    group.add_argument(
        "--max-flips",
        metavar="N",
        type=bound,
        help="more inputs that change their class: a count, or a share as 0.01",
    )
    group.add_argument("--max-drop", metavar="X", type=float, help="accuracy lower by more than X, in [0, 1]")


def output(parser: ArgumentParser, what: str, required: bool = False) -> None:
    """Where a file is written."""
    parser.add_argument("-o", "--output", metavar="FILE", required=required, help=what)
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def fix(parser: ArgumentParser) -> None:
    """FIX, the file of a patch."""
    parser.add_argument("fix", metavar="FIX", help="a patch, as bgd correct -o writes it")


def assignment(text: str) -> tuple[str, str]:
    """Read key=value."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ArgumentTypeError(f"{text!r} is no KEY=VALUE")
    return key, value


def pair(text: str) -> tuple[str, str]:
    """Read inputs,labels."""
    first, comma, second = text.partition(",")
    if not comma or not first or not second:
        raise ArgumentTypeError(f"{text!r} is no INPUTS,LABELS, such as train.npz:x,train.npz:y")
    return first, second


def numbers(text: str) -> list[int]:
    """Read whole numbers from 0, between commas."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ArgumentTypeError(f"{text!r}: whole numbers from 0 are wanted, as in 3 or 3,7")
    return list(map(int, parts))


def bound(text: str) -> float:
    """Read a count or a share: a whole number is a count."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no count such as 3, nor a share such as 0.01") from None


Add = Callable[[ArgumentParser], None]

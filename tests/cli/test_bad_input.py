"""Bad input: a sentence that names it, an exit status, and no file."""

import re
import shlex

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from PIL import Image
from torch.nn.utils import parameters_to_vector

import bgd as library
from bgd.parameters import ParameterSpace
from cli.conftest import exported, made

ODD = """
import torch
from torch import nn


class Odd(nn.Module):
    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.form = form

    def forward(self, x):
        return self.form(self.body(x))


def random():
    return Odd(lambda out: out + torch.rand(1))


def endless():
    return Odd(lambda out: out / 0)


def squares():
    return Odd(lambda out: out.view(-1, 5, 2))


def probabilities():
    return Odd(lambda out: out.softmax(1))


def lower(out):
    return torch.cat([out[:, :3], out.amin(1, True) - 1, out[:, 4:]], 1)


def never():
    return Odd(lower)


def raising():
    raise RuntimeError("no licence")


def number():
    return 3


def leaving():
    raise SystemExit(0)


def lazy():
    model = Odd(lambda out: out)
    model.body = nn.LazyLinear(10)
    return model


def loss():
    return Odd(lambda out: (torch.tensor(0.0), out))


def single():
    return Odd(lambda out: out[:, :1])


def beside():
    return Odd(lambda out: out / out.abs().max())
"""

BASE = "correct net:make wrong.npy --weights net.pt --label 3"
KINDS = {  # of bad input, for a model of torch and for an ONNX file: words -> status, sentence
    "random outputs": {
        "correct odd:random wrong.npy --label 3": (2, "other outputs for one image from pass to pass in eval mode"),
        "checks odd:random wrong.npy": (1, "cannot be corrected: .*from pass to pass"),
        "frontier odd:random wrong.npy --label 3 --check other.npz:x": (2, "gives other outputs for an input alone"),
        "correct random.onnx wrong.npy --label 3":
            (2, r"random.onnx: two passes differ by up to 0\.\d+: it draws random"),
        "checks random.onnx wrong.npy": (1, "cannot be corrected: random.onnx: two passes differ"),
        "frontier random.onnx wrong.npy --label 3 --check other.npz:x": (2, "random.onnx: two passes differ"),
        "correct early.onnx wrong.npy --label 3": (2, r"early.onnx: two passes differ by up to 0\.\d+"),
    },
    "outputs that are not finite": {
        "correct odd:endless wrong.npy --label 3": (2, "output for class 0 is .*inf.*input itself is finite"),
        "correct endless.onnx wrong.npy --label 3":
            (2, "'scores' is not finite: -?inf for class 0; the input itself is f"),
    },
    "no row of scores": {
        "correct odd:squares wrong.npy --label 3": (2, r"outputs of shape \(1, 5, 2\).*not logits \(1, C\)"),
        "correct odd:loss wrong.npy --label 3": (2, r"outputs of shape \(\).* not logits \(1, C\)"),
        "correct odd:single wrong.npy --label 0": (2, "gives one number for an input"),
        "correct squares.onnx wrong.npy --label 3": (2, r"'scores' is \(1, 5, 2\) for 1 inputs: scores \(N, C\) are"),
    },
    "a label outside": {
        "correct net:make wrong.npy --weights net.pt --label 10":
            (2, "label=10, and the classes of the network are 0 to 9"),
        "correct net:make wrong.npy --weights net.pt --label=-1":
            (2, "--label='-1': no such class; a class index from 0"),
        "correct net.onnx wrong.npy --label 10": (2, "label=10, and the classes of the network are 0 to 9"),
        "correct net.onnx wrong.npy --label thre --classes names.txt": (2, "--label='thre': .*did you mean 'three'"),
    },
    "an input of another shape": {
        "correct net:make short.npy --weights net.pt --label 3":
            (2, r"short.npy: .* not take an input of shape \(1, 1, 7, 7"),
        "effects fix.safetensors net:make short.npy --weights net.pt":
            (2, r"does not take an input of shape \(1, 1, 7, 7"),
        "correct net.onnx short.npy --label 3":
            (2, r"short.npy: .*\(1, 1, 7, 7\), and the graph's is 'x', .*\(n, 1, 8, 8\)"),
        "effects fix.safetensors net.onnx short.npy": (2, r"short.npy: .*\(1, 1, 7, 7\), and the graph's is 'x'"),
    },
    "an input of another type": {
        "correct net:make wide.npy --weights net.pt --label 3":
            (2, "wide.npy is float64, .* takes float32: --dtype float32"),
        "correct net:make whole.npy --weights net.pt --label 3":
            (2, "whole.npy is int64, .* takes float32: --dtype float32"),
        "correct net.onnx wide.npy --label 3": (2, "wide.npy: the inputs are float64 .* graph's is 'x', float32"),
        "correct net.onnx whole.npy --label 3": (2, "whole.npy: the inputs are int64 .* graph's is 'x', float32"),
    },
    "a goal that is met": {
        "correct net:make wrong.npy --weights net.pt --label 1 --margin 0":
            (1, "its goal is met already, class 1 of wrong.npy"),
        "frontier net:make wrong.npy --weights net.pt --label 1 --margin 0 --check other.npz:x --methods output_bias":
            (1, "nothing to correct"),
        "correct net.onnx wrong.npy --label 1 --margin 0":
            (1, "nothing to correct: its goal is met already, class 1 of wrong.npy"),
        "frontier net.onnx wrong.npy --label 1 --margin 0 --check other.npz:x --methods output_bias":
            (1, "nothing to correct"),
    },
    "a goal that no change meets": {
        "correct odd:never wrong.npy --label 3 --method bgd_ii --set iterations=20":
            (1, "no correction: wrong after 20"),
        "correct net:make twins.npy --weights net.pt --label 3,5 --method output_bias": (1, "undo each other"),
        "correct net.onnx twins.npy --label 3,5 --method output_bias": (1, "no correction: .* undo each other"),
        "correct net.onnx wrong.npy --label 3 --method bgd_ii --set iterations=1 --probability 0.9999999":
            (1, "no correction: wrong after 1 iter"),
    },
    "a patch for another model": {
        "effects fix.safetensors odd:beside other.npz:x": (2, "fix.safetensors does not start from the model"),
        "effects fix.safetensors net:make other.npz:x --weights other.pt":
            (2, "start from the model: 3.bias: 1 of 1 val"),
        "apply other.safetensors net.pt -o out.pt": (2, "3.bias is not in net.pt by value"),
        "verify other.safetensors net.pt": (1, "does not verify: 3.bias is not in net.pt by value"),
        "stack all.stack net:make --add other.safetensors --weights net.pt": (2, "starts from neither"),
        "effects other.safetensors net.onnx other.npz:x": (2, "3.bias is not in net.onnx by value"),
        "apply other.safetensors net.onnx -o out.onnx": (2, "3.bias is not in net.onnx by value"),
        "verify other.safetensors net.onnx": (1, "3.bias is not in net.onnx by value"),
        "stack all.stack net.onnx --add other.safetensors":
            (2, "3.bias is not in net.onnx by value.* in b2 1 of 1 values"),
    },
    "a keep-set that holds the sample": {
        f"{BASE} --keep holding.npy": (2, "keep: its input 2 is the sample itself"),
        f"{BASE} --check holding.npy": (2, r"check: its input 2, holding.npy\[2\], is the sample itself"),
        "correct net.onnx wrong.npy --label 3 --keep holding.npy": (2, "keep: its input 2 is the sample itself"),
        "correct net.onnx wrong.npy --label 3 --check holding.npy":
            (2, r"check: its input 2, holding.npy\[2\], is the sam"),
    },
}  # fmt: skip
CASES = {  # words -> status, sentence
    # the model
    "correct odd:beside wrong.npy --label 3": (2, "other outputs for an input alone than beside others"),
    "correct odd:probabilities wrong.npy --label 3": (2, "outputs are probabilities"),
    "correct odd:raising wrong.npy --label 3": (2, "odd:raising.*RuntimeError: no licence"),
    "correct odd:number wrong.npy --label 3": (2, "gives a int, and no nn.Module"),
    "correct odd:missing wrong.npy --label 3": (2, "odd has no 'missing'"),
    "correct nowhere:make wrong.npy --label 3": (2, "No module named 'nowhere'"),
    "correct net:make wrong.npy --weights other.npz --label 3": (2, "other.npz"),
    "correct net:make wrong.npy --weights small.pt --label 3": (2, "small.pt.*3.weight is .5, 12. there"),
    "correct net:make wrong.npy --weights none.pt --label 3": (2, "weights='none.pt': no such file"),
    "correct net.pt wrong.npy --factory net:make --weights net.pt --label 3": (2, "--factory goes with"),
    # the sample
    "correct net:make nan.npy --weights net.pt --label 3": (2, "the input itself is not finite"),
    "correct net:make none.npy --weights net.pt --label 3": (2, "none.npy: No such file"),
    "correct net:make empty.npy --weights net.pt --label 3": (2, "empty.npy holds no input"),
    "correct net:make many.npy --weights net.pt --label 3": (2, "1 label for 4 inputs; --index"),
    "correct net:make many.npy --weights net.pt --label 3 --index 4": (2, "--index=4: many.npy holds 4 inputs, 0 to 3"),
    "correct net:make keep.npz --weights net.pt --label 3": (2, "holds x, y: keep.npz:KEY takes one"),
    "correct net:make keep.npz:z --weights net.pt --label 3": (2, "holds no 'z'"),
    "correct net:make names.txt --weights net.pt --label 3": (2, "names.txt is none of"),
    "correct net:make objects.npy --weights net.pt --label 3": (2, "cannot be read as plain arrays: Object arrays"),
    "correct net:make digit.png --weights net.pt --label 7": (2, "digit.png is a picture: --transform"),
    f"{BASE} --dtype float33": (2, "did you mean 'float32'"),
    f"{BASE} --dtype int3": (2, "--dtype='int3'.* no such type"),
    # the label and the goal
    "correct net:make wrong.npy --weights net.pt --label thre --classes names.txt": (2, "did you mean 'three'"),
    "correct net:make wrong.npy --weights net.pt --label three": (2, "no such class.*--classes gives names"),
    "correct net:make wrong.npy --weights net.pt": (2, "--label says which class is right"),
    "correct net:make wrong.npy --weights net.pt --accept 3,99": (2, "classes of the network are 0 to 9"),
    f"{BASE} --accept 4,5": (2, "--label='3': --accept='4,5' has no such class"),
    f"{BASE} --margin -1": (2, "margin=-1.0: must be 0 or more"),
    f"{BASE} --probability 1.5": (2, "probability=1.5: must be between 0 and 1"),
    # the method and what it may know
    f"{BASE} --method least_harn": (2, "did you mean 'least_harm'"),
    f"{BASE} --method least_harm": (2, "a keep-set of unlabelled images, and it was not given: --keep INPUTS"),
    f"{BASE} --method bgd_ii --set subset_sise=3": (2, "did you mean 'subset_size'"),
    f"{BASE} --method bgd_ii --set subset_size=much": (2, "subset_size='much': must be an integer"),
    f"{BASE} --method bgd_ii --set subset_size": (2, "'subset_size' is no KEY=VALUE"),
    f"{BASE} --keep gaps.npy": (2, "keep: its input 1 is not finite"),
    f"{BASE} --keep short.npy": (2, r"keep: the model.*does not take an input of shape \(1, 1, 7, 7\)"),
    f"{BASE} --training keep.npz:x": (2, "is no INPUTS,LABELS"),
    f"{BASE} --training keep.npz:x,many.npy": (2, r"many.npy is \(4, 1, 8, 8\) float32: a class index"),
    f"{BASE} --statistics keep.npz": (2, "other things than tensors by name"),
    # effects that are refused, targets
    f"{BASE} --check-labels other.npz:y": (2, "--check-labels='other.npz:y': --check gives the inputs"),
    f"{BASE} --check other.npz:x --max-flips 5%": (2, "'5%' is no count such as 3, nor a share such as 0.01"),
    "effects fix.safetensors net:make other.npz:x --weights net.pt --labels below.npy": (2, "a label is -1: class"),
    "correct net:make wrong.npy --weights net.pt --label crane --classes birds.txt": (2, "give the number: 4, 5"),
    f"{BASE} --check short.npy": (2, r"check: the model.*does not take an input of shape \(1, 1, 7, 7\)"),
    f"{BASE} --max-flips 3": (2, "--max-flips and --max-drop are about other inputs"),
    f"{BASE} --method output_bias --check other.npz:x --max-flips 0": (1, "refused: .* inputs change class"),
    f"{BASE} --method output_bias --check other.npz:x --check-labels other.npz:y --max-drop 0": (1, "accuracy falls"),
    f"{BASE} --check other.npz:x --check-labels short.txt --classes names.txt": (2, "2 labels, and other.npz:x 150"),
    f"{BASE} --classes short.txt --keep keep.npz:x": (2, "it names 2 classes, and the model has 10"),
    f"{BASE} -o there.safetensors": (2, "there already; --overwrite"),
    f"{BASE} -o wrong.npy --overwrite": (2, "wrong.npy, which is read"),
    f"{BASE} -o net.pt --overwrite": (2, "net.pt, which is read"),
    f"{BASE} --training keep.npz:x,keep.npz:y -o keep.npz --overwrite": (2, "keep.npz:x, which is read"),
    f"{BASE} -o nowhere/fix.safetensors": (2, "there is no folder nowhere"),
    f"{BASE} -o pictures --overwrite": (2, "it is a folder"),
    # devices
    f"{BASE} --device gpu": (2, "device='gpu': no such device; .*valid: cpu, cuda"),
    "verify fix.safetensors net.pt --cache features": (2, "bgd verify does not take '--cache'"),
    "apply fix.safetensors net.onnx -o out.onnx --head w2": (2, "bgd apply does not take '--head'"),
    # words
    "corect": (2, "invalid choice: 'corect'"),
    "": (2, "COMMAND"),
    f"{BASE} --lable 3": (2, "does not take '--lable'; did you mean '--label'"),
    f"{BASE} more": (2, "does not take 'more'"),
    # pictures
    "correct net:make digit.png --weights net.pt --label 7 --transform greyscale": (2, "did you mean 'grayscale'"),
    "correct net:make digit.png --weights net.pt --label 7 --transform resize=8x": (2, "'resize=8x': HEIGHTxWIDTH"),
    "correct net:make digit.png --weights net.pt --label 7 --transform scale=0..1,rgb": (2, "comes before those"),
    "correct net:make digit.png --weights net.pt --label 7 --transform mean=1/2": (2, "2 numbers, and the picture 1"),
    "correct net:make digit.png --weights net.pt --label 7 --transform scale=1..1": (2, "two numbers such as 0..1"),
    "correct net:make digit.png --weights net.pt --label 7 --transform mean=nan": (2, "a number, or one a channel"),
    "correct net:make lab.tif --weights net.pt --label 7 --transform grayscale": (2, r"is of a kind .* \(LAB\): give"),
    "correct net:make no.png --weights net.pt --label 7 --transform grayscale": (2, "no.png cannot be read"),
    "correct net:make 'none*.png' --weights net.pt --label 7 --transform grayscale": (2, r"none\*.png has no file of"),
    # ONNX
    "correct net.onnx nan.npy --label 3": (2, "nan.npy: the inputs are not finite"),
    "correct net.onnx wrong.npy --label 3 --head nothing": (2, "head='nothing': no MatMul or Gemm"),
    "correct net.onnx wrong.npy --label 3 --weights net.pt": (2, "net.onnx has its own"),
    "correct names.txt wrong.npy --label 3": (2, "names.txt is none of safetensors, a state dict"),
    "correct none.onnx wrong.npy --label 3": (2, "model='none.onnx': no such file"),
    # patches
    "verify fix.safetensors small.pt": (1, "does not verify: 3.bias is not in small.pt by value"),
    "verify fix.safetensors none.pt": (2, "there is no such file"),
    "verify net.pt net.pt": (2, "net.pt cannot be read as a patch"),
    "apply fix.safetensors small.pt -o out.pt": (2, "3.bias has the shape"),
    "apply fix.safetensors net.pt -o net.pt --overwrite": (2, "net.pt, which is read"),
    "apply fix.safetensors net.pt": (2, "the following arguments are required: -o"),
    "apply fix.safetensors net:make -o out.pt": (2, "the file of its weights is wanted"),
    "revert fix.safetensors net.pt -o out.pt": (2, "net.pt does not have the patch in it"),
    "apply fix.safetensors fixed.pt -o out.pt": (2, "fixed.pt has the patch in it already"),
    "revert fix.safetensors other.pt -o out.pt": (2, "the patch leads to"),
    "apply fix.safetensors wide.pt -o out.pt": (2, "float32 file and convert it again$"),
    "effects hidden.safetensors net.onnx other.npz:x": (2, "changes w1, .*of its head alone, w2, b2"),
    "inspect none.safetensors": (2, "none.safetensors: No such file"),
    "stack all.stack net:make --weights net.pt": (2, "there is no such file; --add FIX begins one"),
    "stack all.stack net:make --add fix.safetensors --weights other.pt": (2, "starts from neither"),
    "stack all.stack net:make --add fix.safetensors --label 3": (2, "are of inputs: --sample SAMPLE"),
    "stack all.stack net:make --add fix.safetensors --weights net.pt -o a --squash ./a":
        (2, "the stack is written there"),
    "stack kept.stack net:make --note fix": (2, "--note is of a fix that is added: --add FIX"),
    "stack kept.stack net:make -o a.stack": (2, "nothing changes without --add or --undo"),
    "stack there.safetensors net:make --weights net.pt": (2, "cannot be read as a stack"),
    # the frontier
    "frontier net:make wrong.npy --weights net.pt --label 3": (2, "--check INPUTS, or --keep"),
    # factories
    f"{BASE} --cache features": (2, "cache='features': it is of an ONNX file, and 'net:make' is none"),
    "correct odd:lazy wrong.npy --label 3": (2, "body.weight has no shape yet: run the network once"),
    "correct odd:leaving wrong.npy --label 3": (2, "model='odd:leaving': it raised SystemExit"),
    "correct broken:make wrong.npy --label 3": (2, "it raised SyntaxError.* while broken was imported"),
    "effects fix.safetensors odd:single other.npz:x": (2, "fix.safetensors does not start from the model"),
    "checks odd:single wrong.npy": (1, "gives one number for an input"),
}  # fmt: skip


@pytest.fixture(scope="module")
def odd_files(folder, model, tmp_path_factory):
    """Files beside those of the session that something is wrong with, and a good patch."""
    path = tmp_path_factory.mktemp("odd")
    x = np.load(folder / "wrong.npy")
    (path / "odd.py").write_text(ODD)
    (path / "birds.txt").write_text("a\nb\nc, d\ne\ncrane\ncrane\ng\nh\ni\nj\n")
    np.save(path / "below.npy", np.arange(150) % 10 - 1)
    (path / "broken.py").write_text("x = = 3")
    (path / "short.txt").write_text("one\ntwo\n")
    (path / "no.png").write_text("no picture")
    (path / "there.safetensors").write_text("kept")
    torch.save(
        {**made().state_dict(), "3.weight": torch.zeros(5, 12), "3.bias": torch.zeros(5)}, path / "small.pt"
    )
    torch.save(made(seed=1).state_dict(), path / "other.pt")
    torch.save(made().double().state_dict(), path / "wide.pt")
    (path / "kept.stack").write_text("kept")
    Image.new("LAB", (8, 8)).save(path / "lab.tif")
    odd_graphs(path, model)
    for name, values in {
        "short": x[..., :7, :7],
        "wide": x.astype("d"),
        "whole": x.astype("l"),
        "nan": x * np.nan,
        "gaps": np.concatenate([2 * x, x * np.nan]),
        "empty": x[:0],
        "twins": np.concatenate([x, x]),
        "holding": np.concatenate([np.load(folder / "many.npy")[:2], x]),
    }.items():
        np.save(path / f"{name}.npy", values)
    np.save(path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    x = torch.from_numpy(x)
    for name, base in (("fix", model), ("other", made(seed=1))):
        found = library.correct(base, x, 3, "output_bias")
        found.patch.save(path / f"{name}.safetensors", base=base)
    changed = made()
    library.Patch.load(path / "fix.safetensors").apply_(changed)
    torch.save(changed.state_dict(), path / "fixed.pt")
    deeper = made()
    with torch.no_grad():
        deeper[1].weight[0, 0] += 1
    before, after = (parameters_to_vector(each.parameters()).detach() for each in (model, deeper))
    hidden = library.Patch.between(ParameterSpace.of(model), before, after)
    hidden.save(path / "hidden.safetensors", base=model)
    return path


def odd_graphs(path, model):
    """ONNX files that end otherwise than in Softmax, or draw random numbers before their head."""
    node = helper.make_node
    numbers = {"zero": np.float32(0), "rows": np.array([-1, 5, 2])}
    ends = {
        "random": [
            node("RandomUniformLike", ["logits"], ["drawn"]),
            node("Add", ["logits", "drawn"], ["scores"]),
        ],
        "endless": [node("Div", ["logits", "zero"], ["scores"])],
        "squares": [node("Reshape", ["logits", "rows"], ["scores"])],
        "early": [node("Softmax", ["logits"], ["scores"])],
    }
    for name, nodes in ends.items():
        made = exported(model)
        del made.graph.node[-1]
        made.graph.node.extend(nodes)
        made.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(each), key) for key, each in numbers.items()
        )
        shape = ["n", 5, 2] if name == "squares" else ["n", 10]
        made.graph.output[0].CopyFrom(helper.make_tensor_value_info("scores", 1, shape))
        if name == "early":
            relu = next(each for each in made.graph.node if each.op_type == "Relu")
            made.graph.node.remove(relu)
            drawn = [
                node("RandomUniformLike", ["hidden"], ["drawn"]),
                node("Mul", ["hidden", "drawn"], ["features"]),
            ]
            for at, each in enumerate(drawn):
                made.graph.node.insert(2 + at, each)
        onnx.save(made, path / f"{name}.onnx")


@pytest.fixture
def odd(odd_files, bgd, here):
    for each in odd_files.iterdir():
        (here / each.name).symlink_to(each)
    return bgd


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_bad_input_is_of_both_kinds_of_models(kind):
    assert {".onnx" in words for words in KINDS[kind]} == {True, False}


def listing(path):
    files = [each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts]
    return {each: (each.stat().st_size, each.stat().st_mtime_ns) for each in files}


ALL = {**CASES, **{words: case for cases in KINDS.values() for words, case in cases.items()}}


@pytest.mark.parametrize("words", ALL)
def test_bad_input_is_a_sentence_a_status_and_no_file(words, odd, here):
    status, sentence = ALL[words]
    argv = shlex.split(words)
    if argv[:1] == ["correct"] and "-o" not in argv:
        argv += ["-o", "out.safetensors"]
    before = listing(here)
    said = odd(*argv, "--json")
    assert said.status == said.out["status"] == status, said.err
    assert re.search(sentence, said.out["error"]), said.out["error"]
    assert not re.search("Traceback|Warning", said.err)
    assert listing(here) == before


def test_for_people_the_sentence_is_the_last_line_on_stderr(odd):
    for words in (f"{BASE} --lable 3", "verify fix.safetensors small.pt"):
        said, as_json = odd(*words.split()), odd(*words.split(), "--json")
        assert said.err.startswith("bgd: ")
        assert said.err.endswith(f"{as_json.out['error']}\n")

"""An ONNX file is corrected in its head as the network that it is of."""

import copy
import warnings

import numpy as np
import onnx
import onnx.inliner
import pytest
import torch
from odd_networks import odd_network
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import (
    CLASSES,
    INPUTS,
    TAILS,
    TOKENS,
    UNITS,
    WAYS,
    head,
    hidden,
    inputs,
    network_file,
    node,
    torch_network,
    value,
    written,
)

import bgd
from bgd.deployed import apply_to_file, session, verify_file
from bgd.deployed.onnx_head import OnnxModel
from bgd.deployed.onnx_tail import apart
from bgd.flat import NetworkError
from bgd.outputs import InputError
from bgd.patch import PatchError

LAST = {  # with options that keep a search to the last layer
    "output_bias": {},
    "last_layer_weight": {},
    "last_layer_weight_statistic": {},
    "last_layer_lp_l1": {},
    "least_change": {"scope": 1},
    "least_harm": {"scope": 1},
}
SEARCHED = (
    0.05  # relative: least harm ends where a step lowers harm by less than a thousandth, wherever that is
)
HIDDEN = (  # by default of the last but one layer
    *("fine_tune", "fine_tune_smallest"),
    *("rank_one", "rank_one_statistic"),
)


@torch.no_grad()
def wrong(network):
    """An input, and the class that comes second for it."""
    x = inputs()[:1]
    return x, int(network(x).argsort(descending=True)[0, 1])


def constants(path):
    """Every tensor of a file by its name, read by the onnx package."""
    model = onnx.load(path)
    found = {each.name: each for each in model.graph.initializer}
    found |= {each.output[0]: each.attribute[0].t for each in model.graph.node if each.op_type == "Constant"}
    return {name: torch.from_numpy(numpy_helper.to_array(each).copy()) for name, each in found.items()}


@pytest.mark.parametrize("tail", TAILS)
def test_features_and_head_are_the_network_whatever_comes_after_it(tmp_path, tail):
    model, x, network = OnnxModel.open(network_file(tmp_path, tail=tail)), inputs(), torch_network()
    with torch.no_grad():
        features, logits = network[:2](x), network(x)
        found = model.network(model.inputs(x))
    torch.testing.assert_close(model.inputs(x), features)
    torch.testing.assert_close(found, logits)
    own = {"nothing": logits, "log-softmax": logits.log_softmax(1), "sigmoid": logits.sigmoid()}
    torch.testing.assert_close(model.outputs(x), own.get(tail, logits.softmax(1)))


@pytest.mark.parametrize(("way", "external"), [*((way, False) for way in WAYS), ("MatMul and Add", True)])
def test_a_patch_is_that_of_the_network_in_the_names_of_the_file(tmp_path, way, external):
    path = network_file(tmp_path, way, "softmax", external=external)
    model, network = OnnxModel.open(path), torch_network()
    x, label = wrong(network)
    oracle = bgd.correct(network, x, label, "last_layer_lp_linf").patch
    fix = bgd.correct(model.network, model.inputs(x), label, "last_layer_lp_linf").patch
    stored = model.stored(fix)
    assert stored.tensors == ["w", "b"]
    before = constants(path)
    changed = copy.deepcopy(network)
    oracle.apply_(changed)
    for part, after in zip(stored.parts(), changed[2].parameters(), strict=True):
        tensor = before[part.name]
        assert tuple(tensor.shape) == part.shape
        torch.testing.assert_close(tensor.flatten()[part.indices], part.old, rtol=0, atol=0)
        tensor.view(-1)[part.indices] = part.new
        turned = tensor.t() if way != "Gemm" and way != "Transpose" and part.name == "w" else tensor
        torch.testing.assert_close(turned.reshape(after.shape), after.detach())
    patched = model.patched(fix)
    assert patched.outputs(x).argmax() == label != model.outputs(x).argmax()
    torch.testing.assert_close(patched.outputs(inputs()), changed(inputs()).softmax(1).detach())
    torch.testing.assert_close(patched.outputs(x), model.patched(stored).outputs(x), rtol=0, atol=0)
    torch.testing.assert_close(model.loaded(stored).new, fix.new, rtol=0, atol=0)


@pytest.mark.parametrize("method", LAST)
def test_a_method_of_the_last_layer_does_to_the_file_as_to_the_network(tmp_path, method):
    model, network, x = (
        OnnxModel.open(network_file(tmp_path, "MatMul and Add", "softmax")),
        torch_network(),
        inputs(),
    )
    with torch.no_grad():
        training = x, network(x).argmax(1)
    first, label = wrong(network)
    own = bgd.Knowledge.of(network, training=training, keep=x[1:])
    oracle = bgd.correct(network, first, label, method, knowledge=own, **LAST[method]).patch
    features = model.inputs(x)
    known = bgd.Knowledge.of(model.network, training=(features, training[1]), keep=features[1:])
    fix = bgd.correct(model.network, features[:1], label, method, knowledge=known, **LAST[method]).patch
    assert len(fix) == len(oracle)
    close = SEARCHED if method == "least_harm" else 1e-3
    torch.testing.assert_close(fix.new, oracle.new, rtol=close, atol=1e-5)
    wanted = bgd.effects(network, oracle, x)
    assert torch.equal(bgd.effects(model.network, fix, features).flipped, wanted.flipped)
    with oracle.applied(network), torch.no_grad():
        assert torch.equal(model.patched(fix).outputs(x).argmax(1), network(x).argmax(1))


def test_gradient_methods_see_a_network_of_one_layer(tmp_path):
    model = OnnxModel.open(network_file(tmp_path, tail="softmax"))
    x, label = wrong(torch_network())
    fix = bgd.correct(model.network, model.inputs(x), label, "bgd_ii").patch
    assert model.stored(fix).tensors == ["w"]
    assert model.patched(fix).outputs(x).argmax() == label


@pytest.mark.slow
@pytest.mark.parametrize("method", bgd.METHODS)
def test_every_method_works_on_a_head_or_says_why_not(tmp_path, method):
    model, x = OnnxModel.open(network_file(tmp_path, "MatMul and Add", "softmax")), inputs()
    features, labels = model.inputs(x), model.outputs(x).argmax(1)
    known = bgd.Knowledge.of(model.network, training=(features[1:], labels[1:]), keep=features[1:])
    _, label = wrong(torch_network())
    corrector = bgd.Corrector(model.network, method, knowledge=known)
    if method in HIDDEN:
        with pytest.raises(bgd.ConfigError, match="the last but one linear layer is meant"):
            corrector.correct(features[:1], label)
        return
    fix = corrector.correct(features[:1], label)
    assert fix.patch is None or model.patched(fix.patch).outputs(x[:1]).argmax() == label
    assert fix or fix.reason


def test_a_saved_patch_is_written_into_the_file_and_a_session(tmp_path):
    path = network_file(tmp_path, "MatMul and Add", "softmax")
    model = OnnxModel.open(path)
    x, label = wrong(torch_network())
    stored = model.stored(bgd.correct(model.network, model.inputs(x), label, "last_layer_weight").patch)
    stored.save(tmp_path / "fix.safetensors")
    fix = bgd.Patch.load(tmp_path / "fix.safetensors")
    wanted = model.patched(fix).outputs(inputs())
    assert wanted[0].argmax() == label
    assert verify_file(fix, path).state == "base"
    apply_to_file(fix, path, tmp_path / "out.onnx")
    assert verify_file(fix, tmp_path / "out.onnx").state == "patched"
    assert torch.equal(OnnxModel.open(tmp_path / "out.onnx").outputs(inputs()), wanted)
    found = session(path, fix).run(None, {"x": inputs().numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), wanted)


def test_a_patch_of_something_else_is_refused(tmp_path):
    model = OnnxModel.open(network_file(tmp_path))
    x, label = wrong(torch_network())
    fix = bgd.correct(model.network, model.inputs(x), label, "output_bias").patch
    after = model.patched(fix)
    with pytest.raises(PatchError, match="1 of 1 parameters do not hold"):
        after.patched(model.stored(fix))
    with pytest.raises(PatchError, match=r"changes 0\.weight, .*of its head alone"):
        model.patched(bgd.correct(torch_network(), x, label, "least_change").patch)


def binary_file(folder, tail="Sigmoid"):
    made, tensors = hidden()
    network = torch_network(1)
    last, more = head("MatMul and Add", network, "z")
    tensors = {"w1": network[0].weight.detach().numpy(), "b1": network[0].bias.detach().numpy()}
    nodes = [*made, *last, node(tail, ("z",), "scores")]
    return written(
        folder / "binary.onnx", nodes, {**tensors, **more}, outputs=[("scores", ("n", 1))]
    ), network


@pytest.mark.parametrize("method", ["output_bias", "last_layer_weight", "least_change", "bgd_ii"])
def test_one_column_before_a_sigmoid_is_two_classes(tmp_path, method):
    path, network = binary_file(tmp_path)
    model, x = OnnxModel.open(path), inputs()
    with torch.no_grad():
        share = network(x).sigmoid()
    torch.testing.assert_close(model.outputs(x), torch.cat([1 - share, share], 1))
    with torch.no_grad():
        torch.testing.assert_close(model.network(model.inputs(x)).softmax(1), model.outputs(x))
    for label in (0, 1):
        which = int((model.outputs(x).argmax(1) != label).nonzero()[0])
        sample = x[which : which + 1]
        fix = bgd.correct(model.network, model.inputs(sample), label, method).patch
        stored = model.stored(fix)
        assert {part.name: part.shape for part in stored.parts()}.items() <= {
            "w": (UNITS, 1),
            "b": (1, 1),
        }.items()
        assert model.patched(fix).outputs(sample).argmax() == label
        with torch.no_grad():
            there = model.patched(stored).network(model.inputs(x)).softmax(1)
            with fix.applied(model.network):
                torch.testing.assert_close(there, model.network(model.inputs(x)).softmax(1))


def test_one_column_without_a_sigmoid_is_refused(tmp_path):
    path, _ = binary_file(tmp_path, "Identity")
    with pytest.raises(NetworkError, match="one column and no sigmoid"):
        OnnxModel.open(path).inputs(inputs())


def token_file(folder, last):
    """A head on every token of three, and what `last` makes of their logits."""
    made = [
        node("Reshape", ("x", "three"), "h"),
        node("MatMul", ("h", "w"), "p"),
        node("Add", ("p", "b"), "z"),
        *last,
    ]
    stream = rng_weights()
    tensors = {"three": np.array([-1, TOKENS, 2]), "w": stream[0], "b": stream[1], "at": np.array(1)}
    used = {name for each in made for name in each.input}
    return written(
        folder / "tokens.onnx", made, {name: each for name, each in tensors.items() if name in used}
    )


def rng_weights():
    drawn = bgd.rng.stream(0, "tokens").standard_normal((3, CLASSES)).astype(np.float32)
    return drawn[:2], drawn[2]


def test_of_several_tokens_the_one_that_matters_is_taken(tmp_path):
    model, x = OnnxModel.open(token_file(tmp_path, [node("Gather", ("z", "at"), "scores", axis=1)])), inputs()
    assert torch.equal(model.inputs(x), x.view(-1, TOKENS, 2)[:, 1])
    label = int(model.outputs(x[:1]).argmin())
    fix = bgd.correct(model.network, model.inputs(x[:1]), label, "last_layer_weight").patch
    assert model.patched(fix).outputs(x[:1]).argmax() == label


def test_a_mean_of_tokens_is_refused(tmp_path):
    model = OnnxModel.open(token_file(tmp_path, [node("ReduceMean", ("z",), "scores", axes=[1], keepdims=0)]))
    with pytest.raises(NetworkError, match="any one of 3 rows of a sample"):
        model.inputs(inputs())


@pytest.mark.parametrize("rows", [1, 3])
def test_a_graph_of_a_fixed_number_of_inputs_gets_that(tmp_path, rows):
    model = OnnxModel.open(network_file(tmp_path, x=(rows, INPUTS), outputs=[("scores", (rows, CLASSES))]))
    with torch.no_grad():
        torch.testing.assert_close(model.outputs(inputs()), torch_network()(inputs()))
        torch.testing.assert_close(model.inputs(inputs()), torch_network()[:2](inputs()))


@pytest.mark.parametrize(
    ("kind", "dtype"), [("INT32", torch.int32), ("INT64", torch.int64), ("UINT8", torch.uint8)]
)
def test_whole_numbers_go_in(tmp_path, kind, dtype):
    made, tensors = hidden()
    made[0] = node("Gemm", ("f", "w1", "b1"), "a", transB=1)
    last, more = head("Gemm", out="scores")
    nodes = [node("Cast", ("x",), "f", to=TensorProto.FLOAT), *made, *last]
    path = written(tmp_path / "n.onnx", nodes, {**tensors, **more}, kind=getattr(TensorProto, kind))
    x = (inputs() * 10).abs().to(dtype)
    model = OnnxModel.open(path)
    with torch.no_grad():
        torch.testing.assert_close(model.network(model.inputs(x)), torch_network()(x.float()))
    with pytest.raises(
        InputError, match=rf"are float32 \(40, 6\), and the graph's is 'x', {kind.lower()} \(n, 6\)"
    ):
        model.inputs(x.float())


def test_features_in_float16(tmp_path):
    made, tensors = hidden()
    last, more = head("Gemm", out="scores")
    halves = {name: each.astype(np.float16) for name, each in (tensors | more).items()}
    outputs = [value("scores", ("n", CLASSES), TensorProto.FLOAT16)]
    model = OnnxModel.open(
        written(tmp_path / "n.onnx", [*made, *last], halves, kind=TensorProto.FLOAT16, outputs=outputs)
    )
    x = inputs().half()
    label = int(model.outputs(x[:1]).argsort(descending=True)[0, 1])
    fix = bgd.correct(model.network, model.inputs(x[:1]), label, "last_layer_weight").patch
    assert model.stored(fix).new.dtype == torch.float16
    assert model.patched(fix).outputs(x[:1]).argmax() == label


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (inputs()[:, :5], r"float32 \(40, 5\), and the graph's is 'x', float32 \(n, 6\)"),
        (inputs()[0], r"float32 \(6,\), and the graph's"),
        (inputs().double(), r"float64 \(40, 6\), and the graph's"),
        (inputs()[:0], "no input"),
        (inputs() / 0, "not finite, the first in row 0"),
        ([1.0], "are a list: a tensor is wanted, 'x', float32"),
    ],
    ids=["columns", "one", "type", "empty", "infinite", "list"],
)
def test_other_inputs_are_refused_by_the_graph_s_own(tmp_path, raw, words):
    model = OnnxModel.open(network_file(tmp_path))
    for asked in (model.inputs, model.outputs):
        with pytest.raises(InputError, match=words):
            asked(raw)


def test_several_inputs_are_refused_by_name(tmp_path):
    made, tensors = hidden()
    last, more = head("Gemm")
    nodes = [*made, *last, node("Add", ("z", "mask"), "scores")]
    path = written(tmp_path / "n.onnx", nodes, tensors | more, given=[value("mask", ("n", CLASSES))])
    with pytest.raises(InputError, match=r"2 inputs, 'x', float32 \(n, 6\), 'mask', float32 \(n, 4\)"):
        OnnxModel.open(path).inputs(inputs())


def test_random_numbers_are_refused(tmp_path):
    made, tensors = hidden()
    last, more = head("Gemm", out="scores")
    noise = [
        node("RandomNormalLike", ("a",), "noise"),
        node("Add", ("a", "noise"), "r"),
        node("Relu", ("r",), "h"),
    ]
    model = OnnxModel.open(written(tmp_path / "n.onnx", [made[0], *noise, *last], tensors | more))
    with pytest.raises(NetworkError, match="two passes differ by up to"):
        model.inputs(inputs())


def test_an_input_has_its_features_whatever_is_beside_it(tmp_path):
    """Of a graph that looks at all inputs at once, as batch normalisation in training mode does."""
    made, tensors = hidden()
    last, more = head("Gemm", out="scores")
    mean = [
        node("ReduceMean", ("a",), "m", axes=[0], keepdims=1),
        node("Add", ("a", "m"), "r"),
        node("Relu", ("r",), "h"),
    ]
    model = OnnxModel.open(written(tmp_path / "n.onnx", [made[0], *mean, *last], tensors | more))
    x = inputs()
    with torch.no_grad():
        torch.testing.assert_close(model.inputs(x), (2 * torch_network()[0](x)).relu())
    assert torch.equal(model.inputs(x[3:4]), model.inputs(x)[3:4])


def test_outputs_that_are_not_finite_or_no_rows_of_scores_are_refused(tmp_path):
    made, tensors = hidden()
    last, more = head("Gemm")
    path = written(tmp_path / "n.onnx", [*made, *last, node("Log", ("z",), "scores")], tensors | more)
    for asked in (OnnxModel.open(path).inputs, OnnxModel.open(path).outputs):
        with pytest.raises(InputError, match="'scores' is not finite"):
            asked(inputs())
    nodes = [*made, *last, node("Unsqueeze", ("z", "one"), "scores")]
    tensors = {**tensors, **more, "one": np.array([2])}
    path = written(tmp_path / "m.onnx", nodes, tensors, outputs=[("scores", ("n", CLASSES, 1))])
    with pytest.raises(NetworkError, match=r"'scores' is \(\d+, 4, 1\) for \d+ inputs: scores"):
        OnnxModel.open(path).inputs(inputs())


def test_a_difference_is_that_of_rounding_or_named():
    values = inputs()
    assert apart(values, values * (1 + 1e-6)) == 0
    assert apart(values, values + 0.5) == pytest.approx(0.5, rel=1e-5)


def test_logits_that_are_not_the_scores_are_named_with_the_largest_difference(tmp_path):
    """Scores that are the head's for the first inputs alone, as a branch on the input makes them."""
    made, tensors = hidden()
    last, more = head("Gemm")
    far = [
        node("ReduceMax", ("x",), "top", axes=[1], keepdims=1),
        node("Sub", ("top", "limit"), "over"),
        node("Relu", ("over",), "more"),
    ]
    nodes = [*made, *last, *far, node("Add", ("z", "more"), "scores")]
    model = OnnxModel.open(written(tmp_path / "n.onnx", nodes, {**tensors, **more, "limit": np.float32([9])}))
    x = inputs()
    assert len(model.inputs(x)) == 40
    x[20, 0] = 19.0
    with pytest.raises(
        NetworkError, match="the scores of the head Gemm 'Gemm_z' and those of the graph differ by up to 10"
    ):
        model.inputs(x)


def test_another_product_may_be_the_head(tmp_path):
    made, tensors = hidden()
    last, more = head("Gemm", out="scores")
    nodes = [*made, *last, node("Gemm", ("h", "v"), "boxes")]
    outputs = [("boxes", ("n", 2)), ("scores", ("n", CLASSES))]
    path = written(
        tmp_path / "n.onnx", nodes, {**tensors, **more, "v": np.ones((UNITS, 2), np.float32)}, outputs=outputs
    )
    assert OnnxModel.open(path).outputs(inputs()).shape == (40, 2)
    for wanted in ("w", "scores", "Gemm_scores"):
        assert OnnxModel.open(path, wanted).outputs(inputs()).shape == (40, CLASSES)
    with pytest.raises(NetworkError, match=r"head='score': no MatMul or Gemm .*did you mean 'scores'"):
        OnnxModel.open(path, "score")


def test_a_product_inside_the_network_is_no_head(tmp_path):
    model = OnnxModel.open(network_file(tmp_path, tail="softmax"), "a")
    with pytest.raises(
        NetworkError, match="softmax, log-softmax, sigmoid of the head's logits, nor these themselves"
    ):
        model.inputs(inputs())


def refused(name):
    """Nodes after `h`, tensors, and words of the message."""
    layer = torch_network()[2]
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    gemm, kept = node("Gemm", ("h", "w", "b"), "scores", transB=1), {"w": w, "b": b}
    return {
        "convolution": (
            [
                node("Unsqueeze", ("h", "last"), "i"),
                node("Conv", ("i", "k"), "c"),
                node("Squeeze", ("c", "last"), "scores"),
            ],
            {"last": np.array([2]), "k": w[:, :, None]},
            "the scores come from Conv 'Conv_c', and no MatMul or Gemm follows",
        ),
        "tied": (
            [
                node("MatMul", ("h", "w"), "t"),
                node("Gemm", ("t", "w"), "g", transB=1),
                node("MatMul", ("g", "w"), "scores"),
            ],
            {"w": np.ascontiguousarray(w.T)},
            "the weight 'w' of the head is also read by MatMul 'MatMul_t'",
        ),
        "bias of two": (
            [gemm, node("Add", ("scores", "b"), "other")],
            kept,
            "the bias 'b' of the head is also read by Add 'Add_other'",
        ),
        "computed": (
            [node("Mul", ("w", "w"), "v"), node("Gemm", ("h", "v"), "scores", transB=1)],
            {"w": w},
            "is computed by Mul 'Mul_v'",
        ),
        "alpha": (
            [node("Gemm", ("h", "w", "b"), "scores", transB=1, alpha=0.5)],
            kept,
            r"has alpha=0.5, and 1.0 alone",
        ),
        "quantised": (
            [node("DequantizeLinear", ("q", "s"), "w"), node("Gemm", ("h", "w"), "scores", transB=1)],
            {"q": np.ones((CLASSES, UNITS), np.int8), "s": np.float32(0.1)},
            "the weight 'w' of the head is quantised: correct the network that it was made from",
        ),
        "left": (
            [
                node("Transpose", ("h",), "t", perm=[1, 0]),
                node("MatMul", ("w", "t"), "p"),
                node("Transpose", ("p",), "scores", perm=[1, 0]),
            ],
            {"w": w},
            "has its weight on the left",
        ),
        "one bias for all": (
            [node("Gemm", ("h", "w", "b"), "scores", transB=1)],
            {"w": w, "b": b[:1]},
            r"shape \(1,\), not one number a class",
        ),
        "temperature": (
            [node("Gemm", ("h", "w", "b"), "z", transB=1), node("Mul", ("z", "two"), "scores")],
            kept | {"two": np.float32(2)},
            "the scores are not softmax",
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "convolution",
        "tied",
        "bias of two",
        "computed",
        "alpha",
        "quantised",
        "left",
        "one bias for all",
        "temperature",
    ],
)
def test_a_head_that_a_patch_cannot_change_is_refused_in_a_sentence(tmp_path, name):
    made, tensors = hidden()
    nodes, more, words = refused(name)
    outputs = [("scores", ("n", CLASSES)), *([("other", ("n", CLASSES))] if name == "bias of two" else [])]
    path = written(tmp_path / "n.onnx", [*made, *nodes], tensors | more, outputs=outputs)
    with pytest.raises(NetworkError, match=words):
        OnnxModel.open(path).inputs(inputs())


def test_files_that_hold_no_network_are_refused(tmp_path):
    path = tmp_path / "n.onnx"
    for content in (b"", b"\xff\xd8\xff no model"):
        path.write_bytes(content)
        with pytest.raises(NetworkError, match="is no ONNX file"):
            OnnxModel.open(path)
    written(
        path,
        [node("ArgMax", ("x",), "scores", axis=1)],
        {},
        outputs=[value("scores", ("n", 1), TensorProto.INT64)],
    )
    with pytest.raises(NetworkError, match="none of its outputs holds real numbers"):
        OnnxModel.open(path)
    written(path, [node("Relu", ("x",), "scores")], {}, outputs=[("scores", ("n", INPUTS))])
    with pytest.raises(NetworkError, match="no MatMul or Gemm leads to 'scores'; its operators are Relu"):
        OnnxModel.open(path)


def test_a_head_inside_a_function_is_refused_until_it_is_inlined(tmp_path):
    made, tensors = hidden()
    last, more = head("Gemm")
    path = written(
        tmp_path / "n.onnx", [*made, *last, node("Identity", ("z",), "scores")], {**tensors, **more}
    )
    plain = OnnxModel.open(path).inputs(inputs())
    model = onnx.load(path)
    opset = [helper.make_opsetid("", model.opset_import[0].version), helper.make_opsetid("own", 1)]
    (gemm,) = last
    inner = helper.make_function("own", "Product", [*gemm.input], ["z"], [gemm], opset[:1])
    call = helper.make_node("Product", gemm.input, ["z"], domain="own")
    outer = helper.make_function("own", "Head", [*gemm.input], ["z"], [call], opset)
    model.functions.extend([inner, outer])
    at = next(at for at, each in enumerate(model.graph.node) if each.output == gemm.output)
    model.graph.node[at].CopyFrom(helper.make_node("Head", gemm.input, ["z"], domain="own"))
    model.opset_import.append(opset[1])
    onnx.checker.check_model(model)
    onnx.save(model, path)
    with pytest.raises(
        NetworkError, match=r"come from Head 'z', a function of the model: .*inline_local_func"
    ):
        OnnxModel.open(path)
    onnx.save(onnx.inliner.inline_local_functions(model), path)
    assert torch.equal(OnnxModel.open(path).inputs(inputs()), plain)


def test_a_weight_that_a_branch_reads_too_is_refused(tmp_path):
    made, tensors = hidden()
    last, more = head("Gemm")
    branch = [
        helper.make_graph([node("Identity", (name,), f"{name}_out")], name, [], [value(f"{name}_out", None)])
        for name in ("w", "w1")
    ]
    extra = node("If", ("yes",), "chosen", then_branch=branch[0], else_branch=branch[1])
    nodes = [*made, *last, extra, node("Identity", ("z",), "scores")]
    path = written(tmp_path / "n.onnx", nodes, {**tensors, **more, "yes": np.array(True)})
    with pytest.raises(NetworkError, match="'w' of the head is also read by If 'If_chosen'"):
        OnnxModel.open(path)


def test_without_the_packages_one_sentence_says_so(tmp_path, monkeypatch):
    path = network_file(tmp_path)

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("bgd.deployed.packages.import_module", absent)
    with pytest.raises(
        ModuleNotFoundError, match=r"an ONNX file needs the package onnx: pip install 'bgd\[onnx\]'"
    ):
        OnnxModel.open(path)


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True])
def test_files_of_both_exporters_of_torch(tmp_path, dynamo):
    network, images = odd_network("batch norm"), torch.randn(8, 1, 8, 8)
    with torch.no_grad():
        logits = network(images)
    rows = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    path, label = tmp_path / "n.onnx", int(logits[0].argsort(descending=True)[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            path,
            dynamo=dynamo,
            input_names=["x"],
            output_names=["y"],
            verbose=False,
            **rows,
        )
    model = OnnxModel.open(path)
    torch.testing.assert_close(model.outputs(images), logits)
    for method in ("output_bias", "last_layer_weight", "last_layer_lp_linf"):
        fix = bgd.correct(model.network, model.inputs(images[:1]), label, method).patch
        oracle = bgd.correct(network, images[:1], label, method).patch
        assert len(fix) == len(oracle)
        torch.testing.assert_close(fix.new, oracle.new, rtol=1e-3, atol=1e-5)
        assert model.patched(fix).outputs(images[:1]).argmax() == label

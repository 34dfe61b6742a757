"""Inputs, labels and names as files: against reading them by hand; pictures against torchvision."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as seen

from bgd.cli.arrays import array
from bgd.cli.classes import Classes, labels
from bgd.cli.inputs import Reader
from bgd.cli.pictures import Transform

PLAIN = Reader.of(None, None)


def pixels(*shape, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(pixels(30, 40, 3)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_arrays_of_every_kind_are_what_was_saved(tmp_path):
    x = torch.randn(3, 4)
    np.save(tmp_path / "a.npy", x.numpy())
    np.savez(tmp_path / "one.npz", any=x.numpy())
    np.savez(tmp_path / "two.npz", a=x.numpy(), b=x.numpy()[:1])
    torch.save(x, tmp_path / "a.pt")
    torch.save({"x": x, "y": x[:2]}, tmp_path / "two.pt")
    save_file({"x": x, "y": x[:2].clone()}, tmp_path / "two.safetensors")
    for name in ("a.npy", "one.npz", "one.npz:any", "two.npz:a", "a.pt", "two.pt:x", "two.safetensors:x"):
        assert torch.equal(array(str(tmp_path / name), "x"), x), name
    assert len(array(str(tmp_path / "two.pt:y"), "x")) == 2
    assert torch.equal(Reader.of(None, "float64").read(str(tmp_path / "a.npy"), "x").values, x.double())


def test_a_folder_and_a_glob_are_read_in_the_order_of_names(tmp_path, capsys):
    for name in ("b", "a", "c"):
        np.save(tmp_path / f"{name}.npy", np.full((2 if name == "b" else 1, 3), ord(name), "f"))
    (tmp_path / "notes.txt").write_text("none of them")
    for text in (str(tmp_path), str(tmp_path / "*.npy")):
        found = PLAIN.read(text, "keep")
        assert found.values[:, 0].tolist() == [97, 98, 98, 99]
        names = [found.name(number).removeprefix(f"{tmp_path}/") for number in range(4)]
        assert names == ["a.npy", "b.npy[0]", "b.npy[1]", "c.npy"]
        assert "keep: 4 inputs of 3 files in" in capsys.readouterr().err
    taken = found.taken([3, 1])
    assert taken.values[:, 0].tolist() == [99, 98]
    assert taken.name(0).endswith("c.npy")


@pytest.mark.parametrize("odd", [np.zeros((1, 4), "f"), np.zeros((1, 3), "d")])
def test_files_of_several_shapes_or_types_name_the_first(odd, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 3), "f"))
    np.save(tmp_path / "b.npy", odd)
    with pytest.raises(ValueError, match=r"b.npy is .*a.npy is \(3,\) float32: one shape and type"):
        PLAIN.read(str(tmp_path), "keep")


@pytest.mark.parametrize(
    ("steps", "oracle"),
    [
        ("rgb", lambda image: seen.pil_to_tensor(image).float()),
        ("grayscale", lambda image: seen.pil_to_tensor(image.convert("L")).float()),
        ("resize=8x12,scale=0..1", lambda image: seen.to_tensor(seen.resize(image, [8, 12]))),
        ("resize=15,scale=0..1", lambda image: seen.to_tensor(seen.resize(image, 15))),
        ("crop=10x6,scale=0..1", lambda image: seen.to_tensor(seen.center_crop(image, [10, 6]))),
        ("scale=-1..1", lambda image: seen.to_tensor(image) * 2 - 1),
        ("invert,scale=0..1", lambda image: 1 - seen.to_tensor(image)),
        ("last", lambda image: torch.from_numpy(np.array(image, "f"))),
        (
            "rgb,resize=16,crop=16x16,scale=0..1,mean=0.4/0.5/0.6,std=0.2/0.3/0.4",
            lambda image: seen.normalize(
                seen.to_tensor(seen.center_crop(seen.resize(image, 16), [16, 16])),
                [0.4, 0.5, 0.6],
                [0.2, 0.3, 0.4],
            ),
        ),
        ("scale=0..1,mean=0.5,std=0.25", lambda image: (seen.to_tensor(image) - 0.5) / 0.25),
    ],
)
def test_steps_of_a_transform_are_those_of_torchvision(steps, oracle, picture):
    found = Reader.of(steps, None).read(str(picture), "x")
    wanted = oracle(Image.open(picture))
    torch.testing.assert_close(found.values, wanted[None], rtol=1e-5, atol=1e-5)
    assert found.transform == steps
    assert found.name(0) == str(picture)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.fromarray(pixels(4, 4).astype(np.uint16)), "more than eight bits"),
        (Image.fromarray(pixels(4, 4)).convert("P"), "a picture of the kind P: a step grayscale or rgb"),
        (Image.fromarray(pixels(4, 4, 4)), "a picture of the kind RGBA"),
    ],
)
def test_pictures_that_may_mean_several_things_are_refused(image, words, tmp_path):
    image.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=words):
        Reader.of("scale=0..1", None).read(str(tmp_path / "a.png"), "x")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("crop=50", "crop=50 of a picture of 30x40"),
        ("std=0", "'std=0': a number above 0"),
        ("resize=1x2x3", "HEIGHTxWIDTH"),
        ("resize=0", "HEIGHTxWIDTH"),
        ("scale=1", "two numbers such as 0..1"),
        ("rgb=3", "'rgb=3': no value"),
        ("", "''"),
    ],
)
def test_steps_without_sense_are_refused(steps, words, picture):
    with pytest.raises(ValueError, match=words):
        Transform.of(steps).read(picture)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.txt", "cat\n\nhot dog\n"),
        ("n.json", json.dumps(["cat", "hot dog"])),
        ("n.json", json.dumps({"1": "hot dog", "0": "cat"})),
        ("n.json", json.dumps({"hot dog": 1, "cat": 0})),
        ("n.json:space", json.dumps({"size": 3, "space": ["cat", "hot dog"]})),
    ],
)
def test_names_of_classes(name, text, tmp_path):
    (tmp_path / name.partition(":")[0]).write_text(text)
    classes = Classes.of(str(tmp_path / name))
    assert classes.names == ("cat", "hot dog")
    assert classes.numbers("hot dog,0", "--label") == [1, 0]
    assert classes.name(1) == "hot dog (1)"
    assert classes.name(7) == "class 7"
    assert classes.named(0) == {"class": 0, "name": "cat"}
    (tmp_path / "labels.txt").write_text("cat\nhot dog\n1\n")
    assert labels(str(tmp_path / "labels.txt"), classes, "labels").tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "text", ['{"0": "cat", "2": "dog"}', "3", '{"cat": "x"}', "[1]", "{", '{"names": ["cat"]}']
)
def test_names_that_are_none(text, tmp_path):
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(ValueError, match="holds no names of classes"):
        Classes.of(str(tmp_path / "n.json"))


def test_a_name_may_have_commas_and_a_file_a_mark_of_its_encoding(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbftench, Tinca tinca\ncrane\ncrane\n")
    classes = Classes.of(str(tmp_path / "names.txt"))
    assert classes.numbers("tench, Tinca tinca", "--label") == [0]
    assert classes.numbers("2,0", "--label") == [2, 0]

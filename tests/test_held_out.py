"""What options are chosen by: errors among the images set aside."""

import re

import pytest

from scripts import held_out


@pytest.fixture
def call(tmp_path):
    def called(*arguments):
        return held_out.main(
            ["profile=smoke", "network=mlp", "device=cpu", f"output_dir={tmp_path}", *arguments]
        )

    return called


@pytest.mark.parametrize(
    ("setting", "words"), [("reloading", "negative flips"), ("non_reloading", "untouched accuracy")]
)
def test_a_method_is_run_on_errors_that_are_no_test_images(call, capsys, monkeypatch, tiny, setting, words):
    made, plain = [], held_out.HeldOut

    def bench(*arguments):
        made.append(plain(*arguments))
        return made[-1]

    monkeypatch.setattr(held_out, "HeldOut", bench)
    assert call("method=last_layer_weight", f"setting={setting}") == 0
    said = capsys.readouterr().out
    errors, images = map(int, re.search(r"(\d+) errors among (\d+) images", said).groups())
    (one,), half = made, len(tiny.held_out) // 2
    assert images == len(one.data.test) == len(tiny.held_out) - half
    assert errors == len(one.base.errors) > 0
    assert (one.data.test.images == tiny.held_out.images[half:]).all()
    assert (one.data.held_out.images == tiny.held_out.images[:half]).all()
    assert words in said


def test_what_is_wrong_is_named(call, capsys):
    assert call("method=least_hrm") == 2
    assert "did you mean 'least_harm'?" in capsys.readouterr().err
    assert call("method.nothing=1") == 2
    assert "nothing" in capsys.readouterr().err

"""What runs share: N0, its evaluation and its mean gradient, each made once."""

import pytest
import torch
from oracles import evaluate

from bgd.curvature.gradient import mean_gradient
from experiments.jobs import workbench
from experiments.jobs.workbench import Place, Workbench, Workbenches
from experiments.records.schema import header_from, plain, row_from


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "data", tmp_path, "cpu", 1)


def test_runs_of_one_network_and_scale_share_a_bench(place, spec_of):
    workbenches = Workbenches(place)
    bench = workbenches.bench(spec_of())
    assert (
        workbenches.bench(spec_of("method=top_k", "seed=3", "setting=non_reloading", "scale.samples=2"))
        is bench
    )
    other = workbenches.bench(spec_of("scale.test_images=50"))
    assert other is not bench
    assert other.base.sha256 == bench.base.sha256
    assert len(other.images.test) == 50
    assert workbenches.bench(spec_of()).base.id == bench.base.id
    assert workbenches.bench(spec_of("scale.recipe.seed=1")).base.sha256 != bench.base.sha256


def test_figures_are_over_the_images_that_the_scale_says(place, spec_of):
    spec = spec_of("scale.train_images=30", "scale.test_images=20")
    bench = Workbench(spec, place)
    header = bench.header(spec)
    assert (header.train_images, header.test_images) == (30, 20)
    for part, found in (("train", header.figures.train_loss), ("test", header.figures.test_loss)):
        images, labels = getattr(bench.data, part).first({"train": 30, "test": 20}[part]).tensors()
        assert found == pytest.approx(evaluate(bench.base.network, images, labels)[0], rel=1e-5)


def test_a_run_over_a_part_of_d_has_n0s_figures_over_all_of_it_and_rows_with_an_error(place, spec_of):
    whole, part = (
        spec_of(f"scale.train_part={count}", "scale.train_images=800") for count in ("null", "250")
    )
    assert spec_of("scale.train_part=800", "scale.train_images=800").run_id == whole.run_id != part.run_id
    workbenches = Workbenches(place)
    of_whole, of_part = (
        (bench.header(spec), next(iter(bench.stage(spec).rows())), bench._gradient)
        for spec in (whole, part)
        for bench in [workbenches.bench(spec)]
    )
    assert of_part[0].figures == of_whole[0].figures
    assert (of_part[0].train_images, of_part[0].train_part, of_whole[0].train_part) == (800, 250, None)
    assert torch.equal(of_part[2], of_whole[2]), "the mean gradient is over all of D"
    known, estimated = of_whole[1], of_part[1]
    assert estimated.patch == known.patch
    assert estimated.side_effects == known.side_effects
    error = estimated.figures.train_loss_error
    assert abs(estimated.figures.train_loss - known.figures.train_loss) < 5 * error
    assert known.figures.train_loss_error is None
    assert "train_loss_error" not in plain(known)["figures"]
    assert row_from(plain(estimated)).figures.train_loss_error == pytest.approx(error)
    assert header_from(plain(of_part[0])).train_part == 250
    assert "train_part" not in plain(of_whole[0])


@pytest.mark.parametrize(("wanted", "samples"), [("2", 2), ("null", None)])
def test_a_run_has_as_many_samples_as_asked_for_or_as_there_are(place, spec_of, wanted, samples):
    spec = spec_of(f"scale.samples={wanted}")
    bench = Workbench(spec, place)
    count = samples or len(bench.base.errors)
    assert bench.header(spec).samples == len(bench.stage(spec).samples) == count
    assert [sample.index for sample in bench.stage(spec).samples] == list(bench.base.errors)[:count]


def test_the_mean_gradient_is_that_of_n0_and_is_kept(place, spec_of, monkeypatch):
    spec = spec_of("method=bgd_c", "setting=non_reloading")
    bench = Workbench(spec, place)
    images, labels = bench.data.train.first(spec.scale.train_images).tensors()
    wanted = mean_gradient(bench.base.network, images, labels)
    stage = bench.stage(spec)
    for _ in zip(range(3), stage.rows(), strict=False):  # the network moves on, Gbar stays that of N0
        assert torch.allclose(stage.problem.mean_gradient, wanted, atol=1e-7)
    assert not torch.equal(stage.problem.original, bench.stage(spec).problem.original)
    monkeypatch.setattr(workbench, "mean_gradient", lambda *_, **__: pytest.fail("it was made again"))
    again = Workbench(spec, place).stage(spec).problem.mean_gradient
    assert torch.equal(again, stage.problem.mean_gradient)


def test_training_anew_gives_no_stale_gradient(place, spec_of, tmp_path):
    """The gradient is kept by the bytes of N0, not by its recipe alone."""
    spec = spec_of("method=bgd_c")
    first = Workbench(spec, place)
    gradient = first.stage(spec).problem.mean_gradient
    (kept,) = (tmp_path / "bases").glob("*.gradient-*.pt")
    assert first.base.sha256[:8] in kept.name
    torch.save(gradient + 1, kept)  # of another N0, as far as anyone can tell
    kept.rename(kept.with_name(kept.name.replace(first.base.sha256[:8], "00000000")))
    assert torch.equal(Workbench(spec, place).stage(spec).problem.mean_gradient, gradient)


@pytest.mark.parametrize("damage", ["cut", "altered", "old"])
def test_a_damaged_gradient_is_reported_and_made_again(place, spec_of, tmp_path, caplog, damage):
    good = Workbench(spec_of(), place)._gradient
    (path,) = (tmp_path / "bases").glob("*.gradient-*.pt")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    elif damage == "altered":
        kept = torch.load(path, weights_only=True)
        kept["gradient"][5] += 1
        torch.save(kept, path)
    else:
        torch.save(good, path)
    again = Workbench(spec_of(), place)._gradient
    assert torch.equal(again, good)
    assert "making it again" in caplog.text

"""The command line as a user meets it: what is wrong is said in a sentence, and nothing else is run in its place."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import interruptible

from bgd.methods.bgd.search import SubsetSearch
from experiments import run
from experiments.config.overrides import CONF
from experiments.jobs.ending import Terminated
from experiments.records.store import Store
from scripts import held_out

ROOT = CONF.parents[1]
SMALL = ("profile=smoke", "scale.samples=2", "device=cpu")
LARGE = "9" * 26


def call(module, *arguments, cwd=ROOT, limit=None, **environment):
    """Call a command in a process of its own; `limit` bounds the size of the files that it writes."""
    return subprocess.run(
        [sys.executable, *module.split(), *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=300, env={**os.environ, **environment},
        preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))),
    )  # fmt: skip


@pytest.fixture
def command(capsys, tmp_path):
    """Call `python -m experiments.run` in this process; give its exit status and what it said on both streams."""
    threads = torch.get_num_threads()

    def called(*arguments, main=run.main):
        status = main([*arguments, f"output_dir={tmp_path}"])
        return status, *capsys.readouterr()

    yield called
    torch.set_num_threads(threads)


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


REFUSED = {
    # keys
    "+foo=1": "foo: there is no such key; ",
    "++foo=1": "foo: there is no such key; ",
    "foo=1": "foo: there is no such key; ",
    "+profile.foo=1": "profile.foo: there is no such key; valid: alexnet, alexnet_full, dataset",
    "+method.foo=1": "method.foo: unknown key; ",
    "+seed=1": "+seed=1: there is a key seed, write it without +",
    "netwrok=mlp": "netwrok: there is no such key; did you mean 'network'?",
    "scale.sampels=3": "scale.sampels: there is no such key; did you mean 'samples'?",
    "method.update.forn=diagonal": "method.update.forn: there is no such key; did you mean 'form'?",
    "method.margin=1": "method.margin: there is no such key; valid: ",
    "method.prune.x=1": "method.prune.x: there is no such key, method.prune is a single value",
    "hydra.verbose=true": "hydra.verbose: a run has no use for settings of Hydra's own",
    "~seed": "seed: missing",
    "~method.knows": "method.knows: missing; one of nothing",
    "~method.groups": "method.groups: missing; [] for no preset, or some of every_error",
    "method.groups=tables": "method.groups='tables': must be a list; ",
    "method.groups=[tabels]": "method.groups='tabels': there is no such group; did you mean 'tables'?",
    "-m experiment=table_4_2 files=[a]": "files: a preset's own word on what is made from its runs; leave it out",
    # choices
    "network=alexnt": "network='alexnt': there is no such network; did you mean 'alexnet'?",
    "method=null": "method='null': there is no such method; ",
    "network=null": "network='null': there is no such network; ",
    "setting=null": "setting='null': there is no such setting; ",
    "profile=null": "profile='null': there is no such profile; ",
    "scale=null": "scale='null': there is no such scale; ",
    "method=": "method='': there is no such method; ",
    "method={}": "there is no such method; ",
    "scale.recipe=null": "scale.recipe=None: must be a mapping",
    "method.prior=null": "method.prior=None: must be a mapping",
    # a sweep that is none, and one of nothing
    "experiment=sensitivity": "experiment=sensitivity: a preset is a sweep; add -m",
    "experiment=table_4_2": "experiment=table_4_2: a preset is a sweep; add -m",
    "-m experiment=table_4_2,sensitivity": "one command for each",
    "-m experiment=glob(*)": "experiment=glob(*): each preset has runs of its own; one command for each",
    "-m method=glob(zzz*)": "method=glob(zzz*): fits no method; valid: ",
    "-m method=group(fronteer)": "group(fronteer): no method is in it; did you mean 'frontier'?",
    "-m seed=range(0,0)": "seed=range(0,0): there is no value in it",
    "-m seed=interval(0,1)": "seed=interval(0,1): a sweep is over single values",
    "seed=0,1": "seed=0,1: several values are a sweep; add -m",
    # grammar
    "seed=[": "seed=[: cannot be read, write key=value",
    "seed": "seed: cannot be read, write key=value",
    "--sweep": "--sweep: no such option; ",
    "seed=${nothing}": "Interpolation key 'nothing' not found",
    # values
    "seed=abc": "seed='abc': must be an integer",
    "seed=": "seed='': must be an integer",
    f"seed={LARGE}": f"seed={LARGE}: must be within -2^63 and 2^63",
    f"order={LARGE}": f"order={LARGE}: must be within",
    f"scale.recipe.seed={LARGE}": f"scale.recipe.seed={LARGE}: must be within",
    f"method.iterations={LARGE}": f"method.iterations={LARGE}: must be within",
    "method.iterations=0": "method.iterations=0: must be at least 1",
    "scale.train_images=100000000": "scale.train_images=100000000: must be at most 900",
    "scale.test_images=100000000": "scale.test_images=100000000: must be at most 400",
    "threads=100000": "threads=100000: must be from 1 to ",
    "threads=0": "threads=0: must be from 1 to ",
    "network.hidden1=1000000000000": "network: training 793,000,000,000,098 parameters takes ",
    "network.hidden1=1000000000000000000": "network: cannot be built (",
    "data_dir=": "data_dir='': must name a folder",
    "data_dir=null": "data_dir=None: must be text",
    "bases_from=nowhere": "bases_from='nowhere': there is no such folder; leave it out",
    # contradictions
    "variant=no_pruning method.prune=true": "method.prune=True: contradicts variant=no_pruning, which sets False",
    "variant=random_prior method.prior._target_=bgd.methods.bgd.prior.GradientPrior": "contradicts variant=random_",
    "probe=gradient_ranks method=top_k": "method=top_k: a probe measures N0, without method, variant, setting",
    "probe=gradient_ranks method.iterations=3": "method.iterations=3: a probe measures N0",
    "probe=gradient_ranks variant=no_pruning": "variant=no_pruning: a probe measures N0",
    "probe=gradient_ranks setting=non_reloading": "setting=non_reloading: a probe measures N0",
    "probe=gradient_ranks seed=1": "seed=1: a probe measures N0",
    "-m probe=null,portraits method=top_k": "method=top_k: a probe measures N0",
    "-m experiment=table_4_10 seed=1": "seed=1: a probe measures N0",
    "method.name=top_k": "method.name='top_k': must be 'bgd_ii', as conf/method/bgd_ii.yaml is called",
    "network.name=alexnet": "network.name='alexnet': must be 'mlp'",
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_nothing_is_accepted_silently_and_nothing_is_a_traceback(words, command, tmp_path):
    status, said, complaint = command("profile=smoke", *words.split())
    assert status == 2
    assert REFUSED[words] in complaint
    assert complaint.startswith("error: ")
    assert "Traceback" not in said + complaint
    assert "+" not in complaint.replace(words, "").replace("without +", ""), "no advice to append the key"
    assert complaint.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "bases").exists()


@pytest.mark.parametrize("main", [run.main, held_out.main])
@pytest.mark.parametrize("folder", ["", "null", "/dev/null/folder"])
def test_an_output_folder_is_one(main, folder, capsys):
    threads = torch.get_num_threads()
    assert main(["profile=smoke", f"output_dir={folder}"]) == 2
    torch.set_num_threads(threads)
    said = capsys.readouterr().err
    assert said.startswith(("error: output_dir=", "error: cannot read or write: /dev/null"))
    assert said.count("\n") == 1


def test_more_samples_than_n0_gets_wrong_are_refused_with_their_number(command, tmp_path):
    status, _, complaint = command("profile=smoke", "scale.samples=100000000")
    assert status == 2
    (record,) = (tmp_path / "bases").glob("*.json")
    errors = len(json.loads(record.read_text())["errors"])
    assert f"scale.samples=100000000: N0 gets {errors} test images wrong" in complaint
    assert names(tmp_path / "runs") == []


@pytest.mark.parametrize("method", ["bgd_c", "least_harm", "least_harm_kfac", "last_layer_lp_l1_keep"])
def test_a_method_that_may_not_know_what_it_needs_is_refused_before_it_begins(method, command, tmp_path):
    status, said, complaint = command(*SMALL, f"method={method}", "method.knows=nothing")
    assert status == 2
    assert complaint.startswith("error: method.knows=nothing: the method needs ")
    assert "Traceback" not in said + complaint
    assert names(tmp_path / "runs") == []


def test_a_method_may_know_less_than_its_file_says_where_it_needs_no_more(command):
    assert command(*SMALL, "method=bgd_c", "method.guard=null", "method.knows=nothing")[0] == 0


def crash(monkeypatch, error):
    """Make BGD fail with an error on the sample of one stream; other methods are not touched."""

    def fail(*_):
        raise error

    monkeypatch.setattr(SubsetSearch, "correct", fail)
    monkeypatch.setattr(SubsetSearch, "correct_many", fail)


R7 = {
    "network=resnet,mlp method=fine_tune scale.recipe.epochs=1": "network=resnet method=fine_tune",  # has no such layer
    "method=bgd_ii,top_k method.first=1": "method=bgd_ii method.first=1",  # has no such key
    "method=top_k method.first=0,1": "method=top_k method.first=0",  # out of range
    "method=top_k scale.samples=100000,2": "method=top_k scale.samples=100000",  # more than there are
    "method=bgd_ii,top_k seed=1": "method=bgd_ii seed=1",  # crashes
}


@pytest.mark.parametrize("axes", R7)
def test_r7_a_failing_job_never_ends_a_sweep(axes, command, tmp_path, monkeypatch):
    if axes.startswith("method=bgd_ii,top_k seed"):
        crash(monkeypatch, ZeroDivisionError("a bug in the method"))
    small = SMALL if "scale.samples" not in axes else ("profile=smoke", "device=cpu")
    status, said, complaint = command("-m", *small, *axes.split())
    assert status == 1
    assert len([name for name in names(tmp_path / "runs") if "." not in name]) == 1, "the other job was run"
    assert said.count("POPA (%)") == 1
    first, failure = complaint.splitlines()
    assert first == "1 of 2 jobs failed:"
    assert failure.startswith("failed: profile=smoke")
    assert " ".join(word for word in R7[axes].split() if word not in small) in failure
    assert len(failure.rsplit(str(tmp_path), 1)[1]) > 10, "with its reason"
    if "seed" in axes:
        assert "ZeroDivisionError: a bug in the method" in failure
        (record,) = Store(tmp_path / "runs").failures()
        assert "a bug in the method" in json.loads(record.read_text())["traceback"]


def test_r7_a_sweep_that_was_refused_as_a_whole_is_a_wrong_command(command, tmp_path):
    status, _, complaint = command("-m", *SMALL, "method.iterations=0,-1")
    assert status == 2
    assert "2 of 2 jobs failed:" in complaint
    assert names(tmp_path / "runs") == []


def test_a_failing_run_is_one_sentence_and_exit_status_1(command, monkeypatch):
    crash(monkeypatch, ZeroDivisionError("a bug in the method"))
    status, _, complaint = command(*SMALL)
    assert (status, complaint) == (1, "error: ZeroDivisionError: a bug in the method\n")


def half_done():
    """What torch raises where a signal finds it between entering and leaving a mode."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise AssertionError("trying to pop from empty mode stack")  # noqa: B904


@pytest.mark.parametrize("prefix", [(), ("-m",)])
@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, 130), (Terminated, 143), (half_done, 130)])
@pytest.mark.parametrize("where", ["composed", "execute"])
def test_a_signal_is_one_sentence_wherever_it_comes(command, monkeypatch, prefix, stop, status, where):
    def stopped(*_):
        raise stop if isinstance(stop, type) else stop()

    monkeypatch.setattr(f"experiments.command.{where}", stopped)
    ended, _, complaint = command(*prefix, *SMALL)
    assert ended == status
    assert complaint == "stopped: the rows so far are kept, the same command goes on from there\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_an_object_is_finalized_ends_the_command_too(number, status):
    code = f"""
import signal, sys, time
from experiments.jobs.ending import ended

class Finalized:
    def __del__(self):
        signal.raise_signal({int(number)})

def command():
    Finalized()
    time.sleep(60)
    return 0

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(ended(command))
"""
    done = call("-c", code, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr == "stopped: the rows so far are kept, the same command goes on from there\n"


@pytest.mark.parametrize(
    "module", ["-m experiments.run", pytest.param("scripts/held_out.py", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_signal_ends_a_command_in_a_sentence(module, number, status, tmp_path):
    arguments = ["profile=smoke", "network=alexnet", "scale.recipe.epochs=10000", f"output_dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, *module.split(), *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not any((tmp_path / "bases").glob("*")) and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(number)
        said, complaint = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == status, complaint
    assert complaint == "stopped: the rows so far are kept, the same command goes on from there\n"
    assert "Traceback" not in said


def test_a_signal_while_modules_are_imported_is_a_word(tmp_path):
    done = call("-c", "import experiments; raise KeyboardInterrupt", PYTHONPATH=str(ROOT), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "stopped\n")
    done = call("-c", "import experiments; raise ValueError('a bug')", PYTHONPATH=str(ROOT), cwd=tmp_path)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "-m experiments.run",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("-m experiments.run -m", "scripts/held_out.py")
        ),
    ],
)
def test_a_full_disk_is_one_sentence(module, tmp_path):
    """A bound on the size of a file stands for it: N0 of the smoke profile takes 40 kB."""
    done = call(module, *SMALL, f"output_dir={tmp_path}", limit=20_000, PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert re.match(r"error: (cannot read or write|\S+ cannot be written)", done.stderr)
    assert "File too large" in done.stderr
    assert "make room and repeat" in done.stderr


def test_a_data_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = call("-m experiments.run", f"data_dir={tmp_path}/file/data", f"output_dir={tmp_path}")
    assert done.returncode == 2
    assert "error: cannot write to the data folder" in done.stderr


def test_a_sweep_over_a_preset_narrowed_and_run_from_anywhere(tmp_path):
    arguments = ["-m", "experiment=table_4_2", "profile=smoke", "method=bgd_ii,top_k", "seed=0", "threads=1"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = call("-m experiments.run", *arguments, f"output_dir={tmp_path}/out", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("POPA (%)") == 2
    assert len([path for path in (tmp_path / "out" / "runs").iterdir() if path.is_dir()]) == 2


def test_hydra_still_answers_what_a_configuration_is(tmp_path):
    done = call("-m experiments.run", "--cfg", "job", "--package", "setting", "setting=non_reloading", cwd=tmp_path,
                PYTHONPATH=str(ROOT))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "name: non_reloading" in done.stdout
    assert names(tmp_path) == []


def test_a_probe_prints_no_mean_of_an_index(command):
    status, said, _ = command(*SMALL, "probe=gradient_ranks", "probe.count=3")
    assert status == 0
    assert "sample_loss" in said
    assert "parameter " not in said


@pytest.mark.parametrize(("samples", "printed"), [(49, False), (50, True)])
def test_after_50_is_said_where_there_are_50(command, samples, printed):
    status, said, _ = command(
        "profile=smoke",
        "device=cpu",
        f"scale.samples={samples}",
        "setting=non_reloading",
        "method=output_bias",
    )
    assert status == 0
    assert ("Test accuracy after 50" in said) == printed
    assert ("Test accuracy at the end, after 49" in said) != printed
    assert "Final test accuracy" in said

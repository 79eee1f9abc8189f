# SPDX-License-Identifier: BSD-3-Clause
"""`fastcka extract`: what the library would store, a report of it, and one line for what is wrong."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastcka  # noqa: E402
from fastcka import cli  # noqa: E402
from fastcka.cli import extract as command  # noqa: E402
from fastcka.torch import _common  # noqa: E402
from fastcka.torch.layers import pooling  # noqa: E402

NETS = """
import sys
import torch
from torch.utils.data import DataLoader, TensorDataset

def model(seed=0):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5))
    model.spare = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    model.forward = lambda x: model[2](model[1](model[0](x)))
    return model

def other():
    return model(seed=1)

def x():
    return torch.randn(20, 6, generator=torch.Generator().manual_seed(1))

def loader():
    return DataLoader(TensorDataset(x()), batch_size=8)

def cut():
    yield from x().split(8)[:1]
    raise KeyboardInterrupt

def named():
    return [{"x": part, "nr": list(range(k, k + 10))} for k, part in zip((50, 60), x().split(10))]

def pipe():
    yield from x().split(8)[:1]
    raise BrokenPipeError(32, "the server has gone")

def exits():
    yield from x().split(8)[:1]
    sys.exit("no more")

def failing():
    yield from x().split(8)[:1]
    raise LookupError("the disk of the pictures is gone")

def bad_values():
    batch = x()
    batch[3, 2] = float("nan")
    return [batch]

def wrong_width():
    return [torch.ones(3, 7)]

def none(): pass
def stops(): sys.exit("no data")
def raises(): raise RuntimeError("no\\nweights")
def wants(path): pass
def tensor(): return x()
def dataset(): return TensorDataset(x())
number = 3
"""
NAMES = itertools.count()


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The name of a module in the current folder that was never imported before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # its time stamps count whole seconds
    name = f"nets{next(NAMES)}"
    (tmp_path / f"{name}.py").write_text(NETS)
    (tmp_path / f"needs_{name}.py").write_text("import module_that_is_nowhere")
    yield name
    sys.modules.pop(name, None)


def run(capsys, *argv, status=0):
    assert cli.main([str(argument) for argument in argv]) == status
    return capsys.readouterr()


def extract(capsys, nets, *options, model="model", loader="loader", status=0):
    return run(
        capsys, "extract", f"{nets}:{model}", f"{nets}:{loader}", "--out", "s", *options, status=status
    )


def fails(capsys, *argv):
    output = run(capsys, *argv, status=2)
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("fastcka: error: ")
    return output.err


def test_the_store_is_that_of_the_function_and_said_in_words(capsys, nets):
    output = extract(capsys, nets)
    assert output.err == ""
    assert output.out == (
        "s: 20 samples, 3 layers\n"
        "  0  8 x float32\n"
        "  1  8 x float32\n"
        "  2  5 x float32\n"
        "skipped:\n"
        "  spare: it did not run\n"
        "  spare.0: it did not run\n"
    )
    store, module = fastcka.open_store("s"), sys.modules[nets]
    kept = fastcka.torch.extract(module.model(), module.loader(), progress=False)
    assert list(store) == list(kept)
    for name, X in kept.items():
        np.testing.assert_array_equal(store[name], X)
    assert store.provenance["model"] == f"{nets}:model"
    assert store.provenance["loader"] == f"{nets}:loader"


def test_options_are_those_of_the_function(capsys, nets):
    options = "--layers 0 re:[2] --pool mean --max-samples 11 --dtype bfloat16 --device cpu"
    output = extract(capsys, nets, *options.split())
    assert output.out == "s: 11 samples, 2 layers\n  0  8 x bfloat16\n  2  5 x bfloat16\n"
    noted = fastcka.open_store("s").provenance["extract"]
    assert (noted["layers"], noted["pool"], noted["dtype"]) == (["0", "re:[2]"], "mean", "bfloat16")


def test_axes_masks_heads_and_tokens(capsys, nets):
    source = """
def tokens():
    class Tokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(6, 8)
        def forward(self, x, kept):
            return self.layer(x)
    torch.manual_seed(0)
    return Tokens()

def texts():
    g = torch.Generator().manual_seed(1)
    return [{"x": torch.randn(5, 7, 6, generator=g), "kept": torch.arange(7).expand(5, 7) < 4}]
"""
    with open(f"{nets}.py", "a") as file:
        file.write(source)
    base = ["extract", f"{nets}:tokens", f"{nets}:texts", "--layers", "layer"]
    options = ["--pool", "tokens", "--max-tokens", "2", "--split", "layer=4", "--axes", "layer=npf"]
    run(capsys, *base, "--out", "heads", *options, "--mask", "layer=kept")
    module = sys.modules[nets]
    expected = fastcka.torch.extract(
        module.tokens(),
        module.texts(),
        "layer",
        pool="tokens",
        max_tokens=2,
        split={"layer": 4},
        axes={"layer": "npf"},
        mask={"layer": "kept"},
        progress=False,
    )
    store = fastcka.open_store("heads")
    assert list(store) == [f"layer#h{h}" for h in range(4)]
    for name, X in expected.items():
        np.testing.assert_array_equal(store[name], X)
    run(capsys, *base, "--out", "all", "--axes", "layer=npf", "--pool", "tokens", "--mask", "layer=none")
    assert fastcka.open_store("all").n_samples == 5 * 7


def test_stores_are_compared(capsys, nets):
    extract(capsys, nets)
    run(capsys, "extract", f"{nets}:other", f"{nets}:loader", "--out", "t")
    matrix = fastcka.cka_matrix(fastcka.open_store("s"), fastcka.open_store("t")).with_models("s", "t")
    assert run(capsys, "compare", "s", "t").out == f"{matrix}\n"


def test_a_run_that_was_cut_goes_on(capsys, nets, tmp_path):
    assert extract(capsys, nets, loader="cut", status=130).err == "fastcka: interrupted\n"
    assert fastcka.open_store("s").n_samples == 8
    file = tmp_path / f"{nets}.py"
    text = file.read_text()
    file.write_text(text.replace("    raise KeyboardInterrupt", "    yield from x().split(8)[1:]"))
    del sys.modules[nets]
    assert extract(capsys, nets, loader="cut").out.startswith("s: 20 samples, 3 layers\n")
    X = fastcka.open_store("s")["0"]
    module = sys.modules[nets]
    np.testing.assert_array_equal(
        X, fastcka.torch.extract(module.model(), module.x().split(8), progress=False)["0"]
    )


def test_another_run_does_not_go_on(capsys, nets):
    extract(capsys, nets)
    message = fails(capsys, "extract", f"{nets}:model", f"{nets}:bad_values", "--out", "s")
    assert f"loader was '{nets}:loader' there, and is '{nets}:bad_values' here" in message
    assert "of another run: parameters was" in fails(
        capsys, "extract", f"{nets}:other", f"{nets}:loader", "--out", "s"
    )


def test_values_that_are_not_finite_are_a_warning_of_one_line(capsys, nets):
    output = extract(capsys, nets, "--layers", "0", loader="bad_values")
    assert output.err == "fastcka: warning: layer '0': contains NaN, first at sample 3, feature 0\n"
    assert output.out.startswith("s: 20 samples, 1 layers")


@pytest.mark.parametrize(
    ("model", "loader", "words"),
    [
        ("model", "NETS:loader", "'model' is not a function name: write package.module:function"),
        ("NETS:", "NETS:loader", "is not a function name"),
        ("nowhere.nets:model", "NETS:loader", "nowhere.nets:model: there is no module 'nowhere' in /"),
        ("NETS.py:model", "NETS:loader", "NETS.py:model: write the module, not its file: NETS:model"),
        ("./my/NETS.py:model", "NETS:loader", "write the module, not its file: my.NETS:model"),
        ("NETS.sub:model", "NETS:loader", "NETS.sub:model: there is no module 'NETS.sub' in /"),
        (
            "needs_NETS:model",
            "NETS:loader",
            "importing needs_NETS raised ModuleNotFoundError: No module named",
        ),
        ("NETS:modle", "NETS:loader", "NETS has no function 'modle'; near matches: model"),
        ("NETS:number", "NETS:loader", "NETS:number is not a function but int"),
        ("NETS:raises", "NETS:loader", "NETS:raises raised RuntimeError: no weights"),
        ("NETS:wants", "NETS:loader", "NETS:wants raised TypeError: wants() missing 1 required"),
        ("NETS:none", "NETS:loader", "NETS:none returned NoneType, not a torch.nn.Module"),
        ("NETS:model", "NETS:stops", "NETS:stops raised SystemExit: no data"),
        (
            "NETS:model",
            "NETS:none",
            "NETS:none returned cannot be used: loader must be an iterable of batches",
        ),
        ("NETS:model", "NETS:tensor", "loader is a single torch.Tensor, but an iterable of batches"),
        ("NETS:model", "NETS:dataset", "loader is a data set, which gives single samples: wrap it"),
        ("NETS:model", "NETS:failing", "while the model ran: LookupError: the disk of the pictures is gone"),
        ("NETS:model", "NETS:pipe", "while the model ran: BrokenPipeError: [Errno 32] the server has gone"),
        ("NETS:model", "NETS:exits", "while the model ran: SystemExit: no more"),
        ("NETS:model", "NETS:wrong_width", "while the model ran: RuntimeError: mat1 and mat2 shapes"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, nets, model, loader, words):
    argv = [text.replace("NETS", nets) for text in (model, loader)]
    assert words.replace("NETS", nets) in fails(capsys, "extract", *argv, "--out", "s")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--layers conv*", "layers: no layer fits 'conv*'"),
        ("--device nowhere", "--device nowhere: RuntimeError: "),
        ("--split 0=two", "--split 0=two: the number of heads must be an integer"),
        ("--max-samples 0", "max_samples must be a positive integer, got 0"),
        ("--ids nr", "ids='nr' is not in the batch, which has no names"),
        (
            "--max-bytes 1.6kB",
            "20 samples take 1.68 kB (1680 bytes) on disk, more than max_bytes=1600",
        ),
    ],
)
def test_bad_options(capsys, nets, options, words):
    argv = ["extract", f"{nets}:model", f"{nets}:loader", "--out", "s", *options.split()]
    assert words in fails(capsys, *argv)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("800000", 800_000),
        ("500MB", 500_000_000),
        ("1.5 gb", 1_500_000_000),
        ("2GiB", 2 * 2**30),
        (" 3 TB ", 3 * 10**12),
        ("0.5KiB", 512),
        ("1e9", 10**9),
    ],
)
def test_sizes(text, size):
    assert command._size(text) == size


@pytest.mark.parametrize("text", ["2G", "0", "GB", "-1", "much", "0.1kB5", "nan", "0.2"])
def test_what_is_no_size_is_said_in_one_line(capsys, nets, text):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["extract", f"{nets}:model", f"{nets}:loader", "--out", "s", f"--max-bytes={text}"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"argument --max-bytes: {text!r} is not a size: write bytes, or a number with kB, MB, GB" in error
    assert error.count("\n") == 1


def test_ids_are_an_entry_of_the_batches_and_stores_are_compared_by_them(capsys, nets):
    extract(capsys, nets, "--ids", "nr", "--max-bytes", "1.68kB", loader="named")
    assert fastcka.open_store("s").ids == tuple(range(50, 70))
    assert (
        "has 10 samples, this run gives only" not in extract(capsys, nets, "--ids", "nr", loader="named").err
    )
    assert "have ids, and this run has none" in fails(
        capsys, "extract", f"{nets}:model", f"{nets}:named", "--out", "s"
    )


def test_choices_are_those_of_the_library():
    assert tuple(pooling._NAMED) == command.POOLS
    assert _common._NAMES == command.DTYPES


def test_torch_is_imported_by_the_command_only():
    code = (
        "import sys\nfrom fastcka import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    for argv in (["--help"], ["extract", "--help"], ["extract"]):
        subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, check=True)


def test_without_torch_the_error_says_what_to_install(nets):
    code = (
        "import sys; sys.modules['torch'] = None; from fastcka import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    argv = ["extract", f"{nets}:model", f"{nets}:loader", "--out", "s"]
    run = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)
    assert run.stderr == 'fastcka: error: fastcka.torch needs PyTorch: pip install "fastcka[torch]"\n'
    assert run.returncode == 2

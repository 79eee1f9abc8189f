# SPDX-License-Identifier: BSD-3-Clause
"""The command line with more than two inputs, and with a cap on the samples."""

from __future__ import annotations

import csv
import hashlib
import os

import matplotlib
import numpy as np
import pytest
from test_cli import fails, run

import fastcka
from fastcka import CKAMatrix, CKAModels
from fastcka.cli import sampling

matplotlib.use("agg")

RNG = np.random.default_rng(16)
SIGNAL = RNG.normal(size=(60, 4))
NETS = {
    name: {layer: SIGNAL @ RNG.normal(size=(4, p)) + RNG.normal(size=(60, p)) for layer, p in layers.items()}
    for name, layers in {
        "resnet": {"conv": 5, "fc": 3},
        "vit": {"block": 6, "fc": 4, "head": 2},
        "mlp": {"fc": 7},
    }.items()
}
FILES = [f"{name}.npz" for name in NETS]


@pytest.fixture(autouse=True)
def in_a_folder_with_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, layers in NETS.items():
        np.savez(f"{name}.npz", **layers)


# More than two inputs ---------------------------------------------------------------------------------------


def test_more_than_two_inputs_give_a_table_of_models(capsys):
    expected = fastcka.cka_models(NETS, kernel=fastcka.RBF(0.5), estimator="unbiased")
    output = run(capsys, "compare", *FILES, "--kernel", "rbf", "--bandwidth", 0.5, "--estimator", "unbiased")
    assert output.out == f"{expected}\n"
    assert output.err == ""


def test_names_layers_and_plan(capsys):
    out = run(capsys, "compare", *FILES, "--names", "a,b,c", "--layers", "fc", "--json", "m.json").out
    expected = fastcka.cka_models(
        {name: {"fc": net["fc"]} for name, net in zip("abc", NETS.values(), strict=True)}
    )
    assert out == f"{expected}\n"
    assert CKAModels.load("m.json").equals(expected)
    flat = [X for file in FILES for X in fastcka.open_layers(file).values()]  # some lie at odd addresses
    assert run(capsys, "compare", *FILES, "--plan").out == f"{fastcka.plan(flat)}\n"


def test_results_are_written(capsys):
    expected = fastcka.cka_models(NETS)
    files = ["--plot", "m.png", "--csv", "m.csv", "--json", "m.json", "--html", "m.html"]
    assert (
        run(capsys, "compare", *FILES, *files).err == "wrote m.png\nwrote m.csv\nwrote m.json\nwrote m.html\n"
    )
    with open("m.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    with open("m.csv", newline="") as file:
        lines = file.readlines()
    assert '# how: "best_match"\n' in lines
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    assert rows[0] == ["", *NETS]
    np.testing.assert_array_equal(
        np.array([row[1:] for row in rows[1:]], dtype=float), expected.summary().values
    )
    assert CKAModels.load("m.json").equals(expected)
    with open("m.html") as file:
        assert "3 models" in file.read()


def test_degenerate_layers_and_the_biased_estimator_are_said(capsys):
    np.savez("dead.npz", dead=np.ones((60, 3)), wide=RNG.normal(size=(60, 70)))
    err = run(capsys, "compare", *FILES, "dead.npz").err
    assert "fastcka: warning: nan for layer 'dead' of model 'dead': no variation" in err
    assert "up to 70 features but only 60 samples" in err
    assert err.count("\n") == 2


def test_files_of_one_name_are_told_apart_by_their_folders(capsys):
    for epoch in ("1", "2"):
        os.mkdir(epoch)
        np.savez(f"{epoch}/mlp.npz", **NETS["mlp"])
    out = run(capsys, "compare", "1/mlp.npz", "2/mlp.npz", "vit.npz").out
    assert out.splitlines()[1].split() == ["1/mlp.npz", "2/mlp.npz", "vit"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vit.npz"], "vit.npz is given twice"),
        (["--names", "a,b"], "--names: write 3 names"),
        (["--names", "a,,c"], "--names: write 3 names"),
        (["--names", "a,b,a"], "two models would have the same name"),
        (["--max-bytes", "1kB"], "max_bytes is 1000"),
        (["none.npz"], "none.npz"),
    ],
)
def test_bad_usage(capsys, arguments, message):
    assert message in fails(capsys, "compare", *FILES, *arguments)


def test_errors_name_model_and_layer(capsys):
    np.savez("short.npz", fc=np.zeros((59, 2)))
    message = fails(capsys, "compare", *FILES, "short.npz")
    assert "layer 'conv' of model 'resnet' has 60 samples but layer 'fc' of model 'short' has 59" in message


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_show(capsys, suffix):
    models = fastcka.cka_models(NETS, kernel="rbf")
    models.save(f"m.{suffix}")
    out = run(capsys, "show", f"m.{suffix}").out
    assert out.startswith(f"{models}\n")
    assert "models: resnet (2 layers), vit (3 layers), mlp (1 layer)\n" in out
    assert "  kernel: rbf\n" in out
    low, high = models.matrix.chance.min(), models.matrix.chance.max()
    assert f"chance level: {low:.3f} to {high:.3f}\n" in out
    models.summary("max").save(f"s.{suffix}")
    assert "  how: max\n" in run(capsys, "show", f"s.{suffix}").out
    np.savez("other.npz", x=np.zeros(3))
    assert "other.npz" in fails(capsys, "show", "other.npz")


# A cap on the samples ---------------------------------------------------------------------------------------


def capped(rows):
    return {name: {layer: X[rows] for layer, X in net.items()} for name, net in NETS.items()}


def chosen(most, seed, ids=range(60)):
    """The rule as the documentation has it, written another way."""
    hashes = [hashlib.blake2b(f"{seed} {i}".encode(), digest_size=8).hexdigest() for i in ids]
    return sorted(sorted(range(len(hashes)), key=hashes.__getitem__)[:most])


def test_the_same_rows_of_all_inputs_are_compared(capsys):
    rows = chosen(20, 3)
    assert len(set(rows)) == 20
    options = ["--max-samples", 20, "--seed", 3]
    drawn = ", drawn 20 of 60 samples, seed 3\n"
    assert run(capsys, "compare", *FILES, *options).out == f"{fastcka.cka_models(capped(rows))}{drawn}"
    matrix = fastcka.cka_matrix(capped(rows)["resnet"], capped(rows)["vit"]).with_models("resnet", "vit")
    found = run(capsys, "compare", *FILES[:2], *options, "--json", "m.json").out
    assert CKAMatrix.load("m.json").equals(matrix)
    assert "drawn 20 of 60 samples, seed 3" in found
    np.save("x.npy", NETS["mlp"]["fc"])
    value = fastcka.cka(NETS["mlp"]["fc"][rows], NETS["resnet"]["fc"][rows])
    np.save("y.npy", NETS["resnet"]["fc"])
    assert run(capsys, "compare", "x.npy", "y.npy", *options).out == f"{value!r}\n"
    assert (
        run(capsys, "compare", *FILES, "--max-samples", 20).out
        != run(capsys, "compare", *FILES, *options).out
    )
    everything = run(capsys, "compare", *FILES).out
    assert run(capsys, "compare", *FILES, "--max-samples", 60).out == everything
    assert run(capsys, "compare", *FILES, "--max-samples", 10**9).out == everything


def test_more_samples_hold_fewer():
    numbers = np.arange(60)
    for seed in (0, 7):
        few, many = (
            set(sampling.Choice(most, seed, None, gram=False).of(numbers, "x").tolist()) for most in (10, 30)
        )
        assert few < many


def test_ids_choose_the_same_samples_in_whatever_order(capsys):
    ids = [f"img-{i}" for i in range(60)]
    turned = RNG.permutation(60)
    for name, order in (("here", np.arange(60)), ("there", turned)):
        for net in ("resnet", "vit"):
            with fastcka.create_store(f"{net}-{name}") as store:
                store.append({"fc": NETS[net]["fc"][order]}, ids=[ids[i] for i in order])
    options = ["--max-samples", 15, "--seed", 1]
    here, there = (
        float(run(capsys, "compare", f"resnet-{x}", f"vit-{x}", *options).out) for x in ("here", "there")
    )
    rows = chosen(15, 1, ids)
    value = fastcka.cka(NETS["resnet"]["fc"][rows], NETS["vit"]["fc"][rows])
    assert here == value
    assert there == pytest.approx(value, abs=1e-12)  # sums in another order
    # Rows that are known by the ids of another input, and ids that are not the same.
    np.savez("plain.npz", fc=NETS["vit"]["fc"])
    assert float(run(capsys, "compare", "resnet-here", "plain.npz", *options).out) == value
    assert "another order" in fails(capsys, "compare", "resnet-here", "vit-there", *options)


def test_gram_matrices_lose_rows_and_columns(capsys):
    rows = chosen(20, 0)
    for name in ("resnet", "vit", "mlp"):
        np.savez(f"gram-{name}.npz", fc=fastcka.gram(NETS[name]["fc"]))
    files = [f"gram-{name}.npz" for name in ("resnet", "vit")]
    out = run(capsys, "compare", *files, "--kernel", "precomputed", "--max-samples", 20).out
    expected = fastcka.cka(NETS["resnet"]["fc"][rows], NETS["vit"]["fc"][rows])
    assert float(out) == pytest.approx(expected, abs=1e-12)


def test_only_chosen_rows_of_mapped_arrays_are_read(capsys, monkeypatch):
    read = []

    class Mapped(np.ndarray):
        def __getitem__(self, key):
            read.append(key)
            return np.asarray(super().__getitem__(key))

        def __array__(self, *args, **kwargs):
            raise AssertionError("the whole layer is read")

    layers = {"fc": NETS["mlp"]["fc"].view(Mapped)}
    found = sampling.Opened(layers, "mlp.npz", sampling.Choice(12, 0, None, gram=False))
    np.testing.assert_array_equal(found["fc"], NETS["mlp"]["fc"][chosen(12, 0)])
    assert len(read) == 1


@pytest.mark.parametrize("most", [0, -3])
def test_a_wrong_cap_is_refused(capsys, most):
    assert "--max-samples: expected a positive number" in fails(
        capsys, "compare", *FILES, "--max-samples", most
    )
    assert "biased estimator needs at least 2" in fails(capsys, "compare", *FILES, "--max-samples", 1)


def test_another_number_of_samples_is_named(capsys):
    np.savez("short.npz", fc=np.zeros((59, 2)))
    message = fails(capsys, "compare", *FILES, "short.npz", "--max-samples", 20)
    assert "layer 'conv' of resnet.npz has 60 samples but layer 'fc' of short.npz has 59" in message
    np.savez("flat.npz", x=np.zeros(60), y=np.float64(3))
    assert "must be two-dimensional" in fails(capsys, "compare", *FILES, "flat.npz", "--max-samples", 20)


def test_a_pair_keeps_its_file_format(capsys):
    run(capsys, "compare", *FILES[:2], "--max-samples", 30, "--json", "m.json")
    assert CKAMatrix.load("m.json").n_samples == 30

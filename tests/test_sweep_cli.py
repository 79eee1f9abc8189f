# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka sweep``: a job array gives the bits of `cka_matrix`; what cannot be merged is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from test_cli import fails, run

import fastcka

RNG = np.random.default_rng(11)
SHARED = RNG.normal(size=(700, 5))
A = {f"a{p}": (SHARED @ RNG.normal(size=(5, p)) + RNG.normal(size=(700, p))) for p in (40, 7, 300)}
B = {f"b{p}": (SHARED @ RNG.normal(size=(5, p)) + RNG.normal(size=(700, p))) for p in (30, 200)}


@pytest.fixture(autouse=True)
def in_a_folder_with_stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, layers in (("resnet", A), ("vit", B)):
        with fastcka.create_store(name) as writer:
            writer.append(layers, ids=[f"image {i}" for i in range(700)])


def sweep(*argv):
    """Run a command in a process of its own; return what it printed."""
    command = [sys.executable, "-m", "fastcka", "sweep", *map(str, argv)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def matrix_of(*argv):
    sweep("result", *argv, "--out", "result.npz")
    return fastcka.CKAMatrix.load("result.npz")


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (fastcka.Linear(), ()),
        (fastcka.RBF(0.5, median="offdiag"), ("--bandwidth", 0.5, "--median", "offdiag")),
    ],
    ids=["linear", "rbf with the median"],
)
def test_processes_of_a_job_array_give_the_bits_of_one_call(capsys, kernel, options):
    both, options = ("resnet", "vit"), ("--kernel", kernel.name, *options)
    stages = fastcka.Sweep(A, B, kernel=kernel).stages
    given = ()
    for stage in stages:
        for task in range(3):
            argv = ("--stage", stage, "--share", f"{task}/3", *given, "--out", f"{stage}-{task}.partial")
            run(capsys, "sweep", "run", *both, *options, *argv)
        merged = [f"{stage}-{task}.partial" for task in (1, 0, 2)]
        run(capsys, "sweep", "merge", *merged, "--out", f"{stage}.partial")
        given = ("--given", *merged[1:], merged[0])
    given = ("--given", f"{stages[-2]}.partial", "--threads", 1)
    for task in range(3):
        sweep("run", *both, *options, "--share", f"{task}/3", *given, "--out", f"p{task}.partial")
    for estimator in ("biased", "unbiased"):
        parts = ("p2.partial", "p0.partial", "p1.partial")
        found = matrix_of(*both, *parts, *options, "--estimator", estimator)
        expected = fastcka.cka_matrix(A, B, kernel=kernel, estimator=estimator)
        assert found.equals(expected.with_models("resnet", "vit"))
        assert found.provenance["rows"]["source"] == "resnet"
        assert "samples" in found.provenance
    found = matrix_of(*both, *parts, *options, "--measure", "rsa_cosine")
    expected = fastcka.cka_matrix(A, B, kernel=kernel, measure="rsa_cosine")
    assert found.equals(expected.with_models("resnet", "vit"))
    found = matrix_of(*both, *parts, *options, "--inference")
    expected = fastcka.cka_matrix(A, B, kernel=kernel, inference=True)
    assert found.equals(expected.with_models("resnet", "vit"))
    assert found.stderr is not None
    found_by_moments = matrix_of(*both, *parts, *options, "--pvalues", "moments")
    expected = fastcka.cka_matrix(A, B, kernel=kernel, inference="moments")
    assert found_by_moments.equals(expected.with_models("resnet", "vit"))
    if kernel.name == "rbf":  # the second pass is a stage, and may be left to `result`, too
        out = run(capsys, "sweep", "plan", *both, *options, "--inference").out
        assert out.splitlines()[-1].startswith("inference: blocks 0:")
        for task in range(2):
            argv = (
                "--stage",
                "inference",
                "--given",
                *parts,
                "--share",
                f"{task}/2",
                "--out",
                f"i{task}.partial",
            )
            sweep("run", *both, *options, "--inference", *argv)
        assert matrix_of(*both, "i1.partial", "i0.partial", *options, "--inference").equals(found)
        line = fails(capsys, "sweep", "run", *both, *options, *argv)
        assert "unknown stage 'inference'" in line
    sweep("run", *both, *options, "--inference", *given, "--share", "0/1", "--out", "all.partial")
    assert matrix_of(*both, "all.partial", *options, "--inference").equals(found)
    assert matrix_of(*both, "all.partial", *options).equals(
        fastcka.cka_matrix(A, B, kernel=kernel).with_models("resnet", "vit")
    )


def test_the_plan_says_which_blocks_there_are_and_each_can_be_run_alone(capsys):
    for options, dtype in (((), None), (("--dtype", "float32"), "float32")):
        out = run(capsys, "sweep", "plan", "resnet", "--kernel", "rbf", *options).out
        blocks = fastcka.Sweep(A, kernel="rbf", dtype=dtype).blocks()
        rounds = "".join(
            f"median-{i + 1}: blocks 0:{3 * len(blocks)}, layer by layer\n" for i in range(2 if dtype else 4)
        )
        assert (
            out == f"statistics: blocks 0:3, one for each layer\n{rounds}products: blocks 0:{len(blocks)}\n"
        )
    for first, end in ((0, 1), (1, 2), (2, len(blocks))):
        argv = ("--blocks", f"{first}:{end}", "--dtype", "float32", "--out", f"{first}.partial")
        sweep("run", "resnet", "--kernel", "rbf", *argv)
    found = matrix_of(
        "resnet", "0.partial", "1.partial", "2.partial", "--kernel", "rbf", "--dtype", "float32"
    )
    expected = fastcka.cka_matrix(A, kernel="rbf", dtype="float32")
    assert found.equals(expected.with_models("resnet", "resnet"))


def test_more_tasks_than_blocks(capsys):
    """Those that have nothing to do write a partial without blocks, so that no task of an array fails."""
    for task in range(5):
        argv = ("--stage", "statistics", "--share", f"{task}/5", "--out", f"s{task}.partial")
        run(capsys, "sweep", "run", "vit", *argv)
    run(capsys, "sweep", "merge", *[f"s{task}.partial" for task in range(5)], "--out", "all.partial")
    assert fastcka.Partial.load("all.partial").complete


def test_layers_and_samples_are_chosen_as_by_compare(capsys):
    chosen = ("--layers", "a40", "a7", "--max-samples", 100, "--seed", 3)
    run(capsys, "sweep", "run", "resnet", *chosen, "--share", "0/1", "--out", "all.partial")
    out, err = run(capsys, "sweep", "result", "resnet", "all.partial", *chosen, "--out", "swept.json")
    assert err == "wrote swept.json\n"
    compared = run(capsys, "compare", "resnet", "resnet", *chosen, "--json", "compared.json").out
    assert out == compared
    swept, compared = fastcka.CKAMatrix.load("swept.json"), fastcka.CKAMatrix.load("compared.json")
    assert swept.equals(compared)
    assert swept.provenance["drawn"] == "100 of 700 samples, seed 3"


def test_degenerate_layers_are_named_by_their_file(capsys):
    np.savez("flat.npz", x=A["a7"], flat=np.ones((700, 2)))
    run(capsys, "sweep", "run", "flat.npz", "--share", "0/1", "--out", "all.partial")
    err = run(capsys, "sweep", "result", "flat.npz", "all.partial").err
    assert "nan for layer 'flat' of flat.npz" in err


# ---------------------------------------------------------------------- what is refused


@pytest.fixture
def parts(capsys):
    """The products of resnet in three files, and the statistics."""
    for task in range(3):
        run(capsys, "sweep", "run", "resnet", "--share", f"{task}/3", "--out", f"{task}.partial")
    argv = ("--stage", "statistics", "--share", "0/1", "--out", "statistics.partial")
    run(capsys, "sweep", "run", "resnet", *argv)
    return ["0.partial", "1.partial", "2.partial"]


def test_missing_blocks(capsys, parts):
    blocks = len(fastcka.Sweep(A).blocks())
    first, end = blocks // 3, 2 * blocks // 3
    line = fails(capsys, "sweep", "result", "resnet", "0.partial", "2.partial")
    assert f"blocks {first} to {end - 1} of {blocks} are missing" in line
    err = run(capsys, "sweep", "merge", "0.partial", "2.partial", "--out", "some.partial").err
    assert f"warning: blocks {first}:{end} are missing" in err
    run(capsys, "sweep", "run", "resnet", "--blocks", f"{first}:{end}", "--out", "rest.partial")
    assert (
        run(capsys, "sweep", "merge", "some.partial", "rest.partial", "--out", "all.partial").err.count("\n")
        == 1
    )
    run(capsys, "sweep", "result", "resnet", "all.partial")


def test_overlapping_blocks(capsys, parts):
    line = fails(capsys, "sweep", "merge", *parts, "1.partial", "--out", "all.partial")
    assert "1.partial does not merge with the files before it: both partials hold the sums of blocks" in line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("resnet", "--kernel", "cosine"), "another kernel"),
        (("resnet", "--dtype", "float32"), "another dtype"),
        (("resnet", "vit"), "other layers"),
        (("resnet", "--max-samples", "100"), "another number of samples"),
        (("scaled.npz",), "statistics of other data"),
    ],
)
def test_partials_of_another_sweep(capsys, parts, changed, words):
    np.savez("scaled.npz", **{name: 2 * X for name, X in A.items()})
    run(capsys, "sweep", "run", *changed, "--share", "1/3", "--out", "other.partial")
    line = fails(capsys, "sweep", "merge", "0.partial", "other.partial", "--out", "all.partial")
    assert "other.partial does not merge" in line
    assert words in line
    if words != "statistics of other data":  # whose values are not read for the result
        stores = [argument for argument in changed if argument in ("resnet", "vit")]
        line = fails(capsys, "sweep", "result", *stores, *parts, *changed[len(stores) :])
        assert f"a partial of another sweep: {words}" in line


def test_stages_do_not_mix(capsys, parts):
    out = ("--out", "x.partial")
    assert "another stage" in fails(capsys, "sweep", "merge", "0.partial", "statistics.partial", *out)
    assert "the result needs the products" in fails(capsys, "sweep", "result", "resnet", "statistics.partial")
    line = fails(capsys, "sweep", "run", "resnet", "--share", "0/3", "--given", "0.partial", *out)
    assert "--given: the stage 'products' needs the partial of an earlier one" in line
    argv = ("--stage", "statistics", "--share", "0/3", "--given", "statistics.partial")
    assert "--given" in fails(capsys, "sweep", "run", "resnet", *argv, *out)


def test_files_that_are_not_partials(capsys, parts, tmp_path):
    np.savez("layers.npz", **A)
    (tmp_path / "layers.npz").rename("layers.partial")
    line = fails(capsys, "sweep", "merge", "0.partial", "layers.partial", "--out", "all.partial")
    assert "layers.partial: not a Partial saved by fastcka" in line
    (tmp_path / "text.partial").write_text("no archive")
    assert "text.partial: damaged" in fails(capsys, "sweep", "result", "resnet", "text.partial")
    assert "vit: expected a file that ends in .partial" in fails(
        capsys, "sweep", "result", "resnet", *parts, "vit"
    )
    assert "expected .partial files" in fails(capsys, "sweep", "result", "resnet", "vit")
    assert "lost.partial: No such file" in fails(capsys, "sweep", "result", "resnet", "lost.partial")


def test_a_worker_without_the_store(capsys):
    line = fails(capsys, "sweep", "run", "resnet", "lost", "--share", "0/3", "--out", "x.partial")
    assert line == "fastcka: error: lost: no such file or directory\n"


def test_bad_usage(capsys, tmp_path):
    for share in ("3/3", "1", "-1/3", "a/b", "0/0"):
        assert "--share" in fails(capsys, "sweep", "run", "vit", f"--share={share}", "--out", "x.partial")
    for blocks in ("3", "4:4", "5:4", ":4", "-1:4"):
        assert "--blocks" in fails(capsys, "sweep", "run", "vit", f"--blocks={blocks}", "--out", "x.partial")
    assert "within 0 to" in fails(capsys, "sweep", "run", "vit", "--blocks", "0:999999", "--out", "x.partial")
    assert "--blocks --share" in fails(capsys, "sweep", "run", "vit", "--out", "x.partial")
    assert "must end in .partial" in fails(capsys, "sweep", "run", "vit", "--share", "0/3", "--out", "x.npz")
    line = fails(capsys, "sweep", "run", "vit", "--share", "0/3", "--out", "lost/x.partial")
    assert "no such directory" in line
    assert "stage" in fails(
        capsys, "sweep", "run", "vit", "--stage", "x", "--share", "0/3", "--out", "x.partial"
    )
    assert "--out" in fails(capsys, "sweep", "result", "vit", "x.partial", "--out", "result.csv")
    assert not list(tmp_path.glob("*.partial"))

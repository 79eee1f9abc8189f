# SPDX-License-Identifier: BSD-3-Clause
"""The command line: numbers, tables and files as promised; one line and exit status 2 for what is wrong."""

from __future__ import annotations

import csv
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

import fastcka
from fastcka import CKAMatrix, cli
from fastcka.cli import compare, inputs

RNG = np.random.default_rng(2)
A = {f"a{i}": RNG.normal(size=(20, 5)) for i in range(3)}
B = {f"b{i}": RNG.normal(size=(20, 4)) + A["a0"][:, :4] for i in range(2)}


@pytest.fixture(autouse=True)
def in_a_folder_with_layers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("resnet.npz", **A)
    np.savez("vit.npz", **B)
    np.save("x.npy", A["a0"])
    np.save("y.npy", B["b0"])


def run(capsys, *argv, status=0):
    """Run the command in this process; return what it wrote to standard output and to standard error."""
    assert cli.main([str(argument) for argument in argv]) == status
    return capsys.readouterr()


def fails(capsys, *argv):
    """Run the command, which must fail as promised; return its one line."""
    try:
        status = cli.main([str(argument) for argument in argv])
    except SystemExit as exit:  # usage: argparse
        status = exit.code
    output = capsys.readouterr()
    assert status == 2
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("fastcka: error: ")
    return output.err


def command(*argv):
    return [sys.executable, "-m", "fastcka", *map(str, argv)]


# -------------------------------------------------------------------------------------------------- compare


def test_layers_names_and_kernel_options(capsys):
    out = run(
        capsys, "compare", "resnet.npz", "vit.npz", "--layers", "a[02]", "b*", "--names", "One,Two",
        "--kernel", "rbf", "--median", "offdiag", "--max-bytes", "1GiB", "--json", "m.json",
    )  # fmt: skip
    matrix = CKAMatrix.load("m.json")
    assert (matrix.rows, matrix.columns, matrix.models) == (("a0", "a2"), ("b0", "b1"), ("One", "Two"))
    assert "m.json" in out.err
    expected = fastcka.cka_matrix([A["a0"], A["a2"]], list(B.values()), kernel=fastcka.RBF(median="offdiag"))
    np.testing.assert_array_equal(matrix, expected)
    run(capsys, "compare", "x.npy", "y.npy", "--kernel", "polynomial", "--degree", 3)
    assert "--layers" in fails(capsys, "compare", "resnet.npz", "vit.npz", "--layers", "none*")
    assert "--names" in fails(capsys, "compare", "x.npy", "y.npy", "--names", "one")
    assert "max_bytes is 1000" in fails(capsys, "compare", "x.npy", "y.npy", "--max-bytes", "1kB")
    assert "--degree" in fails(capsys, "compare", "x.npy", "y.npy", "--degree", 3)


def test_plan_computes_nothing(capsys, monkeypatch):
    monkeypatch.setattr(compare, "cka_matrix", None)
    out, err = run(capsys, "compare", "resnet.npz", "vit.npz", "--plan")
    assert out == f"{fastcka.plan(A, B)}\n"
    assert err == ""


def test_files_of_torch_are_refused_with_how_to_convert_them(capsys, tmp_path):
    (tmp_path / "acts.pt").write_bytes(b"")
    message = fails(capsys, "compare", "acts.pt", "acts.pt")
    assert "safetensors.torch.save_file" in message
    assert "acts.safetensors" in message


def test_results_are_written_before_anything_is_printed(capsys, monkeypatch):
    class Closed:
        def write(self, text):
            raise OSError("closed")

        flush = write

    monkeypatch.setattr(sys, "stdout", Closed())
    assert cli.main(["compare", "x.npy", "y.npy", "--json", "m.json"]) == 2
    assert CKAMatrix.load("m.json").values.item() == fastcka.cka(A["a0"], B["b0"])
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["compare", "x.npy", "y.npy"]) == 0


def test_two_arrays_give_one_number(capsys):
    output = run(capsys, "compare", "x.npy", "y.npy")
    assert output.out == f"{fastcka.cka(A['a0'], B['b0'])!r}\n"
    assert output.err == ""


def test_several_layers_give_a_table(capsys):
    matrix = fastcka.cka_matrix(A, B).with_models("resnet", "vit")
    output = run(capsys, "compare", "resnet.npz", "vit.npz")
    assert output.out == f"{matrix}\n"
    assert "rows: resnet, columns: vit" in output.out
    assert f"{matrix.values[2, 1]:.3f}" in output.out
    assert output.err == ""


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--kernel", "rbf"], {"kernel": "rbf"}),
        (["--kernel", "rbf", "--bandwidth", "0.5"], {"kernel": fastcka.RBF(0.5)}),
        (["--kernel", "laplacian", "--sigma", "3"], {"kernel": fastcka.Laplacian(sigma=3)}),
        (["--kernel=distance"], {"kernel": "distance"}),
        (["--estimator", "unbiased"], {"estimator": "unbiased"}),
        (["--dtype", "float32"], {"dtype": "float32"}),
        (["--threads", "1"], {"n_threads": 1}),
    ],
)
def test_options_reach_the_function(capsys, options, settings):
    output = run(capsys, "compare", "x.npy", "y.npy", *options)
    assert output.out == f"{fastcka.cka(A['a0'], B['b0'], **settings)!r}\n"


def test_number_of_threads_is_passed_on(capsys, monkeypatch):
    """It changes no bit of the result, so look at the call itself."""
    called = []
    monkeypatch.setattr(
        compare, "cka_matrix", lambda *a, **k: called.append(k) or fastcka.cka_matrix(*a, **k)
    )
    run(capsys, "compare", "x.npy", "y.npy", "--threads", "1")
    run(capsys, "compare", "x.npy", "y.npy")
    assert [call["n_threads"] for call in called] == [1, None]


def test_gram_matrices(capsys):
    K, L = fastcka.gram(A["a0"]), fastcka.gram(B["b0"], kernel="rbf")
    np.save("K.npy", K)
    np.save("L.npy", L)
    output = run(capsys, "compare", "K.npy", "L.npy", "--kernel", "precomputed")
    assert float(output.out) == fastcka.cka(K, L, kernel="precomputed")


def test_the_same_file_twice_compares_its_layers(capsys, monkeypatch):
    called = []
    monkeypatch.setattr(
        compare, "cka_matrix", lambda a, b, **k: called.append((a, b)) or fastcka.cka_matrix(a, b, **k)
    )
    output = run(capsys, "compare", "resnet.npz", "resnet.npz")
    assert output.out == f"{fastcka.cka_matrix(A).with_models('resnet', 'resnet')}\n"
    assert called[0][0] is called[0][1]  # so that half of the pairs are enough


def test_files_of_one_name_are_told_apart_by_their_folders(capsys):
    for epoch in ("1", "9"):
        os.mkdir(epoch)
        np.savez(f"{epoch}/model.npz", **A)
    assert (
        "rows: 1/model.npz, columns: 9/model.npz;" in run(capsys, "compare", "1/model.npz", "9/model.npz").out
    )


def test_huge_tables_are_thinned(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "219")
    np.savez("deep.npz", **{f"layer{i}": A["a0"] * i for i in range(1, 201)})
    output = run(capsys, "compare", "deep.npz", "deep.npz").out.splitlines()
    assert len(output) < 20
    assert max(map(len, output)) < 220
    assert output[-2].startswith("layer200 ")


def test_results_are_written(capsys):
    expected = fastcka.cka_matrix(A, B, estimator="unbiased").with_models("resnet", "vit")
    files = ["--plot", "m.png", "--csv", "m.csv", "--json", "m.json", "--html", "m.html"]
    output = run(capsys, "compare", "resnet.npz", "vit.npz", "--estimator", "unbiased", *files)
    assert output.out == f"{expected}\n"
    assert output.err == "wrote m.png\nwrote m.csv\nwrote m.json\nwrote m.html\n"

    with open("m.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    with open("m.csv", newline="") as file:
        lines = file.readlines()
    assert '# estimator: "unbiased"\n' in lines
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    assert rows[0] == ["", *B]
    assert [row[0] for row in rows[1:]] == list(A)
    np.testing.assert_array_equal(np.array([row[1:] for row in rows[1:]], dtype=float), expected.values)
    loaded = CKAMatrix.load("m.json")
    np.testing.assert_array_equal(loaded.values, expected.values)
    assert loaded.equals(expected)
    assert [loaded.provenance[side]["source"] for side in ("rows", "columns")] == ["resnet.npz", "vit.npz"]
    with open("m.html") as file:
        assert "resnet" in file.read()


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_plot_in_the_format_of_its_suffix(capsys, suffix):
    run(capsys, "compare", "x.npy", "y.npy", "--plot", f"m.{suffix}")
    with open(f"m.{suffix}", "rb") as file:
        assert {"pdf": b"%PDF-", "svg": b"<?xml"}[suffix] in file.read(20)


def test_degenerate_layer_is_named_and_the_rest_unharmed(capsys):
    np.savez("dead.npz", dead=np.ones((20, 3)), **A)
    output = run(capsys, "compare", "dead.npz", "vit.npz")
    assert (
        output.err
        == "fastcka: warning: nan for layer 'dead' of dead.npz: no variation: all samples are equal\n"
    )
    table = output.out.splitlines()
    assert table[2].split() == ["dead", "nan", "nan"]
    assert table[3].split()[0] == "a0"
    assert "nan" not in table[3]


def test_names_of_layers_are_left_as_they_are(capsys):
    np.savez("odd.npz", **{"mean of layers_a": np.ones((20, 3)), "a0": A["a0"]})
    assert "layer 'mean of layers_a' of odd.npz" in run(capsys, "compare", "odd.npz", "vit.npz").err


def test_other_samples_in_two_stores_are_named_by_their_folders(capsys):
    for name, first in (("one", 0), ("two", 1)):
        with fastcka.create_store(name) as store:
            store.append({"layers_b": A["a0"]}, ids=[f"layers_a{i}" for i in range(first, first + 20)])
    message = fails(capsys, "compare", "one", "two")
    assert "sample 0 is 'layers_a0' in one and 'layers_a1' in two" in message


def test_more_features_than_samples_is_said_of_the_biased_estimator(capsys):
    """Unrelated noise of 200 x 5000 scores 0.96."""
    for name in ("noise", "other"):
        np.save(f"{name}.npy", RNG.normal(size=(200, 5000)))
    out, err = run(capsys, "compare", "noise.npy", "other.npy")
    assert float(out) > 0.95
    assert err.count("\n") == 1
    assert "5000 features but only 200 samples" in err
    assert "--estimator unbiased" in err
    out, err = run(capsys, "compare", "noise.npy", "other.npy", "--estimator", "unbiased")
    assert abs(float(out)) < 0.1
    assert err == ""
    np.save("square.npy", A["a0"] @ A["a0"].T)
    assert run(capsys, "compare", "x.npy", "square.npy").err == ""  # as many features as samples
    assert run(capsys, "compare", "square.npy", "square.npy", "--kernel=precomputed").err == ""


# ----------------------------------------------------------------------------------------------------- show


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_show_prints_table_settings_chance_and_provenance(capsys, suffix):
    matrix = CKAMatrix(
        [[0.9, 0.2]], ("fc",), ("x", "y"), "rbf", "biased", 100, chance=[[0.125, 0.25]],
        provenance={"version": "0.1", "sigma": {"fc": 2.5}},
    )  # fmt: skip
    matrix.save(f"m.{suffix}")
    out, err = run(capsys, "show", f"m.{suffix}")
    assert out.startswith(f"{matrix}\n")
    lines = out.splitlines()
    for line in ("  kernel: rbf", "  n_samples: 100", "chance level: 0.125 to 0.250", "  version: 0.1"):
        assert line in lines
    assert '  sigma: {"fc": 2.5}' in lines
    assert err == ""


def test_show_what_is_not_known(capsys):
    CKAMatrix([[np.nan]], ("x",), ("y",), "linear", "biased", 9).save("m.json")
    lines = run(capsys, "show", "m.json").out.splitlines()
    assert {"chance level: not known", "provenance: not known"} <= set(lines)
    CKAMatrix([[np.nan]], ("x",), ("y",), "linear", "biased", 9, chance=[[np.nan]]).save("m.json")
    assert "chance level: nan" in run(capsys, "show", "m.json").out.splitlines()


@pytest.mark.parametrize(
    ("file", "words"),
    [("no.json", "no.json"), ("resnet.npz", "resnet.npz"), ("x.npy", ".npz or .json, got 'x.npy'")],
)
def test_show_refuses_what_is_no_saved_result(capsys, file, words):
    assert words in fails(capsys, "show", file)


# --------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("", "required: command"),
        ("draw", "invalid choice: 'draw'"),
        ("compare x.npy", "required: B (try"),
        ("compare x.npy y.npy --threads many", "--threads: invalid int value: 'many'"),
        ("compare x.npy y.npy --threads 0", "must be a positive integer, got 0"),
        ("compare x.npy y.npy --estimator best", "--estimator: invalid choice: 'best'"),
        ("compare x.npy y.npy --kernel rfb", "unknown kernel 'rfb'"),
        ("compare x.npy y.npy --bandwidth 1", "--bandwidth is not an option of the linear kernel"),
        (
            "compare x.npy y.npy --kernel distance --sigma 1",
            "--sigma is not an option of the distance kernel",
        ),
        ("compare x.npy y.npy --kernel rbf --sigma -1", "sigma must be above 0, got -1.0"),
        ("compare x.npy y.npy --kernel precomputed", "layer 'x' of x.npy must be a square Gram matrix"),
        ("compare x.npy z.npy", "z.npy: no such file or directory"),
        ("compare x.npy y.npy --plot no/m.png", "no: no such directory"),
        ("compare x.npy y.npy --csv .", "is a directory"),
        ("compare x.npy y.npy --json m.txt", "--json: the file name must end in .json, got m.txt"),
        ("compare x.npy y.npy --plot m.txt", "--plot: the file name must end in one of"),
        ("compare x.npy y.npy --plot m", "--plot: the file name must end in one of"),
        ("compare x.npy y.npy --csv m --html m", "m is named for two outputs"),
        ("bench --quick --threads 1 --json no/times.json", "no: no such directory"),
        ("bench --quick --threads 1 --json .", ".: is a directory"),
        ("demo --out x.npy", "x.npy: File exists"),
    ],
)
def test_bad_usage(capsys, argv, words):
    assert words in fails(capsys, *argv.split())


BAD_LAYERS = {
    "three dimensions": (np.zeros((20, 3, 2)), "layer 'bad' of bad.npz must be two-dimensional"),
    "other samples": (
        np.zeros((19, 3)),
        "layer 'a0' of resnet.npz has 20 samples but layer 'bad' of bad.npz has 19",
    ),
    "text": (np.array([["a", "b"]]), "layer 'bad' of bad.npz has dtype <U1"),
    "objects": (np.array([[None]]), "layer 'bad' of bad.npz cannot be read: Python objects"),
    "nan": (np.where(np.eye(20) == 1, np.nan, 0), "layer 'bad' of bad.npz contains NaN, first at sample 0"),
}


@pytest.mark.parametrize("case", BAD_LAYERS)
def test_bad_layers_are_named_with_their_file(capsys, case):
    array, words = BAD_LAYERS[case]
    np.savez("bad.npz", good=A["a0"], bad=array)
    assert words in fails(capsys, "compare", "resnet.npz", "bad.npz")


def test_damaged_file(capsys):
    with open("bad.npy", "wb") as file:
        file.write(b"nonsense")
    assert "bad.npy cannot be read" in fails(capsys, "compare", "x.npy", "bad.npy")


def test_the_current_directory_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "resnet").mkdir()
    monkeypatch.chdir(tmp_path / "resnet")
    assert inputs.model_names([Path("."), Path("vit.npz")], None) == ["resnet", "vit"]


def test_outputs_are_refused_before_the_work(capsys, monkeypatch):
    monkeypatch.setattr(compare, "cka_matrix", lambda *a, **k: pytest.fail("worked first"))
    fails(capsys, "compare", "x.npy", "y.npy", "--csv", "no/m.csv")


def test_message_of_several_lines_becomes_one(capsys, monkeypatch):
    def broken(*arguments, **options):
        raise MemoryError("needs 10 bytes\n  more than allowed")

    monkeypatch.setattr(compare, "cka_matrix", broken)
    assert fails(capsys, "compare", "x.npy", "y.npy").endswith("needs 10 bytes more than allowed\n")


@pytest.mark.parametrize(
    ("module", "argv", "extra"),
    [("matplotlib", "compare x.npy y.npy --plot m.png", "plot"), ("sklearn", "demo --out d", "demo")],
)
def test_missing_packages_are_named(capsys, monkeypatch, module, argv, extra):
    monkeypatch.setitem(sys.modules, module, None)
    assert f'pip install "fastcka[{extra}]"' in fails(capsys, *argv.split())


# --------------------------------------------------------------------------------------------------- process


def test_info_and_version(capsys):
    assert fastcka.__version__ in run(capsys, "info").out
    finished = subprocess.run(command("--version"), capture_output=True, text=True, check=True)
    assert finished.stdout == f"fastcka {fastcka.__version__}\n"


def test_interrupted(capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "cka_matrix", interrupt)
    output = run(capsys, "compare", "x.npy", "y.npy", status=130)
    assert output.err == "fastcka: interrupted\n"
    assert output.out == ""


def test_interrupted_in_the_core():
    """Ctrl-C when the progress display, which only a terminal gets, shows that the core is at work."""
    for name in "XY":  # many seconds of work
        np.lib.format.open_memmap(f"{name}.npy", "w+", np.float32, (60_000, 256))[::997] = 1
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    argv = command("compare", "X.npy", "Y.npy", "--kernel", "distance")
    process = subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background job ignores it
    )
    os.close(theirs)
    try:
        shown = b""
        while b"%" not in shown:
            shown += os.read(ours, 1000)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            shown += _read(ours)
        assert process.returncode == 130
        assert b"fastcka: interrupted" in shown + _read(ours)
        assert b"Traceback" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal):
    try:
        return os.read(terminal, 1000)
    except OSError:  # the other end is closed
        return b""


def test_reader_that_went_away():
    """As in `fastcka compare ... | head`: no complaint."""
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run(
        command("compare", "resnet.npz", "vit.npz"),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert finished.stderr == ""
    assert finished.returncode == 0


def test_measures(capsys):
    for measure in ("rv2", "rsa_cosine", "rsa_pearson"):
        output = run(capsys, "compare", "x.npy", "y.npy", "--measure", measure)
        expected = fastcka.cka_matrix([A["a0"]], [B["b0"]], measure=measure).values.item()
        assert float(output.out) == expected
        assert output.err == ""  # nothing about a biased estimator
    line = fails(capsys, "compare", "x.npy", "y.npy", "--measure", "rv2", "--estimator", "biased")
    assert "measure='rv2' has no estimators" in line


def test_inference(capsys):
    out = run(capsys, "compare", "x.npy", "y.npy", "--inference").out.splitlines()
    test = fastcka.cka_test(A["a0"], B["b0"])
    low, high = test.confidence_interval()
    assert float(out[0]) == fastcka.cka(A["a0"], B["b0"])
    assert out[1] == (
        f"unbiased {test.statistic:.4f}, 95 % {low:.4f} to {high:.4f}, p-value {test.pvalue:.3g} (moments)"
    )
    run(capsys, "compare", "resnet.npz", "vit.npz", "--inference", "--json", "r.json", "--html", "r.html")
    assert CKAMatrix.load("r.json").equals(
        fastcka.cka_matrix(A, B, inference=True).with_models("resnet", "vit")
    )
    assert "p-values by moments" in run(capsys, "compare", "x.npy", "y.npy", "--inference", "--plan").out


def test_pvalues_by_a_method(capsys):
    """--pvalues says which, with or without --inference."""
    rbf = ("--kernel", "rbf")
    for options in (("--pvalues", "moments"), ("--pvalues", "moments", "--inference")):
        run(capsys, "compare", "resnet.npz", "vit.npz", *rbf, *options, "--json", "r.json")
        found = CKAMatrix.load("r.json")
        assert found.pvalue_method == "moments"
        expected = fastcka.cka_matrix(A, B, kernel="rbf", inference="moments")
        assert found.equals(expected.with_models("resnet", "vit"))
    plan = ("compare", "x.npy", "y.npy", *rbf, "--plan")
    assert "p-values by chi2" in run(capsys, *plan, "--inference").out
    assert "p-values by moments" in run(capsys, *plan, "--pvalues", "moments").out


# A random choice of samples ---------------------------------------------------------------------------------


@pytest.fixture
def many():
    """Two files of the same 60 samples, whose first feature is the number of the sample."""
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        layer = rng.normal(size=(60, 4))
        layer[:, 0] = np.arange(60)
        np.savez(f"{name}.npz", x=layer, y=layer[:, :2] ** 2)


def drawn(monkeypatch, capsys, *options):
    """The numbers of the samples that reach the comparison, one array for each network."""
    seen = []
    compute = compare.cka_matrix
    monkeypatch.setattr(compare, "cka_matrix", lambda a, b, **k: seen.append((a, b)) or compute(a, b, **k))
    out, _ = run(capsys, "compare", "a.npz", "b.npz", *options)
    ((a, b),) = seen
    monkeypatch.setattr(compare, "cka_matrix", compute)
    return [np.asarray(layers["x"])[:, 0] for layers in (a, b)], out


@pytest.mark.usefixtures("many")
def test_some_samples_are_drawn_the_same_of_every_layer(capsys, monkeypatch):
    (a, b), out = drawn(monkeypatch, capsys, "--max-samples", "20")
    np.testing.assert_array_equal(a, b)
    assert len(set(a)) == 20
    assert out.splitlines()[0].endswith("20 samples; chance level in parentheses")
    assert "drawn 20 of 60 samples, seed 0" in out.splitlines()[-1]
    (again, _), _ = drawn(monkeypatch, capsys, "--max-samples", "20", "--seed", "0")
    np.testing.assert_array_equal(a, again)
    (other, _), _ = drawn(monkeypatch, capsys, "--max-samples", "20", "--seed", "1")
    assert set(a) != set(other)


@pytest.mark.usefixtures("many")
def test_all_samples_are_taken_where_there_are_no_more(capsys, monkeypatch):
    (a, _), out = drawn(monkeypatch, capsys, "--max-samples", "60")
    np.testing.assert_array_equal(a, np.arange(60))
    assert "drawn" not in out


@pytest.mark.usefixtures("many")
def test_of_gram_matrices_rows_and_columns_are_drawn(capsys):
    X = np.load("a.npz")["x"]
    options = ("--max-samples", "30", "--seed", "5")
    np.savez("grams.npz", K=X @ X.T, L=X[:, 1:] @ X[:, 1:].T)
    np.savez("layers.npz", K=X, L=X[:, 1:])
    run(capsys, "compare", "grams.npz", "grams.npz", "--kernel", "precomputed", "--json", "g.json", *options)
    run(capsys, "compare", "layers.npz", "layers.npz", "--json", "l.json", *options)
    np.testing.assert_allclose(CKAMatrix.load("g.json").values, CKAMatrix.load("l.json").values, rtol=1e-10)


@pytest.mark.usefixtures("many")
def test_a_choice_that_makes_no_sense_is_refused(capsys):
    np.savez("longer.npz", x=np.random.default_rng(0).normal(size=(61, 4)))
    assert "60 samples" in fails(capsys, "compare", "a.npz", "longer.npz", "--max-samples", "20")
    assert "positive" in fails(capsys, "compare", "a.npz", "b.npz", "--max-samples", "0")
    assert "--max-samples" in fails(capsys, "compare", "a.npz", "b.npz", "--seed", "1")

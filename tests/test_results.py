# SPDX-License-Identifier: BSD-3-Clause
"""CKAMatrix: what it says, how it converts, and that what was saved comes back whole or not at all."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas
import pytest
import xarray

from fastcka import CKAMatrix
from fastcka._files import atomic_write
from fastcka.results import saved

VALUES = [[0.9, 0.2, -0.05], [0.1 + 0.2, 1 / 3, np.nan], [np.nan, np.nan, np.nan]]


def matrix(values=VALUES, rows="abc", columns="abc", **settings):
    settings = {"kernel": "linear", "estimator": "biased", "n_samples": 100, **settings}
    return CKAMatrix(np.array(values), tuple(rows), tuple(columns), **settings)


def awkward():
    """A matrix with everything that a file format could lose."""
    values = [[-np.nan, -0.0, 5e-324], [1 + 2**-52, -1e-17, 0.1]]  # -nan: what 0 / 0 gives on x86
    return CKAMatrix(
        np.array(values), ("höhe ∘ 1", 'a "b", <c>\n'), ("", "x", "y\\"), "RBF(bandwidth=0.5)", "unbiased", 7,
        models=("A & B", "名"), warnings=("layer 'x': constant",), method="minibatch",
        chance=[[0.1, np.nan, 1 / 3], [0.0, 5e-324, 0.5]],
        provenance={"version": "0.1.0", "widths": {"x": 3}, "sigma": [0.1, None], "pooling": "mean"},
    )  # fmt: skip


def assert_same(a, b):
    assert a.values.dtype == b.values.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(a.values), np.isnan(b.values))
    defined = ~np.isnan(a.values)
    assert a.values[defined].tobytes() == b.values[defined].tobytes()
    assert a.settings() == b.settings()
    assert a.equals(b)


# What it is -------------------------------------------------------------------------------------------------


def test_it_is_an_array_without_a_copy():
    m = matrix()
    assert np.asarray(m) is m.values or np.shares_memory(np.asarray(m), m.values)
    assert np.asarray(m, dtype=np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(m), m.values)
    assert m.shape == m.values.shape == (3, 3)


def test_nothing_can_be_changed():
    values, chance, provenance = np.array(VALUES), np.zeros((3, 3)), {"sources": ["a.npy"], "of": {"a": 1}}
    m = matrix(values, chance=chance, provenance=provenance)
    values[0, 0] = chance[0, 0] = 7.0
    provenance["sources"].append("b.npy")
    assert (m.values[0, 0], m.chance[0, 0], m.provenance["sources"]) == (0.9, 0.0, ("a.npy",))
    for same in (m, m.T, copy.deepcopy(m), pickle.loads(pickle.dumps(m)), m[:, :]):
        for array in (same.values, same.chance, np.asarray(same)):
            with pytest.raises(ValueError, match="read-only"):
                array[0, 0] = 7.0
        for change in (
            lambda facts: facts.update(version="2"),
            lambda facts: facts["of"].__setitem__("a", 2),
            lambda facts: facts["of"].pop("a"),
            lambda facts: facts.__ior__({"version": "2"}),
        ):
            with pytest.raises(TypeError, match="cannot be changed"):
                change(same.provenance)
    assert_same(pickle.loads(pickle.dumps(awkward())), awkward())


def test_equals():
    assert matrix().equals(matrix())
    assert not matrix().equals(np.array(VALUES))
    others = [matrix(np.array(VALUES) + 1e-16 + 1e-15), matrix(columns="abd"), matrix(kernel="cosine"),
              matrix(chance=np.zeros((3, 3))), matrix(n_samples=99),
              matrix().with_models("A", "C"), matrix(VALUES[:2], rows="ab")]  # fmt: skip
    for other in others:
        assert not matrix().equals(other)
        assert not other.equals(matrix())
    assert not matrix(chance=np.zeros((3, 3))).equals(matrix(chance=np.ones((3, 3))))
    assert matrix(provenance={"version": "1"}).equals(matrix())  # where values come from may differ


def test_layers_are_chosen_by_name():
    m = matrix(chance=np.arange(9).reshape(3, 3), models=("A", "B"), columns="xyz")
    assert (m["a", "y"], type(m["a", "y"])) == (0.2, float)
    part = m[["b", "a"], :]
    np.testing.assert_array_equal(part.values, m.values[[1, 0]])
    np.testing.assert_array_equal(part.chance, m.chance[[1, 0]])
    assert (part.rows, part.columns, part.models) == (("b", "a"), ("x", "y", "z"), ("A", "B"))
    assert m[["a", "c"], ["z"]].values.tolist() == [[-0.05], [pytest.approx(np.nan, nan_ok=True)]]
    assert (m["a", :].shape, m[:, "x"].shape, m[:, :].equals(m)) == ((1, 3), (3, 1), True)


@pytest.mark.parametrize(
    "key",
    [0, (0, 1), "a", ("a",), ("a", "x", "y"), (slice(1), "x"), (["a", 1], "x"), ("a", ("x",)), (..., "x")],
)
def test_other_keys_point_to_the_values(key):
    with pytest.raises(TypeError, match=r"by position in \.values"):
        matrix(columns="xyz")[key]
    with pytest.raises(TypeError, match=r"\.values"):
        list(matrix())


def test_unknown_names_are_named():
    m = matrix(VALUES[:1], rows=["conv1"], columns=["fc1", "fc2", "fc3"], models=("ResNet", "ViT"))
    with pytest.raises(KeyError, match=r"ResNet has no layer 'conv2'.* conv1\?"):
        m["conv2", "fc1"]
    with pytest.raises(KeyError, match=r"ViT has no layer 'fc'"):
        m["conv1", ["fc1", "fc"]]
    with pytest.raises(ValueError, match="at least one layer"):
        m[[], :]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"values": np.full((3, 3), 1j)}, TypeError, "values: .*complex128"),
        ({"values": np.full((3, 3), "0.5")}, TypeError, "values: .*<U3"),
        ({"chance": np.full((3, 3), 1j)}, TypeError, "chance: .*complex128"),
        ({"chance": np.zeros((3, 2))}, ValueError, r"chance: expected shape \(3, 3\).* got \(3, 2\)"),
        ({"n_samples": "<script>"}, TypeError, "str"),
        ({"n_samples": 7.5}, TypeError, "float"),
        ({"n_samples": -1}, ValueError, "n_samples: .* -1"),
        ({"kernel": None}, TypeError, "kernel: .* None"),
        ({"rows": (1, 2, 3)}, TypeError, r"rows: .* \(1, 2, 3\)"),
        ({"provenance": {"sigma": np.float32(1)}}, TypeError, "provenance: .*float32"),
        ({"provenance": {"sigma": np.nan}}, TypeError, "provenance: .*JSON"),
    ],
)
def test_fields_are_checked(settings, error, message):
    with pytest.raises(error, match=message):
        matrix(**settings)


def test_lists_are_taken_and_float64_kept():
    m = CKAMatrix([[1, 0]], ["a"], ["b", "c"], "linear", "biased", 4)
    assert m.values.dtype == np.float64
    assert (m.rows, m.columns, m.models, m.warnings) == (("a",), ("b", "c"), ("A", "B"), ())


def test_shape_and_models_are_checked():
    with pytest.raises(ValueError, match=r"values: expected shape \(2, 3\), .* got \(3, 3\)"):
        matrix(rows="ab")
    with pytest.raises(ValueError, match=r"models: expected two names .* got \('A',\)"):
        matrix(models=("A",))
    for field, text in (("rows", "abc"), ("models", "AB"), ("warnings", "none")):
        with pytest.raises(TypeError, match=f"{field}: expected a sequence of strings, got '{text}'"):
            CKAMatrix(VALUES, **{**matrix().settings(), field: text})


def test_models_are_named_on_a_copy():
    m = matrix()
    named = m.with_models("ResNet", "ViT")
    assert named.models == ("ResNet", "ViT")
    assert m.models == ("A", "B")


def test_transpose_exchanges_everything():
    t = matrix(VALUES[:2], rows="ab", models=("ResNet", "ViT")).T
    np.testing.assert_array_equal(t.values, np.array(VALUES[:2]).T)
    assert (t.rows, t.columns, t.models) == (("a", "b", "c"), ("a", "b"), ("ViT", "ResNet"))


# What it says -----------------------------------------------------------------------------------------------


def test_best_matches_pass_over_nan():
    best = matrix().best_matches()
    assert [(m.row, m.column) for m in best] == [("a", "a"), ("b", "b"), ("c", None)]
    assert [best[0].value, best[1].value] == [0.9, 1 / 3]
    assert np.isnan(best[2].value)


def test_best_match_of_equal_values_is_the_first():
    assert matrix([[0.5, 0.7, 0.7]], rows="a").best_matches()[0].column == "b"


def test_counterparts_go_by_name_in_any_order():
    assert matrix(columns="cab").counterparts() == ("a", "b", "c")
    assert matrix(columns="xyz").counterparts(by="position") == ("x", "y", "z")
    assert matrix(VALUES[:2], rows="ba").counterparts() == ("b", "a")  # the third column is nobody's
    with pytest.raises(ValueError, match=r"B has no layer 'a': of 3 layers of A, 2 have no namesake.* by="):
        matrix(columns="xyc").counterparts()
    with pytest.raises(ValueError, match="expected 'name' or 'position', got 'depth'"):
        matrix().counterparts(by="depth")


def test_identification_accuracy_counts_rows():
    crossed = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.1, 0.2, 0.7]])
    assert matrix(crossed).identification_accuracy() == 2 / 3  # b looks like a
    assert matrix(crossed).T.identification_accuracy() == 1.0  # but no column of A is mistaken
    assert matrix(crossed[:, ::-1], columns="cba").identification_accuracy() == 2 / 3  # by name
    assert matrix(crossed[:, ::-1], columns="xyz").identification_accuracy("position") == 0.0
    assert matrix().identification_accuracy() == 2 / 3  # a row of nan is not identified


def test_identification_needs_counterparts():
    with pytest.raises(ValueError, match="ResNet has 2, ViT has 3"):
        matrix(VALUES[:2], rows="ab", models=("ResNet", "ViT")).identification_accuracy(by="position")


def test_repr_is_one_informative_line():
    assert repr(matrix()) == (
        "CKAMatrix(A: 3 layers x B: 3 layers, linear, biased, n_samples=100, values -0.05 to 0.9, 4 nan)"
    )
    assert repr(matrix([[np.nan]], "a", "b")).endswith("A: 1 layer x B: 1 layer, linear, biased, "
                                                        "n_samples=100, no value, 1 nan)")  # fmt: skip


def test_str_is_a_table():
    assert str(matrix(rows=["conv", "b", "c"], estimator="unbiased")).splitlines() == [
        "unbiased CKA, linear; rows: A, columns: B; 100 samples",
        "          a      b       c",
        "conv  0.900  0.200  -0.050",
        "b     0.300  0.333     nan",
        "c       nan    nan     nan",
    ]


def test_a_mini_batch_value_says_so_everywhere():
    m = matrix(estimator="unbiased", method="minibatch(weights='n(n-3)')")
    assert m.title == "unbiased CKA, linear, minibatch(weights='n(n-3)')"
    assert "linear, unbiased, minibatch(weights='n(n-3)'), n_samples=100" in repr(m)
    assert m.T.method == m.with_models("x", "y").method == m.method
    assert matrix().method == "exact"


def test_str_and_html_elide_the_middle_of_many_layers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    many = matrix(np.full((3, 40), 0.5), columns=[f"layer{i}" for i in range(40)])
    head = str(many).splitlines()[1]
    assert head.split() == [*(f"layer{i}" for i in range(5)), "...", *(f"layer{i}" for i in range(35, 40))]
    assert many._repr_html_().count("<td>") == 3 * 11


def test_html_for_notebooks_says_what_the_numbers_are():
    caption = "<caption>CKA, linear; rows: A, columns: B; 100 samples; chance level in parentheses</caption>"
    assert caption in matrix(chance=np.full((3, 3), 0.1))._repr_html_()
    assert "parentheses" not in matrix()._repr_html_()


def test_html_for_notebooks_escapes_names():
    html = matrix(rows=["<script>", "b", "c"])._repr_html_()
    assert "<th>&lt;script&gt;</th><td>0.900</td>" in html
    assert "<script>" not in html


# Other containers -------------------------------------------------------------------------------------------


def test_to_pandas():
    m = awkward()
    frame = m.to_pandas()
    np.testing.assert_array_equal(frame.to_numpy(), m.values)
    assert (tuple(frame.index), tuple(frame.columns)) == (m.rows, m.columns)
    assert (frame.index.name, frame.columns.name) == m.models
    assert frame.attrs["kernel"] == "RBF(bandwidth=0.5)"
    assert frame.attrs["provenance"]["widths"] == {"x": 3}
    frame.iloc[0, 1] = 7.0
    assert m.values[0, 1] == 0.0


def test_tidy_pandas_has_a_line_for_each_pair():
    m = awkward()
    frame = m.to_pandas(tidy=True)
    assert list(frame.columns) == ["model_a", "layer_a", "model_b", "layer_b", "cka", "chance"]
    assert len(frame) == 6
    line = frame[(frame["layer_a"] == "höhe ∘ 1") & (frame["layer_b"] == "y\\")].iloc[0]
    assert (line["model_a"], line["model_b"], line["cka"], line["chance"]) == ("A & B", "名", 5e-324, 1 / 3)
    assert frame.attrs["kernel"] == m.kernel
    assert "chance" not in matrix().to_pandas(tidy=True)


def test_csv_carries_its_settings(tmp_path):
    path = tmp_path / "m.csv"
    m = dataclasses.replace(awkward(), columns=("", "x # y", 'y,"z"'))
    m.to_csv(path)
    frame = pandas.read_csv(path, comment="#", index_col=0)
    np.testing.assert_allclose(frame.to_numpy(), m.values, rtol=1e-15, atol=1e-300)
    assert ",0.1\n" in path.read_text(encoding="utf-8")
    assert tuple(frame.index) == m.rows
    assert tuple(frame.columns)[1:] == m.columns[1:]
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    found = {name: json.loads(value) for name, value in (line[2:].split(": ", 1) for line in lines)}
    assert found.pop("chance") == [[0.1, None, 1 / 3], [0.0, 5e-324, 0.5]]
    assert found == {k: v for k, v in m.settings().items() if k not in ("rows", "columns")}
    matrix(rows=["a", "\udcff", "c"]).to_csv(path)
    assert tuple(pandas.read_csv(path, comment="#", index_col=0).index) == ("a", r"\udcff", "c")
    assert os.listdir(tmp_path) == ["m.csv"]


def test_to_xarray():
    m = awkward()
    array = m.to_xarray()
    np.testing.assert_array_equal(array.values, m.values)
    assert array.dims == ("layer_a", "layer_b")
    assert float(array.sel(layer_a="höhe ∘ 1", layer_b="y\\")) == 5e-324
    assert (array["model_a"].item(), array["model_b"].item()) == m.models
    np.testing.assert_array_equal(array["chance"], m.chance)
    assert json.loads(array.attrs.pop("provenance")) == m.settings()["provenance"]
    assert array.attrs == {
        "kernel": "RBF(bandwidth=0.5)",
        "measure": "cka",
        "estimator": "unbiased",
        "n_samples": 7,
        "warnings": "layer 'x': constant",
        "method": "minibatch",
    }
    assert "chance" not in matrix().to_xarray().coords


@pytest.mark.parametrize("m", [awkward(), matrix()], ids=["awkward", "plain"])
def test_xarray_can_be_written_to_netcdf(tmp_path, m):
    pytest.importorskip("scipy")
    array = m.to_xarray()
    array.to_netcdf(tmp_path / "m.nc", engine="scipy")
    with xarray.open_dataarray(tmp_path / "m.nc", engine="scipy") as found:
        xarray.testing.assert_equal(found.load(), array)
        assert found.attrs == array.attrs


@pytest.mark.parametrize(
    ("module", "method", "extra"),
    [("pandas", "to_pandas", "io"), ("xarray", "to_xarray", "io"), ("matplotlib", "plot", "plot")],
)
def test_a_missing_extra_is_named(monkeypatch, module, method, extra):
    monkeypatch.setitem(sys.modules, module, None)  # import then fails
    for name in ("axes", "heatmap"):
        monkeypatch.delitem(sys.modules, f"fastcka.results.{name}", raising=False)
        monkeypatch.delattr(f"fastcka.results.{name}", raising=False)
    with pytest.raises(ImportError, match=rf'pip install "fastcka\[{extra}\]"'):
        getattr(matrix(), method)()


# Files ------------------------------------------------------------------------------------------------------

SUFFIXES = pytest.mark.parametrize("suffix", [".npz", ".json"])


@SUFFIXES
def test_saved_files_return_every_bit_and_setting(tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    for m in (awkward(), matrix(), awkward().T):  # a transposed one is not contiguous
        m.save(path)
        assert_same(CKAMatrix.load(path), m)
    assert_same(CKAMatrix.load(str(path)), awkward().T)
    assert os.listdir(tmp_path) == [path.name]


def test_files_are_plain_for_others(tmp_path):
    m = awkward()
    m.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["values"], m.values)
    m.save(tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text(), parse_constant=pytest.fail)  # no NaN in JSON
    assert document["values"][0] == [None, -0.0, 5e-324]
    assert document["rows"] == list(m.rows)
    assert (document["format"], document["format_version"]) == ("fastcka.CKAMatrix", 1)


def test_other_suffixes_are_refused(tmp_path):
    for action in (matrix().save, CKAMatrix.load):
        with pytest.raises(ValueError, match=r"ends in \.npz or \.json, got '.*result\.csv'"):
            action(tmp_path / "result.csv")
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        CKAMatrix.load(tmp_path / "absent.npz")
    with pytest.raises(FileNotFoundError, match=r"No such folder: '.*nowhere'"):
        matrix().save(tmp_path / "nowhere" / "m.npz")


@SUFFIXES
def test_no_changed_byte_goes_unnoticed(tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    m = awkward()
    m.save(path)
    content = path.read_bytes()
    refusals = []
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1  # turns a digit into another digit, a letter into another letter
        path.write_bytes(damaged)
        try:
            found = CKAMatrix.load(path)
        except ValueError as refusal:
            refusals.append(str(refusal))
        else:  # padding or time stamps of the zip container
            assert_same(found, m)
    assert all(text.startswith(f"{path}: ") for text in refusals)
    assert len(refusals) > 0.9 * len(content)


@SUFFIXES
def test_files_that_were_cut_are_refused(tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    matrix().save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 13):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"result\{suffix}: damaged"):
            CKAMatrix.load(path)


def test_edited_values_are_refused(tmp_path):
    path = tmp_path / "result.json"
    matrix().save(path)
    path.write_text(path.read_text().replace("0.9", "0.8"))
    with pytest.raises(ValueError, match=r"result\.json: damaged, or edited by hand: .* checksum"):
        CKAMatrix.load(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, 2]", "some other JSON document"),
        ('{"values": [[1]], "format": "theirs"}', "its format is 'theirs'"),
        ('{"values": [[1]]}', "its format is None"),
        ("hello", "damaged: not valid JSON"),
        ("[" * 100_000, "damaged: not valid JSON"),
    ],
)
def test_foreign_json_is_refused(tmp_path, text, reason):
    path = tmp_path / "foreign.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"foreign\.json: .*{reason}"):
        CKAMatrix.load(path)


def test_foreign_npz_is_refused(tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, x=np.ones(3))
    with pytest.raises(ValueError, match=r"foreign\.npz: not a CKAMatrix.* holds the arrays \['x'\]"):
        CKAMatrix.load(path)
    np.savez(path, header=np.array({"format": "pickled"}), values=np.ones((1, 1)))
    with pytest.raises(ValueError, match=r"foreign\.npz: damaged, or not .*allow_pickle=False"):
        CKAMatrix.load(path)
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"foreign\.npz: damaged, or not .* not a zip file"):
        CKAMatrix.load(path)


def test_files_from_before_there_was_a_method_are_exact(tmp_path):
    settings = matrix().settings()
    del settings["method"], settings["provenance"]
    for suffix in (".npz", ".json"):
        saved.write(tmp_path / f"old{suffix}", "CKAMatrix", settings, {"values": np.array(VALUES)})
        assert_same(CKAMatrix.load(tmp_path / f"old{suffix}"), matrix())


def test_no_file_asks_for_more_memory_than_it_is_long(tmp_path):
    path = tmp_path / "bomb.npz"
    matrix().save(path)
    with np.load(path) as arrays:
        header, values = arrays["header"], arrays["values"]

    def peak(reason):
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=rf"bomb\.npz: {reason}"):
                CKAMatrix.load(path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    np.savez_compressed(path, header=header, values=np.zeros(10**8 // 8))
    assert path.stat().st_size < 1e6
    assert peak("not a CKAMatrix saved by fastcka, which does not compress") < 1e6
    np.savez(path, header=header, values=values[:2])
    assert peak(r"damaged: its values has shape \(2, 3\), not \(3, 3\)") < 1e6
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (3, 3)})
    lying = json.loads(str(header)) | {"rows": ["a"] * 3}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("header.npy", "w") as file:
            np.save(file, np.array(json.dumps(lying)))
        archive.writestr("values.npy", huge.getvalue())
    assert peak(r"damaged: values\.npy is not as long as its shape \(3, 3\) says") < 1e6


@SUFFIXES
@pytest.mark.parametrize(
    ("name", "value"), [("n_samples", "<script>"), ("models", ["A"]), ("rows", [1, 2, 3]), ("future", 1)]
)
def test_bad_settings_name_the_file(tmp_path, suffix, name, value):
    path = tmp_path / f"crafted{suffix}"
    saved.write(path, "CKAMatrix", matrix().settings() | {name: value}, {"values": np.array(VALUES)})
    with pytest.raises(ValueError, match=rf"crafted\{suffix}: damaged, or not a CKAMatrix .*{name}|str"):
        CKAMatrix.load(path)


def test_complex_values_are_refused(tmp_path):
    path = tmp_path / "crafted.npz"
    matrix().save(path)
    with np.load(path) as arrays:
        header = arrays["header"]
    np.savez(path, header=header, values=np.full((3, 3), 0.5 + 0j))
    with pytest.raises(ValueError, match=r"crafted\.npz: .*complex128"):
        CKAMatrix.load(path)


@SUFFIXES
def test_newer_files_are_refused(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"future{suffix}"
    with monkeypatch.context() as later:
        later.setattr(saved, "FORMAT_VERSION", 2)
        matrix().save(path)
    with pytest.raises(ValueError, match=rf"future\{suffix}: written by a newer fastcka .*format version 2"):
        CKAMatrix.load(path)


# Written whole or not at all --------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    matrix().save(path)
    with pytest.raises(ValueError, match="Out of range float"):  # JSON has no infinity
        matrix([[np.inf]], "a", "a").save(path)
    assert_same(CKAMatrix.load(path), matrix())

    def interrupted():
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_same(CKAMatrix.load(path), matrix())
    assert os.listdir(tmp_path) == [path.name]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.npz"
    matrix().save(path)
    script = f"""if True:
        import os, signal
        from fastcka._files import atomic_write
        with atomic_write({str(path)!r}) as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert_same(CKAMatrix.load(path), matrix())
    matrix(VALUES[:2], rows="ab").save(path)  # what the killed one left behind is in nobody's way
    assert len(CKAMatrix.load(path).rows) == 2


def test_names_may_be_as_long_as_files_may_have_them(tmp_path):
    path = tmp_path / ("ü" * 125 + ".json")  # 255 bytes
    matrix().save(path)
    assert_same(CKAMatrix.load(path), matrix())
    assert os.listdir(tmp_path) == [path.name]


def test_written_files_obey_umask_and_links(tmp_path):
    (tmp_path / "link.bin").symlink_to(tmp_path / "target.bin")
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "link.bin") as file:
            file.write(b"new")
    finally:
        os.umask(old)
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "target.bin").read_bytes() == b"new"
    assert (tmp_path / "target.bin").stat().st_mode & 0o777 == 0o640

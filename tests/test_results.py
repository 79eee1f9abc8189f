# SPDX-License-Identifier: BSD-3-Clause
"""CKAMatrix: what it says, how it converts, and that what was saved comes back whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

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
    )  # fmt: skip


def assert_same(a, b):
    assert a.values.dtype == b.values.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(a.values), np.isnan(b.values))
    defined = ~np.isnan(a.values)
    assert a.values[defined].tobytes() == b.values[defined].tobytes()
    assert a.settings() == b.settings()


# What it is -------------------------------------------------------------------------------------------------


def test_it_is_an_array_without_a_copy():
    m = matrix()
    assert np.asarray(m) is m.values or np.shares_memory(np.asarray(m), m.values)
    assert np.asarray(m, dtype=np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(m), m.values)


def test_lists_are_taken_and_float64_kept():
    m = CKAMatrix([[1, 0]], ["a"], ["b", "c"], "linear", "biased", 4)
    assert m.values.dtype == np.float64
    assert (m.rows, m.columns, m.models, m.warnings) == (("a",), ("b", "c"), ("A", "B"), ())


def test_shape_and_models_are_checked():
    with pytest.raises(ValueError, match=r"values: expected shape \(2, 3\), .* got \(3, 3\)"):
        matrix(rows="ab")
    with pytest.raises(ValueError, match=r"models: expected two names .* got \('A',\)"):
        matrix(models=("A",))


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
    assert matrix(columns="xyz").counterparts() == ("x", "y", "z")


def test_identification_accuracy_counts_rows():
    crossed = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.1, 0.2, 0.7]])
    assert matrix(crossed).identification_accuracy() == 2 / 3  # b looks like a
    assert matrix(crossed).T.identification_accuracy() == 1.0  # but no column of A is mistaken
    assert matrix(crossed[:, ::-1], columns="cba").identification_accuracy() == 2 / 3  # by name
    assert matrix(crossed[:, ::-1], columns="xyz").identification_accuracy() == 0.0  # by position
    assert matrix().identification_accuracy() == 2 / 3  # a row of nan is not identified


def test_identification_needs_counterparts():
    with pytest.raises(ValueError, match="ResNet has 2, ViT has 3"):
        matrix(VALUES[:2], rows="ab", models=("ResNet", "ViT")).identification_accuracy()


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
    frame.iloc[0, 1] = 7.0
    assert m.values[0, 1] == 0.0


def test_to_xarray():
    m = awkward()
    array = m.to_xarray()
    np.testing.assert_array_equal(array.values, m.values)
    assert array.dims == ("row", "column")
    assert float(array.sel(row="höhe ∘ 1", column="y\\")) == 5e-324
    assert array.attrs == {
        "kernel": "RBF(bandwidth=0.5)",
        "estimator": "unbiased",
        "n_samples": 7,
        "models": ["A & B", "名"],
        "warnings": ["layer 'x': constant"],
        "method": "minibatch",
    }


@pytest.mark.parametrize(
    ("module", "method", "extra"),
    [("pandas", "to_pandas", "io"), ("xarray", "to_xarray", "io"), ("matplotlib", "plot", "plot")],
)
def test_a_missing_extra_is_named(monkeypatch, module, method, extra):
    monkeypatch.setitem(sys.modules, module, None)  # import then fails
    monkeypatch.delitem(sys.modules, "fastcka.results.plotting", raising=False)
    monkeypatch.delattr("fastcka.results.plotting", raising=False)
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
        with pytest.raises(ValueError, match=rf"result\{suffix}: damaged, or not a CKAMatrix"):
            CKAMatrix.load(path)


def test_edited_values_are_refused(tmp_path):
    path = tmp_path / "result.json"
    matrix().save(path)
    path.write_text(path.read_text().replace("0.9", "0.8"))
    with pytest.raises(ValueError, match=r"result\.json: damaged, or edited by hand: .* check sum"):
        CKAMatrix.load(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, 2]", "some other JSON document"),
        ('{"values": [[1]], "format": "theirs"}', "its format is 'theirs'"),
        ('{"values": [[1]]}', "its format is None"),
        ("hello", "damaged, or not a CKAMatrix saved as .json"),
        ("[" * 100_000, "damaged, or not a CKAMatrix saved as .json"),
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
    with pytest.raises(ValueError, match=r"foreign\.npz: damaged, or not .* allow_pickle=False"):
        CKAMatrix.load(path)
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"foreign\.npz: damaged, or not .* not a zip file"):
        CKAMatrix.load(path)


def test_files_from_before_there_was_a_method_are_exact(tmp_path):
    settings = matrix().settings()
    del settings["method"]
    for suffix in (".npz", ".json"):
        saved.write(tmp_path / f"old{suffix}", settings, np.array(VALUES))
        assert_same(CKAMatrix.load(tmp_path / f"old{suffix}"), matrix())


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

# SPDX-License-Identifier: BSD-3-Clause
"""Where values come from is noted by `cka_matrix` and kept by every format."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re

import numpy as np
import pytest

import fastcka
from fastcka import CKAMatrix, reference

RNG = np.random.default_rng(7)
X = RNG.normal(size=(40, 6))
LAYERS = {"conv": X.astype(np.float32), "fc": X[:, :3].astype(np.float32)}


def median_sigma(layer, fraction):
    squares = ((layer[:, None].astype(float) - layer) ** 2).sum(axis=-1)
    return fraction * math.sqrt(np.median(squares))


def test_versions_arithmetic_widths_and_bandwidths_are_noted():
    known = fastcka.cka_matrix(LAYERS, {"z": X}, kernel=fastcka.RBF(bandwidth=0.5)).provenance
    assert known["version"] == fastcka.__version__
    assert known["dtype"] == "float64"  # because one layer is
    assert known["simd_level"] == fastcka.config.config()["simd_level"]
    assert known["rows"]["widths"] == {"conv": 6, "fc": 3}
    assert known["columns"]["widths"] == {"z": 6}
    for side, layers in (("rows", LAYERS), ("columns", {"z": X})):
        for name, layer in layers.items():
            assert known[side]["sigma"][name] == pytest.approx(median_sigma(layer, 0.5), rel=1e-6)
    assert "samples" not in known  # plain arrays have no identities


def test_the_bandwidths_noted_give_the_value_again():
    m = fastcka.cka_matrix({"x": X}, {"y": X[:, :3]}, kernel="rbf")
    K, L = (
        reference.gram(layer, kernel=fastcka.RBF(sigma=m.provenance[side]["sigma"][name]))
        for side, name, layer in (("rows", "x", X), ("columns", "y", X[:, :3]))
    )
    assert m["x", "y"] == pytest.approx(reference.cka(K, L, kernel="precomputed"), rel=1e-12)


def test_kernels_without_a_bandwidth_have_no_sigma():
    assert "sigma" not in fastcka.cka_matrix(LAYERS).provenance["rows"]


@pytest.mark.parametrize(("n", "dtype"), [(40, "float64"), (2000, "float32")])
def test_the_arithmetic_is_that_of_the_core(n, dtype):  # which takes float64 for few samples
    layer = RNG.normal(size=(n, 4)).astype(np.float32)
    assert fastcka.cka_matrix([layer]).provenance["dtype"] == dtype


def test_a_layer_that_was_not_computed_has_a_width_but_no_sigma():
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.warns(fastcka.DegenerateWarning, match="bad"):
        m = fastcka.cka_matrix({"bad": bad, "x": X}, kernel="rbf", nan_policy="propagate")
    assert m.provenance["rows"]["widths"] == {"bad": 6, "x": 6}
    assert m.provenance["rows"]["sigma"]["bad"] is None
    assert m.provenance["rows"]["sigma"]["x"] == pytest.approx(median_sigma(X, 1.0))
    with pytest.warns(fastcka.DegenerateWarning, match="bad"):
        nothing = fastcka.cka_matrix({"bad": bad}, kernel="rbf", nan_policy="propagate")
    assert "dtype" not in nothing.provenance


def test_samples_are_digested_in_their_order():
    pandas = pytest.importorskip("pandas")
    names = [f"image {i}" for i in range(len(X))]

    def digest(index):
        return fastcka.cka_matrix({"x": pandas.DataFrame(X, index=index)}).provenance["samples"]

    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest(names))
    assert digest(names) == digest(list(names))
    assert digest(names) != digest(names[::-1])


def test_a_store_says_where_it_is_and_how_it_was_pooled(tmp_path):
    origin = {"checkpoint": "v2", "extract": {"pool": "mean", "model": "ResNet", "left_out": {"a": "b"}}}
    with fastcka.create_store(tmp_path / "store", provenance=origin) as writer:
        writer.append(LAYERS, ids=[str(i) for i in range(len(X))])
    store = fastcka.open_store(tmp_path / "store")
    m = fastcka.cka_matrix(store, LAYERS)
    rows = m.provenance["rows"]
    assert rows["source"] == str(tmp_path / "store")
    assert rows["pooling"] == "mean"
    assert rows["origin"] == {"checkpoint": "v2", "extract": {"pool": "mean", "model": "ResNet"}}
    assert m.provenance["columns"].keys() == {"widths"}
    assert "pooling mean" in str(m).splitlines()[-1]
    np.savez(tmp_path / "layers.npz", **LAYERS)
    opened = fastcka.open_layers(tmp_path / "layers.npz")
    assert fastcka.cka_matrix(opened).provenance["rows"]["source"] == str(tmp_path / "layers.npz")


def test_a_layer_called_path_is_no_source():
    xarray = pytest.importorskip("xarray")
    layers = xarray.Dataset({name: (("n", f"of {name}"), X) for name in ("path", "provenance", "ids")})
    assert fastcka.cka_matrix(layers).provenance["rows"].keys() == {"widths"}


def test_it_cannot_be_changed_and_turns_with_the_matrix():
    m = fastcka.cka_matrix(LAYERS, {"z": X})
    with pytest.raises(TypeError):
        m.provenance["rows"]["widths"]["conv"] = 1
    for copied in (copy.copy, copy.deepcopy, lambda known: pickle.loads(pickle.dumps(known))):
        again = copied(m.provenance)
        assert again == m.provenance
        with pytest.raises(TypeError):
            again["rows"]["widths"]["conv"] = 1
    assert m.T.provenance["rows"] == m.provenance["columns"]
    assert m.T.T.provenance == m.provenance
    assert m[["fc"], :].provenance == m.provenance


def test_the_same_values_from_elsewhere_are_equal(tmp_path):
    np.savez(tmp_path / "layers.npz", **LAYERS)
    here = fastcka.cka_matrix(LAYERS)
    there = fastcka.cka_matrix(fastcka.open_layers(tmp_path / "layers.npz"))
    assert here.provenance != there.provenance
    assert here.equals(there)


@pytest.fixture
def m():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, index=[f"s{i}" for i in range(len(X))])
    return fastcka.cka_matrix({"conv": frame}, LAYERS, kernel="rbf")


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_files_keep_it(m, tmp_path, suffix):
    m.save(tmp_path / f"m{suffix}")
    assert CKAMatrix.load(tmp_path / f"m{suffix}").provenance == m.provenance


def test_csv_keeps_it(m, tmp_path):
    m.to_csv(tmp_path / "m.csv")
    lines = (tmp_path / "m.csv").read_text().splitlines()
    (kept,) = [line.removeprefix("# provenance: ") for line in lines if line.startswith("# provenance: ")]
    assert json.loads(kept) == m.settings()["provenance"]


def test_containers_keep_it(m):
    pytest.importorskip("xarray")
    assert json.loads(m.to_xarray().attrs["provenance"]) == m.settings()["provenance"]
    assert m.to_pandas().attrs["provenance"] == m.settings()["provenance"]


def test_print_has_one_line_of_it(m):
    sigma = m.provenance["rows"]["sigma"]["conv"], m.provenance["columns"]["sigma"]["fc"]
    line = f"fastcka {fastcka.__version__}, float64, widths 3 to 6, sigma {sigma[1]:.4g} to {sigma[0]:.4g}"
    assert str(m).splitlines()[-1] == line


def test_the_page_shows_it(m, tmp_path):
    m.to_html(tmp_path / "m.html")
    page = (tmp_path / "m.html").read_text()
    for text in (m.provenance["samples"], "<dt>widths of B</dt><dd>3 to 6</dd>", "<th>sigma</th>"):
        assert text in page
    assert f"<tr><th>fc</th><td>B</td><td>3</td><td>{m.provenance['columns']['sigma']['fc']:.4g}</td>" in page


def test_streams_say_what_they_know():
    stream = fastcka.StreamingCKA()
    stream.update(LAYERS, {"z": X})
    exact = fastcka.cka_matrix(LAYERS, {"z": X})
    assert stream.result().provenance == exact.provenance
    grams = fastcka.StreamingCKA("minibatch", kernel="precomputed")
    grams.update([X @ X.T])
    assert grams.result().provenance["rows"] == {"widths": {"0": None}}  # as wide as each batch
    assert "widths" not in str(grams.result())

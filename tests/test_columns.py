# SPDX-License-Identifier: BSD-3-Clause
"""Columns of a table as layers: all pairs of variables in one call."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import xarray

import fastcka
from fastcka import reference


def variables(n=40, p=6):
    rng = np.random.default_rng(6)
    X = rng.normal(size=(n, p))
    X[:, 1] += X[:, 0] ** 2
    return X


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_values_are_those_of_each_pair(estimator):
    X = variables()
    found = fastcka.cka_matrix(fastcka.columns(X), kernel="distance", estimator=estimator)
    assert found.rows == tuple("012345")
    expected = [
        [reference.cka(X[:, [i]], X[:, [j]], kernel="distance", estimator=estimator) for j in range(6)]
        for i in range(6)
    ]
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-12)


def distance_correlation_sqr(x, y):
    """Székely, Rizzo and Bakirov 2007, definitions 3 to 5, as they stand."""

    def centred(z):
        d = np.abs(z[:, None] - z)
        return d - d.mean(0) - d.mean(1)[:, None] + d.mean()

    a, b = centred(x), centred(y)
    return np.mean(a * b) / np.sqrt(np.mean(a * a) * np.mean(b * b))


def test_the_distance_kernel_gives_squared_distance_correlations():
    X = variables()
    found = fastcka.cka_matrix(fastcka.columns(X), kernel="distance").values
    for i, j in np.ndindex(6, 6):
        assert found[i, j] == pytest.approx(distance_correlation_sqr(X[:, i], X[:, j]), abs=1e-12)


def test_the_linear_kernel_gives_squared_pearson_correlations():
    X = variables()
    found = fastcka.cka_matrix(fastcka.columns(X)).values
    np.testing.assert_allclose(found, np.corrcoef(X.T) ** 2, rtol=0, atol=1e-12)


def test_frames_give_names_and_samples():
    X, ids = variables(), [f"s{i}" for i in range(40)]
    frame = pandas.DataFrame(X, index=ids, columns=["age", "height", 3, 4.5, ("a", "b"), "x"])
    layers = fastcka.columns(frame)
    assert list(layers) == ["age", "height", "3", "4.5", "('a', 'b')", "x"]
    values = fastcka.cka_matrix(layers).values
    np.testing.assert_array_equal(values, fastcka.cka_matrix(fastcka.columns(X)).values)
    assert np.shares_memory(np.asarray(layers["height"]), frame.to_numpy())
    with pytest.raises(ValueError, match="hold different samples"):
        fastcka.cka_matrix(layers, fastcka.columns(frame.iloc[::-1]))
    array = xarray.DataArray(X, dims=("sample", "gene"), coords={"sample": ids, "gene": list("abcdef")})
    assert list(fastcka.columns(array)) == list("abcdef")
    np.testing.assert_array_equal(fastcka.cka_matrix(fastcka.columns(array)).values, values)
    with pytest.raises(ValueError, match="hold different samples"):
        fastcka.cka_matrix(layers, fastcka.columns(array[::-1]))
    assert list(fastcka.columns(array.drop_vars("gene"))) == list("012345")


def test_each_column_keeps_its_dtype():
    a = np.arange(2000, dtype=np.float32)
    frame = pandas.DataFrame({"a": a, "b": a > 3})
    assert [np.asarray(X).dtype.kind for X in fastcka.columns(frame).values()] == ["f", "b"]
    assert fastcka.plan(fastcka.columns(frame[["a"]])).dtype == "float32"
    assert np.asarray(fastcka.columns([[1, 2], [3, 5]])["1"]).tolist() == [[2], [5]]


def test_wrong_tables_are_refused():
    frame = pandas.DataFrame(variables(), columns=list("abcdef"))
    with pytest.raises(ValueError, match=r"two-dimensional, \(n_samples, n_variables\), got shape \(3,\)"):
        fastcka.columns([1, 2, 3])
    with pytest.raises(ValueError, match="two-dimensional"):
        fastcka.columns(frame["a"])
    with pytest.raises(ValueError, match="two columns of the same name: 'a'"):
        fastcka.columns(frame.rename(columns={"b": "a"}))
    with pytest.raises(ValueError, match="two columns of the same name: '1'"):
        fastcka.columns(frame.rename(columns={"a": 1, "b": "1"}))
    with pytest.raises(ValueError, match="no columns"):
        fastcka.columns(frame[[]])
    with pytest.raises(TypeError, match="layer 'g' of layers_a has columns that are not numbers"):
        fastcka.cka_matrix(fastcka.columns(frame.assign(g="red")))
    frame.loc[3, "c"] = np.nan
    with pytest.raises(ValueError, match="layer 'c' of layers_a contains NaN, first at sample 3"):
        fastcka.cka_matrix(fastcka.columns(frame))

# SPDX-License-Identifier: BSD-3-Clause
"""``nan_policy``: what a layer with NaN or infinity does to a matrix."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from implementations import each_estimator

import fastcka


@pytest.fixture
def layers(rng):
    return {name: rng.normal(size=(60, p)) for name, p in (("a", 5), ("b", 9), ("c", 4), ("d", 7))}


def broken(layers, **bad):
    return layers | {
        name: np.where(np.arange(60)[:, None] == row, value, layers[name])
        for name, (row, value) in bad.items()
    }


def test_raise_is_the_default(layers):
    bad = broken(layers, b=(7, np.nan))
    for options in ({}, {"nan_policy": "raise"}):
        with pytest.raises(
            ValueError, match=r"layer 'b' of layers_a contains NaN, first at sample 7, feature 0"
        ):
            fastcka.cka_matrix(bad, **options)


@each_estimator
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_propagate_leaves_the_other_layers_their_bits(layers, kernel, estimator):
    options = {"kernel": kernel, "estimator": estimator}
    bad = broken(layers, b=(7, np.nan), d=(59, -np.inf))
    with pytest.warns(fastcka.DegenerateWarning) as caught:
        matrix = fastcka.cka_matrix(bad, nan_policy="propagate", **options)
    (warning,) = caught
    assert warning.filename == __file__
    for text in (
        "layer 'b' of layers_a: contains NaN, first at sample 7, feature 0",
        "layer 'd' of layers_a: contains infinity, first at sample 59, feature 0",
    ):
        assert text in str(warning.message)
        assert text in matrix.warnings
    expected = fastcka.cka_matrix({name: layers[name] for name in "ac"}, **options)
    np.testing.assert_array_equal(matrix.values[::2, ::2], expected)
    assert np.isnan(matrix.values[1::2]).all()
    assert np.isnan(matrix.values[:, 1::2]).all()
    assert matrix.rows == ("a", "b", "c", "d")


def test_propagate_on_two_sides_with_a_degenerate_layer(layers):
    columns = {"x": layers["a"], "flat": np.ones((60, 3)), "bad": np.full((60, 2), np.nan)}
    with pytest.warns(fastcka.DegenerateWarning):
        matrix = fastcka.cka_matrix(broken(layers, a=(0, np.inf)), columns, nan_policy="propagate")
    assert [text.split(":")[0] for text in matrix.warnings] == [
        "layer 'a' of layers_a",
        "layer 'flat' of layers_b",
        "layer 'bad' of layers_b",
    ]
    assert np.isfinite(matrix.values).tolist() == [[False] * 3, *[[True, False, False]] * 3]


def test_propagate_without_a_layer_that_can_be_compared():
    with pytest.warns(fastcka.DegenerateWarning):
        matrix = fastcka.cka_matrix([np.full((5, 2), np.nan)] * 2, nan_policy="propagate")
    assert matrix.values.shape == (2, 2)
    assert np.isnan(matrix.values).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_propagate_finds_them_in_any_float(layers, dtype):
    bad = broken(layers, c=(30, np.nan))
    with pytest.warns(
        fastcka.DegenerateWarning, match="layer 'c' of layers_a: contains NaN, first at sample 30"
    ):
        fastcka.cka_matrix({name: X.astype(dtype) for name, X in bad.items()}, nan_policy="propagate")


def test_propagate_where_sums_overflow(layers):
    huge = layers | {"b": np.where(layers["b"] > 0, 1.7e308, -1.7e308)}
    with pytest.raises(ValueError, match="layer 'b' of layers_a"):
        fastcka.cka_matrix(huge)
    with pytest.warns(fastcka.DegenerateWarning, match="layer 'b' of layers_a"):
        matrix = fastcka.cka_matrix(huge, nan_policy="propagate")
    assert np.isnan(matrix.values).sum() == 7


def test_nothing_bad_is_the_same(layers):
    np.testing.assert_array_equal(
        fastcka.cka_matrix(layers, nan_policy="propagate"), fastcka.cka_matrix(layers)
    )


def test_float16_infinity_names_its_range(layers):
    with np.errstate(over="ignore"):
        bad = (layers["a"] * 1e5).astype(np.float16)
    with pytest.raises(ValueError, match=r"X contains infinity.*float16 ends at 65504"):
        fastcka.cka(bad, layers["b"])

# SPDX-License-Identifier: BSD-3-Clause
"""Several heat maps on one colour scale, and the heat map of a difference."""

from __future__ import annotations

import dataclasses
import itertools

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.collections import QuadMesh

import fastcka
from fastcka import CKAMatrix, plot_grid


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def matrix(n_rows=3, n_columns=3, top=1.0, models=("A", "B"), **settings):
    values = np.linspace(0.4, top, n_rows * n_columns).reshape(n_rows, n_columns)
    rows, columns = (tuple(f"layer {i}" for i in range(n)) for n in values.shape)
    return CKAMatrix(values, rows, columns, "linear", "unbiased", 100, models, **settings)


def mesh(ax):
    (found,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    return found


def bar(axes):
    (found,) = [ax for ax in axes[0, 0].figure.axes if ax not in set(axes.flat)]
    return found


def test_heat_maps_share_one_scale_and_one_bar():
    axes = plot_grid([matrix(), matrix(top=0.5)], vmin="auto")
    assert axes.shape == (1, 2)
    assert [mesh(ax).get_clim() for ax in axes.flat] == [(0.4, 1.0)] * 2
    assert bar(axes).get_ylabel() == "unbiased CKA, linear"


def test_an_arrow_shows_that_any_of_them_leaves_the_scale():
    def extend(*matrices):
        (found,) = [mesh(ax).colorbar for ax in plot_grid(list(matrices)).flat if mesh(ax).colorbar]
        return found.extend

    below = dataclasses.replace(matrix(), values=matrix().values - 0.5)
    assert (extend(matrix(), matrix()), extend(below, matrix())) == ("neither", "min")


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (9, (3, 3)), (17, (5, 4))])
def test_as_many_in_a_row_as_fit(n, shape):
    axes = plot_grid({f"title {k}": matrix() for k in range(n)}, annotate=False)
    assert axes.shape == shape
    assert [ax.get_title() for ax in list(axes.flat)[:n]] == [f"title {k}" for k in range(n)]
    assert not any(ax.axison for ax in list(axes.flat)[n:])


def test_rows_stay_rows_and_cells_are_of_one_size():
    sizes = {"A": 2, "B": 4, "C": 3}
    grid = [[matrix(m, n, models=(a, b)) for b, n in sizes.items()] for a, m in sizes.items()]
    axes = plot_grid(grid)
    axes[0, 0].figure.canvas.draw()
    for i, row in enumerate(grid):
        for j, found in enumerate(row):
            np.testing.assert_array_equal(mesh(axes[i, j]).get_array(), found.values)
    boxes = [ax.get_window_extent() for ax in axes.flat]
    sides = [box.width / m.shape[1] for box, m in zip(boxes, itertools.chain(*grid), strict=True)]
    np.testing.assert_allclose(sides, sides[0], rtol=0.01)


def test_an_axis_is_named_once_where_neighbours_share_it():
    grid = [[matrix(models=(a, b)) for b in "AB"] for a in "AB"]
    axes = plot_grid(grid)
    assert [ax.get_ylabel() for ax in axes.flat] == ["A", "", "B", ""]
    assert [ax.get_xlabel() for ax in axes.flat] == ["", "", "A", "B"]
    other = plot_grid([matrix(models=("A", "B")), matrix(models=("C", "B"))])
    assert [ax.get_ylabel() for ax in other.flat] == ["A", "C"]


def test_the_bar_says_what_all_have_in_common():
    rbf = dataclasses.replace(matrix(), kernel="rbf")
    assert bar(plot_grid([matrix(), rbf])).get_ylabel() == "unbiased CKA"
    assert bar(plot_grid([rbf, dataclasses.replace(rbf, estimator="biased")])).get_ylabel() == "CKA"
    assert bar(plot_grid([matrix(), rbf], label="mine")).get_ylabel() == "mine"
    rv2 = dataclasses.replace(matrix(), measure="rv2", estimator=None)
    assert bar(plot_grid([rv2, dataclasses.replace(rv2, kernel="rbf")])).get_ylabel() == "RV2"
    assert bar(plot_grid([matrix(), rv2])).get_ylabel() == "CKA, RV2"


def test_a_grid_has_one_key():
    undefined = dataclasses.replace(matrix(), values=np.full((3, 3), np.nan))
    figure = plot_grid([matrix(), undefined, undefined], highlight="best")[0, 0].figure
    (key,) = figure.legends
    assert sorted(text.get_text() for text in key.get_texts()) == ["best of its row", "undefined"]


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match="at least one CKAMatrix"):
        plot_grid([])
    with pytest.raises(TypeError, match="expected CKAMatrix objects, got array"):
        plot_grid([np.eye(3)])
    with pytest.raises(TypeError, match=r"expected CKAMatrix objects, got \[CKAMatrix"):
        plot_grid({"rows": [matrix(), matrix()]})
    with pytest.raises(TypeError, match="expected a mapping or sequence of CKAMatrix objects, got CKAMatrix"):
        plot_grid(matrix())


# Differences ------------------------------------------------------------------------------------------------


def test_a_difference_is_drawn_about_zero():
    before = dataclasses.replace(matrix(), values=matrix().values + np.linspace(-0.12, 0.02, 9).reshape(3, 3))
    ax = before.plot_difference(matrix())
    np.testing.assert_allclose(mesh(ax).get_array(), np.linspace(-0.12, 0.02, 9).reshape(3, 3))
    assert mesh(ax).get_clim() == pytest.approx((-0.15, 0.15))
    white = mesh(ax).cmap(mesh(ax).norm(0.0))
    assert min(white[:3]) > 0.95
    written = {text.get_text() for text in ax.artists + ax.texts}
    assert {"−0.12", "+0.02"} <= written
    (beside,) = ax.child_axes
    assert beside.get_ylabel().replace("\n", " ") == "difference in unbiased CKA, linear"


def test_a_difference_needs_the_same_layers():
    with pytest.raises(ValueError, match="same names, in the same order"):
        matrix().plot_difference(matrix(3, 2))
    with pytest.raises(ValueError, match="limit: expected a number above zero, got 0"):
        matrix().plot_difference(matrix(), limit=0)
    with pytest.raises(TypeError, match="other: expected a CKAMatrix, got array"):
        matrix().plot_difference(np.eye(3))


def test_a_difference_marks_nothing_as_chance(rng):
    layers = {name: rng.normal(size=(30, 4)) for name in "ab"}
    found = fastcka.cka_matrix(layers, inference=True)
    assert found.not_above_chance.any()
    ax = found.plot_difference(fastcka.cka_matrix(layers, kernel="rbf", inference=True))
    assert [patch for patch in ax.patches if patch.get_hatch()] == []


def test_a_difference_of_other_settings_names_both():
    ax = matrix().plot_difference(dataclasses.replace(matrix(), kernel="rbf"))
    (beside,) = ax.child_axes
    assert beside.get_ylabel().replace("\n", " ") == "unbiased CKA, linear − unbiased CKA, rbf"

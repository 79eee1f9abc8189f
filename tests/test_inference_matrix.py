# SPDX-License-Identifier: BSD-3-Clause
"""``cka_matrix(inference=True)``: every pair as cka_test has it, in all shapes, formats and figures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from implementations import as_input, kernel_id, related
from scipy import stats

import fastcka

KERNELS = [fastcka.Linear(), fastcka.Cosine(), fastcka.RBF(0.7), fastcka.Distance(), "precomputed"]
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)


def some_layers(rng, n, kernel="linear", dtype="float64"):
    X, Y = related(rng, n, 12, 9)
    noise = rng.normal(size=(n, 5))
    return {
        name: as_input(Z, kernel).astype(dtype)
        for name, Z in {"x": X, "y": Y, "wide": np.hstack([X**2] * 20), "noise": noise}.items()
    }


@each_kernel
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("networks", [1, 2])
@pytest.mark.parametrize("n", [7, 150])
def test_every_pair_is_that_of_cka_test(rng, kernel, dtype, networks, n):
    layers = some_layers(rng, n, kernel, dtype)
    a, b = (layers, None) if networks == 1 else ({k: layers[k] for k in "xy"}, {"wide": layers["wide"]})
    matrix = fastcka.cka_matrix(a, b, kernel=kernel, inference=True)
    assert matrix.estimator == "biased"
    plain = fastcka.cka_matrix(a, b, kernel=kernel)
    np.testing.assert_array_equal(matrix.values, plain.values)
    rel = 1e-8 if dtype == "float64" or n <= 64 else 2e-3
    for i, row in enumerate(matrix.rows):
        for j, column in enumerate(matrix.columns):
            if networks == 1 and i == j:
                assert matrix.stderr[i, j] == 0
                assert np.isnan(matrix.pvalues[i, j])
                continue
            Y = (a if b is None else b)[column]
            test = fastcka.cka_test(a[row], Y, kernel=kernel, method=matrix.pvalue_method)
            assert matrix.unbiased[i, j] == pytest.approx(test.statistic, abs=rel)
            assert matrix.stderr[i, j] == pytest.approx(test.stderr, rel=rel)
            assert np.log(matrix.pvalues[i, j]) == pytest.approx(np.log(test.pvalue), rel=rel, abs=rel)
    linear = isinstance(kernel, fastcka.Linear | fastcka.Cosine)
    assert matrix.pvalue_method == ("moments" if linear else "chi2")
    if networks == 1:
        np.testing.assert_array_equal(matrix.stderr, matrix.stderr.T)
        np.testing.assert_array_equal(matrix.pvalues, matrix.pvalues.T)


@pytest.mark.parametrize("kernel", [fastcka.RBF(0.7), fastcka.Polynomial(), "precomputed"], ids=kernel_id)
@pytest.mark.parametrize(("dtype", "rel"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("n", [6, 130])
@pytest.mark.parametrize("two", [False, True])
def test_moments_on_request_are_those_of_cka_test(rng, kernel, dtype, rel, n, two):
    """Of any kernel. In one process on one grid only rounding differs: log p to 1e-12 or 1e-5."""
    layers = some_layers(rng, n, kernel, dtype)
    a, b = ({k: layers[k] for k in "xy"}, {"noise": layers["noise"]}) if two else (layers, None)
    matrix = fastcka.cka_matrix(a, b, kernel=kernel, inference="moments")
    assert matrix.pvalue_method == "moments"
    by_chi2 = fastcka.cka_matrix(a, b, kernel=kernel, inference=True)
    assert by_chi2.pvalue_method == "chi2"
    for name in ("values", "unbiased", "stderr", "zscores"):
        np.testing.assert_array_equal(getattr(matrix, name), getattr(by_chi2, name))
    for i, row in enumerate(matrix.rows):
        for j, column in enumerate(matrix.columns):
            if b is None and i == j:
                assert np.isnan(matrix.pvalues[i, j])
                continue
            test = fastcka.cka_test(a[row], (b or a)[column], kernel=kernel, method="moments")
            assert np.log(matrix.pvalues[i, j]) == pytest.approx(np.log(test.pvalue), rel=rel, abs=rel)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "distance"])
def test_moments_on_request_are_those_of_all_permutations(rng, kernel):
    """All 720 permutations of 6 samples: mean, variance and skewness, and the Pearson III tail of them."""
    layers = {name: rng.normal(size=(6, p)) for name, p in (("x", 2), ("y", 9), ("z", 4))}
    layers["y"][:, :2] += layers["x"]
    found = fastcka.cka_matrix(layers, kernel=kernel, inference="moments")
    u_centred = []
    for X in layers.values():
        K = fastcka.reference.gram(X, kernel=kernel)
        np.fill_diagonal(K, 0)
        r = K.sum(axis=0)
        W = K - (r + r[:, None]) / 4 + r.sum() / 20
        np.fill_diagonal(W, 0)
        u_centred.append(W / np.linalg.norm(W))
    for i, j in itertools.combinations(range(3), 2):
        W, V = u_centred[i], u_centred[j]
        null = np.array([np.vdot(W, V[np.ix_(p, p)]) for p in map(list, itertools.permutations(range(6)))])
        skewness = ((null - null.mean()) ** 3).mean() / null.std() ** 3
        expected = stats.pearson3.sf((np.vdot(W, V) - null.mean()) / null.std(), skewness)
        assert found.pvalues[i, j] == pytest.approx(np.clip(expected, 1 / 720, 1), rel=1e-11)


def test_moments_on_request_of_many_models(rng):
    layers = some_layers(rng, 40)
    models = {"a": {k: layers[k] for k in ("x", "wide")}, "b": {k: layers[k] for k in ("y", "noise")}}
    found = fastcka.cka_models(models, kernel="rbf", inference="moments").pair("a", "b")
    assert found.pvalue_method == "moments"
    for i, row in enumerate(found.rows):
        for j, column in enumerate(found.columns):
            test = fastcka.cka_test(models["a"][row], models["b"][column], kernel="rbf")
            assert found.pvalues[i, j] == pytest.approx(test.pvalue, rel=1e-10)


def test_either_method_with_a_linear_kernel(rng):
    layers = some_layers(rng, 80)
    moments, chi2 = (fastcka.cka_matrix(layers, inference=method) for method in ("moments", "chi2"))
    assert moments.equals(fastcka.cka_matrix(layers, inference=True))
    assert chi2.pvalue_method == "chi2"
    np.testing.assert_array_equal(chi2.stderr, moments.stderr)
    test = fastcka.cka_test(layers["x"], layers["noise"], method="chi2")
    assert chi2["x", "noise"] == moments["x", "noise"]
    assert chi2.pvalues[0, 3] == pytest.approx(test.pvalue, rel=1e-12)
    # the product of features is not made
    plans = [fastcka.plan(layers, inference=method) for method in ("moments", "chi2")]
    assert plans[0].flops > plans[1].flops


@pytest.mark.parametrize("networks", [1, 2])
def test_groups(rng, networks):
    layers = some_layers(rng, 120)
    labels = rng.integers(0, 9, size=120)
    b = None if networks == 1 else {"wide": layers["wide"], "noise": layers["noise"]}
    matrix = fastcka.cka_matrix(layers, b, inference=True, groups=labels)
    assert matrix.pvalues is None
    assert (matrix.n_groups, matrix.pvalue_method) == (9, None)
    for column in ("wide", "noise"):
        test = fastcka.cka_test(
            layers["x"], layers[column], method="permutation", n_resamples=9, groups=labels
        )
        assert matrix.stderr[0, matrix.columns.index(column)] == pytest.approx(test.stderr, rel=1e-9)
    with pytest.raises(ValueError, match="no p-values: see cka_test"):
        matrix.adjusted_pvalues()
    low, high = matrix.confidence_interval()
    assert np.all(low <= high)


def test_many_layers_and_any_number_of_threads(rng):
    layers = {str(i): rng.normal(size=(100, 1 + i % 7)) for i in range(41)}
    one, three = (fastcka.cka_matrix(layers, inference=True, n_threads=n) for n in (1, 3))
    for name in ("unbiased", "stderr", "pvalues"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
    part = fastcka.cka_matrix({k: layers[k] for k in ("3", "17", "40")}, inference=True)
    some = one[["3", "17", "40"], ["3", "17", "40"]]
    np.testing.assert_allclose(part.stderr, some.stderr, rtol=1e-9)
    np.testing.assert_allclose(part.pvalues, some.pvalues, rtol=1e-9)


def test_adjusted_pvalues_count_each_pair_once():
    p = np.full((4, 4), np.nan)
    pairs = {(0, 1): 0.01, (0, 2): 0.04, (0, 3): 0.03, (1, 2): 0.005, (1, 3): 0.5, (2, 3): 0.02}
    for (i, j), value in pairs.items():
        p[i, j] = p[j, i] = value
    names = ("a", "b", "c", "d")
    numbers = np.full((4, 4), 0.5)
    matrix = fastcka.CKAMatrix(
        numbers, names, names, "linear", "biased", 50, unbiased=numbers, stderr=numbers, pvalues=p
    )
    upper = tuple(np.array(list(pairs)).T)
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.5, 0.02), "holm"), "BH"
    holm, bh = matrix.adjusted_pvalues(), matrix.adjusted_pvalues("bh")
    np.testing.assert_allclose(holm[upper], [0.05, 0.09, 0.09, 0.03, 0.5, 0.08])
    np.testing.assert_allclose(bh[upper], [0.03, 0.048, 0.045, 0.03, 0.5, 0.04])
    for adjusted in (holm, bh):
        np.testing.assert_array_equal(adjusted, adjusted.T)
        assert np.isnan(np.diag(adjusted)).all()
    two = fastcka.CKAMatrix([[0.5, 0.5]], ("a",), ("b", "c"), "linear", "biased", 50, pvalues=[[0.01, 0.04]])
    np.testing.assert_allclose(two.adjusted_pvalues(), [[0.02, 0.04]])
    with pytest.raises(ValueError, match="expected 'holm' or 'bh', got 'bonferroni'"):
        matrix.adjusted_pvalues("bonferroni")
    bare = fastcka.CKAMatrix([[0.5]], ("a",), ("b",), "linear", "biased", 50)
    for call in (bare.adjusted_pvalues, bare.confidence_interval):
        with pytest.raises(ValueError, match="compare with inference=True"):
            call()


def test_kept_in_every_format_and_part(rng, tmp_path):
    layers = some_layers(rng, 50)
    matrix = fastcka.cka_matrix(layers, {"y": layers["y"], "noise": layers["noise"]}, inference=True)
    for suffix in ("npz", "json"):
        path = tmp_path / f"m.{suffix}"
        matrix.save(path)
        assert fastcka.CKAMatrix.load(path).equals(matrix)
    turned = matrix.T[["noise"], ["x", "wide"]]
    for name in ("unbiased", "stderr", "pvalues"):
        np.testing.assert_array_equal(getattr(turned, name), getattr(matrix, name)[[0, 2], 1][None])
    assert turned.pvalue_method == "moments"
    tidy = matrix.to_pandas(tidy=True)
    np.testing.assert_array_equal(tidy["pvalue"], matrix.pvalues.ravel())
    np.testing.assert_array_equal(tidy["stderr"], matrix.stderr.ravel())
    np.testing.assert_array_equal(matrix.to_xarray().coords["stderr"], matrix.stderr)
    matrix.to_csv(tmp_path / "m.csv")
    assert "# pvalues: [[" in (tmp_path / "m.csv").read_text()
    assert not matrix.equals(fastcka.cka_matrix(layers, {"y": layers["y"], "noise": layers["noise"]}))


def test_a_layer_without_cka_leaves_the_others_alone(rng):
    layers = some_layers(rng, 60)
    good = fastcka.cka_matrix(layers, inference=True)
    with pytest.warns(fastcka.DegenerateWarning, match="flat"):
        flat = fastcka.cka_matrix({**layers, "flat": np.ones((60, 2))}, inference=True)
    bad = np.where(np.arange(60)[:, None] == 3, np.nan, layers["x"])
    with pytest.warns(fastcka.DegenerateWarning, match="bad"):
        skipped = fastcka.cka_matrix(
            {"bad": bad, **layers}, inference=True, nan_policy="propagate", kernel="linear"
        )
    names = list(layers)
    for matrix, name in ((flat, "flat"), (skipped, "bad")):
        part = matrix[names, names]
        np.testing.assert_allclose(part.stderr, good.stderr, rtol=1e-9)
        np.testing.assert_allclose(part.pvalues, good.pvalues, rtol=1e-9)
        assert np.isnan(matrix[[name], :].stderr).all()
        assert np.isnan(matrix[[name], :].pvalues).all()


def test_pvalues_of_all_pairs_are_uniform_under_independence():
    """30 x 30 pairs of independent layers, seed 8: 0.1 is 3 times the usual distance (they share layers)."""
    rng = np.random.default_rng(8)
    a, b = ([rng.normal(size=(60, 6)) for _ in range(30)] for _ in range(2))
    p = np.sort(fastcka.cka_matrix(a, b, inference=True).pvalues.ravel())
    assert np.max(np.abs(p - (np.arange(900) + 0.5) / 900)) < 0.1


def test_the_plan_counts_the_second_pass(rng):
    layers = [np.zeros((500, 60), np.float32)] * 3
    without, linear, rbf = (
        fastcka.plan(layers, kernel=kernel, inference=inference)
        for kernel, inference in (("linear", False), ("linear", True), ("rbf", True))
    )
    assert linear.flops > without.flops
    assert "p-values by moments" in str(linear)
    assert "p-values by chi2" in str(rbf)
    assert "no p-values" in str(fastcka.plan(layers, inference=True, groups=np.arange(500) // 10))
    assert linear.bytes >= without.bytes


def test_the_plan_counts_the_third_moment_of_a_kernel():
    """n^3 / 2 multiply-adds for each layer, and at least the matrix of one. No median: it keeps as much."""
    n, layers = 6000, [np.broadcast_to(np.float32(0), (6000, 8))] * 5
    kernel = fastcka.RBF(sigma=1.0)
    chi2, moments = (fastcka.plan(layers, kernel=kernel, inference=x) for x in (True, "moments"))
    assert (chi2.pvalue_method, moments.pvalue_method) == ("chi2", "moments")
    assert moments.flops - chi2.flops == 5 * n**3
    assert moments.bytes >= max(chi2.bytes + 1, 4 * n**2)
    assert "p-values by moments" in str(moments)
    with pytest.raises(MemoryError, match="max_bytes is 200000000; inference='chi2' needs least"):
        fastcka.plan(layers, kernel="rbf", inference="moments", max_bytes="200MB")
    assert fastcka.plan(layers, kernel="rbf", inference=True, max_bytes="200MB").pvalue_method == "chi2"


def test_arguments(rng):
    layers = some_layers(rng, 30)
    with pytest.raises(ValueError, match="inference=True is for measure='cka', got measure='rv2'"):
        fastcka.cka_matrix(layers, measure="rv2", inference=True)
    with pytest.raises(ValueError, match="inference=True needs at least 6 samples, got 5"):
        fastcka.cka_matrix({"x": layers["x"][:5]}, inference=True)
    with pytest.raises(ValueError, match="groups need inference=True"):
        fastcka.cka_matrix(layers, groups=np.arange(30))
    with pytest.raises(ValueError, match="only 3 samples are outside the largest group; 4 are needed"):
        fastcka.cka_matrix(layers, inference=True, groups=[0] * 27 + [1] * 3)
    with pytest.raises(TypeError, match="groups: labels must be all numbers or all strings"):
        fastcka.cka_matrix(layers, inference=True, groups=["a", None] * 15)
    with pytest.raises(ValueError, match="inference must be True, False, 'moments' or 'chi2', got 'exact'"):
        fastcka.cka_matrix(layers, inference="exact")
    with pytest.raises(TypeError, match="inference must be True, False, 'moments' or 'chi2', got 1"):
        fastcka.plan(layers, inference=1)
    with pytest.raises(ValueError, match="no p-values by moments or chi2"):
        fastcka.cka_matrix(layers, inference="moments", groups=np.arange(30) // 3)
    with pytest.raises(MemoryError, match="max_bytes"):
        fastcka.cka_matrix(layers, inference=True, max_bytes=40_000)


# ---- print and figures


def half_related(rng):
    X, Y = related(rng, 60, 6, 5)
    return fastcka.cka_matrix(
        {"x": X, "y": Y}, {"x": X + rng.normal(size=X.shape), "y": rng.normal(size=(60, 4))}, inference=True
    )


def test_print_marks_what_is_not_above_chance(rng):
    matrix = half_related(rng)
    marked = matrix.adjusted_pvalues("bh") >= 0.05
    assert marked.tolist() == [[False, True], [False, True]]
    lines = str(matrix).splitlines()
    assert "° not above chance" in " ".join(" ".join(lines[:3]).split())
    assert sum("°" in line for line in lines[-3:]) == 2
    plain = fastcka.cka_matrix({"x": rng.normal(size=(60, 3))})
    assert "°" not in str(plain)
    assert plain.not_above_chance is None


def test_p_values_are_adjusted_once_for_a_table_not_for_each_cell(rng, monkeypatch):
    from fastcka.results import comparison

    calls, adjusted = [], comparison.adjusted
    monkeypatch.setattr(comparison, "adjusted", lambda *a, **b: calls.append(a) or adjusted(*a, **b))
    matrix = fastcka.cka_matrix([rng.normal(size=(20, 3)) for _ in range(12)], inference=True)
    assert len(str(matrix).splitlines()) > 12
    assert len(calls) == 2  # for the cells and for the title


def test_figures_show_chance_and_intervals(rng, tmp_path):
    from matplotlib import pyplot

    matrix = half_related(rng)
    ax = matrix.plot()
    (hatched,) = [patch for patch in ax.patches if patch.get_hatch() == "////"]
    cells = hatched.get_path().to_polygons()
    assert [tuple(cell.min(axis=0)) for cell in cells] == [(0.5, -0.5), (0.5, 0.5)]
    assert [tuple(cell.max(axis=0)) for cell in cells] == [(1.5, 0.5), (1.5, 1.5)]
    assert "not above chance" in [text.get_text() for text in ax.get_legend().get_texts()]
    curve = matrix.plot_curve()
    assert "unbiased, 95 %" in [text.get_text() for text in curve.get_legend().get_texts()]
    (bars,) = curve.containers
    low, high = matrix.confidence_interval()
    ends = np.array(bars.lines[2][0].get_segments())
    np.testing.assert_allclose(ends[:, 0, 1], np.diag(low))
    np.testing.assert_allclose(ends[:, 1, 1], np.diag(high))
    pyplot.close("all")
    matrix.to_html(tmp_path / "m.html")
    page = (tmp_path / "m.html").read_text()
    for name in ("unbiased", "95 % from", "p-value"):
        assert f'"name": "{name}"' in page

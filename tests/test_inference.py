# SPDX-License-Identifier: BSD-3-Clause
"""cka_test: moments against all permutations, errors against brute force, p-values against the null."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from implementations import as_input, each_estimator, kernel_id, related

import fastcka
from fastcka import _permutation_moments, reference
from fastcka._tails import chi2_sf, pearson3_sf, t_quantile
from fastcka.kernels import resolve_kernel
from fastcka.reference.digits import gram_for_centering
from fastcka.reference.kernels import squared_distances

KERNELS = [
    fastcka.Linear(),
    fastcka.Cosine(),
    fastcka.RBF(0.7),
    fastcka.Laplacian(),
    fastcka.Polynomial(3),
    fastcka.Distance(),
    "precomputed",
]
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)


def centred(X, kernel, estimator):
    return reference._centered_gram(X, kernel, estimator)


def permuted_values(K, L, orders):
    scale = np.linalg.norm(K) * np.linalg.norm(L)
    return np.array([np.vdot(K, L[order][:, order]) for order in orders]) / scale


# ---- moments


@each_kernel
@each_estimator
@pytest.mark.parametrize("shape", [(6, 2, 3), (7, 3, 2), (7, 30, 40)], ids=str)
def test_moments_are_those_of_all_permutations(rng, kernel, estimator, shape):
    n, p, q = shape
    X, Y = (as_input(Z, kernel) for Z in (rng.normal(size=(n, p)) ** 3, rng.normal(size=(n, q)) + 0.3))
    orders = [list(order) for order in itertools.permutations(range(n))]
    values = permuted_values(centred(X, kernel, estimator), centred(Y, kernel, estimator), orders)
    mean, std = values.mean(), values.std()
    test = fastcka.cka_test(X, Y, kernel=kernel, estimator=estimator)
    assert test.null_mean == pytest.approx(mean, abs=1e-12)
    assert test.null_std**2 == pytest.approx(std**2, abs=1e-12)
    third = ((values - mean) ** 3).mean()
    assert test.null_skewness * test.null_std**3 == pytest.approx(third, abs=1e-12)
    assert test.statistic == pytest.approx(values[0], abs=1e-12)
    assert test.zscore == pytest.approx((values[0] - mean) / std, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_moments_of_wide_layers_lose_no_digits(rng, dtype):
    """Biased CKA of 70 x 5000 noise is 0.99 with a spread of 1e-4, which no difference may drown."""
    X, Y = (rng.normal(size=(70, 5000)).astype(dtype) for _ in range(2))
    K, L = (centred(Z, "linear", "biased") for Z in (X, Y))
    test = fastcka.cka_test(X, Y, estimator="biased")
    sample = permuted_values(K, L, [rng.permutation(70) for _ in range(4000)])
    # Of 4000 draws: standard errors of mean, standard deviation and skewness, times 4.
    assert test.null_mean == pytest.approx(sample.mean(), abs=4 * sample.std() / 4000**0.5)
    assert test.null_std == pytest.approx(sample.std(), rel=4 / 8000**0.5)
    assert test.null_skewness == pytest.approx(scipy.stats.skew(sample), abs=4 * (6 / 4000) ** 0.5)


@pytest.mark.parametrize("kernel", [fastcka.Linear(), fastcka.RBF(), fastcka.Cosine()], ids=kernel_id)
@pytest.mark.parametrize("shape", [(130, 20, 300), (300, 40, 7)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_skewness_by_either_way_to_the_trace_of_the_cube(rng, kernel, shape, dtype):
    n, p, q = shape
    X, Y = (np.exp(rng.normal(size=(n, width))).astype(dtype) for width in (p, q))
    K, L = (centred(Z.astype(float), kernel, "unbiased") for Z in (X, Y))
    K, L = K / np.linalg.norm(K), L / np.linalg.norm(L)

    def pi(of):
        return of(K) * of(L)

    def cubes(W):
        return (W**3).sum()

    def traces(W):
        return np.trace(W @ W @ W)

    n2, n3, n4, n5, n6 = (float(np.prod(np.arange(n, n - k, -1.0))) for k in range(2, 7))
    third = (
        4 * pi(cubes) / n2
        + (24 * pi(cubes) + 8 * pi(traces)) / n3
        + (56 * pi(cubes) + 24 * pi(lambda W: cubes(W) - traces(W))) / n4
        + 12 * pi(lambda W: 2 * traces(W) - 4 * cubes(W)) / n5
        + pi(lambda W: 16 * cubes(W) - 8 * traces(W)) / n6
    )
    expected = third / (2 / (n * (n - 3))) ** 1.5
    got = fastcka.cka_test(X, Y, kernel=kernel).null_skewness
    assert got == pytest.approx(expected, rel=1e-9 if dtype == "float64" else 1e-4)


def sums_of_samples(X, kernel):
    """Return what moments are made of, from whole matrices; a test above holds the formulas that follow."""
    K, k = centred(X, kernel, "unbiased"), np.diag(centred(X, kernel, "biased")).copy()
    deviations = k - k.mean()
    return _permutation_moments.Invariants.of(
        k[:, None],
        (K**2).sum(axis=1)[:, None],
        np.array([(K**3).sum()]),
        np.array([deviations @ K @ deviations]),
        np.array([np.trace(K @ K @ K)]),
    )


@each_estimator
@pytest.mark.parametrize("kernel", [fastcka.Cosine(), fastcka.RBF(0.7), fastcka.Polynomial(3)], ids=kernel_id)
def test_moments_of_many_samples(rng, kernel, estimator):
    """Enough of them for several blocks of rows, whose sums are added."""
    X, Y = (np.exp(rng.normal(size=(700, width))) for width in (9, 30))
    of = _permutation_moments.biased if estimator == "biased" else _permutation_moments.unbiased
    expected = of(sums_of_samples(X, kernel), sums_of_samples(Y, kernel))
    test = fastcka.cka_test(X, Y, kernel=kernel, estimator=estimator)
    found = (test.null_mean, test.null_std, test.null_skewness)
    np.testing.assert_allclose(found, np.ravel(expected), rtol=1e-9, atol=1e-12)


# ---- tails


@pytest.mark.parametrize("skewness", [-3.0, -0.4, 1.9e-3, 2.1e-3, 0.05, 0.7, 2.0, 5.0])
def test_pearson_tail_is_scipys(skewness):
    z = np.concatenate([np.linspace(-5, 5, 41), [0.0, 1e-6, 8.0, 15.0, 30.0]])
    a = 4 / skewness**2
    x = a + np.sign(skewness) * z * np.sqrt(a)
    tail = scipy.special.gammaincc if skewness > 0 else scipy.special.gammainc
    expected = np.where(x > 0, tail(a, np.maximum(x, 0)), 1.0 if skewness > 0 else 0.0)
    np.testing.assert_allclose(pearson3_sf(z, skewness), expected, rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("skewness", [-1e-3, -2.1e-3, -0.05])
def test_lower_tail_of_a_large_shape_is_the_integral_of_its_density(skewness):
    """scipy.special.gammainc is off by factors in these tails."""
    root = 2 / abs(skewness)

    def density(t):
        return np.exp((root**2 - 1) * np.log1p(-t / root) + root * t)

    whole = scipy.integrate.quad(density, -12, 12, epsabs=0, epsrel=1e-11, limit=200)[0]
    for z in (-2.0, 0.0, 3.0, 8.0):
        tail = scipy.integrate.quad(density, z, z + 8, epsabs=0, epsrel=1e-11, limit=200)[0]
        assert pearson3_sf(z, skewness) == pytest.approx(tail / whole, rel=1e-9)


@pytest.mark.parametrize("skewness", [-1e-5, 1e-12, 0.0, 1e-5])
def test_pearson_tail_of_a_small_skewness_is_the_edgeworth_one(skewness):
    """Where scipy loses digits (factors, in the tails): normal, and the correction of first order."""
    z = np.linspace(-3, 5, 33)
    first = scipy.stats.norm.sf(z) + skewness / 6 * (z**2 - 1) * scipy.stats.norm.pdf(z)
    np.testing.assert_allclose(pearson3_sf(z, skewness), first, rtol=1e-6)
    far = pearson3_sf([15.0, 30.0], skewness) / scipy.stats.norm.sf([15.0, 30.0])
    expected = skewness / 6 * np.array([15.0, 30.0]) ** 3  # of the logarithm, up to 1 / z^2 of it
    np.testing.assert_allclose(np.log(far), expected, rtol=0.02, atol=1e-8)


def test_other_tails_are_scipys():
    x = np.array([-1.0, 0.0, 0.3, 1.0, 5.0, 50.0, 700.0])
    np.testing.assert_allclose(chi2_sf(x), scipy.stats.chi2.sf(x, 1), rtol=1e-12)
    for degrees in (1, 2, 3, 7, 31, 200, 100_000):
        for level in (0.5, 0.9, 0.95, 0.999):
            expected = scipy.stats.t.ppf((1 + level) / 2, degrees)
            assert t_quantile(level, degrees) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(pearson3_sf(np.nan, 1.0))


# ---- standard errors


def fixed(kernel, X):
    """The kernel with the sigma that it has for all samples of X."""
    kernel = resolve_kernel(kernel)
    if kernel.name not in ("rbf", "laplacian"):
        return kernel
    D2 = squared_distances(X)
    return type(kernel)(sigma=kernel.bandwidth * np.sqrt(np.median(D2)))


def brute_force_stderr(X, Y, kernel, estimator, groups):
    kernels = [fixed(kernel, Z) if kernel != "precomputed" else kernel for Z in (X, Y)]
    grams = [gram_for_centering(Z, k) for Z, k in zip((X, Y), kernels, strict=True)]

    def cka(keep):
        K, L = (centred(G[np.ix_(keep, keep)], "precomputed", estimator) for G in grams)
        return np.vdot(K, L) / np.linalg.norm(K) / np.linalg.norm(L)

    n = len(X)
    labels = np.arange(n) if groups is None else groups
    numbers = np.unique(labels)
    sizes = np.array([np.sum(labels == g) for g in numbers])
    left_out = np.array([cka(np.flatnonzero(labels != g)) for g in numbers])
    # Busing et al. 1999
    h, whole = n / sizes, cka(np.arange(n))
    mean = len(numbers) * whole - np.sum((1 - sizes / n) * left_out)
    pseudo = h * whole - (h - 1) * left_out
    return np.sqrt(np.mean((pseudo - mean) ** 2 / (h - 1)))


@each_kernel
@each_estimator
@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_standard_errors_are_those_of_brute_force(rng, kernel, estimator, grouped, dtype):
    X, Y = (as_input(Z, kernel).astype(dtype) for Z in related(rng, 101, 9, 6))
    groups = rng.integers(0, 7, size=101) if grouped else None
    expected = brute_force_stderr(X.astype(float), Y.astype(float), kernel, estimator, groups)
    options = {"method": "permutation", "n_resamples": 9} if grouped else {}
    test = fastcka.cka_test(X, Y, kernel=kernel, estimator=estimator, groups=groups, rng=1, **options)
    assert test.stderr == pytest.approx(expected, rel=1e-9 if dtype == "float64" else 1e-3)
    assert test.n_groups == (7 if grouped else None)


def test_standard_error_of_the_smallest_sets(rng):
    X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)) + np.arange(5)[:, None]
    expected = brute_force_stderr(X, Y, "linear", "unbiased", None)
    assert fastcka.cka_test(X, Y, method="chi2").stderr == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert np.isnan(fastcka.cka_test(X[:4], Y[:4], method="chi2").stderr)


def correlated(rng, n):
    """Gaussian X and Y of 100 features with three factors in common, and their CKA for many samples."""
    A, B = np.random.default_rng(0).normal(size=(2, 3, 100)) / 4
    factors = rng.normal(size=(n, 3))
    X, Y = (factors @ side + rng.normal(size=(n, 100)) for side in (A, B))
    covariances = [side.T @ side + np.eye(100) for side in (A, B)]
    truth = np.sum((A.T @ B) ** 2) / np.linalg.norm(covariances[0]) / np.linalg.norm(covariances[1])
    return X, Y, truth


def test_intervals_cover_at_their_rate_and_those_of_the_bootstrap_do_not():
    """300 trials of 80 samples, seed 5: a coverage of 0.95 is seen as 0.95 -+ 0.038 in 997 of 1000 runs."""
    rng = np.random.default_rng(5)
    trials, resampled, covered, bootstrap = 300, 20, 0, 0
    for trial in range(trials):
        X, Y, truth = correlated(rng, 80)
        low, high = fastcka.cka_test(X, Y, method="chi2").confidence_interval(0.95)
        covered += low <= truth <= high
        if trial < resampled:
            draws = [rng.integers(0, 80, size=80) for _ in range(100)]
            values = [fastcka.cka(X[draw], Y[draw], estimator="unbiased") for draw in draws]
            low, high = np.percentile(values, [2.5, 97.5])
            bootstrap += low <= truth <= high
    assert abs(covered / trials - 0.95) < 0.038
    assert bootstrap == 0  # a sample drawn twice is similar to itself: values are 0.2 too high


# ---- p-values under the null hypothesis, and away from it


def kolmogorov(pvalues):
    """Largest distance of the empirical distribution from the uniform one."""
    p = np.sort(pvalues)
    steps = np.arange(len(p) + 1) / len(p)
    return max(np.max(steps[1:] - p), np.max(p - steps[:-1]))


@pytest.mark.parametrize("kernel", [fastcka.Linear(), fastcka.RBF(), fastcka.Distance()], ids=kernel_id)
@each_estimator
def test_pvalues_are_uniform_under_independence(kernel, estimator):
    """400 trials, seed 1: uniform p-values are further than 1.95 / sqrt(400) apart once in a thousand times.

    Another 0.02 are for Pearson III, which has three moments of the distribution right, not all.
    """
    rng = np.random.default_rng(1)
    pvalues = [
        fastcka.cka_test(
            np.exp(rng.normal(size=(40, 5))), rng.normal(size=(40, 3)), kernel=kernel, estimator=estimator
        ).pvalue
        for _ in range(400)
    ]
    assert kolmogorov(pvalues) < 1.95 / 20 + 0.02


def test_chi_squared_is_conservative():
    """400 trials, seed 2, levels up to 0.05: at 0.1, narrow linear layers exceed it (0.16)."""
    rng = np.random.default_rng(2)
    pvalues = np.array(
        [
            fastcka.cka_test(rng.normal(size=(50, 4)), rng.normal(size=(50, 6)), method="chi2").pvalue
            for _ in range(400)
        ]
    )
    for level in (0.01, 0.05):
        assert np.mean(pvalues <= level) <= level + 3 * np.sqrt(level * (1 - level) / 400)


@pytest.mark.parametrize("permute", ["within", "groups"])
def test_pvalues_with_groups_are_uniform_under_their_null(permute):
    """200 trials, seed 3. 10 texts of 6 positions; under either null the other order is far from uniform."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(10), 6)
    right, wrong = [], []
    for _ in range(200):
        if permute == "within":  # texts differ, and in both layers alike
            shared = np.repeat(rng.normal(size=(10, 2)), 6, axis=0)
        else:  # positions differ, and in both layers alike
            shared = np.tile(rng.normal(size=(6, 2)), (10, 1))
        X, Y = (shared @ rng.normal(size=(2, 4)) + rng.normal(size=(60, 4)) for _ in range(2))
        options = {"method": "permutation", "n_resamples": 199, "groups": labels, "rng": rng}
        right.append(fastcka.cka_test(X, Y, permute=permute, **options).pvalue)
        other = "groups" if permute == "within" else "within"
        wrong.append(fastcka.cka_test(X, Y, permute=other, **options).pvalue)
    assert kolmogorov(right) < 1.95 / np.sqrt(200)
    assert kolmogorov(wrong) > 0.4


def test_power_is_that_of_the_permutation_test():
    """150 trials, seed 4: the same decisions at 5 % but for a few that lie on the edge."""
    rng = np.random.default_rng(4)
    decisions = []
    for _ in range(150):
        X = rng.normal(size=(40, 6))
        Y = 0.1 * X @ rng.normal(size=(6, 5)) + rng.normal(size=(40, 5))
        permutations = fastcka.cka_test(X, Y, method="permutation", n_resamples=999, rng=rng)
        decisions.append([fastcka.cka_test(X, Y).pvalue < 0.05, permutations.pvalue < 0.05])
    moments, permuted = np.array(decisions).T
    assert 0.2 < permuted.mean() < 0.95  # neither hopeless nor obvious
    assert np.sum(moments != permuted) <= 6


# ---- permutations


@pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)
@each_estimator
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_null_distribution_is_that_of_the_definition(rng, kernel, estimator, dtype):
    X, Y = (as_input(Z, kernel).astype(dtype) for Z in related(rng, 75, 6, 4))
    test = fastcka.cka_test(
        X, Y, kernel=kernel, estimator=estimator, method="permutation", n_resamples=30, rng=7
    )
    again = np.random.default_rng(7)
    orders = [again.permutation(75) for _ in range(30)]
    K, L = (centred(Z.astype(float), kernel, estimator) for Z in (X, Y))
    expected = permuted_values(K, L, orders)
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(test.null_distribution, expected, rtol=0, atol=tolerance)
    larger = np.sum(expected >= permuted_values(K, L, [np.arange(75)]))
    assert test.pvalue == (1 + larger) / 31


@pytest.mark.parametrize("shape", [(300, 3, 500), (90, 400, 300)], ids=str)
def test_wide_layers_are_permuted_as_matrices(rng, shape):
    n, p, q = shape
    X, Y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    test = fastcka.cka_test(X, Y, method="permutation", n_resamples=20, rng=7)
    again = np.random.default_rng(7)
    expected = [reference.cka(X, Y[again.permutation(n)], estimator="unbiased") for _ in range(20)]
    np.testing.assert_allclose(test.null_distribution, expected, rtol=0, atol=1e-12)


def test_ties_count_in_spite_of_rounding(rng):
    """Every order of twelve copies of two samples has its twins: many permutations have exactly the value."""
    X = np.repeat(rng.normal(size=(2, 3)), 3, axis=0)
    test = fastcka.cka_test(X, X, method="permutation", n_resamples=4000, rng=1)
    # 2 * 3! * 3! of 720 orders
    assert test.pvalue == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 4000))


def test_orders_within_groups_and_of_groups(rng):
    labels = np.array(["b", "a", "b", "a", "c", "c"])
    X = np.arange(6.0)[:, None] * [1.0, 0.3] + rng.normal(size=(6, 2))
    seen = {}
    for permute in ("within", "groups"):
        test = fastcka.cka_test(
            X, X, method="permutation", n_resamples=400, groups=labels, permute=permute, rng=2
        )
        seen[permute] = len(np.unique(test.null_distribution.round(9)))
    # 2^3 orders within, 3! of groups; a value is shared by an order and its inverse.
    assert seen["within"] == 8
    assert seen["groups"] <= 6


# ---- published numbers


def test_distance_kernel_is_the_bias_corrected_distance_correlation():
    """dcor's doctests: u_distance_correlation_sqr of these is -0.5, and -0.4050479 with exponent 0.5."""
    a, b = np.arange(1.0, 17).reshape(4, 4), np.array([[1.0], [0], [0], [1]])
    assert fastcka.cka_test(a, b, kernel="distance", method="chi2").statistic == pytest.approx(-0.5)
    half = fastcka.cka_test(a, b, kernel=fastcka.Distance(0.5), method="chi2").statistic
    assert half == pytest.approx(-0.4050479, abs=1e-7)


# ---- partial CKA


def test_partial_cka_is_a_partial_correlation(rng):
    X, Y = related(rng, 60, 7, 5)
    Z = X[:, :3] + rng.normal(size=(60, 3))
    for kernel in ("linear", fastcka.RBF(sigma=3.0), "distance"):
        xy, xz, yz = (
            reference.cka(*pair, kernel=kernel, estimator="unbiased") for pair in ((X, Y), (X, Z), (Y, Z))
        )
        expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
        test = fastcka.cka_test(X, Y, confounder=Z, kernel=kernel)
        assert test.statistic == pytest.approx(expected, abs=1e-12)

        def partial(keep, kernel=kernel):
            c = [
                reference.cka(A[keep], B[keep], kernel=kernel, estimator="unbiased")
                for A, B in ((X, Y), (X, Z), (Y, Z))
            ]
            return (c[0] - c[1] * c[2]) / np.sqrt((1 - c[1] ** 2) * (1 - c[2] ** 2))

        values = np.array([partial(np.delete(np.arange(60), i)) for i in range(60)])
        assert test.stderr == pytest.approx(
            np.sqrt(59 / 60 * np.sum((values - values.mean()) ** 2)), rel=1e-9
        )
        by_orders = fastcka.cka_test(X, Y, confounder=Z, kernel=kernel, method="permutation", n_resamples=500)
        assert by_orders.statistic == test.statistic
        assert by_orders.null_std == pytest.approx(test.null_std, rel=0.2)
    assert "partial unbiased CKA" in str(test)


def test_partial_cka_takes_away_what_a_confounder_explains():
    """X and Y are functions of Z and of nothing else in common: 100 trials, seed 6, level 5 %."""
    rng = np.random.default_rng(6)
    plain, partial = [], []
    for _ in range(100):
        Z = rng.normal(size=(60, 2))
        X, Y = (Z + 0.5 * rng.normal(size=(60, 2)) for _ in range(2))
        plain.append(fastcka.cka_test(X, Y).pvalue)
        partial.append(fastcka.cka_test(X, Y, confounder=Z).statistic)
    assert np.max(plain) < 1e-4
    assert abs(np.mean(partial)) < 0.1 < np.mean([reference.cka(X, Y, estimator="unbiased")])


# ---- doors


def test_the_result_prints_and_repeats(rng):
    X, Y = related(rng, 50, 7, 5)
    test = fastcka.cka_test(X, Y)
    low, high = test.confidence_interval()
    assert low < test.statistic < high
    wider = test.confidence_interval(0.999)
    assert wider[0] < low
    assert high < wider[1]
    text = str(test)
    for part in ("unbiased CKA, linear", "50 samples", "95 % interval", "standard error", "z =", "p-value"):
        assert part in text
    assert repr(test).startswith("CKATest(statistic=")
    for n_threads in (1, 2, 3):
        assert repr(fastcka.cka_test(X, Y, n_threads=n_threads)) == repr(test)
    permuted = {"method": "permutation", "n_resamples": 99, "rng": 3}
    one, two = (fastcka.cka_test(X, Y, n_threads=n, **permuted) for n in (1, 2))
    np.testing.assert_array_equal(one.null_distribution, two.null_distribution)


def test_pvalues_are_never_zero(rng):
    X = rng.normal(size=(400, 5))
    assert 0 < fastcka.cka_test(X, X).pvalue < 1e-200
    assert 0 < fastcka.cka_test(X, X, method="chi2").pvalue < 1e-80
    assert fastcka.cka_test(X, X, method="permutation", n_resamples=99).pvalue == 0.01
    assert fastcka.cka_test(X[:6], X[:6]).pvalue >= 1 / 720


def test_degenerate_layers_have_no_test(rng):
    X, flat = rng.normal(size=(20, 3)), np.ones((20, 2))
    for options in ({}, {"method": "chi2"}, {"method": "permutation"}, {"estimator": "biased"}):
        with pytest.warns(fastcka.DegenerateWarning, match="^not defined, nan instead: Y: no variation"):
            test = fastcka.cka_test(X, flat, **options)
        assert np.isnan([test.statistic, test.pvalue, test.stderr]).all()
    with pytest.warns(fastcka.DegenerateWarning, match="nan instead: Y: no variation") as caught:
        assert np.isnan(fastcka.cka_test(X, flat, confounder=X + X[::-1]).pvalue)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(fastcka.DegenerateWarning, match="the confounder leaves nothing of it"):
        assert np.isnan(fastcka.cka_test(X, X[:, :2], confounder=X).pvalue)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "moment"}, r"method.*'moments'"),
        ({"method": "chi2", "estimator": "biased"}, "method='chi2' is a test of unbiased CKA"),
        ({"groups": np.zeros(20)}, "groups: method='moments' assumes that all orders"),
        ({"method": "chi2", "groups": np.arange(20)}, "groups: method='chi2'"),
        ({"method": "permutation", "groups": np.zeros(20)}, "groups: all samples have the same label"),
        ({"method": "permutation", "groups": np.zeros(3)}, "groups: expected a label for each of the 20"),
        ({"method": "permutation", "groups": np.arange(20)}, "groups: permute='within' exchanges"),
        (
            {"method": "permutation", "groups": [0] * 5 + [1] * 15, "permute": "groups"},
            "groups: permute='groups' exchanges whole groups of equal size",
        ),
        ({"method": "permutation", "permute": "all"}, r"permute.*'within'"),
        ({"permute": "all"}, r"permute.*'within'"),
        ({"method": "permutation", "permute": "groups"}, "permute='groups' .* there are no groups"),
        ({"method": "permutation", "n_resamples": 0}, "n_resamples"),
        ({"n_resamples": 0}, "n_resamples"),
        ({"confounder": np.ones((19, 2))}, "confounder"),
        ({"confounder": np.ones((20, 2)), "method": "chi2"}, "confounder: partial CKA"),
        ({"confounder": np.ones((20, 2)), "estimator": "biased"}, "confounder: partial CKA"),
        ({"estimator": "best"}, "estimator"),
    ],
    ids=str,
)
def test_arguments(rng, options, message):
    with pytest.raises(ValueError, match=message):
        fastcka.cka_test(rng.normal(size=(20, 3)), rng.normal(size=(20, 2)), **options)


def test_more_errors(rng):
    X = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match="method='moments' needs at least 6 samples, got 5"):
        fastcka.cka_test(X[:5], X[:5])
    with pytest.raises(ValueError, match="level must be above 0 and below 1, got 95"):
        fastcka.cka_test(X, X).confidence_interval(95)
    with pytest.raises(TypeError, match=r"level must be a number, got '0\.9'"):
        fastcka.cka_test(X, X).confidence_interval("0.9")
    bad = X.copy()
    bad[3, 1] = np.nan
    for method in ("moments", "chi2", "permutation"):
        with pytest.raises(ValueError, match="Y contains NaN, first at sample 3, feature 1"):
            fastcka.cka_test(X, bad, method=method)
    with pytest.raises(ValueError, match="confounder contains NaN, first at sample 3, feature 1"):
        fastcka.cka_test(X, X + 1, confounder=bad)
    with pytest.raises(MemoryError, match="max_bytes is 1000"):
        fastcka.cka_test(X, X, max_bytes=1000)
    for dtype in (np.float64, np.float32):  # its matrices are float64
        with pytest.raises(MemoryError, match=f"this test needs {6 * 8 * 20**2} bytes"):
            fastcka.cka_test(X.astype(dtype), X.astype(dtype), confounder=X.astype(dtype), max_bytes=10_000)

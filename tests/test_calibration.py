# SPDX-License-Identifier: BSD-3-Clause
"""calibrated_max: one permutation for all layers, the largest of all pairs, score and threshold."""

from __future__ import annotations

import numpy as np
import pytest

import fastcka
from fastcka import reference


def networks(rng, n=60):
    a = {f"a{i}": rng.normal(size=(n, 4)) for i in range(3)}
    b = {f"b{i}": rng.normal(size=(n, 5)) for i in range(4)}
    return a, b


@pytest.mark.parametrize("kernel", ["linear", fastcka.RBF(sigma=2.0)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_permutation_is_the_largest_of_the_matrix_of_the_definition(rng, kernel, dtype):
    a, b = networks(rng, 75)
    b["b2"] = b["b2"] + 0.4 * a["a1"][:, [0, 1, 2, 3, 0]]
    a, b = ({name: X.astype(dtype) for name, X in side.items()} for side in (a, b))
    result = fastcka.calibrated_max(a, b, kernel=kernel, n_resamples=39, alpha=0.1, rng=5)
    again = np.random.default_rng(5)
    matrices = [reference.cka_matrix(a, b, kernel=kernel, estimator="unbiased")]
    for _ in range(39):
        order = again.permutation(75)
        moved = {name: Y[order] for name, Y in b.items()}
        matrices.append(reference.cka_matrix(a, moved, kernel=kernel, estimator="unbiased"))
    largest = np.array([matrix.max() for matrix in matrices])
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(result.null_distribution, largest[1:], rtol=0, atol=tolerance)
    assert result.maximum == pytest.approx(largest[0], abs=tolerance)
    assert result.pair == ("a1", "b2")
    assert result.pvalue == np.sum(largest >= largest[0]) / 40
    tau = np.sort(largest)[35]  # the 36th of 40
    assert result.tau == pytest.approx(tau, abs=tolerance)
    assert result.score == pytest.approx(max((largest[0] - tau) / (1 - tau), 0), abs=10 * tolerance)
    assert "pair=('a1', 'b2')" in repr(result)


def test_the_largest_of_many_unrelated_pairs_is_uniform():
    """120 trials of 12 pairs, seed 7; the p-value of the best pair alone is below 0.05 in half of them."""
    rng = np.random.default_rng(7)
    p, naive = [], []
    for _ in range(120):
        a, b = networks(rng, 40)
        p.append(fastcka.calibrated_max(a, b, n_resamples=99, rng=rng).pvalue)
        naive.append(fastcka.cka_matrix(a, b, inference=True).pvalues.min())
    p = np.sort(p)
    assert np.max(np.abs(p - np.arange(1, 121) / 120)) < 1.95 / np.sqrt(120)
    assert np.mean(np.array(naive) < 0.05) > 0.3


def test_groups_and_arguments(rng):
    a, b = networks(rng)
    labels = np.repeat(np.arange(15), 4)
    shared = np.repeat(rng.normal(size=(15, 4)), 4, axis=0)
    a["a0"], b["b0"] = a["a0"] + 2 * shared, b["b0"] + 2 * np.hstack([shared, shared[:, :1]])
    within, whole = (
        fastcka.calibrated_max(a, b, groups=labels, permute=permute, n_resamples=99, rng=1)
        for permute in ("within", "groups")
    )
    assert within.pvalue > 0.05  # what groups share is no evidence
    assert whole.pvalue == 0.01
    with pytest.raises(ValueError, match="alpha must be above 0 and below 1, got 5"):
        fastcka.calibrated_max(a, b, alpha=5)
    with pytest.raises(TypeError, match=r"alpha must be a number, got '5 %'"):
        fastcka.calibrated_max(a, b, alpha="5 %")
    with pytest.raises(ValueError, match="n_resamples"):
        fastcka.calibrated_max(a, b, n_resamples=0)
    bad = {"bad": np.full((60, 2), np.nan)}
    with pytest.raises(ValueError, match="layer 'bad' of layers_b contains NaN, first at sample 0"):
        fastcka.calibrated_max(a, bad)
    with pytest.raises(ValueError, match="permute='groups' exchanges whole groups, and there are no groups"):
        fastcka.calibrated_max(a, b, permute="groups")


def test_layers_without_a_cka_take_no_part():
    """A pair that is not defined is not one whose value is 0, which would be the largest of negative ones."""
    X, Y = np.random.default_rng(1).normal(size=(2, 40, 3))
    spike = np.zeros((40, 2))
    spike[0] = 1
    for kernel, dead, why in (("linear", np.ones((40, 2)), "no variation"), ("rbf", spike, "its median")):
        options = {"kernel": kernel, "n_resamples": 19}
        alone = fastcka.calibrated_max({"x": X}, {"y": Y}, **options, rng=3)
        assert alone.maximum < 0
        with pytest.warns(fastcka.DegenerateWarning, match=rf"instead: layer 'dead' of layers_a: {why}"):
            beside = fastcka.calibrated_max({"dead": dead, "x": X}, {"y": Y}, **options, rng=3)
        assert (beside.pair, beside.maximum, beside.pvalue) == (("x", "y"), alone.maximum, alone.pvalue)
        np.testing.assert_array_equal(beside.null_distribution, alone.null_distribution)
        with pytest.warns(fastcka.DegenerateWarning) as caught:
            nothing = fastcka.calibrated_max({"dead": dead}, {"dead": dead}, **options)
        (warning,) = caught
        assert warning.filename == __file__
        assert nothing.pair is None
        assert np.isnan([nothing.score, nothing.pvalue, nothing.tau, nothing.maximum]).all()
        assert nothing.null_distribution.shape == (19,)

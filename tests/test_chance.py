# SPDX-License-Identifier: BSD-3-Clause
"""The chance level of CKA: its mean over all permutations of the samples of one side, exactly."""

import itertools

import numpy as np
import pytest

import fastcka

KERNELS = ["linear", "cosine", fastcka.RBF(sigma=2.0), fastcka.Laplacian(sigma=2.0), "polynomial", "distance"]


def mean_over_permutations(X, Y, kernel):
    orders = itertools.permutations(range(len(X)))
    return np.mean([fastcka.reference.cka(X, Y[list(order)], kernel=kernel) for order in orders])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_chance_is_the_mean_over_all_permutations(rng, kernel):
    X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    matrix = fastcka.cka_matrix({"x": X}, {"y": Y}, kernel=kernel)
    assert matrix.chance[0, 0] == pytest.approx(mean_over_permutations(X, Y, kernel), abs=1e-12)


def test_chance_by_every_way_to_the_sums(rng):
    layers = {str(p): rng.normal(size=(300, p)) for p in (3, 40, 500)}
    # tr(Kc) tr(Lc) / ((n - 1) |Kc| |Lc|), Josse et al. 2008
    grams = [fastcka.reference.center(fastcka.reference.gram(X)) for X in layers.values()]
    part = np.array([np.trace(K) / np.linalg.norm(K) for K in grams])
    expected = np.outer(part, part) / 299
    for arrays in (layers, {name: X[:, :3] for name, X in layers.items()}):  # Gram and feature route
        got = fastcka.cka_matrix(arrays).chance
        if arrays is layers:
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        stream = fastcka.StreamingCKA()
        for first in range(0, 300, 77):
            stream.update({name: X[first : first + 77] for name, X in arrays.items()})
        np.testing.assert_allclose(stream.result().chance, got, rtol=0, atol=1e-12)
    many = {f"{name}.{i}": X for name, X in layers.items() for i in range(12)}  # a block shared by threads
    np.testing.assert_allclose(
        fastcka.cka_matrix(many).chance, np.kron(expected, np.ones((12, 12))), rtol=0, atol=1e-12
    )


def test_chance_of_the_unbiased_estimator_is_zero_and_not_written(rng):
    X, Y = rng.normal(size=(20, 3)), rng.normal(size=(20, 4))
    matrix = fastcka.cka_matrix({"x": X, "y": Y}, estimator="unbiased")
    assert not matrix.chance.any()
    assert "chance" not in str(matrix)
    assert "chance level" in str(fastcka.cka_matrix({"x": X, "y": Y}))


def test_a_layer_without_cka_has_no_chance_level(rng):
    X = rng.normal(size=(20, 3))
    with pytest.warns(fastcka.DegenerateWarning, match="flat"):
        matrix = fastcka.cka_matrix({"x": X, "flat": np.ones((20, 2))})
    assert np.isnan(matrix.chance).tolist() == [[False, True], [True, True]]

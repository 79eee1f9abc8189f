# SPDX-License-Identifier: BSD-3-Clause
"""Inference for linear kernels out of one sweep: sums of single samples that merge, against whole rows."""

from __future__ import annotations

import functools
import itertools
import operator

import numpy as np
import pytest

import fastcka
from fastcka import _partial

LINEAR = ["linear", "cosine", "correlation"]
# Some tiles of few layers; many layers, whose tiles the team shares; and one tile of each.
SHAPES = {
    "tiles": (900, (3, 40, 2000, 2000, 2000, 5)),
    "shared": (700, (200,) * 32),
    "one tile": (150, (60,) * 40),
}


def layers_of(rng, shape, dtype):
    n, widths = SHAPES[shape]
    latent = rng.normal(size=(n, 3))
    return [
        (latent @ rng.normal(size=(3, p)) + 2 * rng.normal(size=(n, p)) + 1).astype(dtype) for p in widths
    ]


def networks_of(layers, two):
    return (layers[:2], layers[2:]) if two else (layers, None)


@pytest.mark.parametrize("kernel", LINEAR)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("two", [False, True])
def test_sums_of_single_samples_agree_with_whole_rows(rng, kernel, shape, two):
    """Groups of one sample each take the other way: whole rows of each Gram matrix, strip by strip."""
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-11)):
        a, b = networks_of(layers_of(rng, shape, dtype), two)
        once = fastcka.cka_matrix(a, b, kernel=kernel, inference=True)
        rows = fastcka.cka_matrix(a, b, kernel=kernel, inference=True, groups=np.arange(len(a[0])))
        assert not fastcka.plan(a, b, kernel=kernel, inference=True).second_pass
        np.testing.assert_allclose(once.stderr, rows.stderr, rtol=tolerance, atol=1e-12)
        np.testing.assert_array_equal(once.values, fastcka.cka_matrix(a, b, kernel=kernel).values)


@pytest.mark.parametrize("kernel", LINEAR[:2])
@pytest.mark.parametrize("shape", SHAPES)
def test_threads_memory_and_cuts_leave_the_same_bits(rng, tmp_path, kernel, shape):
    a, b = networks_of(layers_of(rng, shape, "float32"), shape == "tiles")
    arguments = {"kernel": kernel, "inference": True}
    whole = fastcka.cka_matrix(a, b, **arguments)
    assert fastcka.cka_matrix(a, b, n_threads=1, **arguments).equals(whole)
    if shape == "tiles":  # the others have few strips or none
        limit = fastcka.plan(a, b, n_threads=1, **arguments).bytes * 85 // 100
        assert fastcka.plan(a, b, max_bytes=limit, **arguments).reads > 3
        assert fastcka.cka_matrix(a, b, max_bytes=limit, **arguments).equals(whole)
    sweep = fastcka.Sweep(a, b, **arguments)
    blocks = len(sweep.blocks())
    for pieces in {1, 2, 7, blocks}:
        parts = [sweep.run(sweep.share(task, pieces)) for task in range(pieces)]
        for number, part in enumerate(parts):
            part.save(tmp_path / f"{number}.npz")
        loaded = [fastcka.Partial.load(tmp_path / f"{number}.npz") for number in range(pieces)]
        order = rng.permutation(pieces)
        merged = functools.reduce(operator.or_, [loaded[number] for number in order])
        assert sweep.result(merged).equals(whole)


def test_partials_with_and_without_inference(rng):
    layers = layers_of(rng, "tiles", "float32")
    sweep, plain = fastcka.Sweep(layers, inference=True), fastcka.Sweep(layers)
    whole, values = fastcka.cka_matrix(layers, inference=True), fastcka.cka_matrix(layers)
    assert plain.result(sweep.run(sweep.blocks())).equals(values)
    assert sweep.result(plain.run(plain.blocks())).equals(whole)  # by a second pass
    halves = sweep.run(sweep.share(0, 2)), plain.run(plain.share(1, 2))
    for one, other in itertools.permutations(halves):
        with pytest.raises(ValueError, match="made with inference, the other was not"):
            one | other


def test_damaged_sums_of_single_samples_are_refused(rng):
    sweep = fastcka.Sweep(layers_of(rng, "tiles", "float32"), inference=True)
    part = sweep.run(0)
    state = part._state()
    for name, values in (
        ("row_strips", np.array([], dtype=np.int64)),
        ("row_strips", np.array([-1])),
        ("row_strips", np.array([10**9])),
        ("row_nodes", state["row_nodes"][:-1]),
        ("row_nodes", np.append(state["row_nodes"], state["row_nodes"][:4])),
        ("row_nodes", state["row_nodes"] * 1000),
        ("row_values", state["row_values"][:-1]),
        ("row_values", np.append(state["row_values"], 1.0)),
    ):
        with pytest.raises(ValueError, match="row_"):
            _partial.restored(part.settings, {**state, name: values})


def test_plan_says_when_a_second_pass_is_needed(rng):
    layers = [np.zeros((3000, 5), np.float32)] * 8
    assert fastcka.plan(layers, inference=True).second_pass  # the values take the feature route
    layers = [np.zeros((500, 1000), np.float32)] * 8
    assert not fastcka.plan(layers, inference=True).second_pass
    assert "in the same pass, p-values by moments" in str(fastcka.plan(layers, inference=True))
    assert not fastcka.plan(layers).second_pass
    assert fastcka.plan(layers, inference=True, kernel="rbf").second_pass
    assert fastcka.plan(layers, inference=True, groups=np.arange(500) // 5).second_pass
    many = [np.zeros((500, 8), np.float32)] * 300  # 500 samples x 45 000 pairs
    assert fastcka.plan(many, inference=True).second_pass


def test_too_many_pairs_for_a_value_each(rng):
    """One value per sample and pair would take 170 MB: whole rows are formed, and agree with fewer layers."""
    layers = [rng.normal(size=(120, 4)).astype(np.float32) for _ in range(600)]
    assert fastcka.plan(layers, inference=True).second_pass
    many = fastcka.cka_matrix(layers, inference=True)
    few = fastcka.cka_matrix(layers[:40], inference=True)
    np.testing.assert_allclose(many.stderr[:40, :40], few.stderr, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(many.pvalues[:40, :40], few.pvalues, rtol=1e-3)

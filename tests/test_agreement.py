# SPDX-License-Identifier: BSD-3-Clause
"""Every route, kernel, estimator and precision against the reference and against extended precision.

The core packs vectors into panels (W wide), panels into tiles, and coordinates into blocks of 128. Sizes one
off each of these edges are where such code goes wrong. (Data that are hard on the digits: test_precision.py.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from itertools import count, cycle

import extended
import numpy as np
import pytest
from checks import check, widened
from implementations import (
    COMPILED,
    CORE,
    IMPLEMENTATIONS,
    KERNELS,
    as_input,
    each_estimator,
    each_implementation,
    each_implementation_and_kernel,
    kernel_id,
    related,
)
from tolerances import TOLERANCE

import fastcka
from fastcka import _core, reference
from fastcka.kernels import _KERNELS, core_kernel, resolve_kernel

try:
    import ml_dtypes
except ImportError:  # there is none for musl
    ml_dtypes = None

CKA = {dtype: TOLERANCE[dtype, "cka"] for dtype in ("float64", "float32")}
GRAM = {dtype: TOLERANCE[dtype, "gram"] for dtype in ("float64", "float32")}


@each_estimator
@each_implementation_and_kernel()
def test_all_pairs_of_layers(rng, implementation, kernel, estimator):
    X, Y = related(rng, 37, 20, 11)
    narrow = X[:, : 2 if resolve_kernel(kernel).name == "correlation" else 1]  # one value has no direction
    layers = implementation.inputs(*(as_input(Z, kernel) for Z in (X, Y, narrow, Y**2, X[:, 5:8])))
    check(implementation, layers[:3], layers[3:], kernel, estimator)


# ---- sizes one off every edge


@cache
def edge(name, implementation):
    """A number of vectors: "W+1" is a panel and one; "2 tiles-1", by tiles of the plan for that number."""
    unit, offset = (name[:-2], int(name[-2:])) if name.endswith(("-1", "+1")) else (name, 0)
    route = implementation.name.partition("-")[0]

    def plan(vectors):
        n, width = (vectors, 64) if route == "gram" else (64, vectors)
        return _core.plan(
            n,
            [width],
            [width],
            _core.Settings(
                core_kernel(fastcka.Linear()),
                estimator="biased",
                double_precision=implementation.dtype == "float64",
                n_threads=1,
                route=route,
            ),
        )

    if unit == "W":
        return plan(64).panel_width + offset
    tiles = int(unit.removesuffix(" tiles"))
    return next(vectors for vectors in count(8) if vectors == tiles * plan(vectors).tile + offset)


EDGES = [f"{unit}{offset}" for unit in ("W", "1 tiles", "2 tiles") for offset in ("-1", "", "+1")]
COORDINATES = [127, 128, 129]


@each_estimator
@pytest.mark.parametrize(("vectors", "coordinates"), [*zip(EDGES, cycle(COORDINATES)), ("W", 1)])
@each_implementation(CORE)
def test_edges_of_panels_tiles_and_blocks(rng, implementation, vectors, coordinates, estimator):
    n, p = edge(vectors, implementation), coordinates
    if implementation.name.startswith("feature"):
        n, p = max(p, 5), n
    X, Y = implementation.inputs(*related(rng, n, p, max(p - 1, 1)))
    expected = extended.cka_of_features(X, Y, estimator)
    value = implementation.cka(X, Y, "linear", estimator)
    assert value == pytest.approx(expected, abs=implementation.tolerance("cka"))


@pytest.mark.parametrize("vectors", ["W+1", "1 tiles-1", "2 tiles+1"])
@pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)
@pytest.mark.parametrize("implementation", CORE[:2], ids=lambda each: each.name)
def test_edges_with_every_kernel(rng, implementation, kernel, vectors):
    """A kernel value is not zero where there is padding: it must not leak into the sums."""
    n = edge(vectors, implementation)
    X, Y = implementation.inputs(*(as_input(Z, kernel) for Z in related(rng, n, 5, 3)))
    for estimator in ("biased", "unbiased"):
        expected = reference.cka(widened(X), widened(Y), kernel=kernel, estimator=estimator)
        value = implementation.cka(X, Y, kernel, estimator)
        assert value == pytest.approx(expected, abs=implementation.tolerance("cka"))


@each_estimator
def test_routes_agree_on_many_samples(rng, estimator):
    X, Y = related(rng, 1500, 40, 30)
    expected = extended.cka_of_features(X, Y, estimator)
    for implementation in COMPILED:
        value = implementation.cka(*implementation.inputs(X, Y), "linear", estimator)
        assert value == pytest.approx(expected, abs=implementation.tolerance("cka")), implementation.name


# ---- input types


FLOATS = ["float64", "float32", "float16", *([ml_dtypes.bfloat16] if ml_dtypes else [])]
INTEGERS = ["int8", "uint8", "int16", "int32", "int64", "bool"]


@each_estimator
@pytest.mark.parametrize("kernel", ["linear", "rbf", "cosine", "correlation"])
@pytest.mark.parametrize("dtype", FLOATS + INTEGERS, ids=lambda dtype: np.dtype(dtype).name)
def test_every_input_type(rng, dtype, kernel, estimator):
    X, Y = ((4 * Z).astype(np.int8) for Z in related(rng, 33, 20, 11))
    X, Y = X.astype(dtype), Y.astype(dtype)
    name = np.dtype(dtype).name
    row = "float32" if name in ("float32", "float16", "bfloat16") else "float64"
    expected = reference.cka(widened(X), widened(Y), kernel=kernel, estimator=estimator)
    assert fastcka.cka(X, Y, kernel=kernel, estimator=estimator) == pytest.approx(expected, abs=CKA[row])


def test_one_float64_input_makes_the_arithmetic_float64(rng):
    X, Y = related(rng, 40, 15, 9)
    X = X.astype(np.float32)
    assert fastcka.cka(X, Y) == pytest.approx(reference.cka(X, Y), abs=CKA["float64"])


def test_dtype_forces_the_arithmetic(rng):
    X, Y = related(rng, 90, 15, 9)  # up to 64 samples are always float64
    X32, Y32 = X.astype(np.float32), Y.astype(np.float32)
    wide, expected = fastcka.cka(X32, Y32, dtype="float64"), reference.cka(X32, Y32)
    assert wide == pytest.approx(expected, abs=CKA["float64"])
    narrow, expected = fastcka.cka(X, Y, dtype="float32"), reference.cka(X, Y)
    assert narrow == pytest.approx(expected, abs=CKA["float32"])
    assert narrow != pytest.approx(expected, abs=CKA["float64"])


# ---- matrices


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [2, 7, 130])
@pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)
def test_gram(rng, kernel, n, dtype):
    X = as_input(rng.normal(size=(n, 9)) + 0.5, kernel).astype(dtype)
    K = fastcka.gram(X, kernel=kernel)
    expected = reference.gram(widened(X), kernel=kernel)
    assert K.dtype == dtype
    np.testing.assert_allclose(K, expected, rtol=0, atol=GRAM[dtype] * np.abs(expected).max())
    np.testing.assert_array_equal(K, K.T)
    if kernel != "precomputed" and "RBF" in repr(kernel) + repr(type(kernel)):
        np.testing.assert_array_equal(np.diag(K), 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 7, 130])
def test_center(rng, n, dtype):
    K = (reference.gram(rng.normal(size=(n, 9))) / 9).astype(dtype)
    Kc = fastcka.center(K)
    assert Kc.dtype == dtype
    np.testing.assert_allclose(Kc, reference.center(widened(K)), rtol=0, atol=GRAM[dtype])


AT_ONE_LEVEL = """
import sys, numpy as np, fastcka
X, Y = np.load(sys.argv[1])
assert fastcka._core.config()["simd_level"] == sys.argv[2]
for dtype in ("float64", "float32"):
    for n in (7, len(X)):  # the Gram route, and for the longer one and linear kernels the feature route
        for kernel in ("linear", "rbf"):
            print(repr(fastcka.cka(X[:n].astype(dtype), Y[:n].astype(dtype), kernel=kernel)))
"""


@pytest.mark.parametrize("level", _core.config()["simd_levels"])
def test_every_simd_level(rng, level, tmp_path):
    """In a process of its own: the level is chosen once. (CI runs the whole suite at each level.)"""
    pair = np.stack(related(rng, 200, 30, 30))
    np.save(tmp_path / "pair.npy", pair)
    run = subprocess.run(
        [sys.executable, "-c", AT_ONE_LEVEL, tmp_path / "pair.npy", level],
        env={**os.environ, "FASTCKA_SIMD_LEVEL": level},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    values = iter(run.stdout.split())
    for dtype in ("float64", "float32"):
        for n in (7, 200):
            for kernel in ("linear", "rbf"):
                X, Y = pair[:, :n].astype(dtype).astype(float)
                expected = reference.cka(X, Y, kernel=kernel)
                assert float(next(values)) == pytest.approx(expected, abs=CKA[dtype]), (dtype, n, kernel)


def test_the_list_of_implementations_is_complete():
    """Both routes in both precisions, and every public kernel."""
    assert {each.name for each in IMPLEMENTATIONS} == {
        "reference",
        *(f"{way}-{dtype}" for way in ("public", "gram", "feature") for dtype in ("float64", "float32")),
    }
    assert {resolve_kernel(kernel).name for kernel in KERNELS} == set(_KERNELS)
    assert set(_core.kernel_names()) == set(_KERNELS) == set(reference.kernels.KERNELS)

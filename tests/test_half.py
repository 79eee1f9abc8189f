# SPDX-License-Identifier: BSD-3-Clause
"""float16 and bfloat16 inputs are widened exactly, whatever squares and means would do in half precision."""

from __future__ import annotations

import extended
import ml_dtypes
import numpy as np
import pytest
from implementations import FEATURE_KERNELS, each_estimator, kernel_id, related
from tolerances import TOLERANCE

import fastcka

CKA = TOLERANCE["float32", "cka"]
HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
each_half = pytest.mark.parametrize("half", HALVES, ids=lambda dtype: dtype.name)
each_kernel = pytest.mark.parametrize(
    "kernel",
    ["linear", "rbf", "laplacian", "cosine", "correlation", fastcka.Polynomial(gamma=1e-9), "distance"],
    ids=kernel_id,
)


def bits(X):
    """bfloat16 as it comes from torch or an .npy file: two opaque bytes an element."""
    return X.view("V2") if X.dtype.name == "bfloat16" else X


@each_estimator
@each_kernel
@each_half
def test_the_same_bits_as_float32_of_the_same_values(rng, half, kernel, estimator):
    X, Y = (Z.astype(half) for Z in related(rng, 50, 30, 9))
    options = {"kernel": kernel, "estimator": estimator}
    expected = fastcka.cka(X.astype(np.float32), Y.astype(np.float32), **options)
    assert fastcka.cka(X, Y, **options) == expected
    assert fastcka.cka(bits(X), bits(Y), **options) == expected


@each_estimator
@pytest.mark.parametrize("shape", [(40, 9), (9, 300), (300, 9)], ids=str)
@each_half
def test_every_finite_value_is_read(rng, half, shape, estimator):
    """Random bit patterns: both signs, zeros, subnormals and the largest numbers of float16."""
    patterns = rng.integers(0, 2**16, size=(2, *shape), dtype=np.uint16)
    if half.name == "bfloat16":  # 1e-38 next to 1e38 is no representation: as many decades as float16 has
        patterns = patterns & 0x807F | rng.integers(96, 128, size=patterns.shape, dtype=np.uint16) << 7
    X, Y = (np.where(np.isfinite(Z.astype(np.float32)), Z, half.type(0)) for Z in patterns.view(half))
    # Of such heavy tails the unbiased estimator keeps a small part, with the rounding of the whole.
    whole, part = ([extended.hsic_of_features(Z, Z, kind) for Z in (X, Y)] for kind in ("biased", estimator))
    tolerance = CKA * float(max(w / p for w, p in zip(whole, part, strict=True)))
    expected = extended.cka_of_features(X, Y, estimator)
    assert fastcka.cka(X, Y, estimator=estimator) == pytest.approx(expected, abs=tolerance)


@each_estimator
@each_kernel
@each_half
def test_values_whose_squares_overflow_float16(rng, half, kernel, estimator):
    X, Y = ((8000 * np.clip(Z, -8, 8)).astype(half) for Z in related(rng, 50, 30, 9))
    assert float(np.abs(X.astype(float)).max()) ** 2 > 1000 * float(np.finfo(np.float16).max)
    expected = extended.cka(X, Y, kernel, estimator)
    assert fastcka.cka(X, Y, kernel=kernel, estimator=estimator) == pytest.approx(expected, abs=CKA)


@each_estimator
@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian", "cosine", "correlation", "distance"])
@each_half
def test_subnormals(rng, half, kernel, estimator):
    """All values are subnormal: multiples of the smallest positive number, with a few bits each."""
    smallest = ml_dtypes.finfo(half).smallest_subnormal
    X, Y = (np.rint(np.clip(16 * Z, -100, 100)) for Z in related(rng, 50, 30, 9))
    tiny = [(Z * float(smallest)).astype(half) for Z in (X, Y)]
    assert all(np.abs(Z.astype(float)).max() < float(ml_dtypes.finfo(half).smallest_normal) for Z in tiny)
    expected = extended.cka(X, Y, kernel, estimator)
    assert fastcka.cka(*tiny, kernel=kernel, estimator=estimator) == pytest.approx(expected, abs=CKA)


@each_estimator
@pytest.mark.parametrize(
    ("kernel", "deviating"),
    [("linear", 0.01), ("linear", 0.2), ("rbf", 0.2), ("laplacian", 0.2), ("distance", 0.2)],
)
@each_half
def test_common_mean_far_above_the_spread(rng, half, kernel, deviating, estimator):
    """As far as half precision goes: some samples are one last place away from the common value.

    At 2000 (float16) or 250 (bfloat16) and one sample in a hundred that is a mean of 2e4 or 2.5e3 spreads.
    """
    level = {"float16": 2000, "bfloat16": 250}[half.name]
    shared = rng.random(size=(300, 24)) < deviating
    flipped = shared ^ (rng.random(size=shared.shape) < 0.3 * deviating)
    X, Y = (level + flipped).astype(half), (level - shared[:, :17].astype(float)).astype(half)
    assert level / X.astype(float).std() > 2 * level
    expected = extended.cka(X, Y, kernel, estimator)
    assert fastcka.cka(X, Y, kernel=kernel, estimator=estimator) == pytest.approx(expected, abs=CKA)


@each_half
def test_mixed_with_wider_inputs(rng, half):
    X, Y = related(rng, 50, 30, 9)
    narrow = X.astype(half)
    for wide, row in [(Y.astype(np.float32), "float32"), (Y, "float64")]:
        expected = extended.cka(narrow, wide, "linear", "biased")
        assert fastcka.cka(narrow, wide) == pytest.approx(expected, abs=TOLERANCE[row, "cka"])


@each_half
def test_gram_is_float32(rng, half):
    X = related(rng, 50, 30, 9)[0].astype(half)
    for kernel in [*FEATURE_KERNELS, "rbf"]:
        K = fastcka.gram(X, kernel=kernel)
        assert K.dtype == np.float32
        np.testing.assert_array_equal(K, fastcka.gram(X.astype(np.float32), kernel=kernel))

# SPDX-License-Identifier: BSD-3-Clause
"""Every implementation of CKA and HSIC, and every kernel: the lists that the numerical tests run over.

A new route, precision or kernel is added here once, and is then compared with the reference and the judge in
extended precision everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from tolerances import TOLERANCE

import fastcka
from fastcka import _core, reference
from fastcka.kernels import _KERNELS, core_kernel, resolve_kernel

ESTIMATORS = ["biased", "unbiased"]
# Those that are an inner product of (scaled) samples.
FEATURE_KERNELS = tuple(name for name, kernel in _KERNELS.items() if core_kernel(kernel).is_linear)

KERNELS = [
    fastcka.Linear(),
    fastcka.RBF(),
    fastcka.RBF(0.4),
    fastcka.RBF(2.0, median="offdiag"),
    fastcka.RBF(sigma=3.0),
    fastcka.Laplacian(),
    fastcka.Laplacian(0.5, median="offdiag"),
    fastcka.Laplacian(sigma=3.0),
    fastcka.Polynomial(),
    fastcka.Polynomial(3, coef0=0.5, gamma=0.1),
    fastcka.Cosine(),
    fastcka.Correlation(),
    fastcka.Distance(),
    fastcka.Distance(0.5),
    fastcka.Distance(1.7),
    "precomputed",
]


class Result(NamedTuple):
    cka: np.ndarray  # (La, Lb)
    hsic: np.ndarray  # (La, Lb)
    self_a: np.ndarray  # (La,) HSIC of each layer with itself
    self_b: np.ndarray  # (Lb,)


@dataclass(frozen=True)
class Implementation:
    name: str
    dtype: str  # of its products: the row of the tolerance table
    pairs: Callable[..., Result]  # (layers_a, layers_b, kernel, estimator)
    kernels: tuple[str, ...] | None = None  # None: all

    def tolerance(self, quantity: str) -> float:
        return TOLERANCE[self.dtype, quantity]

    def supports(self, kernel) -> bool:
        return self.kernels is None or resolve_kernel(kernel).name in self.kernels

    def inputs(self, *layers):
        """Round the layers to the dtype of the products, so that the judge sees the same numbers."""
        return [np.asarray(layer).astype(self.dtype) for layer in layers]

    def cka_matrix(self, layers_a, layers_b=None, kernel="linear", estimator="biased"):
        return self.pairs(layers_a, layers_b, kernel, estimator).cka

    def cka(self, X, Y, kernel="linear", estimator="biased"):
        return float(self.cka_matrix([X], [Y], kernel, estimator)[0, 0])

    def hsic(self, X, Y, kernel="linear", estimator="biased"):
        return float(self.pairs([X], [Y], kernel, estimator).hsic[0, 0])


def reference_pairs(layers_a, layers_b, kernel, estimator):
    columns = layers_a if layers_b is None else layers_b

    def hsic(X, Y):
        return reference.hsic(X, Y, kernel=kernel, estimator=estimator)

    return Result(
        reference.cka_matrix(layers_a, layers_b, kernel=kernel, estimator=estimator),
        np.array([[hsic(X, Y) for Y in columns] for X in layers_a]),
        np.array([hsic(X, X) for X in layers_a]),
        np.array([hsic(Y, Y) for Y in columns]),
    )


def public_pairs(dtype):
    """The functions that users call; they choose the route."""

    def pairs(layers_a, layers_b, kernel, estimator):
        options = {"kernel": kernel, "estimator": estimator, "dtype": dtype}
        columns = layers_a if layers_b is None else layers_b
        return Result(
            fastcka.cka_matrix(layers_a, layers_b, **options).values,
            np.array([[fastcka.hsic(X, Y, **options) for Y in columns] for X in layers_a]),
            np.array([fastcka.hsic(X, X, **options) for X in layers_a]),
            np.array([fastcka.hsic(Y, Y, **options) for Y in columns]),
        )

    return pairs


def core_pairs(route, dtype):
    """One route of the compiled core."""

    def pairs(layers_a, layers_b, kernel, estimator):
        result = _core.pairwise(
            layers_a,
            layers_b,
            _core.Settings(
                core_kernel(resolve_kernel(kernel)),
                estimator=estimator,
                double_precision=dtype == "float64",
                n_threads=2,
                route=route,
            ),
        )
        assert result.route in (route, "gram")  # features are too coarse where nearly all of an HSIC cancels
        return Result(result.cka, result.hsic, result.self_a, result.self_b)

    return pairs


REFERENCE = Implementation("reference", "float64", reference_pairs)
PUBLIC = [Implementation(f"public-{dtype}", dtype, public_pairs(dtype)) for dtype in ("float64", "float32")]
CORE = [
    Implementation(f"{route}-{dtype}", dtype, core_pairs(route, dtype), kernels)
    for route, kernels in (("gram", None), ("feature", FEATURE_KERNELS))
    for dtype in ("float64", "float32")
]
COMPILED = [*PUBLIC, *CORE]
ROUTES = [REFERENCE, *CORE]
IMPLEMENTATIONS = [REFERENCE, *COMPILED]


def each_implementation(implementations=IMPLEMENTATIONS, *, of="linear"):
    """Run a test for every implementation of a kernel (argument `implementation`)."""
    able = [each for each in implementations if each.supports(of)]
    return pytest.mark.parametrize("implementation", able, ids=lambda each: each.name)


def each_implementation_and_kernel(implementations=IMPLEMENTATIONS, kernels=KERNELS):
    """Run a test for every implementation with every kernel that it supports."""
    cases = [
        pytest.param(implementation, kernel, id=f"{implementation.name}-{kernel_id(kernel)}")
        for implementation in implementations
        for kernel in kernels
        if implementation.supports(kernel)
    ]
    return pytest.mark.parametrize(("implementation", "kernel"), cases)


each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)


def kernel_id(kernel) -> str:
    return str(resolve_kernel(kernel))


def related(rng, n, p, q, *, mean=0.0):
    """Two representations with something in common; `mean` is the size of their offsets in spreads."""
    shared = rng.normal(size=(n, 4))
    X = shared @ rng.normal(size=(4, p)) + rng.normal(size=(n, p))
    Y = np.tanh(shared @ rng.normal(size=(4, q))) + 0.5 * rng.normal(size=(n, q))
    if mean:
        X += mean * X.std() * rng.choice([-1.0, 1.0], size=p)
        Y += mean * Y.std() * rng.choice([-1.0, 1.0], size=q)
    return X, Y


def as_input(X, kernel):
    """X itself, or a Gram matrix of it for the kernel that expects one."""
    return reference.gram(X, kernel="rbf") if kernel == "precomputed" else X

# SPDX-License-Identifier: BSD-3-Clause
"""The named cases: what fastcka does, against the strongest forms of the same in NumPy and torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from .._arrays import Array
from ..similarity import cka, cka_matrix
from . import numpy_forms
from .timing import Call, Case

# Most that values may differ. A NumPy sum over an n x n matrix of float32 loses digits, ours does not.
AGREEMENT = {"float32": 5e-3, "float64": 1e-9}
# A form with more than this many times the operations of the other one is skipped.
HOPELESS = 1.5


def pair(n: int, p: int, dtype: str = "float32") -> tuple[Array, Array]:
    """Return two representations that have half of their variance in common, the same in every run."""
    rng = np.random.default_rng([n, p])
    X = rng.standard_normal((n, p), dtype=np.float32)
    return X.astype(dtype), (rng.standard_normal((n, p), dtype=np.float32) + X).astype(dtype)


def layers(count: int, n: int, p: int) -> list[Array]:
    """Return layers of which each shares half of its variance with the one before."""
    rng = np.random.default_rng([count, n, p])
    found = [rng.standard_normal((n, p), dtype=np.float32)]
    while len(found) < count:
        found.append((rng.standard_normal((n, p), dtype=np.float32) + found[-1]) * np.float32(0.5**0.5))
    return found


def linear_pair(n: int, p: int, dtype: str, threads: int, target: float | None = None) -> Case:
    """Linear CKA of a pair, against the forms by Gram matrices and by features where they make sense."""
    X, Y = pair(n, p, dtype)
    forms = {}
    by_grams, by_features = n**2 * p, 2 * n * p**2  # the halves of symmetric products
    if by_grams <= HOPELESS * by_features:
        forms["Gram form"] = "linear_gram"
    if by_features <= HOPELESS * by_grams:
        forms["feature form"] = "linear_feature"
    return Case(
        f"linear pair {n} × {p}, {dtype}",
        lambda: cka(X, Y, n_threads=threads),
        {f"NumPy, {words}": _call(numpy_forms, form, X, Y) for words, form in forms.items()},
        AGREEMENT[dtype],
        target,
        _torch_calls(forms, X, Y),
    )


def copied_formula(n: int, p: int, threads: int, target: float | None = None) -> Case:
    """Linear CKA of a pair in float64, against the formula with an explicit centring matrix."""
    X, Y = pair(n, p, "float64")
    return Case(
        f"linear pair {n} × {p}, float64",
        lambda: cka(X, Y, n_threads=threads),
        {"the formula as copied": lambda: numpy_forms.linear_copied(X, Y)},
        AGREEMENT["float64"],
        target,
    )


def rbf_pair(n: int, p: int, threads: int, target: float | None = None) -> Case:
    """RBF CKA of a pair in float32, with the median bandwidth."""
    X, Y = pair(n, p)
    return Case(
        f"RBF pair {n} × {p}, median",
        lambda: cka(X, Y, kernel="rbf", n_threads=threads),
        {"NumPy, in place": lambda: numpy_forms.rbf_pair(X, Y)},
        AGREEMENT["float32"],
        target,
        _torch_calls({"in place": "rbf_pair"}, X, Y),
    )


def all_pairs(count: int, n: int, p: int, kernel: str, threads: int, target: float | None = None) -> Case:
    """All pairs of layers in float32; `kernel` is linear or rbf."""
    many = layers(count, n, p)
    forms = {"NumPy, stacked Gram matrices": _call(numpy_forms, f"{kernel}_all_pairs", many)}
    # all features with all others; or Gram matrices, and their products with one another
    by_features, by_grams = n * (count * p) ** 2, n**2 * count * p + n**2 * count**2
    if kernel == "linear" and by_features <= HOPELESS * by_grams:
        forms["NumPy, stacked features"] = lambda: numpy_forms.linear_all_pairs_by_features(many)
    return Case(
        f"all {'linear' if kernel == 'linear' else 'RBF'} pairs of {count} layers {n} × {p}",
        lambda: cka_matrix(many, kernel=kernel, n_threads=threads).values,
        forms,
        AGREEMENT["float32"],
        target,
        _torch_calls({"stacked Gram matrices": f"{kernel}_all_pairs"}, many),
    )


def _torch_calls(forms: dict[str, str], *arguments: Any) -> dict[str, Call]:
    if find_spec("torch") is None:
        return {}
    from . import torch_forms

    return {f"torch, {words}": _call(torch_forms, form, *arguments) for words, form in forms.items()}


def _call(module: Any, form: str, *arguments: Any) -> Call:
    function: Callable[..., Any] = getattr(module, form)
    return lambda: function(*arguments)

# SPDX-License-Identifier: BSD-3-Clause
"""Is the best of many pairs of layers better than chance: :func:`calibrated_max`.

The largest of many values is large even where none means anything. Here the largest is compared with the
largest under permutations that are the same for all layers (Groeger, Wen and Brbic 2026).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arguments import finite_number, positive_integer
from ._arrays import (
    Array,
    ArrayLike,
    Layers,
    as_representations,
    check_samples,
    labelled,
    layer_label,
    named_layers,
    needs_float64,
)
from ._budget import check_memory
from ._groups import Groups, Permute, orders_of
from ._pairwise import check_values, in_words, reason, status_of, warn
from ._samples import check_same_samples
from ._settings import Settings
from .kernels import KernelLike

Float = NDArray[np.float64]

_ORDERS_AT_A_TIME = 1_000_000  # samples in the permutations that are made and used together


@dataclass(frozen=True, eq=False)
class CalibratedMax:
    """The result of :func:`calibrated_max`.

    Attributes
    ----------
    score : float
        ``max((maximum - tau) / (1 - tau), 0)``: 0 for what chance explains, 1 for equal representations.
    pvalue : float
        ``(1 + #) / (n_resamples + 1)``, where # permutations have a largest value at least as large.
    tau : float
        The value that chance exceeds with probability `alpha`: the ``ceil((1 - alpha)(n_resamples + 1))``-th
        smallest of the largest values, that of the data among them.
    maximum : float
        The largest unbiased CKA of all pairs of layers.
    pair : (str, str) or None
        The layers that have it; None, with all numbers nan, if CKA is not defined for any pair of layers.
    null_distribution : (n_resamples,) ndarray
        The largest value of each permutation.
    alpha : float
        The probability that chance exceeds `tau`.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> best = fastcka.calibrated_max({"a": X}, {"b": X[:, :3], "c": X[::-1]}, n_resamples=199, rng=0)
    >>> best.pair, best.pvalue, round(best.maximum, 2), best.tau < best.maximum
    (('a', 'b'), 0.005, 0.67, True)
    """

    score: float
    pvalue: float
    tau: float
    maximum: float
    pair: tuple[str, str] | None
    null_distribution: Float
    alpha: float

    def __repr__(self) -> str:
        return (
            f"CalibratedMax(score={self.score:.4g}, pvalue={self.pvalue:.3g}, tau={self.tau:.4g}, "
            f"maximum={self.maximum:.4g}, pair={self.pair!r})"
        )


def calibrated_max(
    layers_a: Layers,
    layers_b: Layers,
    *,
    kernel: KernelLike = "linear",
    alpha: float = 0.05,
    n_resamples: int = 999,
    groups: ArrayLike | None = None,
    permute: Permute = "within",
    rng: int | np.random.Generator | None = None,
    dtype: object = None,
    n_threads: int | None = None,
) -> CalibratedMax:
    """Calibrate the largest unbiased CKA over all pairs of layers of two networks.

    The score is ``max((maximum - tau) / (1 - tau), 0)``, where tau is what chance exceeds with probability
    `alpha`. Each permutation reorders the samples of all layers of the second network in the same way, so the
    layers depend on each other under permutation as they do in the data.

    Parameters
    ----------
    layers_a, layers_b : mapping or sequence of (n, p) array_like
        As for :func:`cka_matrix`.
    kernel, dtype, n_threads
        As for :func:`cka_matrix`.
    alpha : float, default 0.05
        The probability that chance exceeds `tau`.
    n_resamples, groups, permute, rng
        As for :func:`cka_test`; the paper advises 200 permutations or more.

    Returns
    -------
    CalibratedMax

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka_matrix` and :func:`cka_test`.

    Notes
    -----
    Holds one n x n matrix for each layer. Each permutation gathers the matrices of the second network once,
    for all layers of the first.

    References
    ----------
    Groeger, Wen and Brbic 2026, arXiv:2602.14486.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> rng = np.random.default_rng(0)
    >>> a = {f"a{i}": rng.normal(size=(100, 5)) for i in range(6)}
    >>> b = {f"b{i}": rng.normal(size=(100, 5)) for i in range(6)}
    >>> fastcka.calibrated_max(a, b, rng=1).score  # of 36 pairs of noise, the largest is 0.04
    0.0
    >>> fastcka.calibrated_max(a, {**b, "copy": a["a2"]}, rng=1).pair
    ('a2', 'copy')
    """
    settings = Settings.checked(kernel, "unbiased", dtype, n_threads, None)
    given = {"layers_a": layers_a, "layers_b": layers_b}
    named = {argument: named_layers(layers, argument) for argument, layers in given.items()}
    names = [(argument, name) for argument, own in named.items() for name in own]
    labels = [layer_label(*name) for name in names]
    everything = [X for argument, own in named.items() for X in as_representations(own, argument)]
    check_same_samples(
        entry for argument, own in named.items() for entry in labelled(argument, given[argument], own)
    )
    n = check_samples(everything, labels.__getitem__, "unbiased")
    alpha = finite_number(alpha, "alpha", above=0, below=1)
    positive_integer(n_resamples, "n_resamples")
    for array, label in zip(everything, labels, strict=True):
        check_values(array, label, settings)
    grouped = None if groups is None else Groups.of(groups, n)
    if grouped is not None:
        everything = grouped.sorted(everything, settings.kernel)
    orders = orders_of(n, n_resamples, grouped, permute, np.random.default_rng(rng), _ORDERS_AT_A_TIME)
    check_memory(2 * len(everything) * n**2 * (8 if needs_float64(everything, dtype) else 4))
    core = settings.core(everything)
    matrices: dict[str, dict[str, Array]] = {argument: {} for argument in named}
    degenerate = []
    for array, label, (argument, name) in zip(everything, labels, names, strict=True):
        W = _unit(array, core, label)
        if W is None:
            degenerate.append(f"{label}: {reason(status_of(array, core), settings.kernel)}")
        else:
            matrices[argument][name] = W
    if degenerate:
        warn(degenerate)
    if not all(matrices.values()):
        nothing = math.nan
        return CalibratedMax(nothing, nothing, nothing, nothing, None, np.full(n_resamples, nothing), alpha)
    a, b = matrices.values()
    return _calibrated(a, b, orders, alpha, settings.n_threads)


def _unit(X: Array, core: _core.Settings, label: str) -> Array | None:
    """Return the U-centred Gram matrix divided by its norm; None where that is zero."""
    try:
        W, _ = _core.u_centred(X, core)
    except _core.NonFinite as error:
        raise in_words(error, [[X]], lambda side, layer: label) from None
    except _core.UnusableLayer as error:
        raise ValueError(f"{label}: {error.args[2]}") from None
    norm = math.sqrt(np.einsum("ij,ij->", W, W, dtype=np.float64))
    if not norm > 0:
        return None
    W /= norm
    return W


def _calibrated(
    a: dict[str, Array],
    b: dict[str, Array],
    orders: Iterator[NDArray[np.int32]],
    alpha: float,
    n_threads: int,
) -> CalibratedMax:
    dtype = np.result_type(*a.values(), *b.values())
    left, right = ([W.astype(dtype, copy=False) for W in side.values()] for side in (a, b))
    largest: list[Float] = []
    pair = ("", "")
    for some in orders:
        products = _core.permuted_products(left, right, some, n_threads)
        if not largest:  # the first order is that of the data
            i, j = np.unravel_index(int(products[0].argmax()), products[0].shape)
            pair = list(a)[i], list(b)[j]
        largest.append(products.reshape(len(some), -1).max(axis=1))
    values = np.concatenate(largest)
    maximum, null = float(values[0]), values[1:]
    tau = float(np.sort(values)[math.ceil((1 - alpha) * len(values)) - 1])
    rounding = 1e-6 if dtype == np.float32 else 1e-12
    pvalue = (1 + int(np.count_nonzero(null >= maximum - rounding))) / len(values)
    score = max((maximum - tau) / (1 - tau), 0.0) if tau < 1 else 0.0
    return CalibratedMax(score, pvalue, tau, maximum, pair, null, alpha)


__all__ = ["CalibratedMax", "calibrated_max"]

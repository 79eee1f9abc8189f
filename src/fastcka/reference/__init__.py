# SPDX-License-Identifier: BSD-3-Clause
"""HSIC and CKA as the papers define them: plain NumPy, float64, slow on purpose.

Read this file to learn what the numbers mean; the compiled core is tested against it. The names and meanings
are those of the package, the code is its own. Kernels, (1) and (7), are in kernels.py; digits.py keeps their
Gram matrices accurate when they are centred.

X is n × p and Y is n × q: the same n samples, row by row. 1 is the all-ones vector, H = I - 11'/n the
centring matrix, and <A, B> = sum_ij A_ij B_ij. L, Lc, Lu belong to Y as K, Kc, Ku do to X.

==== ========================================================== ==========================================
(1)  K_ij = k(x_i, x_j)                                         Gram matrix of X under the kernel k
(2)  Kc = H K H                                                 centred Gram matrix
(3)  HSIC_0 = tr(K H L H) / (n-1)^2 = <Kc, Lc> / (n-1)^2        "biased": Gretton et al. 2005;
                                                                Kornblith et al. 2019, eq. 3
(4)  Ku_ij = K_ij - r_i/(n-2) - r_j/(n-2) + s/((n-1)(n-2)),     U-centred Gram matrix: Székely and
     Ku_ii = 0, with r_i = sum_{j≠i} K_ij and s = sum_i r_i     Rizzo 2014, definition 2
(5)  HSIC_1 = <Ku, Lu> / (n(n-3))                               "unbiased": Song et al. 2007, 2012
(6)  CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))             Kornblith et al. 2019, eq. 4
(7)  sigma = bandwidth * sqrt(median_ij (x_i - x_j)^2)          Kornblith et al. 2019, their notebook
(11) RV2 = <Kc, Lc> / sqrt(<Kc, Kc> <Lc, Lc>), diagonals zero   Smilde et al. 2009
(12) D_ij = K_ii + K_jj - 2 K_ij; RSA: cosine or Pearson        Kriegeskorte et al. 2008
     correlation of D and its like over all i < j
(13) (tr Kc)^2 / <Kc, Kc>                                       participation ratio, effective dimension
(14) kappa = (a + b + c) / (a - b + c), where                   condition number of HSIC(X, X); above 2^40
     a = <K, K>, b = 2/n (K 1)'(K 1), c = (1'K 1)^2 / n^2       the value is pure rounding error, so the
     (unbiased: K0, n - 2 for n, (n-1)(n-2) for n^2);           layer has no CKA
     K is Kc, or for kernels of distances K as it is
==== ========================================================== ==========================================

Song et al. write (5) in three terms. With K0 and L0 for K and L with the diagonal set to zero it is, number
for number, [tr(K0 L0) + (1'K0 1)(1'L0 1)/((n-1)(n-2)) - 2 (1'K0 L0 1)/(n-2)] / (n(n-3)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .digits import gram_for_centering
from .kernels import Array, distance, laplacian, rbf, resolve

__all__ = ["center", "cka", "cka_matrix", "effective_dimension", "gram", "hsic"]


def gram(X: npt.ArrayLike, *, kernel: object = "linear") -> Array:
    """Evaluate the kernel on every pair of samples: ``K[i, j] = k(x_i, x_j)`` (1).

    Parameters
    ----------
    X : (n, p) array_like
        One sample per row; for ``kernel="precomputed"`` the symmetric (n, n) Gram matrix itself.
    kernel : str or object
        ``"linear"``, ``"cosine"``, ``"correlation"``, ``"polynomial"``, ``"rbf"``, ``"laplacian"``,
        ``"distance"`` or ``"precomputed"``, or an object such as ``fastcka.RBF(0.5)``: a dataclass named like
        its kernel.

    Returns
    -------
    (n, n) ndarray
        nan throughout if the bandwidth is to follow from a median distance that is zero.

    Raises
    ------
    ValueError
        If the kernel is unknown, or a precomputed one is not square.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.

    Examples
    --------
    >>> gram([[1.0, 2.0], [3.0, 4.0]])
    array([[ 5., 11.],
           [11., 25.]])
    """
    kernel_function, settings = resolve(kernel)
    return kernel_function(np.asarray(X, dtype=np.float64), **settings)


def center(K: npt.ArrayLike) -> Array:
    """Centre a Gram matrix: ``H K H`` with ``H = I - 11'/n`` (2), whose rows and columns sum to zero.

    Parameters
    ----------
    K : (n, n) array_like
        A Gram matrix.

    Returns
    -------
    (n, n) ndarray

    Raises
    ------
    ValueError
        If `K` is not square.

    References
    ----------
    Gretton et al. 2005, Measuring Statistical Dependence with Hilbert-Schmidt Norms.

    Examples
    --------
    >>> center([[1.0, 0.0], [0.0, 1.0]])
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    K = np.asarray(K, dtype=np.float64)
    n = len(K)
    H = np.eye(n) - np.ones((n, n)) / n
    Kc: Array = H @ K @ H
    return Kc


def hsic(
    X: npt.ArrayLike, Y: npt.ArrayLike, *, kernel: object = "linear", estimator: str = "biased"
) -> float:
    """Hilbert-Schmidt independence criterion: (3) if biased, (5) if unbiased.

    ``tr(K H L H) / (n-1)^2`` and ``<Ku, Lu> / (n (n-3))``, with the U-centred Ku and Lu of (4).

    Parameters
    ----------
    X, Y : (n, p) and (n, q) array_like
        The same n samples, n >= 2 for the biased and n >= 4 for the unbiased estimator.
    kernel : str or object
        As in `gram`; its bandwidth follows from each representation separately.
    estimator : {"biased", "unbiased", "debiased"}
        "debiased" is another word for "unbiased". The unbiased one may be negative.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the numbers of samples differ or are too small, or the kernel or the estimator is unknown.

    References
    ----------
    Biased: Gretton et al. 2005, Measuring Statistical Dependence with Hilbert-Schmidt Norms. Unbiased: Song
    et al. 2012, Feature Selection via Dependence Maximization; in this form, Székely and Rizzo 2014, Partial
    Distance Correlation with Methods for Dissimilarities.

    Examples
    --------
    >>> x = [[0.0], [1.0], [2.0]]
    >>> hsic(x, x)  # one column: the square of its sample variance
    1.0
    """
    K, L = _centered_gram(X, kernel, estimator), _centered_gram(Y, kernel, estimator)
    if len(K) != len(L):
        raise ValueError(f"X and Y must have the same number of samples, got {len(K)} and {len(L)}")
    n = len(K)
    factor = (n - 1) ** 2 if estimator == "biased" else n * (n - 3)
    return float(np.sum(K * L) / factor)  # (3): tr(K H L H) = <HKH, HLH> because H H = H; (5)


def cka(X: npt.ArrayLike, Y: npt.ArrayLike, *, kernel: object = "linear", estimator: str = "biased") -> float:
    """Centered kernel alignment (6), the same estimator in all three places.

    ``CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``.

    Parameters
    ----------
    X, Y, kernel, estimator
        As for `hsic`.

    Returns
    -------
    float
        nan if X or Y has no variation under the kernel.

    Raises
    ------
    ValueError
        As for `hsic`.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.

    Examples
    --------
    >>> round(cka([[0.0], [1.0], [2.0]], [[0.0], [1.0], [4.0]]), 4)  # one column each: squared correlation
    0.9231
    """
    return float(cka_matrix([X], [Y], kernel=kernel, estimator=estimator)[0, 0])


def cka_matrix(
    layers_a: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    layers_b: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike] | None = None,
    *,
    measure: str = "cka",
    kernel: object = "linear",
    estimator: str | None = None,
) -> Array:
    """CKA of every layer of ``layers_a`` (rows) with every layer of ``layers_b`` (columns).

    Parameters
    ----------
    layers_a, layers_b : mapping of names to (n, p) array_like, or sequence of them
        The rows, and the columns. Without `layers_b`, those of `layers_a`.
    measure : {"cka", "rv2", "rsa_cosine", "rsa_pearson"}
        (6), (11), and the two of (12): ``<A, B> / sqrt(<A, A> <B, B>)`` with A and B the centred matrices,
        the same without their diagonals, the dissimilarities, and these less their means.
    kernel, estimator
        As for `hsic`. Only CKA has an estimator.

    Returns
    -------
    (La, Lb) ndarray

    Raises
    ------
    ValueError
        As for `hsic`; or if a measure other than CKA comes with an estimator.

    References
    ----------
    CKA: Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.
    rv2: Smilde et al. 2009, Matrix Correlations for High-Dimensional Data: the Modified RV-Coefficient.
    RSA: Kriegeskorte, Mur and Bandettini 2008, Representational Similarity Analysis - Connecting the Branches
    of Systems Neuroscience.

    Examples
    --------
    >>> x = [[0.0], [1.0], [2.0]]
    >>> cka_matrix({"x": x, "square": [[0.0], [1.0], [4.0]]}).round(4)
    array([[1.    , 0.9231],
           [0.9231, 1.    ]])
    """
    if measure != "cka" and estimator is not None:
        raise ValueError(f"measure {measure!r} has no estimator, got {estimator!r}")

    def compared(X: npt.ArrayLike) -> Array:
        if measure == "cka":
            return _centered_gram(X, kernel, estimator or "biased")
        return _MEASURES[measure](gram_for_centering(X, kernel))

    rows = [compared(X) for X in _arrays(layers_a)]
    columns = rows if layers_b is None else [compared(Y) for Y in _arrays(layers_b)]
    sizes = sorted({len(K) for K in rows + columns})
    if len(sizes) > 1:
        raise ValueError(f"all layers must have the same number of samples, got {sizes}")
    return np.array([[_alignment(K, L) for L in columns] for K in rows])


def effective_dimension(X: npt.ArrayLike, *, kernel: object = "linear") -> float:
    """Participation ratio of the eigenvalues of the centred Gram matrix: ``(tr Kc)^2 / <Kc, Kc>`` (13).

    Parameters
    ----------
    X, kernel
        As for `gram`.

    Returns
    -------
    float
        nan if X has no variation under the kernel.

    Raises
    ------
    ValueError
        As for `gram`.

    References
    ----------
    Gao et al. 2017, A Theory of Multineuronal Dimensionality, Dynamics and Measurement.

    Examples
    --------
    >>> round(effective_dimension([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 4)
    2.0
    """
    Kc = _centered_gram(X, kernel, "biased")
    return float(np.trace(Kc) ** 2 / np.sum(Kc * Kc))


def _centered_gram(X: npt.ArrayLike, kernel: object, estimator: str) -> Array:
    """Kc (2) for the biased, Ku (4) for the unbiased estimator."""
    K = gram_for_centering(X, kernel)
    n = len(K)
    given = K
    if resolve(kernel)[0] not in (rbf, laplacian, distance):  # (14)
        K = K - K.mean(axis=0) - K.mean(axis=0)[:, None] + K.mean()
    if estimator == "debiased":  # another word
        estimator = "unbiased"
    smallest = {"biased": 2, "unbiased": 4}.get(estimator)
    if smallest is None:
        raise ValueError(f'estimator must be "biased" or "unbiased", got {estimator!r}')
    if n < smallest:
        raise ValueError(f"the {estimator} estimator needs at least {smallest} samples, got {n}")
    if estimator == "unbiased":
        K, given = K - np.diag(np.diag(K)), given - np.diag(np.diag(given))  # K0
    centered = center(K) if estimator == "biased" else _u_center(K)
    # What centring leaves of a matrix without variation is rounding error; it stands for exactly zero.
    undefined, rounding = (
        _magnitude(K, estimator) * 2.0**-40,
        n * np.finfo(np.float64).eps * np.linalg.norm(given),
    )
    return np.zeros_like(K) if np.sum(centered**2) <= max(undefined, rounding**2) else centered


def _magnitude(K: Array, estimator: str) -> float:
    """Sum a + b + c of (14), from K0 if unbiased."""
    n, rows = len(K), K.sum(axis=1)
    b, c = (n, n**2) if estimator == "biased" else (n - 2, (n - 1) * (n - 2))
    return float(np.sum(K * K) + 2 / b * (rows @ rows) + rows.sum() ** 2 / c)


def _u_center(K0: Array) -> Array:
    """Ku (4), from K with a zero diagonal."""
    n = len(K0)
    r = K0.sum(axis=1)
    s = r.sum()
    Ku: Array = K0 - r[:, None] / (n - 2) - r[None, :] / (n - 2) + s / ((n - 1) * (n - 2))
    np.fill_diagonal(Ku, 0.0)
    return Ku


def _off_diagonal(K: Array) -> Array:
    """Kc with zeros on its diagonal (11)."""
    Kc = center(K)
    return Kc - np.diag(np.diag(Kc))


def _dissimilarities(K: Array) -> Array:
    """D_ij of all pairs i < j (12); terms u_i + u_j in K, which centring removes, must not be in it."""
    Kc = center(K)
    k = np.diag(Kc)
    D: Array = (k[:, None] + k[None, :] - 2 * Kc)[np.triu_indices(len(K), 1)]
    return D


def _deviations(K: Array) -> Array:
    D = _dissimilarities(K)
    deviations: Array = D - D.mean()
    return deviations if np.linalg.norm(deviations) > 1e-12 * np.linalg.norm(D) else 0 * deviations


_MEASURES: dict[str, Callable[[Array], Array]] = {
    "rv2": _off_diagonal,
    "rsa_cosine": _dissimilarities,
    "rsa_pearson": _deviations,
}


def _alignment(K: Array, L: Array) -> float:
    norms = np.linalg.norm(K) * np.linalg.norm(L)
    # (6): the factors of (3) and (5) cancel. No variation: 0/0, and nan says so.
    return float(np.sum(K * L) / norms) if norms > 0 else float("nan")


def _arrays(layers: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike]) -> list[npt.ArrayLike]:
    return list(layers.values() if isinstance(layers, Mapping) else layers)

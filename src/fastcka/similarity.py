# SPDX-License-Identifier: BSD-3-Clause
"""The measures: Gram matrix, centring, HSIC and CKA of two representations or of all pairs of layers.

Inputs are checked in _arrays.py, every sum over samples is made by the core. ``fastcka.reference`` has the
same functions in plain NumPy.
"""

from __future__ import annotations

import os

import numpy as np

from . import _core
from ._arguments import Estimator, Measure, NanPolicy, check_nan_policy
from ._arrays import Array, ArrayLike, Layers, as_representation, needs_float64
from ._budget import check_memory
from ._groups import Inference
from ._networks import Networks, warned, with_inference
from ._pairwise import (
    REASONS,
    Reasons,
    all_pairs,
    in_words,
    pairwise,
    propagating,
    reason,
    warn,
)
from ._progress import Report, progress_report
from ._samples import check_same_samples
from ._settings import Settings
from ._sources import as_layer
from ._values import check_gram, check_integers, check_square, non_finite, widened
from .kernels import KernelLike, Precomputed, core_kernel, resolve_kernel
from .results import CKAMatrix
from .threads import resolve


def gram(
    X: ArrayLike, *, kernel: KernelLike = "linear", dtype: object = None, n_threads: int | None = None
) -> Array:
    """Return the Gram matrix ``K[i, j] = k(x_i, x_j)`` of a representation.

    Parameters
    ----------
    X : (n, p) array_like
        One sample in each row. See :func:`cka` for the types that are read.
    kernel : str or kernel object, default "linear"
        As for :func:`cka`. "precomputed": `X` is the Gram matrix, and comes back in the type of the
        arithmetic.
    dtype, n_threads
        As for :func:`cka`.

    Returns
    -------
    (n, n) ndarray
        float64 or float32, the type of the arithmetic. All nan, with a :class:`DegenerateWarning`, when the
        kernel's bandwidth is relative to a median distance that is zero.

    Raises
    ------
    TypeError, ValueError
        As for :func:`cka`.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414. Each
    kernel names its own source.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.gram([[1.0, 0.0], [1.0, 2.0]])
    array([[1., 1.],
           [1., 5.]])
    """
    chosen = resolve_kernel(kernel)
    x = as_representation(X, "X")
    check_integers(x, "X")
    double_precision = needs_float64((x,), dtype)
    threads = resolve(n_threads)
    check_memory(len(x) ** 2 * (8 if double_precision else 4))
    if isinstance(chosen, Precomputed):
        check_gram(x, "X")
        K = widened(x)
        for row, column in np.argwhere(~np.isfinite(K))[:1]:
            raise non_finite(x, row, column, "X")
        return K.astype(np.float64 if double_precision else np.float32, copy=False)
    try:
        K = _core.gram(x, core_kernel(chosen), double_precision=double_precision, n_threads=threads)
    except _core.NonFinite as error:
        raise in_words(error, [[x]], lambda side, layer: "X") from None
    except ValueError as error:  # of values so large that sums overflow
        raise ValueError(f"X: {error}") from None
    if K[0, 0] != K[0, 0]:  # the core marks an undefined kernel by nan, and finite input gives no other nan
        warn([f"X: {REASONS['zero_bandwidth']}"])
    return K


def center(K: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Centre a Gram matrix, ``H K H`` with ``H = I - 11'/n``, so that its rows and columns sum to zero.

    H is never formed: means of rows and columns are subtracted.

    Parameters
    ----------
    K : (n, n) array_like
        A Gram matrix.
    n_threads : int, optional
        As for :func:`cka`.

    Returns
    -------
    (n, n) ndarray
        float64 when `K` is float64, integer or bool, otherwise float32.

    Raises
    ------
    TypeError, ValueError
        When `K` is not a square matrix of finite real numbers.

    References
    ----------
    Gretton et al. 2005, Measuring Statistical Dependence with Hilbert-Schmidt Norms.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.center([[1.0, 1.0], [1.0, 5.0]])
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    k = as_representation(K, "K")
    check_square(k, "K")
    check_integers(k, "K")
    check_memory(k.size * (8 if needs_float64((k,), None) else 4))
    try:
        return _core.center(k, resolve(n_threads))
    except _core.NonFinite as error:
        raise in_words(error, [[k]], lambda side, layer: "K") from None
    except ValueError as error:  # of values so large that sums overflow
        raise ValueError(f"K: {error}") from None


def hsic(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    kernel: KernelLike = "linear",
    estimator: Estimator = "biased",
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
) -> float:
    """Return the Hilbert-Schmidt independence criterion (HSIC) of two representations of the same samples.

    With K and L the Gram matrices of X and Y, and ``H = I - 11'/n``::

        biased    tr(K H L H) / (n-1)^2
        unbiased  (tr(K' L') + (1'K'1)(1'L'1) / ((n-1)(n-2)) - 2 (1'K'L'1) / (n-2)) / (n (n-3))

    where K' and L' are K and L with a zero diagonal.

    Parameters
    ----------
    X, Y : (n, p) and (n, q) array_like
        The same n samples in the same order, one in each row. See :func:`cka` for the types that are read.
    kernel : str or kernel object, default "linear"
        As for :func:`cka`.
    estimator : {"biased", "unbiased", "debiased"}, default "biased"
        The unbiased one may be negative. "debiased" is another word for it.
    dtype, n_threads, max_bytes
        As for :func:`cka`.

    Returns
    -------
    float
        Zero for a representation without variation; nan, with a :class:`DegenerateWarning`, when the kernel's
        bandwidth is relative to a median distance that is zero.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka`.

    References
    ----------
    Biased: Gretton et al. 2005, Measuring Statistical Dependence with Hilbert-Schmidt Norms. Unbiased: Song
    et al. 2012, Feature Selection via Dependence Maximization, equation 5.

    Examples
    --------
    The value that the documentation of pytorch-ignite prints for its HSIC:

    >>> import numpy as np, fastcka
    >>> X = np.arange(50).reshape(10, 5)
    >>> Y = np.sin(2 * np.pi * X / 50)
    >>> round(fastcka.hsic(X, Y, kernel="rbf", estimator="unbiased"), 7)
    0.0922664
    """
    result = _pair(X, Y, Settings.checked(kernel, estimator, dtype, n_threads, max_bytes))
    value: float = result.hsic.item()
    if value != value:  # other degenerate representations have a HSIC, which is zero
        warn([f"{x}: {REASONS[status]}" for x, status in _statuses(result) if status == "zero_bandwidth"])
    return value


def cka(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    kernel: KernelLike = "linear",
    estimator: Estimator = "biased",
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
) -> float:
    """Return the centered kernel alignment (CKA) of two representations of the same samples.

    ::

        CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))

    with the same estimator in all three places (:func:`hsic`). 1 means the same up to rotation and
    scale (linear kernel); 0 means unrelated (unbiased estimator). No n x n matrix is formed.

    Parameters
    ----------
    X, Y : (n, p) and (n, q) array_like
        The same n samples in the same order, one in each row; p and q may differ. Of float64, float32,
        float16, bfloat16 (an ml_dtypes array, a CPU torch tensor, or two opaque bytes per element as in
        .npy files), integers or bool, in any memory layout, read-only and memory-mapped included: NumPy,
        torch, pandas, xarray and any type with ``__array__`` or DLPack. Read in place; only foreign byte
        order or misaligned data require a copy.
    kernel : str or kernel object, default "linear"
        "linear", "rbf", "laplacian", "polynomial", "cosine", "correlation", "distance", or an object with
        options such as ``fastcka.RBF(bandwidth=0.5)``. "precomputed": X and Y are the Gram matrices, (n, n),
        themselves.
    estimator : {"biased", "unbiased", "debiased"}, default "biased"
        "biased" is the formula of Kornblith et al.; it rises with the number of features even for unrelated
        data. "unbiased", the estimator of Song et al., is around 0 for unrelated data and may be negative.
        "debiased" is another word for "unbiased". Values are never clamped.
    dtype : {None, "float32", "float64"}, default None
        Type of the arithmetic. None: float64 if X or Y is float64, integer or bool, otherwise float32
        products with float64 sums.
    n_threads : int, optional
        Number of threads; the result is reproducible bit for bit for any number. None:
        :func:`get_num_threads`.
    max_bytes : int or str, optional
        Maximum memory besides the inputs: a number of bytes, or a size such as "4GiB" or "500MB". None: the
        memory available to this process, with the limits of its control groups (container, SLURM job).

    Returns
    -------
    float
        nan, with a :class:`DegenerateWarning`, if a representation has no variation, if its unbiased HSIC
        with itself is not positive, or if a relative bandwidth has a median distance of zero.

    Raises
    ------
    TypeError
        When an input is not an array of real numbers in CPU memory.
    ValueError
        If shapes do not match, the indices of pandas or xarray objects differ, values are NaN or infinite,
        there are fewer than 2 samples (4 for the unbiased estimator), or a kernel, estimator or option is
        unknown.
    MemoryError
        If more than `max_bytes`, or more than the available memory, is needed; nothing is computed then.

    See Also
    --------
    cka_matrix : All pairs of layers, in one pass.

    References
    ----------
    Kornblith, Norouzi, Lee and Hinton 2019, Similarity of Neural Network Representations Revisited,
    arXiv:1905.00414. Song et al. 2012, Feature Selection via Dependence Maximization.

    Examples
    --------
    The numbers of the notebook that Kornblith et al. published:

    >>> import numpy as np, fastcka
    >>> rng = np.random.RandomState(1337)
    >>> X = rng.randn(100, 10)
    >>> Y = rng.randn(100, 10) + X
    >>> round(fastcka.cka(X, Y), 5)
    0.55761
    >>> round(fastcka.cka(X, Y, kernel=fastcka.RBF(bandwidth=0.5)), 5)
    0.65483
    >>> round(fastcka.cka(X, Y, estimator="unbiased"), 5)
    0.51346
    """
    settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes)
    result = _pair(X, Y, settings)
    value: float = result.cka.item()
    if value != value:
        warn([f"{x}: {reason(status, settings.kernel)}" for x, status in _statuses(result) if status])
    return value


def cka_matrix(
    layers_a: Layers,
    layers_b: Layers | None = None,
    *,
    measure: Measure = "cka",
    kernel: KernelLike = "linear",
    estimator: Estimator | None = None,
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
    nan_policy: NanPolicy = "raise",
    inference: Inference = False,
    groups: ArrayLike | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | Report | None = None,
) -> CKAMatrix:
    """Compare every layer of one network with every layer of another, or of the same one, in one pass.

    Each representation is read once and each kernel value computed once, for any number of pairs.

    Parameters
    ----------
    layers_a : mapping of names to (n, p) array_like, or sequence of them
        The layers of the rows; the layers of a sequence are called "0", "1", ... A store that was opened, an
        .npz file or an xarray data set is a mapping.
    layers_b : the same, optional
        The layers of the columns. None, or the very same object: those of `layers_a`.
    measure : {"cka", "rv2", "rsa_cosine", "rsa_pearson"}, default "cka"
        "cka"; "rv2", the modified RV coefficient; "rsa_cosine" and "rsa_pearson", cosine and Pearson
        correlation of the squared Euclidean dissimilarities (of the features, or of the space of the kernel)
        of all pairs of samples. The formulas are in the Notes. All but biased CKA need 4 samples or more.
    estimator : {"biased", "unbiased", "debiased"}, optional
        Of CKA, as for :func:`cka`; None: "biased". The other measures have none.
    kernel, dtype, n_threads, max_bytes
        As for :func:`cka`. A bandwidth is resolved for each layer; `dtype` None makes one choice for all
        layers.
    nan_policy : {"raise", "propagate"}, default "raise"
        How to treat a layer with NaN or infinity. "raise": raise a ValueError that names it. "propagate":
        its pairs are nan and it is listed among the degenerate layers; other layers are not affected.
    inference : bool, "moments" or "chi2", default False
        Also compute standard errors, p-values and confidence intervals: `stderr`, `pvalues` and
        `confidence_interval` of the result. They are always those of unbiased CKA, which the result then has
        as `unbiased`. This takes at least twice the time, and often one more pass over the Gram matrices
        (:func:`plan` says so). p-values come from one of the methods of :func:`cka_test`, which the result
        names as `pvalue_method`: with True, the exact moments under permutation for linear kernels (cosine
        and correlation among them), the chi-squared bound for others. "moments" uses the moments for
        any kernel: n^3 / 2 multiply-adds per layer, and memory for the n x n matrix of one layer at a time
        (:func:`plan` shows both). "chi2" saves that product.
    groups : (n,) array_like, optional
        With ``inference=True``, a label for each sample: samples of one group depend on each other, so
        standard errors delete one group at a time. There are no p-values then.
    checkpoint : path, optional
        A file, ``.npz``, for the sums so far: written atomically every 30 seconds, or after each block if
        one takes longer. Repeat a killed call with the same arguments to resume from it; the result is the
        same bit for bit. A file made from other layers, values or settings is rejected.
        The second pass of ``inference=True``, where there is one, resumes in the same way.
    progress : bool or function, optional
        None: a bar on standard error (tqdm, if installed) after two seconds, if that is a terminal.
        True: at once, on any output. False: none. A function is called with (done, total) periodically.

    Returns
    -------
    CKAMatrix
        ``.values[i, j]`` compares row i with column j. Only pairs with a degenerate layer are nan; one
        :class:`DegenerateWarning` names the layers, and the result keeps the reasons.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka`, naming the layer; for an `estimator` with a measure other than CKA; if there are
        no layers or two have the same name; and if sample ids (indices of pandas and xarray, ids of stores)
        differ, or are in a different order.

    Notes
    -----
    Kc and Lc are the centred Gram matrices of two layers, Kc' and Lc' the same with a zero diagonal, and <, >
    is the sum of products. ``D[i, j] = K[i, i] + K[j, j] - 2 K[i, j]`` for i < j, and E likewise for L::

        cka          HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)); biased: <Kc, Lc> / sqrt(<Kc, Kc> <Lc, Lc>)
        rv2          <Kc', Lc'> / sqrt(<Kc', Kc'> <Lc', Lc'>)
        rsa_cosine   <D, E> / sqrt(<D, D> <E, E>)
        rsa_pearson  the same of D - mean(D) and E - mean(E)

    References
    ----------
    CKA: Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.
    rv2: Smilde et al. 2009, Matrix Correlations for High-Dimensional Data: the Modified RV-Coefficient.
    RSA: Kriegeskorte, Mur and Bandettini 2008, Representational Similarity Analysis - Connecting the Branches
    of Systems Neuroscience.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> rng = np.random.RandomState(1337)
    >>> X = rng.randn(100, 10)
    >>> matrix = fastcka.cka_matrix({"x": X, "y": rng.randn(100, 10) + X})
    >>> matrix.values.round(5)
    array([[1.     , 0.55761],
           [0.55761, 1.     ]])
    """
    settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes, measure)
    if checkpoint is None:
        return warned(*compare_layers(layers_a, layers_b, settings, nan_policy, progress, inference, groups))
    check_nan_policy(nan_policy, checkpoint)
    from ._checkpoint import pairs_with_checkpoint  # few calls have one

    networks, settings = with_inference(Networks.read(layers_a, layers_b), settings, inference, groups)
    with progress_report(progress, "cka_matrix") as report:
        pairs = pairs_with_checkpoint(networks, settings, checkpoint, report)
    return warned(*networks.matrix(pairs, settings))


def compare_layers(
    layers_a: Layers,
    layers_b: Layers | None,
    settings: Settings,
    nan_policy: NanPolicy = "raise",
    progress: bool | Report | None = None,
    inference: Inference = False,
    groups: ArrayLike | None = None,
) -> tuple[CKAMatrix, Reasons]:
    """Do the work of `cka_matrix` for callers that format the reasons of degenerate layers themselves."""
    networks, settings = with_inference(Networks.read(layers_a, layers_b), settings, inference, groups)
    compare = all_pairs if check_nan_policy(nan_policy) == "raise" else propagating
    with progress_report(progress, "cka_matrix") as report:
        pairs = compare(networks.a, networks.b, networks.label, settings, report)
    return networks.matrix(pairs, settings)


def _pair(X: ArrayLike, Y: ArrayLike, settings: Settings) -> _core.Pairwise:
    a, b = [as_layer(X, "X")], [as_layer(Y, "Y")]
    check_same_samples([("X", X), ("Y", Y)])
    return pairwise(a, b, lambda side, layer: "XY"[side], settings)


def _statuses(result: _core.Pairwise) -> list[tuple[str, str]]:
    return [("X", result.status_a[0]), ("Y", result.status_b[0])]

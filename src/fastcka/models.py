# SPDX-License-Identifier: BSD-3-Clause
"""Many models at once: every layer of every model in one pass."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from ._arguments import Estimator, Measure, NanPolicy, check_nan_policy
from ._arrays import ArrayLike, Layers, model_label, model_names
from ._groups import Inference
from ._networks import Networks, with_inference
from ._pairwise import all_pairs, propagating, warn
from ._progress import Report, progress_report
from ._provenance import of_side, provenance
from ._settings import Settings
from .kernels import KernelLike
from .results import CKAModels
from .results.collection import joint_names


def cka_models(
    models: Mapping[str, Layers],
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
) -> CKAModels:
    """Compare every layer of every model with every layer of every model, in one pass.

    Each representation is read once and each kernel value computed once, for any number of models.

    Parameters
    ----------
    models : mapping of names to layers
        At least two models. The layers of each are what :func:`cka_matrix` takes: a mapping of names to
        (n, p) array_like, a sequence of them, or an opened store. Models may have different numbers of layers
        and different layer names. All saw the same n samples, in the same order.
    measure, kernel, estimator, dtype, n_threads, max_bytes, nan_policy, inference, groups
        As for :func:`cka_matrix`. `dtype` None makes one choice for all layers of all models.
    checkpoint, progress
        As for :func:`cka_matrix`.

    Returns
    -------
    CKAModels
        ``.pair("resnet", "vit")`` is the :class:`CKAMatrix` of two models, ``.summary()`` one number for each
        pair of models. The values equal ``cka_matrix`` of all layers in one mapping bit for bit; two models
        compared alone agree within the error bound. Pairs with a degenerate layer are nan; one
        :class:`DegenerateWarning` names layers and models.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka_matrix`, naming model and layer; when there are fewer than two models, or two with
        the same name; and when the sample ids of any two inputs differ.

    See Also
    --------
    cka_matrix : The layers of two models, or of one.

    Notes
    -----
    ``CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))`` for any two layers X and Y, or another measure of
    :func:`cka_matrix`, whose Notes have all formulas.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 8))
    >>> models = fastcka.cka_models(
    ...     {
    ...         "a": {"conv": X, "fc": X[:, :4]},
    ...         "b": {"conv": 2 * X, "fc": X[:, 4:]},
    ...         "c": {"conv": rng.normal(size=(200, 8)), "fc": rng.normal(size=(200, 4))},
    ...     },
    ...     estimator="unbiased",
    ... )
    >>> print(models)
    mean best match, unbiased CKA, linear; rows: models, columns: models; 200
      samples
            a      b       c
    a   1.000  0.853  -0.002
    b   0.853  1.000   0.000
    c  -0.002  0.000   1.000
    fastcka 0.1.0, float64
    >>> models.pair("a", "b").best_matches()[1].column
    'conv'
    """
    settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes, measure)
    compare = all_pairs if check_nan_policy(nan_policy, checkpoint) == "raise" else propagating
    names = model_names(models, "layers", "cka_matrix compares the layers of one")
    called = {model_label(name): layers for name, layers in zip(names, models.values(), strict=True)}
    networks = Networks.called(called)
    layers = dict(zip(names, networks.names, strict=True))
    joint_names(layers)  # before any work
    labels = tuple(networks.label(k, i) for k, own in enumerate(networks.names) for i in range(len(own)))

    joined, settings = with_inference(networks.joined(labels), settings, inference, groups)
    with progress_report(progress, "cka_models") as report:
        if checkpoint is None:
            pairs = compare(joined.a, None, joined.label, settings, report)
        else:
            from ._checkpoint import pairs_with_checkpoint  # few calls have one

            pairs = pairs_with_checkpoint(joined, settings, checkpoint, report)
    ((reasons,), (sigma,)) = pairs.reasons, pairs.sigma
    degenerate = tuple(f"{label}: {why}" for label, why in zip(labels, reasons, strict=True) if why)
    if degenerate:
        warn(degenerate)
    each = iter(sigma)
    sides = networks.sides([list(islice(each, len(own))) for own in networks.names])
    known = provenance({}, pairs.dtype, networks.samples)
    known["models"] = {name: of_side(side) for name, side in zip(names, sides, strict=True)}
    matrix, _ = joined.matrix(pairs, settings)
    matrix = replace(matrix, models=("A", "B"), warnings=degenerate, provenance=known)
    return CKAModels(matrix, layers)

# SPDX-License-Identifier: BSD-3-Clause
"""Many models at once: every layer of every model in one sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ._arrays import (
    Array,
    Estimator,
    Layers,
    NanPolicy,
    _type_name,
    check_nan_policy,
    layer_label,
    model_label,
)
from ._pairwise import all_pairs, propagating, warn
from ._progress import Report, progress_report
from ._samples import check_same_samples
from ._settings import Settings
from .kernels import KernelLike
from .results import CKAModels
from .similarity import matrix_of, read_layers


def cka_models(
    models: Mapping[str, Layers],
    *,
    kernel: KernelLike = "linear",
    estimator: Estimator = "biased",
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
    nan_policy: NanPolicy = "raise",
    progress: bool | Report | None = None,
) -> CKAModels:
    """Compare every layer of every model with every layer of every model, in one sweep.

    Each representation is read, and each of its kernel values computed, once, however many models there are.

    Parameters
    ----------
    models : mapping of names to layers
        At least two models. The layers of each are what :func:`cka_matrix` takes: a mapping of names to
        (n, p) array_like, a sequence of them, or an opened store. Models may have different numbers of layers
        and other names for them. All saw the same n samples, in the same order.
    kernel, estimator, dtype, n_threads, max_bytes, nan_policy, progress
        As for :func:`cka_matrix`. `dtype` None makes one choice for all layers of all models.

    Returns
    -------
    CKAModels
        ``.pair("resnet", "vit")`` is the :class:`CKAMatrix` of two models, ``.summary()`` one number for each
        pair of models. The values have the bits of ``cka_matrix`` of all layers in one mapping; two models
        compared alone agree within the error bound. Pairs with a degenerate layer are nan; one
        :class:`DegenerateWarning` names layers and models.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka_matrix`, naming model and layer; when there are fewer than two models, or two of the
        same name; and when the samples that any two inputs know differ.

    See Also
    --------
    cka_matrix : The layers of two models, or of one.

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
    >>> models.pair("a", "b").best_matches()[1].column
    'conv'
    """
    settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes)
    compare = all_pairs if check_nan_policy(nan_policy) == "raise" else propagating
    names = _checked(models)
    layers: dict[str, tuple[str, ...]] = {}
    arrays: list[Array] = []
    inputs: list[tuple[str, object]] = []
    for name, given in zip(names, models.values(), strict=True):
        layers[name], read, known = read_layers(given, model_label(name))
        arrays += read
        inputs += known
    check_same_samples(inputs)
    labels = tuple(layer_label(model_label(name), layer) for name in names for layer in layers[name])

    with progress_report(progress, "cka_models") as report:
        pairs = compare(arrays, None, lambda network, layer: labels[layer], settings, report)
    matrix, reasons = matrix_of(pairs, labels, labels, len(arrays[0]), settings, two=False)
    degenerate = tuple(f"{label}: {why}" for (_, label), why in reasons.items())
    if degenerate:
        warn(degenerate)
    return CKAModels(replace(matrix, warnings=degenerate), layers)


def _checked(models: object) -> list[str]:
    """Return the names of models."""
    if not isinstance(models, Mapping):
        raise TypeError(
            f"models must be a mapping of model names to layers, {{'resnet': layers, 'vit': layers}}, "
            f"got {_type_name(models)}"
        )
    if len(models) < 2:
        found = f"only {next(iter(models))!r}" if models else "none"
        raise ValueError(
            f"models: expected at least two models, got {found}; cka_matrix compares the layers of one"
        )
    names = [str(key) for key in models]
    for key, name in zip(models, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(
                f"models has two models of the same name: the key {key!r} and another read {name!r}"
            )
    return names

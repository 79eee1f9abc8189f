# SPDX-License-Identifier: BSD-3-Clause
"""The values of many models, and what can be read from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import model_label
from .matrix import CKAMatrix
from .summary import How, ModelSummary, angles_of, chance_of, function_of

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def joint_names(layers: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names of the layers of all models, "model/layer", or refuse names that would be the same."""
    found: dict[str, tuple[str, str]] = {}
    for own in ((model, layer) for model, names in layers.items() for layer in names):
        (model, layer), (other, its) = own, found.setdefault("/".join(own), own)
        if (model, layer) != (other, its):
            raise ValueError(
                f"layer {its!r} of model {other!r} and layer {layer!r} of model {model!r} are both "
                f"{'/'.join(own)!r}: rename a model"
            )
    return tuple(found)


class Collection:
    """All layers of many models with one another; `CKAModels` describes it."""

    __slots__ = ("_layers", "_matrix")

    def __init__(self, matrix: CKAMatrix, layers: Mapping[str, Sequence[str]]) -> None:
        for model, names in layers.items():
            if isinstance(names, str):
                raise TypeError(f"layers: expected the names of the layers of {model!r}, got {names!r}")
        self._layers = {model: tuple(names) for model, names in layers.items()}
        if len(self._layers) < 2:
            raise ValueError(f"layers: expected those of at least two models, got {list(self._layers)}")
        joint = joint_names(self._layers)
        if matrix.shape != (len(joint), len(joint)):
            raise ValueError(
                f"matrix: expected {len(joint)} rows and columns, one for each layer of each model, "
                f"got shape {matrix.shape}"
            )
        self._matrix = dataclasses.replace(matrix, rows=joint, columns=joint, models=("models", "models"))

    @property
    def matrix(self) -> CKAMatrix:
        """All layers with one another, as one matrix; a layer is called ``"model/layer"`` there."""
        return self._matrix

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(self._layers)

    def layers(self, model: str) -> tuple[str, ...]:
        """Return the names of the layers of a model.

        Parameters
        ----------
        model : str

        Raises
        ------
        KeyError
            If there is no model of that name.
        """
        return self._layers[self._known(model)]

    def pair(self, a: str, b: str) -> CKAMatrix:
        """Return the comparison of two models: layers of `a` in the rows, layers of `b` in the columns.

        Parameters
        ----------
        a, b : str
            The names of the two models; they may be the same.

        Raises
        ------
        KeyError
            If there is no model of that name.
        """
        part = self._matrix._part(self._rows(a), self._rows(b))
        others = [f" of {model_label(model)}: " for model in self._layers if model not in (a, b)]
        known = dict(self.provenance)
        if isinstance(origins := known.pop("models", None), Mapping):
            known.update(rows=origins[a], columns=origins[b])
        return dataclasses.replace(
            part,
            rows=self._layers[a],
            columns=self._layers[b],
            models=(a, b),
            warnings=tuple(text for text in self.warnings if not any(other in text for other in others)),
            provenance=known,
        )

    def _known(self, model: str) -> str:
        if model not in self._layers:
            raise KeyError(f"there is no model {model!r}; there are {', '.join(self._layers)}")
        return model

    def _rows(self, model: str) -> range:
        """Return where the layers of a model stand in `matrix`."""
        first = 0
        for name in self._layers:
            if name == self._known(model):
                break
            first += len(self._layers[name])
        return range(first, first + len(self._layers[model]))

    # Settings -----------------------------------------------------------------------------------------------

    @property
    def kernel(self) -> str:
        """The kernel with its settings."""
        return self._matrix.kernel

    @property
    def estimator(self) -> str | None:
        """The HSIC estimator, "biased" or "unbiased"; None: a measure that has none."""
        return self._matrix.estimator

    @property
    def method(self) -> str:
        """How the samples were taken, as `CKAMatrix.method`."""
        return self._matrix.method

    @property
    def n_samples(self) -> int:
        """The number of samples that all models saw."""
        return self._matrix.n_samples

    @property
    def warnings(self) -> tuple[str, ...]:
        """The degenerate layers, each with its model and the reason."""
        return self._matrix.warnings

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the values come from, as `CKAMatrix.provenance`."""
        return self._matrix.provenance

    def settings(self) -> dict[str, Any]:
        """Return everything but the values and their chance level, as what JSON can hold."""
        return {**self._matrix.settings(), "layers": {m: list(names) for m, names in self._layers.items()}}

    def equals(self, other: object) -> bool:
        """Return whether `other` has the same values (nan equals nan), names and settings.

        Parameters
        ----------
        other : object
            Any object; False if it is not a CKAModels.
        """
        return (
            isinstance(other, Collection)
            and list(self._layers.items()) == list(other._layers.items())
            and self._matrix.equals(other._matrix)
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self._matrix.__array__(dtype, copy)

    def _names(self) -> tuple[list[str], list[str]]:
        """Return, for each row of `matrix`, the name of its model and that of its layer."""
        pairs = [(model, layer) for model, layers in self._layers.items() for layer in layers]
        return [model for model, _ in pairs], [layer for _, layer in pairs]

    # One number for each pair of models ---------------------------------------------------------------------

    def summary(self, how: How = "best_match") -> ModelSummary:
        """Return one number for each pair of models.

        Parameters
        ----------
        how : {"best_match", "namesakes", "max"} or function
            - "best_match": the mean, over the layers of one model, of the value with the most similar layer
              of the other, averaged over both directions. 1 for a model and itself.
            - "namesakes": the mean over the layers whose name both have.
            - "max": the highest value.
            - a function is given each `pair` as a CKAMatrix, in both orders, and returns a number.

            The named summaries ignore layers that are nan, and are nan if all layers are.

        Returns
        -------
        ModelSummary
            A `CKAMatrix` whose rows and columns are the models. Its `chance` is the mean under permutation of
            the samples, for "namesakes"; a maximum has a higher one than the pairs it is taken from, so None
            otherwise.

        Raises
        ------
        ValueError
            If `how` is not known, or two models have no namesakes.
        TypeError
            If `how` is neither a name nor a function, or the function returns no number.
        """
        name, function, symmetric = function_of(how)
        size = len(self._layers)
        values, chance = np.full((size, size), np.nan), np.full((size, size), np.nan)
        for i, a in enumerate(self._layers):
            for j, b in enumerate(self._layers):
                if symmetric and j < i:
                    values[i, j], chance[i, j] = values[j, i], chance[j, i]
                    continue
                pair = self.pair(a, b)
                values[i, j] = _number(function(pair), name)
                level = chance_of(how, pair)
                chance[i, j] = np.nan if level is None else level
        return ModelSummary(
            values=values,
            rows=self.models,
            columns=self.models,
            kernel=self.kernel,
            estimator=self.estimator,
            n_samples=self.n_samples,
            models=("models", "models"),
            warnings=self.warnings,
            method=self.method,
            measure=self._matrix.measure,
            chance=None if np.isnan(chance).all() else chance,
            provenance=self.provenance,
            how=name,
        )

    def distance(self, how: How = "best_match", *, condensed: bool = False) -> NDArray[np.float64]:
        """Return the angle whose cosine is the summary, ``arccos(summary(how))``, between all models.

        For clustering and maps: ``scipy.cluster.hierarchy.linkage(models.distance(condensed=True),
        "average")``, ``sklearn.manifold.MDS(metric="precomputed").fit_transform(models.distance())``
        (``dissimilarity="precomputed"`` before scikit-learn 1.8).

        Parameters
        ----------
        how : {"best_match", "namesakes", "max"} or function
            As for `summary`. A function must return the same for a CKAMatrix and its transpose, values from
            -1 to 1, and 1 for a model and itself.
        condensed : bool
            Return the M (M - 1) / 2 distances of the pairs (0, 1), (0, 2), ..., (1, 2), ... instead.

        Returns
        -------
        (M, M) or (M (M - 1) / 2,) float64 ndarray
            In radians: 0 for the same, π / 2 for unrelated. The diagonal is zero; nan where the summary is.

        Raises
        ------
        ValueError
            If the summary is not a cosine: not symmetric, outside -1 to 1, or not 1 on the diagonal.

        Notes
        -----
        CKA is the cosine of the angle between two centred Gram matrices (for the unbiased estimator:
        U-centred ones, Székely and Rizzo 2014), so the angle is a metric on single representations, up to
        what CKA ignores (Williams et al. 2021, Generalized Shape Metrics on Neural Representations). A
        mean of cosines over the same L layers is the cosine of the angle between L Gram matrices stacked.
        Therefore:

        - "namesakes" is a **metric where all models have the same layer names** and no layer is nan; with
          other names for each pair, the triangle inequality can fail.
        - "best_match" and "max" are symmetric and zero for a model and itself, but **not metrics**: two
          models that share no layer may both share one with a third. Average or complete linkage and MDS take
          them as dissimilarities.

        Near 1 an angle is far from linear: an error of 1e-7 in the summary is up to 4e-4 in the angle.
        """
        return angles_of(self.summary(how), condensed=condensed)


def _number(value: object, name: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"how: {name} must return a number, got {value!r}") from None

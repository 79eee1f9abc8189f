# SPDX-License-Identifier: BSD-3-Clause
"""`CKAModels`, the result of comparing many models: every layer of each with every layer of all."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._arrays import layer_label, model_label
from . import containers
from .grid import plot_grid
from .labels import count_layers
from .matrix import CKAMatrix
from .summary import How, ModelSummary, angles_of, chance_of, function_of

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes
    from numpy.typing import DTypeLike, NDArray


class CKAModels:
    """CKA of every layer of every model with every layer of every model.

    Made by `fastcka.cka_models`. Immutable.

    Parameters
    ----------
    matrix : CKAMatrix
        All layers with one another: those of the first model, then those of the second, and so on.
    layers : mapping of str to sequence of str
        The names of the layers of each model, in the order of the rows of `matrix`.

    Raises
    ------
    ValueError
        If `matrix` is not square, or does not have as many rows as there are layers.

    Examples
    --------
    >>> values = [[1.0, 0.5, 0.9], [0.5, 1.0, 0.3], [0.9, 0.3, 1.0]]
    >>> names = ("conv", "fc", "block")
    >>> matrix = CKAMatrix(values, names, names, "linear", "biased", 100)
    >>> models = CKAModels(matrix, {"cnn": ["conv", "fc"], "vit": ["block"]})
    >>> models
    CKAModels(cnn: 2 layers, vit: 1 layer, linear, biased, n_samples=100)
    >>> print(models)
    mean best match, CKA, linear; rows: models, columns: models; 100 samples
           cnn    vit
    cnn  1.000  0.750
    vit  0.750  1.000
    >>> print(models.pair("cnn", "vit"))
    CKA, linear; rows: cnn, columns: vit; 100 samples
          block
    conv  0.900
    fc    0.300
    >>> models.summary("max")["cnn", "vit"]
    0.9
    """

    __slots__ = ("_layers", "_matrix")

    def __init__(self, matrix: CKAMatrix, layers: Mapping[str, Sequence[str]]) -> None:
        self._layers = {model: tuple(names) for model, names in layers.items()}
        joint = tuple(f"{model}/{name}" for model, names in self._layers.items() for name in names)
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
        """Return the names of the layers of a model."""
        return self._layers[self._known(model)]

    def pair(self, a: str, b: str) -> CKAMatrix:
        """Return the comparison of two models: layers of `a` in the rows, layers of `b` in the columns.

        Raises
        ------
        KeyError
            If there is no model of that name.
        """
        part = self._matrix.part(self._rows(a), self._rows(b))
        others = tuple(
            f"{layer_label(model_label(model), layer)}: "
            for model in self._layers
            if model not in (a, b)
            for layer in self._layers[model]
        )
        known = dict(self.provenance)
        if isinstance(origins := known.pop("models", None), Mapping):
            known.update(rows=origins[a], columns=origins[b])
        return dataclasses.replace(
            part,
            rows=self._layers[a],
            columns=self._layers[b],
            models=(a, b),
            warnings=tuple(text for text in self.warnings if not text.startswith(others)),
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
        """Return whether `other` has the same values (nan equals nan), names and settings."""
        return (
            isinstance(other, CKAModels)
            and list(self._layers.items()) == list(other._layers.items())
            and self._matrix.equals(other._matrix)
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self._matrix.__array__(dtype, copy)

    # Text ---------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        names = [f"{model}: {count_layers(len(layers))}" for model, layers in self._layers.items()]
        if len(names) > 4:
            names[3:] = [f"... {len(names)} models"]
        unless_exact = "" if self.method == "exact" else f", {self.method}"
        return (
            f"CKAModels({', '.join(names)}, {self.kernel}, {self.estimator}{unless_exact}, "
            f"n_samples={self.n_samples})"
        )

    def __str__(self) -> str:
        """Return the summary, model × model, as a table that fits the terminal."""
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained page: the summary, and each pair of models as in `CKAMatrix.to_html`.

        A pair is chosen in the summary or by the names of its models; it is part of the address, so that
        links lead to it. The page needs no network and no other file. It is written atomically.
        """
        from . import models_page

        models_page.write(self, path)

    # One number for each pair of models ---------------------------------------------------------------------

    def summary(self, how: How = "best_match") -> ModelSummary:
        """Return one number for each pair of models.

        Parameters
        ----------
        how : {"best_match", "namesakes", "max"} or function
            - "best_match": the mean, over the layers of one model, of the value with the most similar layer
              of the other; of both directions, the average. 1 for a model and itself.
            - "namesakes": the mean over the layers of one name that both have.
            - "max": the highest value.
            - a function is given each `pair` as a CKAMatrix, in both orders, and returns a number.

            The names leave layers that are nan out, and are nan where nothing is left.

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
            If the summary is no cosine: not symmetric, beyond -1 to 1, or not 1 on the diagonal.

        Notes
        -----
        CKA is the cosine of the angle between two centred Gram matrices (for the unbiased estimator:
        U-centred ones, Székely and Rizzo 2014), so the angle is a metric on single representations, up to
        what CKA does not see (Williams et al. 2021, Generalized Shape Metrics on Neural Representations). A
        mean of cosines over the same L layers is the cosine of the angle between L Gram matrices stacked.
        Therefore:

        - "namesakes" is a **metric where all models have the same layer names** and no layer is nan; with
          other names for each pair, the triangle inequality can fail.
        - "best_match" and "max" are symmetric and zero for a model and itself, but **no metrics**: two models
          that share no layer may both share one with a third. Average or complete linkage and MDS take them
          as dissimilarities.

        Near 1 an angle is far from linear: an error of 1e-7 in the summary is up to 4e-4 in the angle.
        """
        angles = angles_of(self.summary(how))
        return angles[np.triu_indices(len(angles), 1)] if condensed else angles

    # Pictures -----------------------------------------------------------------------------------------------

    def plot(
        self,
        *,
        vmin: float | Literal["auto"] = 0.0,
        vmax: float = 1.0,
        cmap: str = "magma",
        annotate: bool | None = None,
        highlight: Literal["best"] | None = None,
    ) -> NDArray[Any]:
        """Draw a grid of heat maps, one for each pair of models, with one colour scale.

        Needs matplotlib (``pip install "fastcka[plot]"``). To write a file:
        ``models.plot()[0, 0].figure.savefig("grid.pdf")``.

        Parameters
        ----------
        vmin, vmax, cmap, annotate, highlight
            As for `CKAMatrix.plot`.

        Returns
        -------
        (M, M) ndarray of matplotlib Axes
            ``axes[i, j]`` shows the pair of models i and j, layers of model i upwards. The first model is in
            the lower left corner, as is the first layer of each heat map.
        """
        rows = [[self.pair(a, b) for b in self._layers] for a in reversed(self._layers)]
        axes = plot_grid(rows, vmin=vmin, vmax=vmax, cmap=cmap, annotate=annotate, highlight=highlight)
        return axes[::-1]

    def plot_summary(self, ax: Axes | None = None, *, how: How = "best_match", **options: Any) -> Axes:
        """Draw the summary, model × model, as a heat map: ``summary(how).plot(ax, **options)``."""
        return self.summary(how).plot(ax, **options)

    def plot_dendrogram(
        self,
        ax: Axes | None = None,
        *,
        how: How = "best_match",
        linkage: Literal["average", "complete", "single", "weighted"] = "average",
    ) -> Axes:
        """Draw the tree of models that SciPy's hierarchical clustering makes of `distance`.

        Needs matplotlib and SciPy.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. Without it a figure of fitting size is made.
        how : {"best_match", "namesakes", "max"} or function
            As for `distance`.
        linkage : {"average", "complete", "single", "weighted"}
            How far two clusters are from one another, as in ``scipy.cluster.hierarchy.linkage``. Ward's and
            the centroid method need Euclidean distances, which these are not.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            If `linkage` is not known, the summary is no cosine, or it is nan for two models.
        """
        from .dendrogram import dendrogram

        return dendrogram(self.summary(how), self.distance(how, condensed=True), ax, linkage)

    # Other containers and files -----------------------------------------------------------------------------

    def to_pandas(self, tidy: bool = False) -> pandas.DataFrame:
        """Return a DataFrame of all layers of all models, both axes with the levels ``model`` and ``layer``.

        Parameters
        ----------
        tidy : bool
            Instead, one line for each pair of layers: ``model_a``, ``layer_a``, ``model_b``, ``layer_b``,
            ``cka`` and, where it is known, ``chance``.
        """
        return containers.models_to_pandas(self._matrix, *self._names(), tidy)

    def to_xarray(self) -> xarray.DataArray:
        """Return a DataArray with dimensions ``("layer_a", "layer_b")``, as `CKAMatrix.to_xarray` does.

        ``model_a`` and ``model_b`` name the model of each layer and are indexed:
        ``x.sel(model_a="resnet", model_b="vit")`` is that pair, ``x.groupby("model_a").mean()`` a mean over
        layers. It can be written to netCDF.
        """
        return containers.models_to_xarray(self._matrix, *self._names())

    def _names(self) -> tuple[list[str], list[str]]:
        """Return, for each row of `matrix`, the name of its model and that of its layer."""
        pairs = [(model, layer) for model, layers in self._layers.items() for layer in layers]
        return [model for model, _ in pairs], [layer for _, layer in pairs]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to `path` (``.npz`` or ``.json``), atomically.

        Both formats keep every setting and every float64 bit (nan included) and hold no pickle.

        Raises
        ------
        ValueError
            If `path` has another suffix.
        """
        from . import saved

        saved.write(path, "CKAModels", self.settings(), self._matrix.arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CKAModels:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If `path` has another suffix than ``.npz`` or ``.json``, or the file is damaged, is not a saved
            CKAModels, or was written by a newer fastcka than this one can read.
        """
        from . import saved

        def make(layers: Mapping[str, Sequence[str]], **fields: Any) -> CKAModels:
            return cls(CKAMatrix(**fields), layers)

        return saved.read(path, "CKAModels", make)


def _number(value: object, name: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"how: {name} must return a number, got {value!r}") from None

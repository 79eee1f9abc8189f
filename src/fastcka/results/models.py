# SPDX-License-Identifier: BSD-3-Clause
"""`CKAModels`, the result of comparing many models: it prints, draws, converts and saves itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import containers
from .collection import Collection
from .grid import plot_grid
from .labels import count_layers
from .matrix import CKAMatrix
from .summary import How

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


class CKAModels(Collection):
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
    >>> models.layers("cnn"), models.distance().round(3).tolist()
    (('conv', 'fc'), [[0.0, 0.723], [0.723, 0.0]])
    >>> models.to_pandas().shape, models.to_xarray().sel(model_a="cnn").shape
    ((3, 3), (2, 3))

    Figures and files:

    >>> figures = models.plot()[0, 0].figure, models.plot_summary(how="max").figure
    >>> tree = models.plot_dendrogram(linkage="average")
    >>> import os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> models.to_html(os.path.join(folder, "models.html"))
    >>> models.save(os.path.join(folder, "models.npz"))
    >>> again = CKAModels.load(os.path.join(folder, "models.npz"))
    >>> again.equals(models), again.settings()["layers"]
    (True, {'cnn': ['conv', 'fc'], 'vit': ['block']})
    """

    __slots__ = ()

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

        Choose a pair in the summary or by the names of its models; the pair is part of the URL, so it can be
        linked to. The page needs no network and no other file. It is written atomically.

        Parameters
        ----------
        path : path
            Of the page, usually ``.html``.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        from . import models_page

        models_page.write(self, path)

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

        Raises
        ------
        ValueError
            If `vmin` is not below `vmax`, or `highlight` is unknown.
        """
        rows = [[self.pair(a, b) for b in self._layers] for a in reversed(self._layers)]
        axes = plot_grid(rows, vmin=vmin, vmax=vmax, cmap=cmap, annotate=annotate, highlight=highlight)
        return axes[::-1]

    def plot_summary(self, ax: Axes | None = None, *, how: How = "best_match", **options: Any) -> Axes:
        """Draw the summary, model × model, as a heat map: ``summary(how).plot(ax, **options)``.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. Without it a figure of fitting size is made.
        how : {"best_match", "namesakes", "max"} or function
            As for `summary`.
        **options
            As for `CKAMatrix.plot`.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        TypeError, ValueError
            As from `summary` and `CKAMatrix.plot`.
        """
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

        return dendrogram(self.summary(how), ax, linkage)

    # Other containers and files -----------------------------------------------------------------------------

    def to_pandas(self, tidy: bool = False) -> pandas.DataFrame:
        """Return a DataFrame of all layers of all models, both axes with the levels ``model`` and ``layer``.

        Parameters
        ----------
        tidy : bool
            Instead, one row for each pair of layers: ``model_a``, ``layer_a``, ``model_b``, ``layer_b``,
            ``cka`` and, where it is known, ``chance``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return containers.models_to_pandas(self._matrix, *self._names(), tidy)

    def to_xarray(self) -> xarray.DataArray:
        """Return a DataArray with dimensions ``("layer_a", "layer_b")``, as `CKAMatrix.to_xarray` does.

        ``model_a`` and ``model_b`` name the model of each layer and are indexed:
        ``x.sel(model_a="resnet", model_b="vit")`` is that pair, ``x.groupby("model_a").mean()`` a mean over
        layers. It can be written to netCDF.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        return containers.models_to_xarray(self._matrix, *self._names())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to `path` (``.npz`` or ``.json``), atomically.

        Both formats keep every setting and every float64 bit (nan included) and hold no pickle.

        Parameters
        ----------
        path : path
            Ends in ``.npz`` or ``.json``.

        Raises
        ------
        ValueError
            If `path` has another suffix.
        OSError
            If the file cannot be written.
        """
        from . import saved

        saved.write(path, "CKAModels", self.settings(), self._matrix._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CKAModels:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
            Ends in ``.npz`` or ``.json``.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If `path` has another suffix than ``.npz`` or ``.json``, or the file is damaged, is not a saved
            CKAModels, or was written by a newer fastcka than this one can read.
        """
        from . import saved

        def make(layers: Mapping[str, Sequence[str]], **fields: Any) -> CKAModels:
            return cls(CKAMatrix(**fields), layers)

        return saved.read(path, "CKAModels", make)

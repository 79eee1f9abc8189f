# SPDX-License-Identifier: BSD-3-Clause
"""`CKAMatrix`, the result of comparing layers with layers: it prints, draws, converts and saves itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from . import containers
from .comparison import Comparison
from .labels import count_layers
from .table import heading, printed, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas
    import xarray
    from matplotlib.axes import Axes


class CKAMatrix(Comparison):
    """CKA, or another measure, of every row layer with every column layer.

    Attributes
    ----------
    values : (La, Lb) float64 ndarray
        ``values[i, j]`` compares layer ``rows[i]`` with layer ``columns[j]``; nan where it is not defined.
        Never clamped: an unbiased value may be negative.
    rows, columns : tuple of str
        Layer names, ``La`` and ``Lb`` of them.
    kernel : str
        The kernel with its settings, such as ``"linear"`` or ``"RBF(bandwidth=0.5)"``.
    measure : {"cka", "rv2", "rsa_cosine", "rsa_pearson"}
        What the values are; see `cka_matrix`.
    estimator : {"biased", "unbiased"} or None
        The HSIC estimator used in all three terms of CKA; None for other measures.
    n_samples : int
        The number of samples that both sides saw.
    models : (str, str)
        The network of the rows and the network of the columns: the titles of the two axes.
    warnings : tuple of str
        The text of each `DegenerateWarning` that the comparison gave.
    method : str
        How the samples were taken: ``"exact"``, all of them together, or ``"minibatch"``, sums of HSIC within
        batches (see `StreamingCKA`), with its weights when they are not equal.
    chance : (La, Lb) float64 ndarray, optional
        The mean of each value when the samples of one side are permuted; None where it is not known.
    unbiased, stderr : (La, Lb) float64 ndarray, optional
        Unbiased CKA and its standard error, where the comparison was made with ``inference=True``.
    pvalues, zscores : (La, Lb) float64 ndarray, optional
        How often unrelated samples reach the unbiased value, and by how many standard deviations it exceeds
        their mean; nan for a layer with itself. None with groups.
    pvalue_method : {"moments", "chi2"}, optional
        Where the p-values come from; see `cka_test`.
    n_groups : int, optional
        Groups of samples of the jackknife; None where it left out one sample at a time.
    row_dimensions, column_dimensions : (La,) and (Lb,) float64 ndarray, optional
        What `effective_dimension` returns; None where it is not known.
    provenance : mapping of str to what JSON can hold
        Where the values come from, as far as it is known: version, dtype of the arithmetic, widths of the
        layers, sigma of the kernels, pooling, sources, a digest of the sample ids.

    Notes
    -----
    Immutable: arrays are read-only copies. ``m["conv1", "fc"]`` is the value of two layers, and
    ``m[["conv1", "conv2"], :]`` the part of the matrix for some rows and all columns. Arithmetic, means over
    matrices and other selections are those of xarray: `to_xarray`.

    Examples
    --------
    >>> m = CKAMatrix([[0.9, 0.2], [0.4, 0.8]], ("conv", "fc"), ("conv", "fc"), "linear", "biased", 100)
    >>> m
    CKAMatrix(A: 2 layers x B: 2 layers, linear, biased, n_samples=100, values 0.2 to 0.9)
    >>> print(m)
    CKA, linear; rows: A, columns: B; 100 samples
           conv     fc
    conv  0.900  0.200
    fc    0.400  0.800
    >>> m["conv", "fc"]
    0.2
    >>> m[["fc"], :].rows
    ('fc',)
    >>> for row, column, value in m.best_matches():
    ...     print(row, column, value)
    conv conv 0.9
    fc fc 0.8
    >>> m.identification_accuracy(), m.counterparts()
    (1.0, ('conv', 'fc'))
    >>> m.with_models("resnet", "vit").settings()["models"], m.equals(m.T.T)
    (['resnet', 'vit'], True)

    With standard errors and p-values:

    >>> import numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(60, 8))
    >>> m = fastcka.cka_matrix({"x": X}, {"part": X[:, :4], "noise": X[::-1, 5:]}, inference=True)
    >>> low, high = m.confidence_interval(0.95)
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([[0.5, -0.06]], [[0.73, 0.07]])
    >>> m.adjusted_pvalues("holm").round(4).tolist(), m.effective_dimension("columns").round(1).tolist()
    ([[0.0, 0.4163]], [3.7, 2.9])

    Figures and files:

    >>> figures = m.plot().figure, m.plot_difference(m).figure, m.plot_curve(reference="part").figure
    >>> import os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> m.to_html(os.path.join(folder, "matrix.html"))
    >>> m.to_csv(os.path.join(folder, "matrix.csv"))
    >>> m.save(os.path.join(folder, "matrix.npz"))
    >>> CKAMatrix.load(os.path.join(folder, "matrix.npz")).equals(m)
    True
    """

    # Text ---------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        sides = (f"{m}: {count_layers(n)}" for m, n in zip(self.models, self.values.shape, strict=True))
        defined = self.values[~np.isnan(self.values)]
        values = f"values {defined.min():.3g} to {defined.max():.3g}" if defined.size else "no value"
        if undefined := self.values.size - defined.size:
            values += f", {undefined} nan"
        return (
            f"CKAMatrix({' x '.join(sides)}, {self.kernel}, {self.estimator or self.measure_name}"
            f"{self._unless_exact}, n_samples={self.n_samples}, {values})"
        )

    def __str__(self) -> str:
        """Return the values as a table that fits the terminal; of more than 12 layers, the outer ten."""
        return printed(self)

    def _repr_html_(self) -> str:
        from . import page

        return page.html_table(heading(self), table(self))

    # Pictures -----------------------------------------------------------------------------------------------

    def plot(
        self,
        ax: Axes | None = None,
        *,
        vmin: float | Literal["auto"] = 0.0,
        vmax: float = 1.0,
        cmap: str = "magma",
        annotate: bool | None = None,
        fmt: str | None = None,
        highlight: Literal["best"] | None = None,
        title: str | None = None,
        label: str | None = None,
        colorbar: bool = True,
    ) -> Axes:
        """Draw the heat map: rows upwards, columns to the right, the first layers in the lower left corner.

        Needs matplotlib (``pip install "fastcka[plot]"``). Changes no global setting of matplotlib. To write
        a file: ``matrix.plot().figure.savefig("heatmap.pdf")``.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; its place and size are kept. Without it, a figure of suitable size is created.
        vmin, vmax : float
            The ends of the colour scale: fixed, so that pictures can be compared. ``vmin="auto"`` starts it
            at the lowest value, rounded down to a multiple of 0.05. Values below `vmin` (an unbiased value
            may be negative) have a separate colour, shown at the end of the colour bar.
        cmap : str
            Name of a matplotlib colour map. The default has blues below zero where `vmin` is negative.
        annotate : bool, optional
            Write the value into each cell, with the chance level in parentheses where it is known; None: if
            there are at most 12 × 12 cells.
        fmt : str, optional
            How to write them, such as ``".3f"``; None: two decimals, or as many up to four as tell the framed
            values from the others of their row.
        highlight : {"best"}, optional
            Frame the highest value of each row (see `best_matches`); a legend below the colour bar says so.
        title : str, optional
            Title of the Axes.
        label : str, optional
            Label of the colour bar; None: `title` of the matrix, its kernel and estimator, and what is in
            parentheses.
        colorbar : bool
            Draw the colour bar to the right of the heat map.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        TypeError
            If `ax` is not an Axes.
        ValueError
            If `vmin` is not below `vmax`, or `highlight` is unknown.
        """
        from .heatmap import heatmap

        return heatmap(
            self,
            ax,
            vmin=vmin,
            vmax=vmax,
            cmap=cmap,
            annotate=annotate,
            fmt=fmt,
            highlight=highlight,
            title=title,
            label=label,
            colorbar=colorbar,
        )

    def plot_difference(
        self,
        other: CKAMatrix,
        ax: Axes | None = None,
        *,
        limit: float | None = None,
        cmap: str = "RdBu_r",
        annotate: bool | None = None,
        fmt: str = "+.2f",
        title: str | None = None,
        label: str | None = None,
        colorbar: bool = True,
    ) -> Axes:
        """Draw a heat map of these values minus those of another comparison of layers with the same names.

        White is no difference, red means higher here, blue lower. Needs matplotlib (``pip install
        "fastcka[plot]"``).

        Parameters
        ----------
        other : CKAMatrix
            With the same rows and columns: after other training, from another seed, with another kernel.
        ax : matplotlib Axes, optional
            As for `plot`.
        limit : float, optional
            The colour scale goes from ``-limit`` to ``limit``; None: the largest difference, rounded up to a
            multiple of 0.05.
        cmap, annotate, fmt, title, label, colorbar
            As for `plot`.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        TypeError
            If `ax` is not an Axes.
        ValueError
            If the layers of `other` have other names, or `limit` is not above zero.
        """
        from .heatmap import difference

        return difference(
            self,
            other,
            ax,
            limit=limit,
            cmap=cmap,
            annotate=annotate,
            fmt=fmt,
            title=title,
            label=label,
            colorbar=colorbar,
        )

    def plot_curve(
        self,
        ax: Axes | None = None,
        *,
        others: Sequence[CKAMatrix] = (),
        reference: str | None = None,
        by: Literal["name", "position"] = "name",
        depth: Literal["layers", "percent"] = "layers",
        label: str | None = None,
    ) -> Axes:
        """Draw similarity over depth: one point for each row layer.

        The curve is the similarity of each row layer to its namesake (see `counterparts`) or, when some have
        none, to its best match (see `best_matches`); legend and y axis say which. A dotted curve is the
        chance level, where it is known and not zero. Needs matplotlib (``pip install "fastcka[plot]"``).

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. Curves of several comparisons may share one Axes: each has its marker and dashes.
        others : sequence of CKAMatrix
            More comparisons of the same layers, such as those of other seeds: the curve is the mean of all,
            with a band from the lowest to the highest.
        reference : str, optional
            Name of a column layer: a second curve, with hollow markers, is the similarity to that one.
        by : {"name", "position"}
            ``"position"`` compares each layer with the one at its position in the other network.
        depth : {"layers", "percent"}
            What the x axis shows: names of layers, or depth in percent, for networks of unequal length.
        label : str, optional
            What the legend calls this comparison; None: what the layers are compared with.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        TypeError
            If `ax` is not an Axes.
        ValueError
            If `reference` is not a column layer, `others` have other row layers, or there are no counterparts
            by position.
        """
        from .curve import curve

        return curve(self, ax, others=others, reference=reference, by=by, depth=depth, label=label)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained page: interactive heat map, curve, settings, warnings, values as CSV.

        The page needs no network and no other file. It is written atomically.

        Parameters
        ----------
        path : path
            Of the page, usually ``.html``.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        from . import page

        page.write(self, path)

    # Other containers and files -----------------------------------------------------------------------------

    def to_pandas(self, tidy: bool = False) -> pandas.DataFrame:
        """Return a DataFrame, rows × columns, the two networks as axis names, the settings in ``attrs``.

        Parameters
        ----------
        tidy : bool
            Instead, one row for each pair of layers: ``model_a``, ``layer_a``, ``model_b``, ``layer_b``,
            the value under the name of the measure, such as ``cka``, and, where it is known, ``chance``.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> import numpy as np, fastcka
        >>> matrix = fastcka.CKAMatrix(np.array([[0.5, 0.25]]), ("a",), ("b", "c"), "linear", "biased", 9)
        >>> matrix.to_pandas(tidy=True)[["layer_a", "layer_b", "cka"]].to_dict("list")
        {'layer_a': ['a', 'a'], 'layer_b': ['b', 'c'], 'cka': [0.5, 0.25]}
        """
        return containers.to_pandas(self, tidy)

    def to_xarray(self) -> xarray.DataArray:
        """Return a DataArray with dimensions ``("layer_a", "layer_b")``: for arithmetic, means, selection.

        The names of layers and networks are coordinates (``layer_a``, ``layer_b``, ``model_a``, ``model_b``),
        and so is `chance` where it is known. The settings are in ``attrs``, as strings and numbers that
        netCDF can hold; `provenance` is JSON there.

        Raises
        ------
        ImportError
            If xarray is not installed.

        Examples
        --------
        >>> import numpy as np, fastcka
        >>> matrix = fastcka.CKAMatrix(np.array([[0.5, 0.25]]), ("a",), ("b", "c"), "linear", "biased", 9)
        >>> matrix.to_xarray().mean("layer_b").values.tolist()
        [0.375]
        """
        return containers.to_xarray(self)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the values as a table with the names of rows and columns, atomically.

        Lines that start with ``#`` come first, one for each setting, as JSON:
        ``pandas.read_csv(path, comment="#", index_col=0)`` skips them. Every float64 bit is kept.

        Parameters
        ----------
        path : path
            Of the table, usually ``.csv``.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        containers.to_csv(self, path)

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

        Examples
        --------
        >>> import os, tempfile, numpy as np, fastcka
        >>> matrix = fastcka.cka_matrix({"a": np.eye(5), "b": np.eye(5)[:, :3]})
        >>> path = os.path.join(tempfile.mkdtemp(), "result.json")
        >>> matrix.save(path)
        >>> fastcka.CKAMatrix.load(path).equals(matrix)
        True
        """
        from . import saved

        saved.write(path, type(self).__name__, self.settings(), self._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a result that `save` wrote.

        Parameters
        ----------
        path : path
            Ends in ``.npz`` or ``.json``.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If `path` has another suffix than ``.npz`` or ``.json``, or the file is damaged, is not a
            saved CKAMatrix, or was written by a newer fastcka than this one can read.
        """
        from . import saved

        return saved.read(path, cls.__name__, cls)

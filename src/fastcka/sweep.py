# SPDX-License-Identifier: BSD-3-Clause
"""A comparison in pieces: computed by many processes, merged in any order, with the bits of one call.

:class:`Sweep` says what is compared with what. It numbers its work, in stages: the statistics of each layer
(means and scale), rounds of the search for medians that bandwidths follow, the sums of blocks of the
products, and for inference, where it needs one, a second pass. ``sweep.run`` makes some of it, as a
:class:`Partial`; partials are added with ``|``, saved and loaded; ``sweep.result`` turns a complete one into
a :class:`~fastcka.CKAMatrix`. Sums are added along a fixed binary tree over the numbers of the blocks, and
counts are integers, so neither the cut nor the order of merging can change a bit.
"""

from __future__ import annotations

from numbers import Integral

from ._arguments import Estimator, Measure, positive_integer
from ._arrays import ArrayLike, Layers
from ._groups import Inference
from ._networks import Networks, warned, with_inference
from ._partial import Partial, blocks_in_words
from ._pieces import Pieces
from ._progress import Report, progress_report
from ._settings import Settings
from ._stages import Stage, checked_stage
from .kernels import KernelLike
from .results import CKAMatrix


class Sweep:
    """All pairs of layers, cut into numbered blocks that any process can compute.

    Every process creates the same sweep from the same layers, runs its share, and saves a partial::

        sweep = fastcka.Sweep(layers_a, layers_b, kernel="rbf")
        part = sweep.run(sweep.share(task, n_tasks))          # in each of n_tasks processes
        part.save(f"part-{task}.npz")

        whole = functools.reduce(operator.or_, map(fastcka.Partial.load, files))
        matrix = sweep.result(whole)                          # the same bits as cka_matrix(...)

    Parameters
    ----------
    layers_a, layers_b, measure, kernel, estimator, dtype, n_threads, max_bytes
        As for :func:`cka_matrix`.
        The sums are the same for every measure and estimator: a sweep with another measure or estimator can
        use them for its result.
    inference, groups
        As for :func:`cka_matrix`. For linear kernels by the Gram route, without groups, the products include
        what standard errors and p-values need. Otherwise there is a last stage, ``"inference"``: a pass over
        the Gram matrices that needs the complete products.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka_matrix`.

    Notes
    -----
    A block of the statistics is a layer, and a block of a round of the medians a part of the pairs of samples
    of one layer: a process reads only the layers of its blocks. A block of the products is a part of the
    pairs of samples, or of features, and needs all layers; so does a block of the inference, which is some
    rows of all Gram matrices, or some whole groups of samples.

    If a bandwidth follows the median of distances, each round finds 16 bits of the median, from counts of
    all distances by these bits. A stage may be given the complete partial of any earlier one; each process
    then computes the stages in between itself.

    If the merged sums are too coarse, because nearly all of the HSIC of a layer with itself cancels (this is
    rare), `result` computes the comparison again, in one process and in float64.

    The sums are those of ``CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``, and of the other measures
    of :func:`cka_matrix`, whose Notes have all formulas.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(600, 3000))
    >>> sweep = fastcka.Sweep([X, X[:, :8]], kernel="rbf")
    >>> given = sweep.run(sweep.blocks("statistics"), "statistics")
    >>> while stage := sweep.next_stage(given):
    ...     shares = [sweep.share(task, 2, stage, given=given) for task in (0, 1)]
    ...     parts = [sweep.run(share, stage, given=given) for share in shares]
    ...     given = parts[1] | parts[0]
    >>> matrix = sweep.result(given)
    >>> matrix.equals(fastcka.cka_matrix([X, X[:, :8]], kernel="rbf"))
    True
    """

    def __init__(
        self,
        layers_a: Layers,
        layers_b: Layers | None = None,
        *,
        measure: Measure = "cka",
        kernel: KernelLike = "linear",
        estimator: Estimator | None = None,
        dtype: object = None,
        n_threads: int | None = None,
        max_bytes: int | str | None = None,
        inference: Inference = False,
        groups: ArrayLike | None = None,
    ) -> None:
        settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes, measure)
        networks, settings = with_inference(Networks.read(layers_a, layers_b), settings, inference, groups)
        self._pieces = _checked(networks, settings)

    @classmethod
    def _of(cls, networks: Networks, settings: Settings, *, checked: bool = False) -> Sweep:
        """Return the sweep of layers that have been read already; `checked`: their values, too."""
        sweep = cls.__new__(cls)
        sweep._pieces = Pieces(networks, settings) if checked else _checked(networks, settings)
        return sweep

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, each of which needs the complete partial of the one before.

        ``("statistics", "products")``, and between them rounds of the search for the medians that bandwidths
        follow: ``"median-1"``, ``"median-2"``, with float64 arithmetic ``"median-3"`` and ``"median-4"``.
        Data for which float32 would lose digits need these, too: `next_stage` says so. With
        ``inference=True``, ``"inference"`` comes last if it needs a pass of its own.
        """
        return self._pieces.stages

    def next_stage(self, given: Partial) -> Stage | None:
        """Return the stage after that of a complete partial; None after the last one.

        Parameters
        ----------
        given : Partial
            All blocks of a stage, merged.

        Raises
        ------
        ValueError
            If blocks are missing, or the partial is of another sweep.
        """
        return self._pieces.next_stage(given)

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return self._pieces.networks.n_samples

    def blocks(self, stage: Stage | None = None, *, given: Partial | None = None) -> range:
        """Return the numbers of all blocks of a stage.

        Parameters
        ----------
        stage : str, optional
            One of `stages`. None: the last one.
        given : Partial, optional
            A complete partial of an earlier stage, as for `run`: how the products are cut depends on the
            type of the arithmetic, and that on the statistics and the medians.

        Raises
        ------
        ValueError
            If `given` is not complete, or of another sweep.

        Examples
        --------
        >>> import numpy as np, fastcka
        >>> X = np.random.default_rng(0).normal(size=(600, 3000))
        >>> fastcka.Sweep([X, X[:, :8]]).blocks("statistics")
        range(0, 2)
        """
        return self._pieces.blocks(checked_stage(stage, self.stages), given)

    def share(self, task: int, of: int, stage: Stage | None = None, *, given: Partial | None = None) -> range:
        """Return the blocks of task number `task` (from 0) out of `of`: ranges of nearly equal length.

        Parameters
        ----------
        task, of : int
            The number of the task, and how many there are.
        stage, given
            As for `blocks`.

        Raises
        ------
        ValueError
            If there is no task of that number, and as for `blocks`.
        """
        of = positive_integer(of, "of")
        if not isinstance(task, Integral):
            raise TypeError(f"task must be an integer, got {task!r}")
        if not 0 <= task < of:
            raise ValueError(f"task must be from 0 to {of - 1} for {of} tasks, got {task}")
        count = len(self.blocks(stage, given=given))
        return range(int(task) * count // of, (int(task) + 1) * count // of)

    def run(
        self,
        blocks: range | int,
        stage: Stage | None = None,
        *,
        given: Partial | None = None,
        progress: bool | Report | None = None,
    ) -> Partial:
        """Compute some blocks of a stage.

        Parameters
        ----------
        blocks : range or int
            The numbers of the blocks, consecutive.
        stage : str, optional
            One of `stages`. None: the last one.
        given : Partial, optional
            The complete partial of the stage before, or of an earlier one: the stages in between
            are computed here, once for each sweep. None: all of them.
        progress
            As for :func:`cka_matrix`.

        Returns
        -------
        Partial

        Raises
        ------
        ValueError
            If there are no such blocks; if `given` is not complete, or of another sweep; if a value is NaN or
            infinite.
        MemoryError
            As for :func:`cka_matrix`.
        """
        chosen = checked_stage(stage, self.stages)
        wanted = _consecutive(blocks, self.blocks(chosen, given=given))
        with progress_report(progress, "Sweep") as report:
            return self._pieces.make(wanted, chosen, given, report)

    def result(self, partial: Partial) -> CKAMatrix:
        """Return the comparison from the sums of all blocks, with the bits of :func:`cka_matrix`.

        Parameters
        ----------
        partial : Partial
            All blocks of the last stage, merged. Or of the products, if the last stage is the inference: this
            call then computes it, in one process, which reads all layers.

        Raises
        ------
        ValueError
            If blocks are missing (the message says which), or the partial is of another sweep.
        """
        pieces = self._pieces
        return warned(*pieces.networks.matrix(pieces.pairs(partial), pieces.settings))


def _checked(networks: Networks, settings: Settings) -> Pieces:
    pieces = Pieces(networks, settings)
    pieces.check_values(range(len(networks.all)))
    return pieces


def _consecutive(blocks: object, all_blocks: range) -> range:
    """Return `blocks`, a range or one number, checked."""
    if isinstance(blocks, Integral) and not isinstance(blocks, bool):
        blocks = range(int(blocks), int(blocks) + 1)
    if not isinstance(blocks, range) or blocks.step != 1:
        raise TypeError(f"blocks must be a range of consecutive numbers or one number, got {blocks!r}")
    if blocks and not (blocks.start >= 0 and blocks.stop <= all_blocks.stop):
        given = blocks_in_words((blocks,))
        raise ValueError(f"blocks must be within 0 to {all_blocks.stop - 1}, got {given}")
    return blocks if blocks else range(0)

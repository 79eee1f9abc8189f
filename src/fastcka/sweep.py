# SPDX-License-Identifier: BSD-3-Clause
"""A comparison in pieces: made by any number of processes, merged in any order, with the bits of one call.

:class:`Sweep` says what is compared with what. It numbers its work, in two stages: the statistics of each
layer (means, scale, bandwidth), and the sums of blocks of the products. ``sweep.run`` makes some of it, as a
:class:`Partial`; partials are added with ``|``, saved and loaded; ``sweep.result`` turns a complete one into
a :class:`~fastcka.CKAMatrix`. Sums are added along a fixed binary tree over the numbers of the blocks, so
neither the cut nor the order of merging can change a bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from . import _core
from ._arrays import ArrayLike, Estimator, Layers, unknown
from ._budget import within_memory
from ._groups import Inference
from ._networks import Networks, warned, with_inference
from ._pairwise import Pairs, all_pairs, check_inputs, inferring, naming, pairs_of
from ._partial import STAGES, Partial, Stage, blocks_in_words, check_same
from ._progress import Report, progress_report
from ._settings import Settings
from .kernels import KernelLike
from .results import CKAMatrix


class Sweep:
    """All pairs of layers, cut into numbered blocks that any process can make.

    Every process makes the same sweep from the same layers, runs its share, and hands over a partial::

        sweep = fastcka.Sweep(layers_a, layers_b, kernel="rbf")
        part = sweep.run(sweep.share(task, n_tasks))          # in each of n_tasks processes
        part.save(f"part-{task}.npz")

        whole = functools.reduce(operator.or_, map(fastcka.Partial.load, files))
        matrix = sweep.result(whole)                          # the same bits as cka_matrix(...)

    Parameters
    ----------
    layers_a, layers_b, kernel, estimator, dtype, n_threads, max_bytes
        As for :func:`cka_matrix`.
    inference, groups
        As for :func:`cka_matrix`. For linear kernels without groups, the products carry what standard errors
        and p-values are made of. For others `result` makes a second pass, in one process, which reads all
        layers; their partials are those of a sweep without inference, unless there are groups.

    Attributes
    ----------
    stages : tuple of str
        ``("statistics", "products")``: each needs the complete partial of the one before.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka_matrix`.

    Notes
    -----
    A block of the statistics is a layer: a process reads only the layers of its blocks. A block of the
    products is a part of the grid of samples, or of features, and reads all layers. Where nearly all of the
    HSIC of a layer with itself cancels and the merged sums are too coarse for the rest, which only rare data
    do, `result` compares anew, in one process and in float64.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(600, 3000))
    >>> sweep = fastcka.Sweep([X, X[:, :8]], kernel="rbf")
    >>> statistics = sweep.run(sweep.blocks("statistics"), "statistics")
    >>> parts = [sweep.run(sweep.share(task, 2, given=statistics), given=statistics) for task in (0, 1)]
    >>> matrix = sweep.result(parts[1] | parts[0])
    >>> matrix.equals(fastcka.cka_matrix([X, X[:, :8]], kernel="rbf"))
    True
    """

    stages: tuple[Stage, ...] = STAGES

    def __init__(
        self,
        layers_a: Layers,
        layers_b: Layers | None = None,
        *,
        kernel: KernelLike = "linear",
        estimator: Estimator = "biased",
        dtype: object = None,
        n_threads: int | None = None,
        max_bytes: int | str | None = None,
        inference: Inference = False,
        groups: ArrayLike | None = None,
    ) -> None:
        settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes)
        self._start(*with_inference(Networks.read(layers_a, layers_b), settings, inference, groups))

    @classmethod
    def _of(cls, networks: Networks, settings: Settings) -> Sweep:
        """Return the sweep of layers that have been read already."""
        sweep = cls.__new__(cls)
        sweep._start(networks, settings)
        return sweep

    def _start(self, networks: Networks, settings: Settings) -> None:
        self._networks, self._chosen = networks, settings
        check_inputs(networks.a, networks.b, networks.label, settings)
        self._statistics: Partial | None = None  # complete, once it is known

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return self._networks.n_samples

    def blocks(self, stage: Stage | None = None, *, given: Partial | None = None) -> range:
        """Return the numbers of all blocks of a stage.

        Parameters
        ----------
        stage : {"statistics", "products"}, optional
            None: the last one.
        given : Partial, optional
            The complete partial of the stage before, as for `run`: how the products are cut depends on the
            type of the arithmetic, and that on the statistics.

        Raises
        ------
        ValueError
            If `given` is not complete, or of another sweep.
        """
        if _checked_stage(stage) == "statistics":
            return range(len(self._networks.all))
        return range(self._plan(self._known(given)).blocks)

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
            If there is no such task; as from `blocks`.
        """
        if not 0 <= task < of:
            raise ValueError(f"task must be from 0 to {of - 1} for {of} tasks, got {task}")
        count = len(self.blocks(stage, given=given))
        return range(task * count // of, (task + 1) * count // of)

    def run(
        self,
        blocks: range | int,
        stage: Stage | None = None,
        *,
        given: Partial | None = None,
        progress: bool | Report | None = None,
    ) -> Partial:
        """Make some blocks of a stage.

        Parameters
        ----------
        blocks : range or int
            The numbers of the blocks, consecutive.
        stage : {"statistics", "products"}, optional
            None: the last one.
        given : Partial, optional
            The complete partial of the stage before. None: it is made here, once for each sweep.
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
        chosen, networks = _checked_stage(stage), self._networks
        if chosen == "statistics":
            wanted = _consecutive(blocks, self.blocks(chosen))
            settings = within_memory(networks.a, networks.b, self._chosen)
            with progress_report(progress, "Sweep") as report, naming(networks.a, networks.b, networks.label):
                found = _core.statistics(
                    networks.a,
                    networks.b,
                    settings,
                    wanted.start,
                    wanted.stop,
                    report,
                )
            return Partial(self._identity("statistics", len(self._networks.all)), found)
        known = self._known(given)
        settings, plan = within_memory(networks.a, networks.b, self._exact(known)), self._plan(known)
        wanted = _consecutive(blocks, range(plan.blocks))
        with progress_report(progress, "Sweep") as report, naming(networks.a, networks.b, networks.label):
            sums = _core.partial(
                networks.a,
                networks.b,
                settings,
                wanted.start,
                wanted.stop,
                cast(_core.Statistics, known._sums),
                report,
            )
        identity = self._identity("products", plan.blocks)
        identity |= {"double_precision": plan.double_precision, "statistics": known.digest}
        return Partial(identity, sums)

    def result(self, partial: Partial) -> CKAMatrix:
        """Return the comparison from the sums of all blocks, with the bits of :func:`cka_matrix`.

        Parameters
        ----------
        partial : Partial
            All blocks of the products, merged.

        Raises
        ------
        ValueError
            If blocks are missing (the message says which), or the partial is of another sweep.
        """
        return warned(*self._networks.matrix(self._pairs(partial), self._chosen))

    def _pairs(self, partial: Partial, anew: Callable[[], Pairs] | None = None) -> Pairs:
        """Do the work of `result` for callers that give the warning themselves.

        `anew` compares the layers in one call, for callers that do not have their values here.
        """
        if partial.stage != "products":
            raise ValueError(f"the result needs the products, this partial holds the {partial.stage}")
        self._check(partial, "products")
        if partial.missing:
            raise ValueError(f"{blocks_in_words(partial.missing)} of {partial.n_blocks} are missing")
        exact = bool(partial._settings["double_precision"])
        settings = replace(self._chosen, dtype="float64") if exact else self._chosen
        sums, networks = cast(_core.Partial, partial._sums), self._networks
        if self._chosen.inference is None:
            core = _core.finish(self.n_samples, *networks.widths, settings.core(networks.all), sums)
        else:
            call = inferring(networks.a, networks.b, settings, settings.core(networks.all), sums)
            with naming(networks.a, networks.b, networks.label):
                core = call(networks.a, networks.b)
        if "too_coarse" in (*core.status_a, *core.status_b):  # by other sums then, as one call does
            return anew() if anew else all_pairs(networks.a, networks.b, networks.label, self._chosen)
        return pairs_of(core, self._chosen, two=networks.b is not None)

    def _check(self, partial: Partial, stage: Stage) -> None:
        """Refuse a partial of another sweep; whether its data is other, only partials can tell."""
        blocks = len(self._networks.all) if stage == "statistics" else partial.n_blocks
        expected = self._identity(stage, blocks)
        check_same(expected, {name: partial._settings.get(name) for name in expected})

    def _identity(self, stage: Stage, blocks: int) -> dict[str, Any]:
        """Return what two partials must agree in to be parts of one whole."""
        plan = _core.plan(self.n_samples, *self._networks.widths, self._chosen.core(self._networks.all))
        return {
            "stage": stage,
            "n_samples": self.n_samples,
            "names": [list(names) for names in self._networks.names],
            "widths": [X.shape[1] for X in self._networks.all],
            "kernel": str(self._chosen.kernel),
            "dtype": "float64" if plan.double_precision else "float32",
            "groups": self._groups,
            "simd_level": plan.simd_level,
            "blocks": blocks,  # follows from all of these, which say better what differs
        }

    @cached_property
    def _groups(self) -> str | None:
        """A digest of the groups in whose order the samples lie."""
        wanted = self._chosen.inference
        if wanted is None or wanted.groups is None:
            return None
        order = np.append(wanted.groups.order, wanted.bounds).astype("<i8")
        return hashlib.sha256(order.tobytes()).hexdigest()

    def _known(self, given: Partial | None) -> Partial:
        """Return the complete statistics, made here unless they are given."""
        count = len(self._networks.all)
        if given is None:
            if self._statistics is None:
                self._statistics = self.run(range(count), "statistics")
            return self._statistics
        if given.stage != "statistics":
            raise ValueError(f"given: the products need the statistics, this partial holds the {given.stage}")
        self._check(given, "statistics")
        if given.missing:
            raise ValueError(f"given: {blocks_in_words(given.missing)} of the {count} statistics are missing")
        return given

    def _exact(self, known: Partial) -> Settings:
        """Return the settings for the products: float64 where float32 would lose digits."""
        exact = cast(_core.Statistics, known._sums).needs_float64
        return replace(self._chosen, dtype="float64") if exact else self._chosen

    def _plan(self, known: Partial) -> _core.PlanInfo:
        return _core.plan(self.n_samples, *self._networks.widths, self._exact(known).core(self._networks.all))


def _checked_stage(stage: object) -> Stage:
    if stage is None:
        return STAGES[-1]
    for known in STAGES:
        if stage == known:
            return known
    raise unknown("stage", stage, STAGES)


def _consecutive(blocks: object, all_blocks: range) -> range:
    """Return `blocks`, a range or one number, checked."""
    if isinstance(blocks, int) and not isinstance(blocks, bool):
        blocks = range(blocks, blocks + 1)
    if not isinstance(blocks, range) or blocks.step != 1:
        raise TypeError(f"blocks must be a range of consecutive numbers or one number, got {blocks!r}")
    if blocks and not (blocks.start >= 0 and blocks.stop <= all_blocks.stop):
        given = blocks_in_words((blocks,))
        raise ValueError(f"blocks must be within 0 to {all_blocks.stop - 1}, got {given}")
    return blocks if blocks else range(0)

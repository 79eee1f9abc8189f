# SPDX-License-Identifier: BSD-3-Clause
"""What a comparison will do before it does it: route, tiles, work, memory, threads."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import _core
from ._arguments import MEASURES, Estimator, Measure, NanPolicy, check_nan_policy
from ._arrays import ArrayLike, Layers, check_samples
from ._groups import Inference
from ._networks import Networks, asking
from ._pair_inference import check_room, work
from ._progress import Report, check_progress
from ._settings import Settings
from ._values import check_square
from .kernels import KernelLike, Precomputed


@dataclass(frozen=True)
class Plan:
    """What :func:`cka_matrix` (or :func:`cka`, as one layer per side) will do: route, work, memory; print it.

    Attributes
    ----------
    route : {"gram", "feature"}
        What the products are made of: tiles of samples x samples, or of features x features.
    flops : float
        Floating-point operations, a multiply-add counted as two.
    bytes : int
        Peak memory in addition to the inputs.
    reads : float
        About how often each input value is read: more often where `max_bytes` has room for strips only.
    tile, tiles : int
        Samples (or features) on a side of a tile, and the number of tiles.
    n_threads : int
        Threads that will work.
    panel_width : int
        Samples (or features) that lie side by side in the packed copy.
    simd_level : str
        Instruction set level of the core.
    dtype : {"float32", "float64"}
        Type of the arithmetic.
    measure, kernel : str
    n_samples, n_pairs : int
    inference : bool
        Whether standard errors and p-values are computed, too; `flops` and `bytes` include them.
    second_pass : bool
        Whether they need one more pass over all layers, after that for the values. On the Gram route, those
        of linear kernels come out of the same sweep, unless there are groups, or so many samples and pairs
        that one value for each does not fit into 128 MB.
    pvalue_method : {"moments", "chi2"} or None
        Where the p-values come from; None: there are none. Moments of a kernel that is not linear, or of
        more features than samples, take n^3 / 2 multiply-adds per layer, and memory for one n x n matrix.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> plan = fastcka.plan([np.broadcast_to(np.float32(0), (50_000, 4096))] * 12, kernel="rbf")
    >>> plan.route, plan.n_pairs, plan.dtype, f"{plan.flops:.1e}"
    ('gram', 78, 'float32', '1.2e+14')
    """

    route: str
    flops: float
    bytes: int
    reads: float
    tile: int
    tiles: int
    n_threads: int
    panel_width: int
    simd_level: str
    dtype: str
    measure: str
    kernel: str
    n_samples: int
    n_pairs: int
    inference: bool = False
    second_pass: bool = False
    pvalue_method: str | None = None

    def __str__(self) -> str:
        vectors = "samples" if self.route == "gram" else "features"
        pairs = "one pair" if self.n_pairs == 1 else f"{self.n_pairs} pairs"
        return "\n".join(
            (
                f"{self.kernel} {MEASURES[self.measure]} of {pairs} of layers, {self.n_samples} samples",
                f"  route       {self.route} (tiles of {vectors} x {vectors})",
                f"  work        {self.flops / 1e9:.3g} GFLOP, {self.tiles} tiles {self.tile} x {self.tile}",
                f"  memory      {self.bytes / 1e6:.3g} MB besides the inputs ({self.bytes} bytes)",
                f"  reads       each input value about {self.reads:.2g} times",
                f"  threads     {self.n_threads}",
                *([f"  inference   {self._pass}, {self._pvalues}"] if self.inference else []),
                f"  arithmetic  {self.dtype}, SIMD level {self.simd_level}, panels of {self.panel_width}",
            )
        )

    @property
    def _pass(self) -> str:
        return "a second pass" if self.second_pass else "in the same pass"

    @property
    def _pvalues(self) -> str:
        return f"p-values by {self.pvalue_method}" if self.pvalue_method else "no p-values (groups)"


def plan(
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
) -> Plan:
    """Predict what :func:`cka_matrix` would do with the same arguments, without doing it.

    No values are read, and the free memory is not checked. For :func:`cka` of X and Y, plan ``[X]`` and
    ``[Y]``.

    Parameters
    ----------
    layers_a, layers_b, measure, kernel, estimator, dtype, n_threads, max_bytes
        As for :func:`cka_matrix`.
    nan_policy, inference, groups, checkpoint, progress
        As for :func:`cka_matrix`: a call and its plan take the same arguments.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka_matrix`.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> plan = fastcka.plan([np.zeros((5000, 64), np.float32)], n_threads=1)
    >>> plan.route, plan.dtype
    ('feature', 'float32')
    """
    settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes, measure)
    check_nan_policy(nan_policy, checkpoint)
    check_progress(progress)
    networks = Networks.read(layers_a, layers_b)
    a, b, both = networks.a, networks.b, networks.all
    n = check_samples(both, networks.label_of, settings.estimator, settings.measure)
    if isinstance(settings.kernel, Precomputed):
        for i, K in enumerate(both):
            check_square(K, networks.label_of(i))
    settings = asking(networks, settings, inference, groups)
    wanted = settings.inference
    info = _core.plan(
        n, *networks.widths, settings.core(both, max_bytes=settings.max_bytes), networks.row_bytes
    )
    flops, n_bytes, second_pass = info.flops, info.bytes, False
    if wanted is not None:
        more = work(a, b, settings, wanted)
        second_pass = more.second_pass
        check_room(more.bytes, settings, wanted)
        flops, n_bytes = flops + more.flops, max(n_bytes, more.bytes)
    return Plan(
        route=info.route,
        flops=flops,
        bytes=n_bytes,
        reads=info.reads,
        tile=info.tile,
        tiles=info.tiles,
        n_threads=info.n_threads,
        panel_width=info.panel_width,
        simd_level=info.simd_level,
        dtype="float64" if info.double_precision else "float32",
        measure=settings.measure,
        kernel=str(settings.kernel),
        inference=wanted is not None,
        second_pass=second_pass,
        pvalue_method=None if wanted is None else wanted.pvalue_method,
        n_samples=n,
        n_pairs=len(a) * len(b) if b else len(a) * (len(a) + 1) // 2,
    )

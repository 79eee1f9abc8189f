# SPDX-License-Identifier: BSD-3-Clause
"""One comparison on the workers of a Dask cluster, with the bits of one call; needs ``fastcka[dask]``.

_dask_tasks has the tasks, _dask_layers says where they find the layers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ._arguments import Estimator, Measure
from ._arrays import ArrayLike
from ._dask_layers import Stored, distributed, outlines, source_of
from ._dask_tasks import Tasks
from ._groups import Inference
from ._networks import Networks, asking, warned
from ._partial import Partial
from ._settings import Settings
from ._stages import Stage
from .kernels import KernelLike
from .layers import open_layers
from .results import CKAMatrix
from .sweep import Sweep

__all__ = ["cka_matrix"]


def cka_matrix(
    layers_a: Any,
    layers_b: Any = None,
    *,
    measure: Measure = "cka",
    kernel: KernelLike = "linear",
    estimator: Estimator | None = None,
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
    inference: Inference = False,
    groups: ArrayLike | None = None,
    client: distributed.Client | None = None,
) -> CKAMatrix:
    """Compare all pairs of layers on the workers of a Dask cluster.

    Parameters
    ----------
    layers_a : path, opened store, or mapping of names to (n, p) Dask arrays, or sequence of them
        The layers of the rows. A path, or what :func:`fastcka.open_store` or :func:`fastcka.open_layers`
        returned, is opened by every worker: the path must lead to the same files on all of them and here.
    layers_b : the same, optional
        The layers of the columns. None, or the very same object: those of `layers_a`.
    measure, kernel, estimator, dtype
        As for :func:`fastcka.cka_matrix`.
    n_threads : int, optional
        Threads of a task. None: those of its worker, whatever `OMP_NUM_THREADS` says there. A worker computes
        one task at a time.
    max_bytes : int or str, optional
        Maximum memory of a task besides its inputs, as for :func:`fastcka.cka_matrix`. None: half of the
        memory limit that Dask has for the worker or, if it has none, what the process may use.
    inference, groups
        As for :func:`fastcka.cka_matrix`. Groups whose samples do not lie side by side cost a sorted copy of
        the layers of a store on each worker; Dask arrays are sorted in chunks.
    client : distributed.Client, optional
        None: the default client.

    Returns
    -------
    CKAMatrix
        With the bits of :func:`fastcka.cka_matrix` on one machine, whatever the number of workers.

    Raises
    ------
    ImportError
        If Dask is not installed: ``pip install "fastcka[dask]"``.
    TypeError
        For layers that are neither Dask arrays nor opened by a path.
    ValueError
        As for :func:`fastcka.cka_matrix`, naming the layer; if there is no client; if workers have different
        SIMD levels.
    FileNotFoundError
        If a worker does not have the files.
    MemoryError
        If a task needs more than `max_bytes`.

    Notes
    -----
    No n × n array is made, and no worker needs to hold a whole layer. Dask arrays are cut into chunks of some
    MB of whole rows, which are computed once and stay on the workers; Dask moves them to disk when memory is
    short. A task fetches the rows that it packs, and packs as much at a time as `max_bytes` has room for.

    With ``inference=True``, a kernel that is not linear needs a second pass over the Gram matrices, in tasks
    like those of the products. Each of them needs the packed copies of all layers.

    If a worker is lost, the others compute its chunks and run its tasks again.

    The values are ``CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``, or another measure of
    :func:`fastcka.cka_matrix`, whose Notes have all formulas.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.

    Examples
    --------
    >>> import dask.array as da, fastcka.dask
    >>> from distributed import Client
    >>> client = Client(processes=False, dashboard_address=":0")
    >>> X = da.random.default_rng(0).normal(size=(600, 50), chunks=(100, 50))
    >>> matrix = fastcka.dask.cka_matrix({"x": X, "squared": X**2}, kernel="rbf")
    >>> matrix.shape
    (2, 2)
    >>> client.close()
    """
    settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes, measure)
    if n_threads is None:
        settings = replace(settings, n_threads=0)  # each worker knows its own
    client = distributed.default_client() if client is None else client
    opened = {"layers_a": _opened(layers_a)}
    if layers_b is not None and layers_b is not layers_a:
        opened["layers_b"] = _opened(layers_b)
    sources = {argument: source_of(layers, argument) for argument, layers in opened.items()}
    networks = Networks.called(
        {
            argument: opened[argument] if isinstance(source, Stored) else outlines(source)
            for argument, source in sources.items()
        }
    )
    settings = asking(networks, settings, inference, groups)
    here = Sweep._of(networks, replace(settings, n_threads=1), checked=True)  # looks at no values

    stage: Stage | None = here.stages[0]
    merged: Any = None
    given: Partial | None = None
    with Tasks(client, settings, sources, networks.names) as tasks:
        tasks.compute(opened)
        while stage is not None:
            merged = tasks.merged(
                tasks.run(stage, share, here._pieces.layers_read(stage, share), merged)
                for share in tasks.shares(here, stage, given)
            )
            given = tasks.result(merged)
            stage = here.next_stage(given)
            if stage is not None:
                tasks.spread(merged)
        # Moments under permutation, and sums that are too coarse, need the values once more.
        pairs = tasks.result(tasks.pairs(merged))
    return warned(*networks.matrix(pairs, settings))


def _opened(layers: Any) -> Any:
    if isinstance(layers, str | os.PathLike):
        return open_layers(layers)
    return list(layers) if isinstance(layers, Iterator) else layers  # which is looked at twice

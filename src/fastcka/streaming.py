# SPDX-License-Identifier: BSD-3-Clause
"""CKA of a stream of batches: exactly, from moments of the features, or by the mini-batch estimator.

`StreamingCKA` is what users see; its parts are in `_streams`.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Self

from ._arguments import ESTIMATORS, Estimator, byte_limit, check_arithmetic, positive_integer
from ._arrays import Array, ArrayLike, Layers
from ._networks import warned
from ._pairwise import Reasons, reason
from ._streams.accumulator import Accumulator, Limits
from ._streams.batches import ARGUMENTS, Batch, Layout, fitted, read_batch
from ._streams.exact import Exact, check_exact_state, exact_state_size
from ._streams.groups import Grouped, states_of
from ._streams.minibatch import Minibatch
from ._streams.settings import Method, StreamSettings, Weights, checked_groups
from .kernels import KernelLike, Precomputed
from .results import CKAMatrix
from .threads import resolve


class StreamingCKA:
    """CKA of layers that come batch by batch, and are not kept.

    Each batch holds the same samples for every layer; batches follow one another as the rows of one long
    array would. :meth:`result` may be called at any time and does not end the stream.

    Parameters
    ----------
    method : {"exact", "minibatch"}, default "exact"
        "exact": the value of :func:`cka_matrix` for all samples together. Linear kernel, either estimator.
        "minibatch": the estimator of Nguyen et al., a ratio of sums of HSIC within batches. Any kernel;
        always unbiased. See Notes for what it estimates.
    kernel : str or kernel object, default "linear"
        As for :func:`cka`. A relative bandwidth is found in each batch, for each layer. "precomputed": a
        batch holds the Gram matrices of its own samples.
    estimator : {"biased", "unbiased", "debiased"}, optional
        As for :func:`cka`. None: "biased" for "exact", as everywhere, and "unbiased" for "minibatch".
    weights : {"equal", "by_size"}, default "equal"
        For "minibatch" only: the weight of a batch. "equal" is the formula of the paper and what the torch
        packages do. "by_size" weights a batch of n samples by n (n - 3), as the authors' code does. They
        differ only when batch sizes do.
    dtype : {None, "float32", "float64"}, default None
        Type of the arithmetic. None: the first batch decides, as in :func:`cka`; a later batch that
        needs more digits is rejected.
    n_threads : int, optional
        As for :func:`cka`.
    inference : bool, default False
        Also compute standard errors and p-values: `stderr`, `pvalues`, `zscores` and `confidence_interval` of
        the result, always those of unbiased CKA, which the result has as `unbiased`. "exact" then keeps a
        state for each group, 32 times the memory (see :meth:`state_bytes`), and :meth:`result` takes about
        160 merges of states. See Notes.
    n_groups : int, optional
        With ``inference=True``, the groups of samples that the jackknife leaves out, one at a time; at least
        2. None: 32. Fewer groups take less memory and give less precise standard errors.
    max_bytes : int or str, optional
        Maximum memory besides the batches, as for :func:`cka`: for "exact" a bound on the state
        (:meth:`state_bytes`), checked before the first batch is added; for "minibatch" a bound on the work on
        one batch. None: what this process may still use.

    Attributes
    ----------
    n_samples, n_batches : int
        What the stream has seen so far.

    Raises
    ------
    TypeError, ValueError
        When a setting is unknown, or cannot be used with the method.

    Notes
    -----
    **Exact.** For every pair of layers, the stream keeps the sums of products of their features, in float64
    and about the mean of the first samples, and what the unbiased estimator needs in addition. Values equal
    those of the whole arrays to 1e-12 (float64) or 1e-6 (float32), even if single samples are massive. Batch
    sizes and the number of threads do not change a single bit. Memory grows with the square of the number
    of features, not with the samples.

    **Mini-batch.** With n_b samples in batch b and HSIC_1 the unbiased HSIC::

        CKA = sum_b w_b HSIC_1(X_b, Y_b) / sqrt(sum_b w_b HSIC_1(X_b, X_b) sum_b w_b HSIC_1(Y_b, Y_b))

    The three sums are unbiased for the HSIC of the population (of a bandwidth that does not depend on the
    batch), so the ratio tends to its CKA as samples are added, as unbiased CKA of the whole arrays does. For
    the samples at hand it is a different number: samples from different batches are never compared. Its
    variance is higher, most of all where CKA is small: among unrelated layers the variance falls with n times
    the batch size, not with n squared. It assumes random batches: in sorted data, differences between batches
    are lost. One batch gives the unbiased CKA of :func:`cka`.

    **Inference.** Standard errors come from the jackknife that leaves out one group at a time (Busing et
    al. 1999). The samples of an exact stream are dealt to the groups in turn, mini-batches go to the group
    with the fewest samples. If samples depend on each other, label them in :meth:`update`: samples with the
    same label stay in one group. p-values come from the chi-squared bound (see :func:`cka_test`), z-scores
    from the exact mean 0 and variance under permutation: of all samples, 2 / (n (n - 3)), for "exact"; of
    the samples within each batch for "minibatch". With labels there are neither. Values agree with those of
    a stream without inference within rounding; those of an exact stream have the same bits for any batch
    sizes.

    **Threads.** All methods may be called from several threads; calls run one at a time.

    References
    ----------
    Chan, Golub and LeVeque 1983, Algorithms for Computing the Sample Variance (exact: merging of moments).
    Nguyen, Raghu and Kornblith 2020, Do Wide and Deep Networks Learn the Same Things?, arXiv:2010.15327
    (mini-batch).

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 20))
    >>> Y = X[:, :10] + rng.normal(size=(1000, 10))
    >>> stream = fastcka.StreamingCKA()
    >>> for first in range(0, 1000, 256):  # the last batch is smaller
    ...     stream.update(X[first : first + 256], Y[first : first + 256])
    >>> stream
    StreamingCKA(exact, linear, biased, n_samples=1000, n_batches=4)
    >>> round(stream.result().values.item(), 4), round(fastcka.cka(X, Y), 4)
    (0.3504, 0.3504)

    A stream in two processes, one of which sends its sums as a file:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "second.npz")
    >>> first, second = fastcka.StreamingCKA(), fastcka.StreamingCKA()
    >>> first.update(X[:500], Y[:500])
    >>> second.update(X[500:], Y[500:])
    >>> second.save(path)
    >>> first.merge(fastcka.StreamingCKA.load(path))
    >>> first.n_samples, round(first.result().values.item(), 4)
    (1000, 0.3504)
    """

    def __init__(
        self,
        method: Method = "exact",
        kernel: KernelLike = "linear",
        estimator: Estimator | None = None,
        *,
        weights: Weights = "equal",
        inference: bool = False,
        n_groups: int | None = None,
        dtype: object = None,
        n_threads: int | None = None,
        max_bytes: int | str | None = None,
    ) -> None:
        self._settings = StreamSettings.checked(
            method, kernel, estimator, weights, dtype, inference, n_groups
        )
        resolve(n_threads)
        byte_limit(max_bytes)
        self._limits = Limits(n_threads, max_bytes)
        self._lock = threading.Lock()
        self._layout: Layout | None = None  # until the first batch
        self._accumulator: Accumulator | Grouped | None = None
        self._n_batches = 0

    @property
    def n_samples(self) -> int:
        """Number of samples so far."""
        return self._accumulator.n_samples if self._accumulator else 0

    @property
    def n_batches(self) -> int:
        """Number of batches so far."""
        return self._n_batches

    def __repr__(self) -> str:
        return (
            f"StreamingCKA({self._settings.described_method()}, {self._settings.kernel}, "
            f"{self._settings.estimator}, "
            f"n_samples={self.n_samples}, n_batches={self._n_batches})"
        )

    def update(
        self,
        batch_a: Layers | ArrayLike,
        batch_b: Layers | ArrayLike | None = None,
        *,
        groups: ArrayLike | int | None = None,
    ) -> None:
        """Add a batch. A rejected batch changes nothing.

        After Ctrl-C (KeyboardInterrupt) the stream stays valid, with the first samples of the batch added
        (with inference: the first of some groups). `n_samples` counts them, and `n_batches` counts the batch
        if there are any.

        Parameters
        ----------
        batch_a : (n, p) array_like, or mapping of names to them, or sequence of them
            The layers of one network, or one layer. n may differ from batch to batch; the layers and their
            widths may not. Layers of a mapping are found by name; those of a sequence, and an array, are
            called "0", "1", ... Types as for :func:`cka`.
        batch_b : the same, optional
            The layers of the other network, of the same samples. None, or the very same object: the layers of
            `batch_a` are compared with one another.
        groups : int or (n,) array_like of int, optional
            With ``inference=True``, for samples that depend on each other (tokens of a text, frames of a
            video): the number of the group of each sample, or of all of this batch, as "minibatch" needs it.
            Numbers that are equal modulo `n_groups` are one group. Either every batch has them, or none does.

        Raises
        ------
        TypeError, ValueError
            When the input is not as for :func:`cka_matrix`; when layers appear, vanish or change their width,
            or need float64 in a float32 stream; when a batch for "minibatch" has fewer than 4 samples.
        MemoryError
            When more than `max_bytes` would be needed.
        """
        if groups is not None and self._settings.n_groups is None:
            raise ValueError("groups: given, but the stream was made without inference=True")
        fixed_widths = not isinstance(self._settings.kernel, Precomputed)
        batch = read_batch(batch_a, batch_b, self._settings.dtype, fixed_widths, groups)
        with self._lock:
            if self._layout is not None:
                batch = fitted(batch, self._layout)
            self._add(batch)

    def _append(self, sides: tuple[list[Array], ...]) -> None:
        """Add arrays with the layers, widths and dtypes of earlier batches, which are not checked again."""
        with self._lock:
            assert self._layout is not None
            self._add(Batch(self._layout, sides))

    def _add(self, batch: Batch) -> None:
        accumulator = self._accumulator or self._new(batch.layout)
        before = accumulator.n_samples
        try:
            accumulator.update(batch)
        finally:  # also of a batch that Ctrl-C has cut
            if accumulator.n_samples > before:
                self._layout, self._accumulator = batch.layout, accumulator
                self._n_batches += 1

    def merge(self, other: StreamingCKA) -> None:
        """Add all that another stream has seen, of other samples; `other` stays as it is.

        Combines the streams of several processes (see :meth:`save`) into one result. Exact values equal those
        of one stream to the precision given above; mini-batch sums are added.

        Parameters
        ----------
        other : StreamingCKA
            Of the same settings, layers, widths and arithmetic.

        Raises
        ------
        TypeError, ValueError
            When `other` is not such a stream, or is this one.
        MemoryError
            When this stream has no batch yet and the state is larger than its `max_bytes`.
        """
        if not isinstance(other, StreamingCKA):
            raise TypeError(f"other must be a StreamingCKA, got {type(other).__name__}")
        if other is self:
            raise ValueError("a stream cannot be merged with itself: its samples would count twice")
        first, second = sorted((self, other), key=id)  # one order for all threads: none waits for ever
        with first._lock, second._lock:
            self._check_same(other)
            if other._layout is None or other._accumulator is None:
                return
            accumulator = self._accumulator or self._new(other._layout)
            accumulator.merge(other._accumulator)
            self._layout, self._accumulator = other._layout, accumulator
            self._n_batches += other._n_batches

    def result(self) -> CKAMatrix:
        """Return CKA of all samples so far; updates may follow.

        Returns
        -------
        CKAMatrix
            As from :func:`cka_matrix`, with a :class:`DegenerateWarning` for layers that have no CKA. Its
            ``method`` says "exact" or "minibatch".

        Raises
        ------
        ValueError
            When there are too few samples: at least 2 are needed, 4 for the unbiased estimator, 6 with
            inference, of which 4 must be outside the largest group.
        """
        return warned(*self._compared(), ARGUMENTS)

    def _compared(self) -> tuple[CKAMatrix, Reasons]:
        """Return CKA of all samples so far, and why layers have none; the caller puts it in words."""
        settings = self._settings
        with self._lock:
            fewest = ESTIMATORS[settings.estimator]
            if self._layout is None or self._accumulator is None or self.n_samples < fewest:
                raise ValueError(
                    f"the {settings.estimator} estimator needs at least {fewest} samples, this stream has "
                    f"seen {self.n_samples}: give it more with update"
                )
            layout, n_samples = self._layout, self.n_samples
            inferred = None
            if isinstance(self._accumulator, Grouped):
                inferred = self._accumulator.inferred(labelled=layout.labelled, two=layout.two_sided)
                found = inferred.values
            else:
                found = self._accumulator.values()
        matrix = CKAMatrix(
            values=found.cka,
            chance=found.chance,
            rows=layout.names[0],
            columns=layout.names[-1],
            kernel=str(settings.kernel),
            estimator=settings.estimator,
            n_samples=n_samples,
            models=("A", "B") if layout.two_sided else ("A", "A"),
            method=settings.described_method(),
            provenance=layout.provenance(),
            **({} if inferred is None else inferred.inference._asdict()),
            pvalue_method=None if inferred is None or layout.labelled else "chi2",
            n_groups=None if inferred is None else inferred.n_groups,
        )
        return matrix, {
            (network, layout.names[network][layer]): reason(status, settings.kernel)
            for network, layer, status in found.notes
        }

    @staticmethod
    def state_bytes(
        widths_a: Sequence[int],
        widths_b: Sequence[int] | None = None,
        *,
        dtype: object = "float32",
        n_groups: int | None = None,
    ) -> int:
        """Return the memory that ``StreamingCKA("exact")`` takes for layers of these widths, for any n.

        Parameters
        ----------
        widths_a : sequence of int
            Number of features of each layer.
        widths_b : sequence of int, optional
            Of the other network. None: the layers are compared with one another.
        dtype : {"float32", "float64"}, default "float32"
            Type of the arithmetic. Sums are float64 in any case.
        n_groups : int, optional
            For a stream with ``inference=True`` (default: 32): one state per group, and the temporary states
            of a result, 6 for 32 groups. None: a stream without inference.

        Returns
        -------
        int
            Bytes: the sums, and samples that wait for the next block of 4096.

        Raises
        ------
        TypeError, ValueError
            When there is no layer, or a width is not a positive integer.
        MemoryError
            When no machine holds such a state: beyond 2**29 features in all.

        Examples
        --------
        >>> import fastcka
        >>> fastcka.StreamingCKA.state_bytes([768] * 24)  # 24 layers of a transformer
        2078441472
        >>> fastcka.StreamingCKA.state_bytes([64] * 12, n_groups=32)  # 12 pooled layers, with inference
        2020466688
        """
        sides = {"widths_a": widths_a} if widths_b is None else {"widths_a": widths_a, "widths_b": widths_b}
        for name, widths in sides.items():
            if len(widths) == 0:
                raise ValueError(f"{name} is empty: at least one layer is needed")
            for i, width in enumerate(widths):
                positive_integer(width, f"{name}[{i}]", 2**31 - 1)
        groups = None if n_groups is None else checked_groups(True, n_groups)
        return exact_state_size(list(sides.values()), check_arithmetic(dtype) == "float64", groups)

    # Files --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the stream to `path` (``.npz``), atomically; a loaded stream continues bit for bit.

        All settings are saved except `n_threads` and `max_bytes`, which belong to the machine. While it runs,
        it needs memory for a second copy of the state, as `load` does. No pickle.

        Parameters
        ----------
        path : path
            Ends in ``.npz``.

        Raises
        ------
        ValueError
            If `path` has another suffix.
        OSError
            If the file cannot be written; an old one is left as it was.
        """
        from ._streams import saved  # not at the top: zipfile and hashlib take longer to import than fastcka

        with self._lock:
            settings = {
                **self._settings.saved(),
                "n_samples": self.n_samples,
                "n_batches": self._n_batches,
                "layout": None if self._layout is None else dataclasses.asdict(self._layout),
            }
            saved.write(path, settings, self._accumulator.state() if self._accumulator else {})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, n_threads: int | None = None, max_bytes: int | str | None = None
    ) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
            Ends in ``.npz``.
        n_threads, max_bytes
            As for the class: for this machine, not the one that saved the stream.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If `path` has another suffix than ``.npz``, or the file is damaged, is not a saved stream, or was
            written by a newer fastcka than this one can read.
        MemoryError
            When the state is larger than `max_bytes`; nothing has been read then.
        """
        from ._streams import saved

        def accept(settings: dict[str, Any]) -> None:
            if settings["method"] == "exact" and settings["layout"] is not None:
                check_exact_state(Layout.of_saved(settings["layout"]), max_bytes, settings["n_groups"])

        resolve(n_threads)
        byte_limit(max_bytes)
        settings, state = saved.read(path, accept)
        layout = None if settings["layout"] is None else Layout.of_saved(settings["layout"])
        limits = Limits(n_threads, max_bytes)
        return cls._of(StreamSettings.of_saved(settings), limits, layout, state, settings["n_batches"])

    def __reduce__(self) -> tuple[Any, ...]:  # the lock is of one process
        with self._lock:
            state = self._accumulator.state() if self._accumulator else {}
            return self._of, (self._settings, self._limits, self._layout, state, self._n_batches)

    # Inside -------------------------------------------------------------------------------------------------

    @classmethod
    def _of(
        cls,
        settings: StreamSettings,
        limits: Limits,
        layout: Layout | None,
        state: dict[str, Array],
        n_batches: int,
    ) -> Self:
        """Return a stream that has seen what the state says."""
        stream = cls()
        stream._settings, stream._limits, stream._layout = settings, limits, layout
        if layout is not None:
            stream._accumulator, stream._n_batches = stream._new(layout, state), n_batches
        return stream

    def _new(self, layout: Layout, state: dict[str, Array] | None = None) -> Accumulator | Grouped:
        """Return the accumulator for batches of this layout, empty or with a saved state."""
        kind = Exact if self._settings.method == "exact" else Minibatch
        if (n_groups := self._settings.n_groups) is None:
            return kind(layout, self._settings, self._limits, state)
        if kind is Exact:
            check_exact_state(layout, self._limits.max_bytes, n_groups)
        states = [None] * n_groups if state is None else states_of(state, n_groups)
        return Grouped([kind(layout, self._settings, self._limits, one) for one in states])

    def _check_same(self, other: StreamingCKA) -> None:
        """Refuse to merge streams that differ, naming the first difference."""
        for what, here, there in self._differences(other):
            raise ValueError(
                f"only streams of the same settings and layers can be merged: the {what} is {here!r} here, "
                f"{there!r} in the other"
            )

    def _differences(self, other: StreamingCKA) -> Iterator[tuple[str, object, object]]:
        """Yield (what, here, there) for all that keeps two streams from being merged."""
        yield from self._settings.differences(other._settings)
        types = self._arithmetic(), other._arithmetic()
        if types[0] != types[1] and None not in types:
            yield "dtype", *types
        if self._layout is not None and other._layout is not None:
            yield from self._layout.differences(other._layout)

    def _arithmetic(self) -> str | None:
        """Return the type of the arithmetic; None while the first batch is still to decide it."""
        return self._settings.dtype if self._layout is None else self._layout.arithmetic

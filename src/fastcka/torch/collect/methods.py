# SPDX-License-Identifier: BSD-3-Clause
"""Run models over a loader and collect CKA: which of three ways, and how much memory each takes.

A stream of moments takes memory with the square of the features, kept activations with the samples; both are
exact, and the smaller one is taken. Where neither fits, there is the mini-batch estimator. core.py has them
by the core, device.py on the device where the activations are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch

from ..._arguments import byte_limit, check_arithmetic, check_estimator, unknown
from ..._arrays import layer_label, model_label
from ..._machine import available_bytes, size_in_words
from ..._plan import plan
from ..._progress import Report, check_progress, progress_report
from ...kernels import Kernel, KernelLike, Linear, Precomputed, resolve_kernel
from ...results.collection import joint_names
from ...streaming import StreamingCKA
from .._common import Tensor, in_one_line, say
from ..data.calls import Calls
from ..data.loaders import Extent
from ..layers.capture import Capture
from ..layers.rows import Rows, is_double, like
from ..layers.state import evaluating, observing
from . import device as on_device
from .centred import tile_bytes
from .core import Collector, InWholeBatches, KeptRows, Outcome, Settings, Stream

METHODS = ("auto", "exact", "minibatch")


@dataclass(frozen=True)
class Call:
    """The options of `compare` and `compare_models` for the rows."""

    method: str
    kernel: Kernel
    settings: Settings
    limit: int
    progress: bool | Report | None
    what: str  # the name of the door

    @classmethod
    def checked(
        cls,
        what: str,
        method: object,
        kernel: KernelLike,
        estimator: str | None,
        dtype: object,
        n_threads: int | None,
        max_bytes: int | str | None,
        progress: bool | Report | None,
    ) -> Call:
        """Check the arguments that both doors have."""
        chosen = resolve_kernel(kernel)
        if estimator is not None:
            estimator = check_estimator(estimator)
        if not isinstance(method, str) or method not in METHODS:
            raise unknown("method", method, METHODS)
        if isinstance(chosen, Precomputed):
            raise ValueError(
                "kernel 'precomputed' is for Gram matrices, and layers of models give activations"
            )
        check_progress(progress)
        settings = {"estimator": estimator, "dtype": check_arithmetic(dtype), "n_threads": n_threads}
        limit = byte_limit(max_bytes)
        if not limit and method != "minibatch":  # which keeps nothing
            limit = available_bytes() // 2
        return cls(method, chosen, settings, limit, progress, what)


def collect(
    captures: Sequence[Capture], calls: Calls, call: Call, models: Sequence[str] | None = None
) -> Outcome:
    """Return CKA of the layers of two models or, by the names of `models`, of all layers of all of them."""
    devices = {reader.device for reader in calls.readers}
    device = devices.pop() if len(devices) == 1 else None
    if device is not None and not on_device.computes(device, call.kernel):
        device = None
    modules = [set(map(id, capture.model.modules())) for capture in captures]
    for k, capture in enumerate(captures):
        capture.maker.stay = device is not None
        # Modules that another model runs, too, may write to the same memory again.
        capture.maker.borrow = not any(modules[k] & other for i, other in enumerate(modules) if i != k)
    extent = Extent(calls.loader, calls.n_samples)
    collected: Collector | None = None
    with ExitStack() as stack:
        stack.enter_context(observing(calls.loader, calls.loader_b))
        for capture in captures:
            asks = capture.selection.asks_for_hidden_states
            stack.enter_context(evaluating(capture.model, hidden_states=asks))
            stack.enter_context(capture.watching())
        report = stack.enter_context(progress_report(call.progress, call.what, unit="sample"))
        for start, stop, inputs in calls:
            rows = [c.run(each, start) for c, each in zip(captures, inputs, strict=True)]
            batch = [c.complete(r.samples(0, stop - start)) for c, r in zip(captures, rows, strict=True)]
            _check_positions(batch, captures)
            total = extent.total(stop - start)
            if models is not None:
                batch = [_as_one(batch, models)]
            if device is not None:
                batch = [rows.on(device) for rows in batch]
            if collected is None:
                if models is not None:
                    joint_names({name: tuple(c.widths) for name, c in zip(models, captures, strict=True)})
                if lost := [text for capture in captures for text in capture.left_out()]:
                    warnings.warn(f"skipped: {in_one_line(lost)}", UserWarning, stacklevel=3)
                if doubtful := [text for capture in captures for text in capture.doubtful()]:
                    warnings.warn(in_one_line(doubtful), UserWarning, stacklevel=3)
                collected = collector(
                    call.method, call.kernel, call.settings, call.limit, batch, total, device
                )
                counts = " x ".join(str(len(c.widths)) for c in captures)
                say(call.progress, f"{call.what}: {counts} layers, {collected.words}")
            collected.add(batch, start, extent.left(stop))
            if report:
                report(stop, max(stop, total or stop))
            del inputs, rows, batch  # their memory is for the next batch
        if collected is None:
            raise ValueError("loader gave no samples")
        outcome = collected.result()
    reasons = outcome.reasons
    for side, capture in enumerate(captures):
        for layer, why in capture.dropped.items():
            reasons[(side, layer) if models is None else (0, joint_label(models[side], layer))] = why
    return outcome


def _check_positions(rows: Sequence[Rows], captures: Sequence[Capture]) -> None:
    """Check, where positions are the samples, that they are the same in all models."""
    a = rows[0]
    for b, capture in list(zip(rows, captures, strict=True))[1:]:
        if a.positions is None or b.positions is None:
            continue
        of_a, of_b = (c.owner.removeprefix(" of ") for c in (captures[0], capture))
        if {a.side, b.side} == {"encoder", "decoder"}:
            raise ValueError(
                f"pool 'tokens' compares the same positions in both models, but those of {of_a} are of "
                f"the {a.side} and those of {of_b} of the {b.side}: pool over positions ('mean', "
                f"'last', 'cls')"
            )
        if a.positions.shape != b.positions.shape or not bool((a.positions == b.positions).all()):
            raise ValueError(
                f"pool 'tokens' compares the same positions in both models, but there are {len(a)} of "
                f"{tuple(a.positions.shape)} in {of_a} and {len(b)} of {tuple(b.positions.shape)} in "
                f"{of_b}: pool over positions instead ('mean', 'last', 'cls')"
            )


def joint_label(model: str, layer: str) -> str:
    """Return the words for a layer among those of several models, as `cka_models` has them."""
    return layer_label(model_label(model), layer)


def _as_one(batch: Sequence[Rows], models: Sequence[str]) -> Rows:
    """Return the layers of all models as those of one."""
    layers: dict[str, Tensor] = {}
    borrowed: set[str] = set()
    for model, rows in zip(models, batch, strict=True):
        layers |= {joint_label(model, layer): X for layer, X in rows.layers.items()}
        borrowed |= {joint_label(model, layer) for layer in rows.borrowed}
    return replace(batch[0], layers=layers, borrowed=frozenset(borrowed))


def collector(
    method: str,
    kernel: Kernel,
    settings: Settings,
    limit: int,
    batch: Sequence[Rows],
    total: int | None,
    device: torch.device | None,
) -> Collector:
    """Choose by the first batch and the number of samples (None where it is not known).

    `device`: where the rows are and all is computed; None for the core.
    """
    given, settings = settings["estimator"], {**settings, "estimator": settings["estimator"] or "biased"}
    first = batch[0]
    if method != "minibatch":
        ways: list[tuple[int, str]] = []
        if isinstance(kernel, Linear):
            ways.append((_state_bytes(batch, settings), "sums"))
        if total is not None:
            n_rows = len(first) * total // first.n_samples
            ways.append((_kept_bytes(batch, kernel, settings, n_rows, device), "kept"))
        if ways:
            size, way = min(ways)
            if size <= limit:
                return _exact(way, size, kernel, settings, limit, device)
        _refuse_or_warn(method, kernel, given, [size for size, _ in ways], limit)
    if given == "biased":
        raise ValueError('method="minibatch" is for estimator="unbiased" only: leave the estimator out')
    settings = {**settings, "estimator": "unbiased"}
    if device is not None:
        return InWholeBatches(on_device.Batches(kernel, settings, device))
    return InWholeBatches(Stream("minibatch", kernel, settings, limit, "mini-batch"))


def _exact(
    way: str, size: int, kernel: Kernel, settings: Settings, limit: int, device: torch.device | None
) -> Collector:
    words = "sums of" if way == "sums" else "with kept activations,"
    words = f"exact, {words} {size_in_words(size)}"
    if device is not None:
        there = on_device.CrossMoments if way == "sums" else on_device.AllRows
        return there(kernel, settings, device, words)
    if way == "sums":
        return Stream("exact", kernel, settings, limit, words)
    return KeptRows(kernel, settings, limit, words)


def _refuse_or_warn(method: str, kernel: Kernel, estimator: str | None, sizes: list[int], limit: int) -> None:
    need = (
        f"exact CKA would take {size_in_words(min(sizes))} ({min(sizes)} bytes), "
        f"more than {size_in_words(limit)}"
        if sizes
        else f"exact CKA with {kernel} keeps all activations, and the loader does not say how many there are"
    )
    if method == "exact" or estimator == "biased":
        rest = "" if estimator != "biased" else " (mini-batch CKA is always unbiased)"
        raise MemoryError(
            f"{need}{rest}: pool, choose fewer layers, raise max_bytes or give max_samples; or extract into "
            f"a store (out=) and use cka_matrix"
        )
    changed = (
        "mini-batch CKA" if estimator else "mini-batch CKA with the unbiased estimator, not the biased one,"
    )
    warnings.warn(
        f'{need}: {changed} instead (the result says method="minibatch"). For the exact value, pool, '
        f"choose fewer layers, raise max_bytes or set max_samples",
        UserWarning,
        stacklevel=5,
    )


def _state_bytes(batch: Sequence[Rows], settings: Settings) -> int:
    widths = [[X.shape[1] for X in rows.layers.values()] for rows in batch]
    dtype = "float64" if is_double(batch, settings["dtype"]) else "float32"
    try:
        return int(StreamingCKA.state_bytes(*widths, dtype=dtype))
    except MemoryError:  # more than any machine has
        return 2**63


def _kept_bytes(
    batch: Sequence[Rows], kernel: Kernel, settings: Settings, n_rows: int, device: torch.device | None
) -> int:
    """Return what kept activations and their comparison take."""
    sides = [[like(X, max(n_rows, 2)) for X in rows.layers.values()] for rows in batch]
    kept: int = sum(len(X) * X.shape[1] * X.itemsize for side in sides for X in side)
    if device is not None:
        return 2 * kept + tile_bytes(n_rows, sum(map(len, sides)))
    work = plan(*sides, kernel=kernel, dtype=settings["dtype"], n_threads=settings["n_threads"])
    return kept + int(work.bytes)

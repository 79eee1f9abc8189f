# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a call may use, and what to do where that is too little."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from . import _core
from ._arrays import byte_limit
from ._machine import available_bytes, size_in_words
from .kernels import Kernel

# Below this, a call is not worth a look at what is free, which takes longer than a small call.
SMALL = 256_000_000
INSTEAD = (
    "compare fewer layers at a time (create_store keeps layers on disk and maps them), or give batches to "
    "StreamingCKA, whose memory does not grow with the samples"
)


def within_memory(
    n: int,
    widths_a: Sequence[int],
    widths_b: Sequence[int] | None,
    kernel: Kernel,
    *,
    double_precision: bool,
    n_threads: int,
    max_bytes: int | str | None,
) -> tuple[int, str]:
    """Return the limit in bytes (0: none) and the route for a call, or raise MemoryError.

    Without `max_bytes`, the limit is what this process may still use. It leaves out threads where they do not
    all fit, but never changes the route, and so not one bit of the result.
    """
    ask = partial(_core.plan, n, widths_a, widths_b, kernel.core(), double_precision=double_precision)
    limit = byte_limit(max_bytes)
    if limit:
        try:
            ask(n_threads=n_threads, max_bytes=limit)
        except MemoryError as error:
            raise MemoryError(f"{error}; {INSTEAD}") from None
        return limit, "auto"
    plan = ask(n_threads=n_threads, max_bytes=0)
    if plan.bytes <= SMALL or plan.bytes <= available_bytes():
        return 0, "auto"
    _core.release_buffers()
    limit = available_bytes()
    least = ask(n_threads=1, max_bytes=0, route=plan.route).bytes
    if least > limit:
        raise too_large(least)
    return limit, plan.route


def check_memory(n_bytes: int) -> None:
    """Raise MemoryError where an array of so many bytes is more than this process may still use."""
    if n_bytes > SMALL and n_bytes > available_bytes():
        raise too_large(n_bytes)


def too_large(n_bytes: int) -> MemoryError:
    """Return the error for what needs more memory than there is."""
    need, have = size_in_words(n_bytes), size_in_words(available_bytes())
    return MemoryError(
        f"this needs {need} ({n_bytes} bytes) beside its inputs, but this process may use only {have} more; "
        f"{INSTEAD}"
    )

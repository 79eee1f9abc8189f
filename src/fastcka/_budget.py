# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a call may use, and what to do where that is too little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from . import _core
from ._machine import available_bytes, size_in_words
from ._settings import Settings
from ._sources import Layer, row_bytes

# Below this, a call is not worth a look at what is free, which takes longer than a small call.
SMALL = 256_000_000
INSTEAD = (
    "compare fewer layers at a time (create_store keeps layers on disk and maps them), or give batches to "
    "StreamingCKA, whose memory does not grow with the samples"
)


def within_memory(
    a: Sequence[Layer], b: Sequence[Layer] | None, settings: Settings, route: str = "auto"
) -> _core.Settings:
    """Return the settings of the core for a call, or raise MemoryError.

    Without `max_bytes`, the limit is what this process may still use. It leaves out threads where they do not
    all fit, and packs strips of samples or features where not all of them fit; it never changes the route,
    and so not one bit of the result.
    """
    arrays = [*a, *(b or ())]
    widths = [X.shape[1] for X in a], None if b is None else [Y.shape[1] for Y in b]

    def ask(limited: _core.Settings) -> _core.PlanInfo:
        return _core.plan(len(arrays[0]), *widths, limited, row_bytes(arrays))

    if settings.max_bytes:
        limited = settings.core(arrays, max_bytes=settings.max_bytes, route=route)
        try:
            ask(limited)
        except MemoryError as error:
            raise MemoryError(f"{error}; {INSTEAD}") from None
        return limited
    unlimited = settings.core(arrays, route=route)
    plan = ask(unlimited)
    if plan.bytes <= SMALL:
        return unlimited
    # The values may turn out to need float64.
    exact = (
        plan if plan.double_precision else ask(replace(settings, dtype="float64").core(arrays, route=route))
    )
    if exact.bytes <= available_bytes():
        return unlimited
    _core.release_buffers()
    limit = available_bytes()
    limited = settings.core(arrays, max_bytes=limit, route=plan.route)
    try:
        ask(limited)
    except _core.OverBudget as error:
        raise too_large(error.least) from None
    return limited


def check_memory(n_bytes: int) -> None:
    """Raise MemoryError where an array of so many bytes is more than this process may still use."""
    if n_bytes > SMALL and n_bytes > available_bytes():
        raise too_large(n_bytes)


def too_large(n_bytes: int) -> MemoryError:
    """Return the error for what needs more memory than there is."""
    need, have = size_in_words(n_bytes), size_in_words(available_bytes())
    return MemoryError(
        f"this needs {need} ({n_bytes} bytes) besides its inputs, but this process may use only {have} more; "
        f"{INSTEAD}"
    )

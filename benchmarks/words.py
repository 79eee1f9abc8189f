# SPDX-License-Identifier: BSD-3-Clause
"""Numbers as the pages write them."""

from __future__ import annotations


def spread(ratio: dict) -> str:
    return f"{number(ratio['ratio'])} ({number(ratio['lowest'])} – {number(ratio['highest'])})"


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{number(1e3 * seconds)} ms"


def number(value: float | None) -> str:
    """Two decimals below 10, one below 100, none above; nothing for None."""
    if value is None:
        return ""
    return f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"

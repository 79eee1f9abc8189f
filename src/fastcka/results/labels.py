# SPDX-License-Identifier: BSD-3-Clause
"""Layer names and values as text: short names for axes, and a small table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .comparison import Comparison

LONGEST_NAME = 28  # characters of a layer name on an axis
LONGEST_TABLE = 12  # layers on a side of a printed table


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Return names that fit on an axis, and the prefix that was taken from all of them ("" for none).

    >>> short_names(["encoder.layers.0.attention.output", "encoder.layers.1.attention.output"])
    (['0.attention.output', '1.attention.output'], 'encoder.layers.')
    """
    prefix = ""
    if max(map(len, names)) > LONGEST_NAME:
        levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
        shared = itertools.takewhile(lambda level: len(set(level)) == 1, levels)
        prefix = "".join(f"{level[0]}." for level in shared)
    head, tail = LONGEST_NAME // 2 - 1, LONGEST_NAME // 2
    rest = [name.removeprefix(prefix) for name in names]
    return [n if len(n) <= LONGEST_NAME else f"{n[:head]}…{n[-tail:]}" for n in rest], prefix


def count_layers(n: int) -> str:
    """Return "1 layer", "2 layers", and so on."""
    return f"{n} layer" if n == 1 else f"{n} layers"


def axis_title(model: str, prefix: str) -> str:
    """Return the name of a network, with the prefix that `short_names` took from its layers."""
    return f"{model} ({prefix}*)" if prefix else model


def table(matrix: Comparison) -> list[list[str]]:
    """Return the column names, then each row's name and values; of more than 12, the first and last five."""

    def shown(names: tuple[str, ...]) -> list[int | None]:
        n = len(names)
        return list(range(n)) if n <= LONGEST_TABLE else [*range(5), None, *range(n - 5, n)]

    columns = shown(matrix.columns)
    lines = [["", *("..." if j is None else matrix.columns[j] for j in columns)]]
    for i in shown(matrix.rows):
        cells = ("..." if i is None or j is None else f"{matrix.values[i, j]:.3f}" for j in columns)
        lines.append(["..." if i is None else matrix.rows[i], *cells])
    return lines


def aligned(lines: list[list[str]]) -> list[str]:
    """Join the cells of each line, the first column aligned to the left, the others to the right."""
    width, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    return [
        "  ".join([name.ljust(width), *(c.rjust(w) for c, w in zip(cells, widths, strict=True))])
        for name, *cells in lines
    ]

# SPDX-License-Identifier: BSD-3-Clause
"""A `Comparison` as text: a table no wider than the terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import provenance
from .labels import axis_title, short_names

if TYPE_CHECKING:
    from .comparison import Comparison

LONGEST_TABLE = 12  # layers on a side of a printed table
ELLIPSIS = "..."
CHANCE = "°"  # beside a value that is not above chance


def table(matrix: Comparison) -> list[list[str]]:
    """Return the column labels, then each row: label and values; of more than 12, the first and last five."""
    columns, rows = _shown(len(matrix.columns)), _shown(len(matrix.rows))
    row_labels, column_labels = short_names(matrix.rows)[0], short_names(matrix.columns)[0]
    level, marked = matrix.beside, matrix.not_above_chance

    def cell(i: int, j: int) -> str:
        value = f"{matrix.values[i, j]:.3f}"
        if marked is not None and marked[i, j]:
            value += CHANCE
        return value if level is None or np.isnan(matrix.values[i, j]) else f"{value} ({level[i, j]:.3f})"

    lines = [["", *(ELLIPSIS if j is None else column_labels[j] for j in columns)]]
    for i in rows:
        cells = (ELLIPSIS if i is None or j is None else cell(i, j) for j in columns)
        lines.append([ELLIPSIS if i is None else row_labels[i], *cells])
    return lines


def heading(matrix: Comparison) -> str:
    """Return the title of the table."""
    rows, columns = (
        axis_title(model, short_names(names)[1])
        for model, names in zip(matrix.models, (matrix.rows, matrix.columns), strict=True)
    )
    title = f"{matrix.title}; rows: {rows}, columns: {columns}; {matrix.n_samples} samples"
    if matrix.beside is not None:
        title += "; chance level in parentheses"
    if (marked := matrix.not_above_chance) is not None and marked.any():
        title += f"; {CHANCE} not above chance"
    return title


def printed(matrix: Comparison) -> str:
    """Return the table under a title, in blocks of columns where the terminal is too narrow for all.

    Where column labels are long, numbers stand for them and are listed below; so for rows, where it is very
    narrow. Where the values come from follows in one line.
    """
    import shutil  # here: it brings three compression libraries, which most calls do without

    width = max(shutil.get_terminal_size().columns, 16)
    lines = table(matrix)
    title = heading(matrix)
    row_labels, column_labels = [line[0] for line in lines[1:]], lines[0][1:]
    names = _numbered(len(matrix.columns))
    numbered = [["", *names], *lines[1:]]
    keys = []
    first, *widths = _widths(lines)
    more_blocks = len(_blocks(lines, width)) - len(_blocks(numbered, width))
    if first + 2 + max(widths, default=0) > width or more_blocks > 1:
        lines = numbered
        keys.append(_key("columns", names, column_labels))
    if first > width - 10:
        names = _numbered(len(matrix.rows))
        lines[1:] = [[name, *line[1:]] for name, line in zip(names, lines[1:], strict=True)]
        keys.append(_key("rows", names, row_labels))
    if origin := provenance.in_one_line(matrix):
        keys.append(origin)
    blocks = ("\n".join(aligned(block)) for block in _blocks(lines, width))
    return "\n".join([_filled(title, width), "\n\n".join(blocks), *(_filled(key, width) for key in keys)])


def aligned(lines: list[list[str]]) -> list[str]:
    """Join the cells of each line, the first column aligned to the left, the others to the right."""
    width, *widths = _widths(lines)
    return [
        "  ".join(
            [name + " " * (width - _width(name))]
            + [" " * (w - _width(c)) + c for c, w in zip(cells, widths, strict=True)]
        )
        for name, *cells in lines
    ]


def _shown(n: int) -> list[int | None]:
    return list(range(n)) if n <= LONGEST_TABLE else [*range(5), None, *range(n - 5, n)]


def _numbered(n: int) -> list[str]:
    return [ELLIPSIS if i is None else f"[{i + 1}]" for i in _shown(n)]


def _key(what: str, names: Sequence[str], labels: Sequence[str]) -> str:
    pairs = zip(names, labels, strict=True)
    texts = (name if name == label else f"{name}\N{NO-BREAK SPACE}{label}" for name, label in pairs)
    return f"{what}: {', '.join(texts)}"


def _filled(text: str, width: int) -> str:
    lines = textwrap.fill(text, width, break_on_hyphens=False, subsequent_indent="  ")
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def _blocks(lines: list[list[str]], width: int) -> list[list[list[str]]]:
    """Cut the table into tables that are no wider than `width`, each with the first column."""
    first, *widths = _widths(lines)
    starts, used = [1], first
    for j, wide in enumerate(widths, start=1):
        if used + 2 + wide > width and j > starts[-1]:
            starts.append(j)
            used = first
        used += 2 + wide
    stops = [*starts[1:], len(widths) + 1]
    return [[[line[0], *line[a:b]] for line in lines] for a, b in zip(starts, stops, strict=True)]


def _widths(lines: list[list[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(*lines, strict=True)]


def _width(text: str) -> int:
    """Return how many places of a terminal `text` takes: two for each wide (East Asian) character."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)

# SPDX-License-Identifier: BSD-3-Clause
"""The files that the commands that compare write."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .._files import atomic_write
from ..results import CKAMatrix, CKAModels
from . import inputs


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for files that people look at; the command adds its own for the file to save."""
    parser.add_argument("--plot", type=Path, metavar="F", help="draw the heat map: F.png, F.pdf, F.svg, ...")
    parser.add_argument("--csv", type=Path, metavar="F", help="write what is printed as a table")
    parser.add_argument("--html", type=Path, metavar="F", help="write an interactive page that works offline")


def check(arguments: argparse.Namespace, option: str, *suffixes: str) -> None:
    """Refuse, before any work, outputs that could not be written after it.

    `option` is what the command calls `arguments.saved`, whose name must end in one of `suffixes`.
    """
    paths = [path for path in _files(arguments) if path is not None]
    for k, path in enumerate(paths):
        check_place(path)
        if path in paths[:k]:
            raise ValueError(f"{path} is named for two outputs, of which one would replace the other")
    if arguments.saved is not None and arguments.saved.suffix.lower() not in suffixes:
        raise ValueError(
            f"{option}: the file name must end in {' or '.join(suffixes)}, got {arguments.saved}"
        )
    if arguments.plot is not None:
        try:
            import matplotlib
        except ImportError as error:
            raise ImportError('--plot needs matplotlib: pip install "fastcka[plot]"') from error
        matplotlib.use("agg")  # no window, so no display is needed
        from matplotlib.backend_bases import FigureCanvasBase

        formats = FigureCanvasBase.get_supported_filetypes()
        if arguments.plot.suffix.lower().lstrip(".") not in formats:
            raise ValueError(
                f"--plot: the file name must end in one of .{', .'.join(formats)}, got {arguments.plot}"
            )


def check_place(path: Path) -> None:
    """Refuse a file that could not be written."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory, not a file", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such directory", str(path.parent))


def _files(arguments: argparse.Namespace) -> tuple[Path | None, ...]:
    return arguments.plot, arguments.csv, arguments.saved, arguments.html


def write(result: CKAMatrix | CKAModels, table: CKAMatrix, arguments: argparse.Namespace) -> None:
    """Write every file that was asked for: `table` as picture and CSV, `result` as the others."""
    if arguments.plot is not None:
        figure: Any = table.plot().figure
        with atomic_write(arguments.plot) as file:
            figure.savefig(file, format=arguments.plot.suffix.lower().lstrip("."), dpi=200)
    if arguments.csv is not None:
        table.to_csv(arguments.csv)
    if arguments.saved is not None:
        result.save(arguments.saved)
    if arguments.html is not None:
        result.to_html(arguments.html)
    for path in _files(arguments):
        if path is not None:
            print(f"wrote {path}", file=sys.stderr)


def report(
    matrix: CKAMatrix,
    networks: Iterable[Mapping[str, Any]],
    labels: Mapping[str, str],
    arguments: argparse.Namespace,
) -> None:
    """Say what is doubtful, write the files, print the values; `labels` name the layers by their files."""
    if matrix.estimator == "biased" and arguments.kernel != "precomputed":
        inputs.warn_of_bias(networks, matrix.n_samples)
    for text in matrix.warnings:
        print(f"fastcka: warning: nan for {inputs.in_words(text, labels)}", file=sys.stderr)
    write(matrix, matrix, arguments)  # first: whoever reads what is printed may close it at any time
    print(repr(matrix.values.item()) if matrix.values.size == 1 else matrix, flush=True)
    if matrix.values.size == 1 and matrix.stderr is not None:
        print(_one_pair(matrix), flush=True)


def _one_pair(matrix: CKAMatrix) -> str:
    """Say how sure the only value is."""
    (low,), (high,) = (ends.ravel() for ends in matrix.confidence_interval())
    value = (low + high) / 2
    pvalue = (
        "" if matrix.pvalues is None else f", p-value {matrix.pvalues.item():.3g} ({matrix.pvalue_method})"
    )
    return f"unbiased {value:.4f}, 95 % {low:.4f} to {high:.4f}{pvalue}"

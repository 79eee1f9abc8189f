# SPDX-License-Identifier: BSD-3-Clause
"""The files that the commands that compare write."""

from __future__ import annotations

import argparse
import errno
import sys
from pathlib import Path
from typing import Any

from .._files import atomic_write
from ..results import CKAMatrix, CKAModels


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for files that people look at; the command adds its own for the file to save."""
    parser.add_argument("--plot", type=Path, metavar="F", help="draw the heat map: F.png, F.pdf, F.svg, ...")
    parser.add_argument("--csv", type=Path, metavar="F", help="write what is printed as a table")
    parser.add_argument("--html", type=Path, metavar="F", help="write an interactive page that works offline")


def check(arguments: argparse.Namespace, option: str, *suffixes: str) -> None:
    """Refuse, before any work, outputs that could not be written after it.

    `option` is what the command calls `arguments.saved`, whose name must end in one of `suffixes`.
    """
    for path in (arguments.plot, arguments.csv, arguments.saved, arguments.html):
        if path is not None and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory, but a file is to be written", str(path))
        if path is not None and not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path.parent))
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
    for path in (arguments.plot, arguments.csv, arguments.saved, arguments.html):
        if path is not None:
            print(f"wrote {path}", file=sys.stderr)

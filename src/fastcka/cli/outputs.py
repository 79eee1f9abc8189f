# SPDX-License-Identifier: BSD-3-Clause
"""The files that ``fastcka compare`` writes."""

from __future__ import annotations

import argparse
import errno
import sys
from typing import Any

from .._files import atomic_write
from ..results import CKAMatrix, CKAModels


def check(arguments: argparse.Namespace) -> None:
    """Refuse, before any work, outputs that could not be written after it."""
    for path in (arguments.plot, arguments.csv, arguments.json, arguments.html):
        if path is not None and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory, not a file", str(path))
        if path is not None and not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path.parent))
    if arguments.json is not None and arguments.json.suffix.lower() != ".json":
        raise ValueError(f"--json: the file name must end in .json, got {arguments.json}")
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
    if arguments.json is not None:
        result.save(arguments.json)
    if arguments.html is not None:
        result.to_html(arguments.html)
    for path in (arguments.plot, arguments.csv, arguments.json, arguments.html):
        if path is not None:
            print(f"wrote {path}", file=sys.stderr)

# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastcka``: `compare` files of layers, `extract` them from models, `demo`, `info`, `bench`.

Results go to standard output, everything else to standard error. Exit status: 0 on success; 1 when `bench`
finds a value that differs; 2 on bad usage or bad input, with one line that says what is wrong; 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import errno
import io
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, cka_matrix, plan, show_config, torch_cli
from ._files import atomic_write
from .kernels import Kernel, resolve_kernel
from .layers import Selected, open_layers
from .results import CKAMatrix, DegenerateWarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; `argv` is what follows the name of the program."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments) or 0
        if sys.stdout is not None:  # as it is when the shell has closed it
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("fastcka: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone, as in `fastcka compare ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at exit
        return 0
    except (ValueError, TypeError, OSError, MemoryError, ImportError) as error:
        print(f"fastcka: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fastcka: error: {message} (try: {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastcka", description="Centered kernel alignment (CKA): how similar are two networks?"
    )
    parser.add_argument("--version", action="version", version=f"fastcka {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")

    compare = commands.add_parser(
        "compare",
        help="compare the layers in two files",
        description="Compare each layer in A with each layer in B. The rows of all layers are the same "
        "samples in the same order. Two single arrays give one number, several layers a table.",
        epilog="A and B: .npy, .npz, .safetensors, .h5, .hdf5 files, directories of .npy files, zarr groups, "
        "stores (fastcka.create_store); sample ids of two stores must be the same, in the same order. "
        "The same one twice: its layers with one another.",
    )
    compare.set_defaults(run=_compare)
    compare.add_argument(
        "a", metavar="A", type=Path, help="file or directory of layers, the rows of the result"
    )
    compare.add_argument("b", metavar="B", type=Path, help="file or directory of layers, the columns")
    compare.add_argument(
        "--kernel",
        default="linear",
        metavar="K",
        help="linear (default), rbf, laplacian, polynomial, cosine, distance, "
        "or precomputed: the arrays are Gram matrices",
    )
    compare.add_argument(
        "--bandwidth", type=float, metavar="T", help="rbf, laplacian: sigma = T x median distance (default 1)"
    )
    compare.add_argument(
        "--sigma", type=float, metavar="S", help="rbf, laplacian: sigma itself, instead of T"
    )
    compare.add_argument(
        "--median", choices=["all", "offdiag"], help="rbf, laplacian: pairs that the median is taken over"
    )
    compare.add_argument("--degree", type=int, metavar="D", help="polynomial: its degree (default 2)")
    compare.add_argument(
        "--estimator",
        default="biased",
        choices=["biased", "unbiased", "debiased"],
        help="of HSIC (default: biased)",
    )
    compare.add_argument(
        "--layers",
        nargs="+",
        metavar="PATTERN",
        help="only layers that match a glob, such as 'block*'; quote it",
    )
    compare.add_argument("--names", metavar="A,B", help="of the two networks (default: from the files)")
    compare.add_argument("--max-bytes", metavar="SIZE", help="most memory to use: 800000, 500MB, 2GiB")
    compare.add_argument("--plan", action="store_true", help="say what would be computed, and stop")
    compare.add_argument(
        "--dtype", choices=["float32", "float64"], help="of the arithmetic (default: as the data)"
    )
    compare.add_argument("--threads", type=int, metavar="N", help="default: all processors that may be used")
    compare.add_argument("--plot", type=Path, metavar="F", help="draw the heat map: F.png, F.pdf, F.svg, ...")
    compare.add_argument("--csv", type=Path, metavar="F", help="write the values as a table")
    compare.add_argument(
        "--json", type=Path, metavar="F.json", help="write values and settings, for CKAMatrix.load"
    )
    compare.add_argument(
        "--html", type=Path, metavar="F", help="write an interactive page that works offline"
    )

    torch_cli.add_parser(commands)

    demo = commands.add_parser(
        "demo",
        help="train small networks on handwritten digits and compare them",
        description="Train small networks on the handwritten digits of scikit-learn; compare networks of "
        "different seeds, and trained with untrained ones, layer by layer; print tables and write figures. "
        "Takes some ten seconds.",
    )
    demo.set_defaults(run=_demo)
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("fastcka-demo"),
        metavar="DIR",
        help="for the figures (default: %(default)s)",
    )

    info = commands.add_parser("info", help="show versions, instruction set, threads")
    info.set_defaults(run=_info)

    bench = commands.add_parser(
        "bench",
        help="time this machine against NumPy, torch and installed peers",
        description="Time fastcka against the strongest forms in NumPy and torch, and against those of "
        "torch-cka, pytorch-cka, ckatorch, repsim and thingsvision that are installed. Values are compared "
        "first; both sides take turns and have the same number of threads. Takes about half a minute.",
    )
    bench.set_defaults(run=_bench)
    bench.add_argument("--threads", type=int, metavar="N", help="default: all processors that may be used")
    bench.add_argument("--quick", action="store_true", help="small sizes: a check that all runs")
    bench.add_argument("--json", type=Path, metavar="F", help="write the times with machine and versions")
    return parser


def _info(arguments: argparse.Namespace) -> None:
    show_config()


def _demo(arguments: argparse.Namespace) -> None:
    from . import demo

    demo.run(arguments.out)


def _bench(arguments: argparse.Namespace) -> int:
    from . import bench

    return bench.run(arguments.threads, arguments.quick, arguments.json)


# ------------------------------------------------------------------------------------------------- compare


def _compare(arguments: argparse.Namespace) -> None:
    _check_outputs(arguments)
    kernel = _kernel(arguments)
    layers_a = _layers(arguments.a, arguments.layers)
    layers_b = layers_a if arguments.a == arguments.b else _layers(arguments.b, arguments.layers)
    names = _model_names(arguments)
    options = {
        "kernel": kernel,
        "estimator": arguments.estimator,
        "dtype": arguments.dtype,
        "n_threads": arguments.threads,
        "max_bytes": arguments.max_bytes,
    }
    try:
        if arguments.plan:
            print(plan(layers_a, layers_b, **options))
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateWarning)  # the result has them, too
            matrix = cka_matrix(
                layers_a,
                layers_b,
                **options,
            ).with_models(*names)
    except (ValueError, TypeError) as error:
        raise ValueError(_in_words(error, arguments)) from error

    for text in matrix.warnings:
        print(f"fastcka: warning: nan for {_in_words(text, arguments)}", file=sys.stderr)
    _write(matrix, arguments)  # first: whoever reads what is printed may close it at any time
    print(repr(matrix.values.item()) if matrix.values.size == 1 else matrix, flush=True)


_KERNEL_OPTIONS = ("bandwidth", "sigma", "median", "degree")


def _layers(path: Path, patterns: Sequence[str] | None) -> Mapping[str, Any]:
    """Open layers, those that match."""
    layers = open_layers(path)
    if patterns is None:
        return layers
    matching = [name for name in layers if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if not matching:
        raise ValueError(
            f"--layers: {path} has no layer that matches {' '.join(patterns)}; it has {', '.join(layers)}"
        )
    return Selected(layers, matching)


def _kernel(arguments: argparse.Namespace) -> Kernel:
    kernel = resolve_kernel(arguments.kernel)
    given = {name: getattr(arguments, name) for name in _KERNEL_OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    known = {field.name for field in dataclasses.fields(kernel)}  # type: ignore[arg-type]
    for name in given.keys() - known:
        raise ValueError(f"--{name} is no option of the {arguments.kernel} kernel")
    return type(kernel)(**given)


def _model_names(arguments: argparse.Namespace) -> tuple[str, str]:
    """Name the two networks: as asked, or by their files, with as much of the path as tells them apart."""
    if arguments.names is not None:
        first, comma, second = arguments.names.partition(",")
        if not (first and comma and second) or "," in second:
            raise ValueError(f"--names: write two names with a comma between them, got {arguments.names!r}")
        return first, second
    a, b = arguments.a, arguments.b
    return (a.stem, b.stem) if a.stem != b.stem or a == b else (str(a), str(b))


def _in_words(message: object, arguments: argparse.Namespace) -> str:
    """Name the files where the library names its own arguments."""
    return re.sub(r"layers_([ab])", lambda match: str(getattr(arguments, match[1])), str(message))


# ------------------------------------------------------------------------------------------------- outputs


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse, before any work, outputs that could not be written after it."""
    for path in (arguments.plot, arguments.csv, arguments.json, arguments.html):
        if path is not None and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory, but a file is to be written", str(path))
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


def _write(matrix: CKAMatrix, arguments: argparse.Namespace) -> None:
    if arguments.plot is not None:
        figure: Any = matrix.plot().figure
        with atomic_write(arguments.plot) as file:
            figure.savefig(file, format=arguments.plot.suffix.lower().lstrip("."), dpi=200)
    if arguments.csv is not None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["", *matrix.columns])
        table.writerows(
            [name, *values] for name, values in zip(matrix.rows, matrix.values.tolist(), strict=True)
        )
        with atomic_write(arguments.csv) as file:
            file.write(text.getvalue().encode())
    if arguments.json is not None:
        matrix.save(arguments.json)
    if arguments.html is not None:
        matrix.to_html(arguments.html)
    for path in (arguments.plot, arguments.csv, arguments.json, arguments.html):
        if path is not None:
            print(f"wrote {path}", file=sys.stderr)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__

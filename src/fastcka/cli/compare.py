# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka compare``: from two files of layers to a number or a table."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import cka_matrix, plan
from .._arrays import layer_label
from .._samples import check_same_samples
from ..kernels import _KERNELS, Kernel, resolve_kernel
from ..layers import Selected, open_layers
from ..results import DegenerateWarning
from . import outputs
from .sampling import Opened, draw

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]


def add_parser(commands: Commands) -> None:
    """Add the command to those of ``fastcka``."""
    parser = commands.add_parser(
        "compare",
        help="compare the layers in two files",
        description="Compare each layer in A with each layer in B. The rows of all layers are the same "
        "samples in the same order. Two single arrays give one number, several layers a table.",
        epilog="A and B: .npy, .npz, .safetensors, .h5, .hdf5 files, directories of .npy files or shards, "
        "zarr groups, stores (fastcka.create_store); sample ids of two stores must be the same, in the same "
        "order. The same one twice: its layers with one another.",
    )
    parser.set_defaults(run=_compare)
    parser.add_argument(
        "a", metavar="A", type=Path, help="file or directory of layers, the rows of the result"
    )
    parser.add_argument("b", metavar="B", type=Path, help="file or directory of layers, the columns")
    parser.add_argument(
        "--kernel",
        default="linear",
        metavar="K",
        help=f"{', '.join(_KERNELS)} (the arrays are Gram matrices); default: linear",
    )
    parser.add_argument(
        "--bandwidth",
        type=float,
        metavar="T",
        help=f"{_with('bandwidth')}: sigma = T x median distance (default 1)",
    )
    parser.add_argument(
        "--sigma", type=float, metavar="S", help=f"{_with('sigma')}: sigma itself, instead of T"
    )
    parser.add_argument(
        "--median",
        choices=["all", "offdiag"],
        help=f"{_with('median')}: pairs that the median is taken over",
    )
    parser.add_argument("--degree", type=int, metavar="D", help=f"{_with('degree')}: its degree (default 2)")
    parser.add_argument(
        "--estimator",
        default="biased",
        choices=["biased", "unbiased", "debiased"],
        help="of HSIC (default: biased)",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="PATTERN",
        help="only layers that match a glob, such as 'block*'; quote it",
    )
    parser.add_argument("--names", metavar="A,B", help="of the two networks (default: from the files)")
    parser.add_argument(
        "--max-samples",
        type=int,
        metavar="N",
        help="only N samples, chosen at random, the same of every layer",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of the choice of --max-samples (default 0)")
    parser.add_argument("--max-bytes", metavar="SIZE", help="most memory to use: 800000, 500MB, 2GiB")
    parser.add_argument("--plan", action="store_true", help="say what would be computed, and stop")
    parser.add_argument(
        "--dtype", choices=["float32", "float64"], help="of the arithmetic (default: as the data)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: all processors that may be used")
    parser.add_argument("--plot", type=Path, metavar="F", help="draw the heat map: F.png, F.pdf, F.svg, ...")
    parser.add_argument("--csv", type=Path, metavar="F", help="write the values as a table")
    parser.add_argument(
        "--json", type=Path, metavar="F.json", help="write values and settings, for CKAMatrix.load"
    )
    parser.add_argument("--html", type=Path, metavar="F", help="write an interactive page that works offline")


def _with(option: str) -> str:
    """Name the kernels that have an option."""
    return ", ".join(kernel.name for kernel in _KERNELS.values() if option in kernel.options())


def _compare(arguments: argparse.Namespace) -> None:
    outputs.check(arguments)
    kernel = _kernel(arguments)
    opened_a = _layers(arguments.a, arguments.layers)
    opened_b = opened_a if arguments.a == arguments.b else _layers(arguments.b, arguments.layers)
    check_same_samples([(str(arguments.a), opened_a), (str(arguments.b), opened_b)])
    a = Opened(opened_a)
    b = a if opened_b is opened_a else Opened(opened_b)
    networks = [a] if b is a else [a, b]
    drawn = draw(networks, arguments.max_samples, arguments.seed, square=arguments.kernel == "precomputed")
    labels = _labels(a, "layers_a", arguments.a) | _labels(b, "layers_b", arguments.b)
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
            print(plan(a, b, **options))
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateWarning)  # the result has them, too
            matrix = cka_matrix(a, b, **options).with_models(*names)
        if drawn is not None:
            matrix = replace(matrix, provenance={**matrix.provenance, "drawn": drawn})
    except (ValueError, TypeError) as error:
        raise ValueError(_in_words(str(error), labels)) from error

    if arguments.estimator == "biased" and arguments.kernel != "precomputed":
        _warn_of_bias(networks, matrix.n_samples)
    for text in matrix.warnings:
        print(f"fastcka: warning: nan for {_in_words(text, labels)}", file=sys.stderr)
    outputs.write(matrix, arguments)  # first: whoever reads what is printed may close it at any time
    print(repr(matrix.values.item()) if matrix.values.size == 1 else matrix, flush=True)


def _warn_of_bias(networks: Sequence[Mapping[str, Any]], n_samples: int) -> None:
    """Say so, in one line, where the biased estimator is high for unrelated layers."""
    widest = max(X.shape[1] for layers in networks for X in layers.values())
    if widest > n_samples:
        print(
            f"fastcka: warning: up to {widest} features but only {n_samples} samples: the biased estimator "
            "is high even for unrelated layers; --estimator unbiased is not",
            file=sys.stderr,
        )


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
    for name in given.keys() - set(kernel.options()):
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


def _labels(layers: Mapping[str, Any], argument: str, path: Path) -> dict[str, str]:
    """Map the words by which the library refers to each layer to those that name its file."""
    return {layer_label(argument, name): layer_label(str(path), name) for name in layers}


def _in_words(message: str, labels: Mapping[str, str]) -> str:
    """Name the files where the library names its own arguments."""
    for label, words in labels.items():
        message = message.replace(label, words)
    return message

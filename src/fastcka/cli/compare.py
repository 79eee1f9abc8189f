# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka compare``: from files of layers to a number or a table."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import cka_matrix, cka_models, plan
from .._arrays import MEASURES, layer_label
from .._samples import check_same_samples
from ..kernels import _KERNELS, Kernel, resolve_kernel
from ..layers import Selected, open_layers
from ..results import CKAMatrix, CKAModels, DegenerateWarning
from . import outputs
from .sampling import Choice, Opened

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]


def add_parser(commands: Commands) -> None:
    """Add the command to those of ``fastcka``."""
    parser = commands.add_parser(
        "compare",
        help="compare the layers in two files or more",
        description="Compare each layer in A with each layer in B. The rows of all layers are the same "
        "samples in the same order. Two single arrays give one number, several layers a table. More than two "
        "inputs are models, and give a table of models: the mean similarity of the layers of one with their "
        "best matches in the other, both ways averaged.",
        epilog="A, B and C: .npy, .npz, .safetensors, .h5, .hdf5 files, directories of .npy files or shards, "
        "zarr groups, stores (fastcka.create_store); sample ids of two stores must be the same, in the same "
        "order. The same one twice: its layers with one another.",
    )
    parser.set_defaults(run=_compare)
    parser.add_argument(
        "a", metavar="A", type=Path, help="file or directory of layers, the rows of the result"
    )
    parser.add_argument("b", metavar="B", type=Path, help="file or directory of layers, the columns")
    parser.add_argument("more", metavar="C", type=Path, nargs="*", help="more models")
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
        "--measure", default="cka", choices=list(MEASURES), help="what to compute (default: cka)"
    )
    parser.add_argument(
        "--estimator",
        choices=["biased", "unbiased", "debiased"],
        help="of the HSIC in CKA (default: biased); other measures have none",
    )
    parser.add_argument(
        "--inference",
        action="store_true",
        help="standard errors and p-values, too: cells that are not above chance are marked",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="PATTERN",
        help="only layers that match a glob, such as 'block*'; quote it",
    )
    parser.add_argument("--names", metavar="A,B", help="of the networks (default: from the files)")
    parser.add_argument(
        "--max-samples",
        type=int,
        metavar="N",
        help="only N samples, the same of every layer, chosen by their ids where there are any, else by rows",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of the choice of --max-samples (default 0)")
    parser.add_argument("--max-bytes", metavar="SIZE", help="most memory to use: 800000, 500MB, 2GiB")
    parser.add_argument("--plan", action="store_true", help="say what would be computed, and stop")
    parser.add_argument(
        "--dtype", choices=["float32", "float64"], help="of the arithmetic (default: as the data)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: all processors that may be used")
    parser.add_argument("--plot", type=Path, metavar="F", help="draw the heat map: F.png, F.pdf, F.svg, ...")
    parser.add_argument("--csv", type=Path, metavar="F", help="write what is printed as a table")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="F.json",
        help="write all values and settings, for `fastcka show` and CKAMatrix.load or CKAModels.load",
    )
    parser.add_argument("--html", type=Path, metavar="F", help="write an interactive page that works offline")


def _with(option: str) -> str:
    """Name the kernels that have an option."""
    return ", ".join(kernel.name for kernel in _KERNELS.values() if option in kernel.options())


def _compare(arguments: argparse.Namespace) -> None:
    outputs.check(arguments)
    paths = [arguments.a, arguments.b, *arguments.more]
    names = _model_names(paths, arguments.names)
    options = {
        "kernel": _kernel(arguments),
        "measure": arguments.measure,
        "estimator": arguments.estimator,
        "dtype": arguments.dtype,
        "n_threads": arguments.threads,
        "max_bytes": arguments.max_bytes,
        "inference": arguments.inference,
    }
    opened, drawn = _networks(paths, arguments)
    networks = [opened[path] for path in paths]
    if arguments.more:
        _compare_many(dict(zip(names, networks, strict=True)), drawn, options, arguments)
        return

    a, b = networks
    labels = _labels(a, "layers_a", arguments.a) | _labels(b, "layers_b", arguments.b)
    try:
        if arguments.plan:
            print(plan(a, b, **options))
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateWarning)  # the result has them, too
            matrix = cka_matrix(a, b, **options).with_models(*names)
        if drawn is not None:
            matrix = _noting(matrix, drawn)
    except (ValueError, TypeError) as error:
        raise ValueError(_in_words(str(error), labels)) from error

    if matrix.estimator == "biased" and arguments.kernel != "precomputed":
        _warn_of_bias(opened.values(), matrix.n_samples)
    for text in matrix.warnings:
        print(f"fastcka: warning: nan for {_in_words(text, labels)}", file=sys.stderr)
    outputs.write(matrix, matrix, arguments)  # first: whoever reads what is printed may close it at any time
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


def _compare_many(
    networks: Mapping[str, Mapping[str, Any]],
    drawn: str | None,
    options: Mapping[str, Any],
    arguments: argparse.Namespace,
) -> None:
    if arguments.plan:
        layers = {f"{name}/{layer}": X for name, network in networks.items() for layer, X in network.items()}
        print(plan(layers, **options))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateWarning)
        models = cka_models(networks, **options)
    if drawn is not None:
        layers = {name: models.layers(name) for name in models.models}
        models = CKAModels(_noting(models.matrix, drawn), layers)
    if models.estimator == "biased" and arguments.kernel != "precomputed":
        _warn_of_bias(networks.values(), models.n_samples)
    for text in models.warnings:
        print(f"fastcka: warning: nan for {text}", file=sys.stderr)
    outputs.write(models, models.summary(), arguments)
    print(models, flush=True)


def _networks(paths: Sequence[Path], arguments: argparse.Namespace) -> tuple[dict[Path, Opened], str | None]:
    """Return the layers of each path, of the samples that were asked for; and how these were chosen."""
    found = {path: _layers(path, arguments.layers) for path in paths}
    check_same_samples([(str(path), layers) for path, layers in found.items()])
    choice = None
    if arguments.max_samples is not None:
        known = (getattr(layers, "ids", None) for layers in found.values())
        ids = next((ids for ids in known if ids is not None), None)
        gram = arguments.kernel == "precomputed"
        choice = Choice(arguments.max_samples, arguments.seed, ids, gram=gram)
    elif arguments.seed is not None:
        raise ValueError("--seed is for --max-samples")
    opened = {path: Opened(layers, str(path), choice) for path, layers in found.items()}
    return opened, None if choice is None else choice.said


def _noting(matrix: CKAMatrix, drawn: str) -> CKAMatrix:
    return replace(matrix, provenance={**matrix.provenance, "drawn": drawn})


def _warn_of_bias(networks: Iterable[Mapping[str, Any]], n_samples: int) -> None:
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
    """Open the layers that match."""
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
        raise ValueError(f"--{name} is not an option of the {arguments.kernel} kernel")
    return type(kernel)(**given)


def _model_names(paths: Sequence[Path], names: str | None) -> list[str]:
    """Name the networks: as asked, or by their files, with as much of the path as tells them apart."""
    if names is not None:
        given = names.split(",")
        if len(given) != len(paths) or not all(given):
            raise ValueError(f"--names: write {len(paths)} names separated by commas, got {names!r}")
        if len(paths) > 2 and len(set(given)) < len(given):
            raise ValueError(f"--names: two models would have the same name, got {names!r}")
        return given
    if len(paths) == 2 and paths[0] == paths[1]:
        return [path.stem for path in paths]
    stems = [path.stem for path in paths]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"{path} is given twice: more than two models must all be different")
    return [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]


def _labels(layers: Mapping[str, Any], argument: str, path: Path) -> dict[str, str]:
    """Map the library's name of each layer to the name of its file."""
    return {layer_label(argument, name): layer_label(str(path), name) for name in layers}


def _in_words(message: str, labels: Mapping[str, str]) -> str:
    """Name the files where the library names its own arguments."""
    for label, words in labels.items():
        message = message.replace(label, words)
    return message

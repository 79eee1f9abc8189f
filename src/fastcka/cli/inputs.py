# SPDX-License-Identifier: BSD-3-Clause
"""What the commands that compare have in common: options, and how files become layers and names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .._arguments import MEASURES
from .._arrays import layer_label
from .._groups import PVALUE_METHODS, Inference
from .._samples import check_same_samples
from ..kernels import _KERNELS, Kernel, option_names, resolve_kernel
from ..layers import Selected, open_layers
from ..results import CKAMatrix
from .sampling import Choice, Opened

FILES = (
    ".npy, .npz, .safetensors, .h5, .hdf5 files, directories of .npy files or shards, zarr groups, stores "
    "(fastcka.create_store); sample ids of two stores must be the same, in the same order."
)
_KERNEL_OPTIONS = ("bandwidth", "sigma", "median", "degree")


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which kernel; `kernel_of` reads them."""
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


def add_measure(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which measure."""
    parser.add_argument(
        "--measure", default="cka", choices=list(MEASURES), help="what to compute (default: cka)"
    )


def add_estimator(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which estimator."""
    parser.add_argument(
        "--estimator",
        choices=["biased", "unbiased", "debiased"],
        help="estimator of HSIC in CKA (default: biased); other measures have none",
    )


def add_inference(parser: argparse.ArgumentParser) -> None:
    """Add the options for standard errors and p-values; `inference_of` reads them."""
    parser.add_argument(
        "--inference",
        action="store_true",
        help="also compute standard errors and p-values, and mark pairs that are not above chance",
    )
    parser.add_argument(
        "--pvalues",
        choices=PVALUE_METHODS,
        help="the same, with p-values by this method (default: moments for linear kernels, chi2 for others, "
        "whose moments take n^3 / 2 operations a layer)",
    )


def inference_of(arguments: argparse.Namespace) -> Inference:
    """Return the argument of the library that the options of `add_inference` stand for."""
    inference: Inference = getattr(arguments, "pvalues", None) or getattr(arguments, "inference", False)
    return inference


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose layers and samples; `networks` reads them."""
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="PATTERN",
        help="only layers that match a glob, such as 'block*'; quote it",
    )
    parser.add_argument(
        "--max-samples",
        type=int,
        metavar="N",
        help="only N samples, the same for every layer, chosen by their ids or, without ids, by row numbers",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="seed of --max-samples (default 0)")


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Add the option that says in which type to compute."""
    parser.add_argument(
        "--dtype", choices=["float32", "float64"], help="type of the arithmetic (default: by the data)"
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the options that say with what the work is done."""
    parser.add_argument("--max-bytes", metavar="SIZE", help="maximum memory: 800000, 500MB, 2GiB")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all available processors")


def _with(option: str) -> str:
    """Name the kernels that have an option."""
    return ", ".join(kernel.name for kernel in _KERNELS.values() if option in option_names(kernel))


def networks(paths: Sequence[Path], arguments: argparse.Namespace) -> tuple[dict[Path, Opened], str | None]:
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
        raise ValueError("--seed needs --max-samples")
    opened = {path: Opened(layers, str(path), choice) for path, layers in found.items()}
    return opened, None if choice is None else choice.said


def noting(matrix: CKAMatrix, drawn: str) -> CKAMatrix:
    """Note in the provenance how the samples were chosen."""
    return replace(matrix, provenance={**matrix.provenance, "drawn": drawn})


def warn_of_bias(networks: Iterable[Mapping[str, Any]], n_samples: int) -> None:
    """Say so, in one line, where the biased estimator is high for unrelated layers."""
    widest = max(X.shape[1] for layers in networks for X in layers.values())
    if widest > n_samples:
        print(
            f"fastcka: warning: up to {widest} features but only {n_samples} samples: the biased estimator "
            "is high even for unrelated layers; --estimator unbiased is not",
            file=sys.stderr,
        )


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


def kernel_of(arguments: argparse.Namespace) -> Kernel:
    """Return the kernel that the options say."""
    kernel = resolve_kernel(arguments.kernel)
    given = {name: getattr(arguments, name) for name in _KERNEL_OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given.keys() - set(option_names(kernel)):
        raise ValueError(f"--{name} is not an option of the {arguments.kernel} kernel")
    return type(kernel)(**given)


def model_names(paths: Sequence[Path], names: str | None) -> list[str]:
    """Name the networks: as asked, or by their files, with as much of the path as tells them apart."""
    if names is not None:
        given = names.split(",")
        if len(given) != len(paths) or not all(given):
            raise ValueError(f"--names: write {len(paths)} names separated by commas, got {names!r}")
        if len(paths) > 2 and len(set(given)) < len(given):
            raise ValueError(f"--names: two models would have the same name, got {names!r}")
        return given
    stems = [path.stem or path.resolve().stem for path in paths]  # that of the current directory is ""
    if len(paths) == 2 and paths[0] == paths[1]:
        return stems
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"{path} is given twice: more than two models must all be different")
    return [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]


def labels(layers: Mapping[str, Any], argument: str, path: Path) -> dict[str, str]:
    """Map the library's name of each layer to the name of its file."""
    return {layer_label(argument, name): layer_label(str(path), name) for name in layers}


def in_words(message: str, labels: Mapping[str, str]) -> str:
    """Name the files where the library names its own arguments."""
    for label, words in labels.items():
        message = message.replace(label, words)
    return message

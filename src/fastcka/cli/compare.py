# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka compare``: from files of layers to a number or a table."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import cka_matrix, cka_models, plan
from ..results import CKAModels, DegenerateWarning
from . import inputs, outputs

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]


def add_parser(commands: Commands) -> None:
    """Add the command to those of ``fastcka``."""
    parser = commands.add_parser(
        "compare",
        help="compare the layers in two or more files",
        description="Compare each layer in A with each layer in B. The rows of all layers are the same "
        "samples in the same order. Two single arrays give one number, several layers a table. More than two "
        "inputs give a table of models: the mean similarity of the layers of one with their best matches in "
        "the other, averaged over both directions.",
        epilog=f"A, B and C: {inputs.FILES} Name one twice to compare its layers with one another.",
    )
    parser.set_defaults(run=_compare)
    parser.add_argument(
        "a", metavar="A", type=Path, help="file or directory of layers, the rows of the result"
    )
    parser.add_argument("b", metavar="B", type=Path, help="file or directory of layers, the columns")
    parser.add_argument("more", metavar="C", type=Path, nargs="*", default=[], help="more models")
    inputs.add_kernel(parser)
    inputs.add_measure(parser)
    inputs.add_estimator(parser)
    inputs.add_inference(parser)
    parser.add_argument("--names", metavar="A,B", help="names of the networks (default: from the files)")
    inputs.add_selection(parser)
    parser.add_argument("--plan", action="store_true", help="print what would be computed, and stop")
    inputs.add_machine(parser)
    inputs.add_dtype(parser)
    outputs.add_options(parser)
    parser.add_argument(
        "--json",
        dest="saved",
        type=Path,
        metavar="F.json",
        help="write all values and settings, for `fastcka show` and CKAMatrix.load or CKAModels.load",
    )


def _compare(arguments: argparse.Namespace) -> None:
    outputs.check(arguments, "--json", ".json")
    paths = [arguments.a, arguments.b, *arguments.more]
    names = inputs.model_names(paths, arguments.names)
    options = {
        "kernel": inputs.kernel_of(arguments),
        "measure": arguments.measure,
        "estimator": arguments.estimator,
        "dtype": arguments.dtype,
        "n_threads": arguments.threads,
        "max_bytes": arguments.max_bytes,
        "inference": inputs.inference_of(arguments),
    }
    opened, drawn = inputs.networks(paths, arguments)
    networks = [opened[path] for path in paths]
    if arguments.more:
        _compare_many(dict(zip(names, networks, strict=True)), drawn, options, arguments)
        return

    a, b = networks
    labels = inputs.labels(a, "layers_a", arguments.a) | inputs.labels(b, "layers_b", arguments.b)
    try:
        if arguments.plan:
            print(plan(a, b, **options))
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateWarning)  # the result has them, too
            matrix = cka_matrix(a, b, **options).with_models(*names)
        if drawn is not None:
            matrix = inputs.noting(matrix, drawn)
    except (ValueError, TypeError) as error:
        raise ValueError(inputs.in_words(str(error), labels)) from error

    outputs.report(matrix, opened.values(), labels, arguments)


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
        models = CKAModels(inputs.noting(models.matrix, drawn), layers)
    if models.estimator == "biased" and arguments.kernel != "precomputed":
        inputs.warn_of_bias(networks.values(), models.n_samples)
    for text in models.warnings:
        print(f"fastcka: warning: nan for {text}", file=sys.stderr)
    outputs.write(models, models.summary(), arguments)
    print(models, flush=True)

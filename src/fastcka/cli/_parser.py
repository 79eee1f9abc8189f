# SPDX-License-Identifier: BSD-3-Clause
"""The commands and their options; `info`, `demo` and `bench`, which only pass theirs on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from .. import __version__, show_config
from . import compare, extract, outputs, show, sweep


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fastcka: error: {message} (try: {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="fastcka", description="Centered kernel alignment (CKA): how similar are two networks?"
    )
    parser.add_argument("--version", action="version", version=f"fastcka {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")

    compare.add_parser(commands)
    show.add_parser(commands)
    extract.add_parser(commands)
    sweep.add_parser(commands)

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
    bench.add_argument("--threads", type=int, metavar="N", help="default: all available processors")
    bench.add_argument("--quick", action="store_true", help="small sizes: only check that everything runs")
    bench.add_argument("--json", type=Path, metavar="F", help="write the times with machine and versions")
    return parser


def _info(arguments: argparse.Namespace) -> None:
    show_config()


def _demo(arguments: argparse.Namespace) -> None:
    from .. import demo

    demo.run(arguments.out)


def _bench(arguments: argparse.Namespace) -> int:
    from .. import bench

    if arguments.json is not None:
        outputs.check_place(arguments.json)
    return bench.run(arguments.threads, arguments.quick, arguments.json)

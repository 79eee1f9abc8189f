# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka sweep``: one comparison in pieces, for the tasks of a job array."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._networks import Networks, with_inference
from .._partial import Partial
from .._settings import Settings
from .._stages import MEDIANS, ORDER, Stage
from ..results import DegenerateWarning
from ..sweep import Sweep
from . import inputs, outputs
from .sampling import Opened

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]

_OF_A_LAYER = {"statistics": ", one for each layer"} | dict.fromkeys(MEDIANS, ", layer by layer")

SUFFIX = ".partial"  # tells partials from layers, and from results


def add_parser(commands: Commands) -> None:
    """Add the command to those of ``fastcka``."""
    parser = commands.add_parser(
        "sweep",
        help="one comparison in pieces, for job arrays",
        description="Compute one comparison in numbered blocks, in any number of processes and on any number "
        "of machines. The result has the same bits as that of `fastcka compare`.",
    )
    parts = parser.add_subparsers(title="commands", required=True, metavar="command")

    plan = parts.add_parser(
        "plan",
        help="print the stages and their numbers of blocks",
        description="Print the stages and their numbers of blocks. Values are not read.",
    )
    plan.set_defaults(run=_plan)
    _add_inputs(plan)
    inputs.add_inference(plan)

    run = parts.add_parser(
        "run",
        help="compute some blocks",
        description="Compute some blocks of a stage. Give all tasks the same inputs and options.",
    )
    run.set_defaults(run=_run)
    _add_inputs(run)
    inputs.add_machine(run)
    run.add_argument(
        "--stage",
        choices=ORDER,
        metavar="STAGE",
        help="a stage that `fastcka sweep plan` prints. statistics: a block is a layer; median-1 and "
        "so on, for bandwidths that follow the median: a part of the pairs of samples of a layer; products: "
        "a part of the pairs of samples of all layers; inference, with --inference: some rows of all layers "
        "(default: the last one)",
    )
    share = run.add_mutually_exclusive_group(required=True)
    share.add_argument(
        "--blocks",
        type=_range,
        metavar="FIRST:END",
        help="numbers of the blocks, from 0; END is not computed",
    )
    share.add_argument(
        "--share", type=_share, metavar="I/N", help="part I, from 0, of N parts of nearly equal length"
    )
    run.add_argument(
        "--given",
        nargs="+",
        type=Path,
        metavar="PART",
        help="all partials of the stage before (default: earlier stages are computed again)",
    )
    inputs.add_inference(run)
    _add_out(run)

    merge = parts.add_parser(
        "merge",
        help="merge partials of one stage",
        description="Merge partials of one stage, in any order, and say which blocks are missing.",
    )
    merge.set_defaults(run=_merge)
    merge.add_argument("parts", metavar="PART", nargs="+", type=Path, help=f"{SUFFIX} file")
    _add_out(merge)

    result = parts.add_parser(
        "result",
        help="turn the last stage into the result",
        description="Merge partials of the last stage and print the result. Layers are opened but not read, "
        "except with --inference: p-values by moments read each layer once more, and without the partials of "
        "the stage inference, if there is one, this process computes it.",
    )
    result.set_defaults(run=_result)
    result.add_argument("a", metavar="A", type=Path, help="as in `fastcka sweep run`")
    result.add_argument(
        "rest", metavar="[B] PART", nargs="+", type=Path, help=f"B, if there is one; then {SUFFIX} files"
    )
    _add_options(result)
    inputs.add_measure(result)
    inputs.add_estimator(result)
    inputs.add_inference(result)
    result.add_argument("--names", metavar="A,B", help="names of the networks (default: from the files)")
    outputs.add_options(result)
    result.add_argument(
        "--out", dest="saved", type=Path, metavar="F", help="write all values and settings: F.npz or F.json"
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"A and B: {inputs.FILES} Without B: the layers of A with one another."
    parser.add_argument(
        "a", metavar="A", type=Path, help="file or directory of layers, the rows of the result"
    )
    parser.add_argument("b", metavar="B", type=Path, nargs="?", help="the same, the columns")
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    inputs.add_kernel(parser)
    inputs.add_selection(parser)
    inputs.add_dtype(parser)


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar=f"F{SUFFIX}", help="file to write")


def _range(text: str) -> range:
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"expected FIRST:END, such as 0:40, got {text!r}")
    return range(int(first), int(end))


def _share(text: str) -> tuple[int, int]:
    task, _, tasks = text.partition("/")
    if not (task.isdecimal() and tasks.isdecimal() and int(task) < int(tasks)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 0 to N - 1, such as 0/40, got {text!r}")
    return int(task), int(tasks)


# ---------------------------------------------------------------------- the commands


class _Inputs(NamedTuple):
    """The layers of A and B, opened, and how to compare them."""

    opened: Mapping[Path, Opened]
    labels: Mapping[str, str]  # the files' words for the layers, by the library's
    drawn: str | None  # how samples were chosen
    networks: Networks
    settings: Settings

    @classmethod
    def of(cls, a: Path, b: Path | None, arguments: argparse.Namespace) -> _Inputs:
        paths = [a] if b is None else [a, b]
        settings = Settings.checked(
            inputs.kernel_of(arguments),
            getattr(arguments, "estimator", None),  # options that only some commands have
            arguments.dtype,
            getattr(arguments, "threads", None),
            getattr(arguments, "max_bytes", None),
            getattr(arguments, "measure", "cka"),
        )
        opened, drawn = inputs.networks(paths, arguments)
        labels: dict[str, str] = {}
        for argument, path in zip(("layers_a", "layers_b"), paths, strict=False):
            labels |= inputs.labels(opened[path], argument, path)
        with _naming(labels):
            networks = Networks.read(opened[a], None if b is None else opened[b])
            networks, settings = with_inference(networks, settings, inputs.inference_of(arguments), None)
        return cls(opened, labels, drawn, networks, settings)


def _plan(arguments: argparse.Namespace) -> None:
    _, labels, _, networks, settings = _Inputs.of(arguments.a, arguments.b, arguments)
    with _naming(labels):
        pieces = Sweep._of(networks, settings)._pieces
    for stage in pieces.stages:
        blocks = " or ".join(f"0:{count}" for count in pieces.counts(stage))
        print(f"{stage}: blocks {blocks}{_OF_A_LAYER.get(stage, '')}")


def _run(arguments: argparse.Namespace) -> None:
    _check_out(arguments.out)
    stage: Stage | None = arguments.stage
    if arguments.given is not None and stage == "statistics":
        raise ValueError("--given: the statistics need no other stage")
    given = None if arguments.given is None else _merged(arguments.given)
    _, labels, _, networks, settings = _Inputs.of(arguments.a, arguments.b, arguments)
    with _naming(labels):
        sweep = Sweep._of(networks, settings)
        if given is not None:
            _check_given(sweep, given, stage)
        blocks = arguments.blocks
        if blocks is None:
            task, tasks = arguments.share
            blocks = sweep.share(task, tasks, stage, given=given)
        part = sweep.run(blocks, stage, given=given)
    _save(part, arguments.out)


def _check_given(sweep: Sweep, given: Partial, stage: Stage | None) -> None:
    try:
        sweep._pieces.check_given(given, stage or sweep.stages[-1])
    except ValueError as error:
        raise ValueError(f"--given: {str(error).removeprefix('given: ')}") from None


def _merge(arguments: argparse.Namespace) -> None:
    _check_out(arguments.out)
    whole = _merged(arguments.parts)
    _save(whole, arguments.out)
    if whole.missing:
        gaps = ", ".join(f"{gap.start}:{gap.stop}" for gap in whole.missing)
        print(f"fastcka: warning: blocks {gaps} are missing", file=sys.stderr)


def _result(arguments: argparse.Namespace) -> None:
    outputs.check(arguments, "--out", ".npz", ".json")
    first = arguments.rest[0]
    b = None if first.suffix == SUFFIX else first
    parts = arguments.rest if b is None else arguments.rest[1:]
    if not parts:
        raise ValueError(f"after A and B, expected {SUFFIX} files, got none")
    names = inputs.model_names([arguments.a, b or arguments.a], arguments.names)
    whole = _merged(parts)
    opened, labels, drawn, networks, settings = _Inputs.of(arguments.a, b, arguments)
    with _naming(labels), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateWarning)  # the result has them, too
        matrix = Sweep._of(networks, settings).result(whole).with_models(*names)
    if drawn is not None:
        matrix = inputs.noting(matrix, drawn)
    outputs.report(matrix, opened.values(), labels, arguments)


@contextmanager
def _naming(labels: Mapping[str, str]) -> Iterator[None]:
    """Name the files where the library names its own arguments."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(inputs.in_words(str(error), labels)) from error


# ---------------------------------------------------------------------- files of partials


def _merged(paths: Sequence[Path]) -> Partial:
    """Return the partial with the blocks of all files."""
    whole: Partial | None = None
    for path in paths:
        if path.suffix != SUFFIX:
            raise ValueError(f"{path}: expected a file that ends in {SUFFIX}, as `fastcka sweep` writes them")
        part = Partial.load(path)
        try:
            whole = part if whole is None else whole | part
        except ValueError as error:
            raise ValueError(f"{path} does not merge with the files before it: {error}") from None
    assert whole is not None  # nargs="+"
    return whole


def _check_out(path: Path) -> None:
    """Refuse, before any work, a file that could not be written after it."""
    if path.suffix != SUFFIX:
        raise ValueError(f"--out: the file name must end in {SUFFIX}, got {path}")
    outputs.check_place(path)


def _save(part: Partial, path: Path) -> None:
    part.save(path)
    print(f"wrote {path}: {part}", file=sys.stderr)

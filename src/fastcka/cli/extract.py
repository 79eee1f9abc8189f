# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka extract``: from functions that make a PyTorch model and its data loader to a store.

PyTorch is imported when the command runs, not before.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._arguments import as_bytes
from ..store import Store

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]

POOLS = ("flatten", "mean", "gap", "cls", "last", "tokens")
DTYPES = ("float16", "bfloat16", "float32", "float64")
_SAID = (ValueError, TypeError, OSError, MemoryError)  # errors printed without a prefix


def add_parser(commands: Commands) -> None:
    """Add the command to those of ``fastcka``."""
    extract = commands.add_parser(
        "extract",
        help="write the activations of a PyTorch model into a store",
        description="Run a PyTorch model over a data loader, and write the activations of its layers into a "
        "store, which `fastcka compare` reads. Run the same command again to resume an interrupted run.",
        epilog="MODEL and LOADER: package.module:function, found from the current directory or installed, "
        "called without arguments. Layer patterns: names, globs, re:expression; quote them.",
    )
    extract.set_defaults(run=_extract)
    extract.add_argument("model", metavar="MODEL", help="function that returns a torch.nn.Module")
    extract.add_argument("loader", metavar="LOADER", help="function that returns an iterable of batches")
    extract.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder of the store")
    extract.add_argument(
        "--layers", nargs="+", default=["*"], metavar="PATTERN", help="which layers (default: all)"
    )
    extract.add_argument(
        "--pool", default="flatten", choices=POOLS, help="how activations become rows (default: flatten)"
    )
    extract.add_argument(
        "--axes",
        nargs="+",
        type=_entry,
        metavar="PATTERN=LETTERS",
        help="axes of layers, where they are not recognised: n (samples), c (channels), "
        "p (positions), f (features), such as 'blocks.*=npf'",
    )
    extract.add_argument(
        "--mask",
        nargs="+",
        type=_entry,
        metavar="PATTERN=ENTRY",
        help="which entry of the batches is the mask of layers, 'none' for no mask",
    )
    extract.add_argument(
        "--split",
        nargs="+",
        type=_entry,
        metavar="PATTERN=HEADS",
        help="split layers into this many heads, such as '*.out_proj:input=12'",
    )
    extract.add_argument(
        "--max-tokens", type=int, metavar="N", help="with --pool tokens: at most N positions of each sample"
    )
    extract.add_argument("--max-samples", type=int, metavar="N", help="stop after N samples")
    extract.add_argument("--dtype", choices=DTYPES, help="dtype of the arrays (default: that of each layer)")
    extract.add_argument(
        "--ids",
        metavar="NAME",
        help="entry of the batches (dicts) that names the samples",
    )
    extract.add_argument(
        "--max-bytes", type=_size, metavar="SIZE", help="maximum size of the store: 800000, 500MB, 2GiB"
    )
    extract.add_argument(
        "--device", metavar="DEV", help="cpu, cuda, ...: move the model and its inputs there"
    )


def _size(text: str) -> int:
    try:
        return as_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("max_bytes: ")) from error


def _entry(text: str) -> tuple[str, str]:
    pattern, equals, value = text.rpartition("=")
    if not (pattern and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form PATTERN=VALUE")
    return pattern, value


def _heads(entries: list[tuple[str, str]]) -> dict[str, int]:
    for pattern, heads in entries:
        if not heads.isdecimal():
            raise ValueError(f"--split {pattern}={heads}: the number of heads must be an integer")
    return {pattern: int(heads) for pattern, heads in entries}


def _extract(arguments: argparse.Namespace) -> None:
    from .. import torch as activations  # first: without PyTorch, this says what to install

    if (here := os.getcwd()) not in sys.path:  # as `python -m` does; workers of a loader look there, too
        sys.path.insert(0, here)
    model = _model(arguments)
    loader = _loader(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            store = activations.extract(
                model,
                loader,
                arguments.layers,
                pool=arguments.pool,
                axes=dict(arguments.axes or ()),
                mask={pattern: None if entry == "none" else entry for pattern, entry in arguments.mask or ()},
                split=_heads(arguments.split or []),
                max_tokens=arguments.max_tokens,
                out=arguments.out,
                max_samples=arguments.max_samples,
                dtype=arguments.dtype,
                progress=sys.stderr.isatty(),
                ids=arguments.ids,
                max_bytes=arguments.max_bytes,
                device=arguments.device,
                # So that a run with another loader cannot resume this store.
                provenance={"model": arguments.model, "loader": arguments.loader},
            )
    except (Exception, SystemExit) as error:
        if isinstance(error, _SAID) and not isinstance(error, BrokenPipeError):  # nothing was printed yet
            raise
        # Any exception from the code of a model or a loader.
        raise ValueError(f"while the model ran: {_named(error)}") from error
    assert isinstance(store, Store)  # what `out` gives
    print("\n".join(_report(store)))


def _model(arguments: argparse.Namespace) -> Any:
    """Return the model, on the device that was asked for."""
    import torch

    model = _called(arguments.model)
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"{arguments.model} returned {type(model).__name__}, not a torch.nn.Module")
    if arguments.device is not None:
        try:
            model.to(arguments.device)
        except Exception as error:  # an unknown name, a device that is not there: torch has many classes
            raise ValueError(f"--device {arguments.device}: {_named(error)}") from error
    return model


def _loader(arguments: argparse.Namespace) -> Any:
    from ..torch.data.loaders import check_loader

    loader = _called(arguments.loader)
    try:
        check_loader(loader, "loader")
    except TypeError as error:
        raise ValueError(f"what {arguments.loader} returned cannot be used: {error}") from error
    return loader


def _called(name: str) -> Any:
    """Return what the function called ``package.module:function`` returns."""
    function = _function(name)
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name} raised {_named(error)}") from error


def _function(name: str) -> Callable[[], Any]:
    module_name, _, function_name = name.partition(":")
    if not (module_name and function_name):
        raise ValueError(f"{name!r} is not a function name: write package.module:function")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:
        if module_name.endswith(".py"):
            path = module_name.removesuffix(".py").strip("./").replace("/", ".")
            raise ValueError(f"{name}: write the module, not its file: {path}:{function_name}") from error
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"{name}: there is no module {error.name!r} in {os.getcwd()}, and none is installed"
            ) from error
        raise ValueError(f"{name}: importing {module_name} raised {_named(error)}") from error
    function = getattr(module, function_name, None)
    if function is None:
        near = difflib.get_close_matches(function_name, vars(module), n=3)
        advice = f"; near matches: {', '.join(near)}" if near else ""
        raise ValueError(f"{name}: {module_name} has no function {function_name!r}{advice}")
    if not callable(function):
        raise ValueError(f"{name} is not a function but {type(function).__name__}")
    return function  # type: ignore[no-any-return]


def _report(store: Store) -> list[str]:
    """Say what is in a store, and what was skipped."""
    width = max(map(len, store))
    lines = [f"{store.path}: {store.n_samples} samples, {len(store)} layers"]
    for name, X in store.items():
        dtype = "bfloat16" if X.dtype.kind == "V" else X.dtype.name
        lines.append(f"  {name:<{width}}  {X.shape[1]} x {dtype}")
    left_out = store.provenance["extract"]["left_out"]
    if left_out:
        lines += ["skipped:", *(f"  {name}: {reason}" for name, reason in left_out.items())]
    return lines


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    print(f"fastcka: warning: {message}", file=sys.stderr)


def _named(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

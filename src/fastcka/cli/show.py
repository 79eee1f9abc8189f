# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka show``: a saved result as text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..results import CKAMatrix, CKAModels, ModelSummary, provenance
from ..results.labels import count_layers
from ..results.saved import kind_of
from ..results.table import aligned

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]

_SHOWN_ABOVE = ("rows", "columns")  # by the table
_KINDS: dict[str, type[CKAMatrix | CKAModels]] = {
    kind.__name__: kind for kind in (CKAMatrix, CKAModels, ModelSummary)
}


def add_parser(commands: Commands) -> None:
    """Add the command to those of ``fastcka``."""
    parser = commands.add_parser(
        "show",
        help="print a saved result",
        description="Print the table, the settings, the chance level and the provenance of a result that "
        "`fastcka compare --json`, CKAMatrix.save or CKAModels.save wrote.",
    )
    parser.set_defaults(run=_show)
    parser.add_argument("result", metavar="RESULT", type=Path, help=".json or .npz file")


def _show(arguments: argparse.Namespace) -> None:
    result = _KINDS.get(kind_of(arguments.result), CKAMatrix).load(arguments.result)
    matrix = result.matrix if isinstance(result, CKAModels) else result
    settings = {name: value for name, value in matrix.settings().items() if name not in _SHOWN_ABOVE}
    del settings["provenance"]
    lines = [str(result), ""]
    if isinstance(result, CKAModels):
        del settings["models"]
        counts = (f"{model} ({count_layers(len(result.layers(model)))})" for model in result.models)
        lines.append(f"models: {', '.join(counts)}")
    lines += ["settings:", *_listed(settings.items()), f"chance level: {_range(matrix.chance)}"]
    origin = provenance.entries(matrix)
    lines += ["provenance:", *_listed(origin)] if origin else ["provenance: not known"]
    if layers := provenance.by_layer(matrix):
        lines += ["layers:", *(f"  {line}" for line in aligned(layers))]
    print("\n".join(lines))


def _range(chance: NDArray[np.float64] | None) -> str:
    if chance is None:
        return "not known"
    defined = chance[~np.isnan(chance)]
    return f"{defined.min():.3f} to {defined.max():.3f}" if defined.size else "nan"


def _listed(entries: Iterable[tuple[str, Any]]) -> list[str]:
    return [
        f"  {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in entries
    ]

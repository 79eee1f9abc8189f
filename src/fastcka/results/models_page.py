# SPDX-License-Identifier: BSD-3-Clause
"""Write a `CKAModels` as one self-contained web page: the page of a pair, below a chooser of pairs.

The parts of every pair lie in a template each. ``chooser.js`` puts those of the pair that the address names,
``#0,1``, into the page before its own scripts run; another choice loads the page again.
"""

from __future__ import annotations

import os
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from .._files import atomic_write
from .page import asset, document, parts

if TYPE_CHECKING:
    from .collection import Collection
    from .summary import ModelSummary

_ABOVE = """\
<h1>{title}</h1>
<p>{summary}</p>
<div class="scroll">{table}</div>
<p class="tools"><label>Rows: <select id="row-model-chosen" autocomplete="off">{options}</select></label>
<label>Columns: <select id="column-model-chosen" autocomplete="off">{options}</select></label></p>
{templates}"""


def write(models: Collection, path: str | os.PathLike[str]) -> None:
    """Write the page of `models` to `path`, atomically."""
    with atomic_write(path) as file:
        file.write(page(models).encode(errors="backslashreplace"))  # names may hold half a surrogate pair


def page(models: Collection) -> str:
    """Return the page as HTML. Without scripts, it shows the summary and the first two models."""
    names = models.models
    summary = models.summary()
    above = _ABOVE.format(
        title=f"{len(names)} models",
        summary=escape(f"{summary.title}, {summary.n_samples} samples"),
        table=_table(summary),
        options="".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(names)),
        templates="".join(
            _template(models, i, j) for i in range(len(names)) for j in range(len(names)) if (i, j) != (0, 1)
        ),
    )
    first = parts(models.pair(names[0], names[1]), "h2")
    return document(f"{len(names)} models", first, above=above, first=asset("chooser.js"))


def _template(models: Collection, i: int, j: int) -> str:
    """Return the parts of a pair, each in an element that names the one whose contents it replaces."""
    contents = parts(models.pair(models.models[i], models.models[j]), "h2")
    data = f'<script type="application/json" data-part="data">{contents.pop("data")}</script>'
    others = "".join(f'<div data-part="{name}">{content}</div>' for name, content in contents.items())
    return f'<template id="pair-{i},{j}">{others}{data}</template>\n'


def _table(summary: ModelSummary) -> str:
    """Return the summary as a table whose values lead to the pairs."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in summary.columns)
    lines = []
    for i, (name, values) in enumerate(zip(summary.rows, summary.values, strict=True)):
        cells = "".join(f'<td><a href="#{i},{j}">{_text(value)}</a></td>' for j, value in enumerate(values))
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    caption = "Similarity of the models; a value leads to its pair"
    return (
        f'<table id="summary"><caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _text(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"

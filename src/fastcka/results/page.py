# SPDX-License-Identifier: BSD-3-Clause
"""Write a `CKAMatrix` as one self-contained web page.

The page is made by hand (``page.js``, ``page.css``) and not with plotly: it weighs some 20 kB beside its
data where plotly.js alone is 4.8 MB, needs nothing but NumPy to write, and its curve can follow the column
that is clicked in the heat map. It makes no request: a content security policy forbids every one, and lets
no script run but the one written here, identified by its hash.

Every name is data here: in the page by `html.escape`, in the script as JSON that is shown as text only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .._files import atomic_write
from .labels import axis_title, count_layers, short_names

if TYPE_CHECKING:
    from .comparison import Comparison as CKAMatrix

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src '{style_hash}'; script-src '{script_hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{name}</title>
<style>{style}</style>
</head>
<body>
<h1>{name}</h1>
<p>{summary}</p>
{warnings}
<noscript><p>The pictures need JavaScript; the best matches and the settings are below.</p></noscript>
<h2>Every layer with every layer</h2>
<p class="hint">Point at a cell for its value, or move with the arrow keys. A click on a cell, or Enter,
chooses its column for the dashed curve below.</p>
<div id="heatmap" tabindex="0" role="application" aria-label="Heat map of {name}"></div>
<p><button id="csv" type="button">Download values as CSV</button></p>
<h2>Similarity over depth</h2>
<p class="hint">Solid: each layer of {row_model} with {partner} in {column_model}.
Dashed: with the chosen layer.</p>
<p><label>Layer of {column_model}:
<select id="reference"><option value="">none chosen</option></select></label></p>
<div id="curve"></div>
<h2>Best matches</h2>
<div id="matches">{matches}</div>
<h2>Settings</h2>
<dl>{settings}</dl>
<div id="details" role="status" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def write(matrix: CKAMatrix, path: str | os.PathLike[str]) -> None:
    """Write the page of `matrix` to `path`, atomically."""
    with atomic_write(path) as file:
        file.write(page(matrix).encode())


def page(matrix: CKAMatrix) -> str:
    """Return the page as HTML."""
    style, script = _asset("page.css"), _asset("page.js")
    row_model, column_model = matrix.models
    return _PAGE.format(
        name=escape(f"{row_model} × {column_model}"),
        summary=escape(f"{matrix.title}, {matrix.n_samples} samples"),
        row_model=escape(row_model),
        column_model=escape(column_model),
        partner="its counterpart" if set(matrix.rows) == set(matrix.columns) else "its best match",
        warnings=_warnings(matrix),
        matches=_matches(matrix),
        settings="".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in _settings(matrix)),
        data=_data(matrix),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
    )


def html_table(caption: str, lines: Iterable[Iterable[str]]) -> str:
    """Return a plain HTML table: the first line and the first cell of each line are headings."""
    first, *others = (list(line) for line in lines)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in first)
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in others
    )
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _warnings(matrix: CKAMatrix) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in matrix.warnings)
    return f'<ul class="warnings">{items}</ul>' if items else ""


def _settings(matrix: CKAMatrix) -> list[tuple[str, str]]:
    from .. import __version__  # not at the top: fastcka is still being imported then

    shown = [
        ("rows", f"{matrix.models[0]}, {count_layers(len(matrix.rows))}"),
        ("columns", f"{matrix.models[1]}, {count_layers(len(matrix.columns))}"),
        ("kernel", matrix.kernel),
        ("estimator", matrix.estimator),
        ("method", matrix.method),
        ("samples", str(matrix.n_samples)),
        ("written by", f"fastcka {__version__}"),
    ]
    if set(matrix.rows) == set(matrix.columns):
        share = f"{matrix.identification_accuracy():.0%} of the rows have their own counterpart as best match"
        shown.insert(-1, ("identified", share))
    return shown


def _matches(matrix: CKAMatrix) -> str:
    """Return the table of best matches; the script makes it sortable."""
    head = ["layer", "best match", "CKA"]
    lines = [[m.row, m.column or "none", _number(m.value)] for m in matrix.best_matches()]
    if set(matrix.rows) == set(matrix.columns):
        head.append("CKA with its counterpart")
        for i, (line, name) in enumerate(zip(lines, matrix.counterparts(), strict=True)):
            line.append(_number(matrix.values[i, matrix.columns.index(name)]))
    rows, columns = matrix.models
    return html_table(f"{rows}: every layer and its best match in {columns}", [head, *lines])


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"


def _data(matrix: CKAMatrix) -> str:
    """Return what the script draws, as JSON that cannot end the script element it stands in.

    `fields` are what is known of each pair. The first is drawn; all are shown on hover and written as CSV.
    """
    square = set(matrix.rows) == set(matrix.columns)
    row_labels, row_prefix = short_names(matrix.rows)
    column_labels, column_prefix = short_names(matrix.columns)
    data = {
        "models": matrix.models,
        "rows": matrix.rows,
        "columns": matrix.columns,
        "rowLabels": row_labels,
        "columnLabels": column_labels,
        "axisTitles": [axis_title(matrix.models[0], row_prefix), axis_title(matrix.models[1], column_prefix)],
        "counterparts": [matrix.columns.index(c) for c in matrix.counterparts()] if square else None,
        "fields": [{"name": "CKA", "values": _nullable(matrix.values.tolist())}],
    }
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _nullable(rows: list[list[float]]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in rows]

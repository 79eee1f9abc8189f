# SPDX-License-Identifier: BSD-3-Clause
"""Write a `CKAMatrix` as one self-contained web page.

The page is made by hand (``page.css`` and three scripts, joined into one) and not with plotly: it weighs
some 40 kB beside its data where plotly.js alone is 4.8 MB, needs nothing but NumPy to write, and its curve
can follow the column that is clicked in the heat map. It makes no request: a content security policy forbids
every one, and lets no script run but the one written here, identified by its hash.

Every name is data here: in the page by `html.escape`, in the script as JSON that is shown as text only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._files import atomic_write
from . import provenance
from .labels import axis_title, count_layers, short_names

if TYPE_CHECKING:
    from .comparison import Comparison

MOST_WARNINGS = 5  # that are shown without a click
_SCRIPTS = ("page.js", "heatmap.js", "tools.js")  # joined, in this order

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src '{style_hash}'; script-src {script_hashes}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{above}
<div id="head">{head}</div>
<noscript><p>The pictures need JavaScript; the best matches and the settings are below.</p></noscript>
<h2 class="drawn">Every layer with every layer</h2>
<p class="hint" id="map-hint">Point at a cell, or tap it, for its value. Or move with the arrow keys, Home,
End, Page Up and Page Down; Esc closes the box, + and − zoom. A click, or Enter, adds the curve of its column
below.</p>
<div class="tools">
<label>Find layers: <input id="search" type="search" autocomplete="off"></label>
<output id="found" for="search"></output>
<label><input id="mark" type="checkbox" autocomplete="off" checked> mark best matches</label>
<span role="group" aria-label="Zoom">Zoom:
<button id="smaller" type="button" aria-label="smaller" disabled>−</button>
<button id="larger" type="button" aria-label="larger">+</button></span>
<span role="group" aria-label="Colour scale"><label>Colours from
<input id="low" type="number" step="0.05" value="0" autocomplete="off"></label> <label>to
<input id="high" type="number" step="0.05" value="1" autocomplete="off"></label>
<button id="whole" type="button">0 to 1</button> <button id="fit" type="button">Fit to values</button></span>
</div>
<div id="heatmap" tabindex="0" role="application" aria-describedby="map-hint"></div>
<p class="tools"><button id="csv" type="button">Download values (CSV)</button>
<button id="svg" type="button">Download map (SVG)</button></p>
<details id="all"><summary>All values as a table</summary>
<div id="table" class="scroll" tabindex="0" role="region" aria-label="All values"></div></details>
<h2 class="drawn">Similarity over depth</h2>
<ul id="legend"></ul>
<p class="tools"><label>Add layer of <span id="column-model"></span>:
<select id="reference" autocomplete="off"><option value="">none</option></select></label></p>
<div id="curve"></div>
<h2>Best matches</h2>
<div id="matches" class="scroll">{matches}</div>
<h2>Settings</h2>
<div id="settings">{settings}</div>
<p id="spoken" role="status"></p>
<div id="details" aria-hidden="true" hidden></div>
<script type="application/json" id="data">{data}</script>
{scripts}
</body>
</html>
"""


def write(matrix: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the page of `matrix` to `path`, atomically."""
    with atomic_write(path) as file:
        file.write(page(matrix).encode(errors="backslashreplace"))  # names may hold half a surrogate pair


def page(matrix: Comparison) -> str:
    """Return the page as HTML."""
    return document(" × ".join(matrix.models), parts(matrix))


def parts(matrix: Comparison, heading: str = "h1") -> dict[str, str]:
    """Return what differs from one comparison to the next: the contents of the elements with these ids."""
    name, summary = " × ".join(matrix.models), f"{matrix.title}, {matrix.n_samples} samples"
    return {
        "head": f"<{heading}>{escape(name)}</{heading}>\n<p>{escape(summary)}</p>\n{_warnings(matrix)}",
        "matches": _matches(matrix),
        "settings": f"<dl>{_described(_settings(matrix))}</dl>\n{_provenance(matrix)}",
        "data": _data(matrix),
    }


def document(title: str, parts: Mapping[str, str], *, above: str = "", first: str = "") -> str:
    """Return a page with these parts, with HTML `above` them; the script `first` runs before the others."""
    style = asset("page.css")
    scripts = [script for script in (first, "".join(asset(name) for name in _SCRIPTS)) if script]
    return _PAGE.format(
        **parts,
        title=escape(title),
        above=above,
        style=style,
        style_hash=_hash(style),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        script_hashes=" ".join(f"'{_hash(script)}'" for script in scripts),
    )


def html_table(caption: str, lines: Iterable[Iterable[str]]) -> str:
    """Return a plain HTML table: the first line and the first cell of each line are headings."""
    first, *others = (list(map(_breakable, line)) for line in lines)
    head = "".join(f"<th>{cell}</th>" for cell in first)
    body = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, *cells in others
    )
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _breakable(text: str) -> str:
    """Return text as HTML that may be broken within names, but not within numbers."""
    return re.sub(r"(?<=[._/])(?=[^\W\d])", "<wbr>", escape(text))


def asset(name: str) -> str:
    """Return a file of this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _warnings(matrix: Comparison) -> str:
    items = "".join(f"<li>{escape(_with_network(text, matrix))}</li>" for text in matrix.warnings)
    n = len(matrix.warnings)
    if n > MOST_WARNINGS:
        return f'<details class="warnings"><summary>{n} warnings</summary><ul>{items}</ul></details>'
    return f'<ul class="warnings">{items}</ul>' if items else ""


def _with_network(warning: str, matrix: Comparison) -> str:
    """Replace the argument that a warning names by its network."""
    found = re.search(r" of (?:layers|batch)_([ab])(?=: )", warning)
    if found is None:
        return warning
    layer, side = warning[: found.start()], "ab".index(found[1])
    if layer in _undefined(matrix, 1 - side) and layer not in _undefined(matrix, side):
        side = 1 - side  # the matrix was transposed
    return f"{layer} of {matrix.models[side]}{warning[found.end() :]}"


def _undefined(matrix: Comparison, side: int) -> set[str]:
    """Return the layers without values of the rows (side 0) or columns (1), as warnings name them."""
    names, values = [(matrix.rows, matrix.values), (matrix.columns, matrix.values.T)][side]
    return {f"layer {name!r}" for name, line in zip(names, values, strict=True) if np.isnan(line).all()}


def _namesakes(matrix: Comparison) -> list[int] | None:
    """Return the column of the same name as each row; None unless every row has one."""
    if not set(matrix.rows) <= set(matrix.columns):
        return None
    return [matrix.columns.index(name) for name in matrix.rows]


def _settings(matrix: Comparison) -> list[tuple[str, str]]:
    from .. import __version__  # not at the top: fastcka is still being imported then

    rows, columns = matrix.models
    shown = [
        ("rows", f"{rows}, {count_layers(len(matrix.rows))}"),
        ("columns", f"{columns}, {count_layers(len(matrix.columns))}"),
        ("kernel", matrix.kernel),
        ("measure", matrix.measure_name),
        *([("estimator", matrix.estimator)] if matrix.estimator else []),
        ("method", matrix.method),
        ("samples", str(matrix.n_samples)),
        ("written by", f"fastcka {__version__}"),
    ]
    if _namesakes(matrix) is not None:
        share = f"{matrix.identification_accuracy():.0%} of the rows have their namesake as best match"
        shown.insert(-1, ("identified", share))
    return shown


def _provenance(matrix: Comparison) -> str:
    """Return where the numbers come from, folded up; nothing where the matrix does not know."""
    entries = provenance.entries(matrix)
    if not entries:
        return ""
    lines = provenance.by_layer(matrix)
    table = f'<div id="layers" class="scroll">{html_table("Each layer", lines)}</div>' if lines else ""
    return f"<details><summary>Provenance</summary><dl>{_described(entries)}</dl>{table}</details>"


def _described(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in entries)


def _matches(matrix: Comparison) -> str:
    """Return the table of best matches; the script makes it sortable."""
    head = ["layer", "best match", matrix.measure_name]
    lines = [[m.row, m.column or "none", _number(m.value)] for m in matrix.best_matches()]
    namesakes = _namesakes(matrix)
    if namesakes is not None:
        head.append(f"{matrix.measure_name} with its namesake")
        for i, j in enumerate(namesakes):
            lines[i].append(_number(matrix.values[i, j]))
    if matrix.beside is not None:
        head.append("chance")
        for line, values, level in zip(lines, matrix.values, matrix.beside, strict=True):
            line.append(_number(np.nan if np.isnan(values).all() else level[np.nanargmax(values)]))
    rows, columns = matrix.models
    return html_table(f"{rows}: every layer and its best match in {columns}", [head, *lines])


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"


def _data(matrix: Comparison) -> str:
    """Return what the script draws, as JSON that cannot end the script element it stands in.

    `fields` are what is known of each pair. The first is drawn; all are shown on hover.
    """
    fields = [{"name": matrix.measure_name, "values": _nullable(matrix.values.tolist())}]
    if matrix.chance is not None:
        fields.append({"name": "chance", "values": _nullable(matrix.chance.tolist())})
    if matrix.stderr is not None and matrix.unbiased is not None:
        low, high = matrix.confidence_interval()
        shown = {"unbiased": matrix.unbiased, "95 % from": low, "95 % to": high}
        if matrix.pvalues is not None:
            shown["p-value"] = matrix.pvalues
        fields += [{"name": name, "values": _nullable(part.tolist())} for name, part in shown.items()]
    marked = matrix.not_above_chance
    row_labels, row_prefix = short_names(matrix.rows)
    column_labels, column_prefix = short_names(matrix.columns)
    data = {
        "models": matrix.models,
        "rows": matrix.rows,
        "columns": matrix.columns,
        "rowLabels": row_labels,
        "columnLabels": column_labels,
        "axisTitles": [axis_title(matrix.models[0], row_prefix), axis_title(matrix.models[1], column_prefix)],
        "namesakes": _namesakes(matrix),
        "fields": fields,
        "chance": None if matrix.beside is None else fields[1]["values"],
        "notAbove": None if marked is None else marked.tolist(),
        "csvHead": _csv_head(matrix),
    }
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _csv_head(matrix: Comparison) -> list[str]:
    """Return the settings as the comment lines of `CKAMatrix.to_csv`."""
    settings = matrix.settings().items()
    return [f"# {key}: {json.dumps(value)}" for key, value in settings if key not in ("rows", "columns")]


def _nullable(rows: list[list[float]]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in rows]

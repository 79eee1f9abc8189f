# SPDX-License-Identifier: BSD-3-Clause
"""What a comparison returns. Each file imports only those above it; a method loads those after matrix.py.

labels.py       names of layers and networks that can be told apart in little room
comparison.py   `Comparison`: values and settings, and what can be read from them
provenance.py   where the values come from, in words
table.py        the values as text, no wider than the terminal
containers.py   pandas, xarray and CSV
matrix.py       `CKAMatrix`: a `Comparison` that prints, draws, converts and saves itself
saved.py        .npz and .json files
axes.py         axes with names of layers, for the two pictures with matplotlib:
heatmap.py      the heat map, and that of a difference
grid.py         several heat maps on one colour scale
curve.py        similarity over depth
page.py         the web page, with page.css and three scripts: page.js, heatmap.js, tools.js
"""

from .comparison import BestMatch, DegenerateWarning
from .grid import plot_grid
from .matrix import CKAMatrix

__all__ = ["BestMatch", "CKAMatrix", "DegenerateWarning", "plot_grid"]

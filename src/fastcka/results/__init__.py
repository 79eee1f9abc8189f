# SPDX-License-Identifier: BSD-3-Clause
"""What a comparison returns. Each file imports only those above it; a method loads those after matrix.py.

frozen.py       mappings of JSON that nobody can change
labels.py       names of layers and networks that can be told apart in little room
selection.py    layers chosen by name
significance.py p-values adjusted for the number of pairs
comparison.py   `Comparison`: values and settings, and what can be read from them
provenance.py   where the values come from, as text
table.py        the values as text, no wider than the terminal
containers.py   pandas, xarray and CSV
matrix.py       `CKAMatrix`: a `Comparison` that prints, draws, converts and saves itself
summary.py      `ModelSummary`: one number for each pair of models, and how it is made
collection.py   `Collection`: all layers of many models, and what is read from them
models.py       `CKAModels`: a `Collection` that prints, draws, converts and saves itself
saved.py        .npz and .json files
axes.py         axes with names of layers, for the two pictures with matplotlib:
heatmap.py      the heat map, and that of a difference
grid.py         several heat maps on one colour scale
curve.py        similarity over depth
dendrogram.py   many models: a tree
page.py         the web page, with page.css and three scripts: page.js, heatmap.js, tools.js
models_page.py  the web page of many models, with chooser.js
"""

from .comparison import BestMatch, DegenerateWarning
from .grid import plot_grid
from .matrix import CKAMatrix
from .models import CKAModels
from .summary import ModelSummary

__all__ = ["BestMatch", "CKAMatrix", "CKAModels", "DegenerateWarning", "ModelSummary", "plot_grid"]

# SPDX-License-Identifier: BSD-3-Clause
"""Many models in pictures and on a page: the right pair in the right place, and a chooser that works."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")

from browser import Page, find_chromium
from matplotlib import pyplot
from test_models import made
from test_report import EVIL, data

from fastcka.results.models_page import page

needs_chromium = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium found; on Debian: apt-get install chromium"
)
LAYERS = {"cnn": ("stem", "fc"), EVIL: ("a", "b", "c"), "$x$ & <y>": ("fc",)}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def numbered(layers=LAYERS, **settings):
    """Values that tell their place, symmetric, 1 on the diagonal."""
    size = sum(map(len, layers.values()))
    places = np.arange(size * size).reshape(size, size)
    values = np.tril(places, -1) / size**2
    return made(values + values.T + np.eye(size), layers, **settings)


# Pictures ---------------------------------------------------------------------------------------------------


def test_each_heat_map_of_the_grid_is_that_of_its_pair():
    models = numbered()
    axes = models.plot()
    assert axes.shape == (3, 3)
    for i, a in enumerate(models.models):
        for j, b in enumerate(models.models):
            drawn = axes[i, j].collections[0].get_array()
            np.testing.assert_array_equal(drawn, models.pair(a, b).values)
    figure = axes[0, 0].figure
    figure.canvas.draw()
    # The first model in the lower left corner, names and titles at the outer edges only.
    boxes = [[axes[i, j].get_window_extent() for j in range(3)] for i in range(3)]
    for k in range(2):
        assert all(boxes[k][j].y1 <= boxes[k + 1][j].y0 for j in range(3))
        assert all(boxes[i][k].x1 <= boxes[i][k + 1].x0 for i in range(3))
    assert [ax.get_xlabel() for ax in axes[0]] == ["cnn", axes[0, 1].get_xlabel(), r"\$x\$ & <y>"]
    assert axes[0, 1].get_xlabel().replace("\n", " ").startswith("</script>")
    assert {ax.get_xlabel() for ax in axes[1:].flat} == {ax.get_ylabel() for ax in axes[:, 1:].flat} == {""}
    cells = {round(box.width / n) for row in boxes for box, n in zip(row, (2, 3, 1), strict=True)}
    assert len(cells) == 1  # cells of one size


def test_the_grid_has_one_scale_and_says_what_is_beyond_it():
    values = np.array([[1, -0.2], [-0.2, 1]])
    axes = made(values, {"a": "x", "b": "x"}).plot(vmin=0, vmax=0.9, cmap="viridis")
    limits = {ax.collections[0].get_clim() for ax in axes.flat}
    assert limits == {(0, 0.9)}
    bar = next(ax for ax in axes[0, 0].figure.axes if ax.get_ylabel() == "CKA, linear")
    assert bar._colorbar.extend == "both"
    values[0, 1] = values[1, 0] = np.nan
    figure = made(values, {"a": "x", "b": "x"}).plot()[0, 0].figure
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == ["undefined"]


def test_the_summary_is_drawn():
    models = numbered()
    ax = models.plot_summary(how="max", fmt=".3f")
    np.testing.assert_array_equal(ax.collections[0].get_array(), models.summary("max").values)


def leaves(ax):
    ax.figure.canvas.draw()
    return [label.get_text() for label in ax.get_yticklabels()]


def test_the_dendrogram_joins_what_is_similar():
    values = np.array([[1, 0.3, 0.9, 0.1], [0.3, 1, 0.1, 0.8], [0.9, 0.1, 1, 0.1], [0.1, 0.8, 0.1, 1]])
    models = made(values, dict.fromkeys(("a", "$b$", "c", "d"), "x"))
    names = leaves(models.plot_dendrogram())
    assert {frozenset(names[:2]), frozenset(names[2:])} == {frozenset("ac"), frozenset([r"\$b\$", "d"])}
    _, ax = pyplot.subplots()
    assert models.plot_dendrogram(ax, how="max", linkage="single") is ax
    joins = sorted({round(x, 9) for line in ax.collections[0].get_segments() for x, _ in line} - {0})
    np.testing.assert_allclose(joins, np.arccos([0.9, 0.8, 0.3]), atol=1e-8)
    assert "single linkage, angle of highest pair" in ax.get_xlabel().replace("\n", " ")


def test_a_wrong_dendrogram_is_refused():
    models = made([[1, np.nan], [np.nan, 1]], {"good": "x", "bad": "y"})
    with pytest.raises(ValueError, match="cannot be clustered: good, bad have nan"):
        models.plot_dendrogram()
    with pytest.raises(ValueError, match=r"linkage: expected one of 'average'.*got 'ward'"):
        numbered().plot_dendrogram(linkage="ward")
    with pytest.raises(TypeError, match=r"ax: expected matplotlib Axes, got 'tree.png'"):
        numbered().plot_dendrogram("tree.png")


def test_what_is_missing_is_said():
    code = """if True:
        import sys
        import numpy as np
        from fastcka import CKAMatrix, CKAModels
        sys.modules["{module}"] = None
        matrix = CKAMatrix(np.eye(2), ["x", "x"], ["x", "x"], "linear", "biased", 9)
        try:
            CKAModels(matrix, {{"a": ["x"], "b": ["x"]}}).plot_dendrogram()
        except ImportError as error:
            print(error)
    """
    for module, advice in (("scipy", "pip install scipy"), ("matplotlib", 'pip install "fastcka[plot]"')):
        done = subprocess.run(
            [sys.executable, "-c", code.format(module=module)], capture_output=True, text=True, check=True
        )
        assert advice in done.stdout


# The page ---------------------------------------------------------------------------------------------------


def test_the_page_holds_every_pair_and_the_summary(tmp_path):
    models = numbered(warnings=("layer 'a' of model 'x': constant",))
    models.to_html(tmp_path / "m.html")
    html = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert html == page(models)
    assert "<title>3 models</title>" in html
    np.testing.assert_array_equal(data(html)["fields"][0]["values"], models.pair("cnn", EVIL).values)
    held = dict(
        re.findall(r'<template id="pair-(\d,\d)">.*?data-part="data">(.*?)</script>', html, re.DOTALL)
    )
    assert len(held) == 8
    for place, text in held.items():
        i, j = map(int, place.split(","))
        pair = models.pair(models.models[i], models.models[j])
        assert json.loads(text)["models"] == list(pair.models)
        np.testing.assert_array_equal(json.loads(text)["fields"][0]["values"], pair.values)
    summary = models.summary().values
    for i, j in np.ndindex(3, 3):
        assert f'<a href="#{i},{j}">{summary[i, j]:.3f}</a>' in html
    undefined = made([[1, np.nan], [np.nan, 1]], {"good": "x", "bad": "y"})
    assert '<a href="#0,1">undefined</a>' in page(undefined)


def test_names_never_become_markup():
    html = page(numbered())
    assert html.count("<script") == html.count("</script>") == 3 + 8  # two scripts, data of each pair
    assert "<img" not in html
    assert set(re.findall(r"\w+://[^\"' ]+", html)) == {"http://www.w3.org/2000/svg"}


@needs_chromium
def test_a_pair_is_chosen_in_the_browser(tmp_path):
    models = numbered()
    models.to_html(tmp_path / "m.html")

    def shown():
        return [browser.evaluate(text) for text in ("models", "rows", "values", "heatmap.at.ariaLabel")]

    def expected(a, b):
        pair = models.pair(a, b)
        return [[a, b], list(pair.rows), pair.values.tolist(), f"Heat map of {a} × {b}"]

    with Page(tmp_path / "m.html", tmp_path / "profile") as browser:
        cnn, evil, last = models.models
        assert shown() == expected(cnn, evil)
        assert browser.evaluate("document.querySelector('[aria-current]').hash") == "#0,1"
        # Colours are those of the heat maps.
        assert browser.evaluate(
            "getComputedStyle(byId('summary').querySelector('td:nth-child(2)')).backgroundColor"
        ) == browser.evaluate("`rgb(${color(1).join(', ')})`")
        browser.click_on('a[href="#2,1"]')
        browser.wait_for("Page.loadEventFired")
        assert shown() == expected(last, evil)
        assert browser.evaluate("document.querySelector('#head h2').textContent") == f"{last} × {evil}"
        assert browser.evaluate("byId('column-model').textContent") == evil
        assert browser.evaluate("document.querySelectorAll('#matches tbody tr').length") == 1
        assert browser.evaluate("[byId('row-model-chosen').value, byId('column-model-chosen').value]") == [
            "2",
            "1",
        ]
        assert browser.evaluate("document.querySelector('[aria-current]').hash") == "#2,1"
        select = "byId('column-model-chosen')"
        browser.evaluate(f"{select}.value = 0, {select}.dispatchEvent(new Event('change'))")
        browser.wait_for("Page.loadEventFired")
        assert shown() == expected(last, cnn)
        browser.evaluate("history.back()")
        browser.wait_for("Page.loadEventFired")
        assert shown() == expected(last, evil)
        browser.evaluate("location.hash = '#7,<b>'")  # no such pair
        browser.wait_for("Page.loadEventFired")
        assert shown() == expected(cnn, evil)
        assert browser.evaluate("window.hacked") is None
        assert browser.complaints == []
        assert {url.partition("#")[0] for url in browser.requests} == {(tmp_path / "m.html").as_uri()}

# SPDX-License-Identifier: BSD-3-Clause
"""The web page: complete, safe with any name, and used in a real browser without a complaint or a request."""

from __future__ import annotations

import csv
import json
import re

import matplotlib
import numpy as np
import pytest
from browser import Page, find_chromium

from fastcka import CKAMatrix
from fastcka.results.heatmap import BELOW
from fastcka.results.page import page

EVIL = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'

needs_chromium = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium found; on Debian: apt-get install chromium"
)


def matrix(n_rows=6, n_columns=6, **settings):
    """Values that tell their place: 0.1 i + 0.01 j; one row and column undefined, one value negative."""
    values = 0.1 * np.arange(n_rows)[:, None] + 0.01 * np.arange(n_columns)
    values[2] = np.nan
    values[:, 3] = np.nan
    values[1, 0] = -0.25
    settings = {
        "rows": ("stem", EVIL, *(f"encoder.layers.{i}.attention.output.dense" for i in range(2, n_rows))),
        "columns": tuple(f"block{j}" for j in range(n_columns)),
        "kernel": "RBF(bandwidth=0.5)",
        "estimator": "unbiased",
        "n_samples": 1234,
        "models": ("ResNet & <co>", "ViT"),
        "warnings": (f"layer {EVIL!r}: constant",),
        **settings,
    }
    return CKAMatrix(values, **settings)


def data(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])


# The text of the page ---------------------------------------------------------------------------------------


def test_page_holds_values_settings_and_warnings(tmp_path):
    m = matrix()
    m.to_html(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html == page(m)
    found = data(html)
    assert (tuple(found["rows"]), tuple(found["columns"])) == (m.rows, m.columns)
    np.testing.assert_array_equal(np.array(found["fields"][0]["values"], dtype=float), m.values)
    assert "<h1>ResNet &amp; &lt;co&gt; × ViT</h1>" in html
    assert "unbiased CKA, RBF(bandwidth=0.5), 1234 samples" in html
    assert "<dt>estimator</dt><dd>unbiased</dd><dt>method</dt><dd>exact</dd>" in html
    assert '<ul class="warnings"><li>layer ' in html
    assert '<ul class="warnings">' not in page(matrix(warnings=()))


def test_best_matches_are_readable_without_scripts():
    html = page(matrix())
    assert "<th>stem</th><td>block5</td><td>0.0500</td></tr>" in html
    assert "<td>none</td><td>undefined</td></tr>" in html
    oblong = page(matrix(6, 5))
    assert "<th>stem</th><td>block4</td><td>0.0400</td></tr>" in oblong
    assert "identified" not in oblong


def test_page_names_no_other_address():
    html = page(matrix())
    assert set(re.findall(r"\w+://[^\"' ]+", html)) == {"http://www.w3.org/2000/svg"}
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html)[1]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_names_never_become_markup():
    html = page(matrix())
    assert html.count("<script") == 2
    assert html.count("</script>") == 2
    assert "<img" not in html


def test_colours_are_those_of_the_figures():
    script = page(matrix())
    stops = re.findall(r"#[0-9a-f]{6}", script[script.index("MAGMA = [") :].partition("]")[0])
    magma = matplotlib.colormaps["magma"]
    assert stops == [matplotlib.colors.to_hex(magma(round(k * 255 / 16))) for k in range(17)]
    assert f'BELOW = "{BELOW}"' in script


# The page in use --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    matrix().to_html(folder / "page.html")
    with Page(folder / "page.html", folder / "profile") as opened:
        opened.folder = folder
        yield opened
        # Whatever the tests did, nothing complained, no name was run, and nothing but the page was asked for.
        assert opened.complaints == []
        assert opened.evaluate("window.hacked") is None
        assert [url for url in opened.requests if not url.startswith("blob:")] == [
            (folder / "page.html").as_uri()
        ]


def cell(browser, i, j, n=6):
    left, top, width, height = browser.box("#heatmap image")
    return left + (j + 0.5) / n * width, top + (n - i - 0.5) / n * height


def details(browser):
    """What the box beside the pointer says; None while it is hidden."""
    return browser.evaluate(
        "(box => box.hidden ? null : [...box.querySelectorAll('dd')].map(e => e.textContent))"
        "(document.getElementById('details'))"
    )


@needs_chromium
def test_hovering_shows_both_layers_and_the_value(browser):
    m = matrix()
    for i, j, value in ((0, 0, "0.0000"), (5, 1, "0.5100"), (1, 0, "-0.2500"), (2, 4, "undefined")):
        browser.move(*cell(browser, i, j))
        assert details(browser) == [m.rows[i], m.columns[j], value]
    browser.move(2, 2)
    assert details(browser) is None


@needs_chromium
def test_cells_have_their_colours(browser):
    drawn = browser.evaluate(
        "(image => { const c = document.createElement('canvas').getContext('2d'); c.drawImage(image, 0, 0);"
        " return [...c.getImageData(0, 0, 6, 6).data]; })"
        "(Object.assign(new Image(), {src: document.querySelector('#heatmap image').getAttribute('href')}))"
    )
    drawn = np.array(drawn).reshape(6, 6, 4)[::-1]  # the first layer lies at the bottom
    magma = matplotlib.colormaps["magma"]
    for (i, j), value in np.ndenumerate(matrix().values):
        if np.isnan(value):
            assert drawn[i, j, 3] == 0
        else:
            expected = matplotlib.colors.to_rgb(BELOW) if value < 0 else magma(value)[:3]
            np.testing.assert_allclose(drawn[i, j] / 255, [*expected, 1], atol=0.02)


@needs_chromium
def test_a_click_and_the_keys_choose_the_reference(browser):
    def dashed():
        return browser.evaluate("document.querySelector('#curve .dashed').getAttribute('d')")

    assert dashed() == ""
    browser.click(*cell(browser, 0, 1))
    assert browser.evaluate("document.getElementById('reference').selectedOptions[0].text") == "block1"
    assert dashed().count("M") == 2  # before and after the undefined layer
    assert dashed().count("L") == 3
    first = dashed()
    for key in ("ArrowUp", "ArrowRight"):
        browser.press(key)
    assert details(browser) == [EVIL, "block2", "0.1200"]
    browser.press("Enter")
    assert browser.evaluate("document.getElementById('reference').value") == "2"
    assert dashed() != first
    for _ in range(9):
        browser.press("ArrowDown")  # stops at the edge
    assert details(browser) == ["stem", "block2", "0.0200"]
    browser.move(2, 2)


@needs_chromium
def test_hovering_the_curve_shows_its_values(browser):
    browser.evaluate("choose('')")
    left, top, width, height = browser.box("#curve .curve")
    browser.move(left + width, top + height / 2)  # the last layer
    assert details(browser) == [matrix().rows[5], "block5", "0.5500"]
    browser.evaluate("choose(1)")
    browser.move(left + width, top + height / 2 + 1)
    assert details(browser) == [matrix().rows[5], "block5", "0.5500", "block1", "0.5100"]


@needs_chromium
def test_the_table_sorts(browser):
    def values():
        return browser.evaluate(
            "[...document.querySelectorAll('#matches tbody tr')].map(r => r.cells[2].textContent)"
        )

    browser.click_on("#matches th:nth-child(3) button")
    assert values() == ["0.5500", "0.4500", "0.3500", "0.1500", "0.0500", "undefined"]
    browser.click_on("#matches th:nth-child(3) button")
    assert values() == ["undefined", "0.0500", "0.1500", "0.3500", "0.4500", "0.5500"]


@needs_chromium
def test_the_download_holds_every_bit(browser):
    folder = browser.folder / "downloads"
    browser.call(
        "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True
    )
    browser.click_on("#csv")
    browser.wait_for("Browser.downloadProgress", state="completed")
    with open(folder / "cka.csv", newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    assert head == ["row", "column", "CKA"]
    m = matrix()
    assert [(row, column) for row, column, _ in lines] == [(r, c) for r in m.rows for c in m.columns]
    np.testing.assert_array_equal(np.array([float(v) for *_, v in lines]).reshape(6, 6), m.values)


@needs_chromium
def test_light_and_dark(browser):
    def colours():
        return browser.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")

    def prefer(scheme):
        browser.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    prefer("light")
    light = colours()
    prefer("dark")
    dark = colours()
    prefer("light")
    brightness = [[sum(map(int, re.findall(r"\d+", colour))) for colour in pair] for pair in (light, dark)]
    assert brightness[0][0] > 700 > 150 > brightness[0][1]
    assert brightness[1][0] < 150 < 650 < brightness[1][1]


@needs_chromium
@pytest.mark.parametrize("shape", [(4, 4), (3, 30), (24, 17), (150, 150)])
def test_pages_of_every_size_work(tmp_path, shape):
    m = matrix(*shape, models=("ResNet-50, 90 epochs of ImageNet", "ViT-S/16, 300 epochs of ImageNet"))
    m.to_html(tmp_path / "page.html")
    with Page(tmp_path / "page.html", tmp_path / "profile") as opened:
        left, top, width, _ = opened.box("#heatmap image")
        opened.move(left + width - 1, top + 1)
        assert details(opened)[:2] == [m.rows[-1], m.columns[-1]]
        # Every label lies within its picture.
        outside = """[...document.querySelectorAll('svg text')].filter(text => {
            const [a, b] = [text, text.closest('svg')].map(e => e.getBoundingClientRect());
            return a.left < b.left - 1 || a.right > b.right + 1
                || a.top < b.top - 1 || a.bottom > b.bottom + 1;
        }).map(text => text.textContent)"""
        assert opened.evaluate(outside) == []
        assert opened.complaints == []

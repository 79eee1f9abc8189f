# SPDX-License-Identifier: BSD-3-Clause
"""The web page: complete, safe with any name, and used in a real browser without a complaint or a request."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from browser import Page, find_chromium

from fastcka import CKAMatrix, DegenerateWarning, cka_matrix
from fastcka.results.heatmap import BELOW
from fastcka.results.page import page

EVIL = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'

CTRL = 2  # modifier of a key

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


def test_layers_are_identified_by_their_names_only():
    m = matrix()
    assert data(page(m))["namesakes"] is None  # as many on both sides, but other names
    assert "identified" not in page(m)
    same = matrix(columns=m.rows[::-1])
    assert data(page(same))["namesakes"] == [5, 4, 3, 2, 1, 0]
    assert "<th>stem</th><td>encoder.layers.5.attention.output.dense</td>" not in page(same)
    assert "<th>stem</th><td>stem</td><td>0.0500</td><td>0.0500</td></tr>" in page(same)
    assert re.search(r"<dt>identified</dt><dd>17% ", page(same))


def test_warnings_name_the_networks():
    with pytest.warns(DegenerateWarning):
        found = cka_matrix({"x": np.eye(9), "c": np.ones((9, 2))}, {"c": np.ones((9, 3)), "y": np.eye(9)})
    assert [re.search(r"of (\w+)", text)[1] for text in found.warnings] == ["layers_a", "layers_b"]
    named = found.with_models("BERT", "a <b>")

    def networks(m):
        listed = re.search(r'<ul class="warnings">.*?</ul>', page(m))[0]
        return re.findall(r"of (BERT|a &lt;b&gt;|\w+_[ab])", listed)

    assert networks(named) == ["BERT", "a &lt;b&gt;"]
    # A transposed matrix has its first argument in the columns.
    one = matrix(rows=[f"row{i}" for i in range(6)], warnings=("layer 'row2' of batch_a: constant",))
    assert networks(one.with_models("BERT", "a <b>")) == ["BERT"]
    assert networks(one.with_models("BERT", "a <b>").T) == ["BERT"]


def test_provenance_is_shown_where_it_is_known():
    assert "Provenance" not in page(matrix())
    html = page(matrix(provenance={"dtype": "float32", "widths": {"<i>": [3, 4]}}))
    assert "<dt>dtype</dt><dd>float32</dd><dt>widths</dt><dd>{&quot;&lt;i&gt;&quot;: [3, 4]}</dd>" in html


def test_chance_stands_beside_the_values():
    chance = np.arange(36.0).reshape(6, 6) / 100
    html = page(matrix(chance=chance))
    assert [field["name"] for field in data(html)["fields"]] == ["CKA", "chance"]
    np.testing.assert_array_equal(data(html)["fields"][1]["values"], chance)
    assert "<th>stem</th><td>block5</td><td>0.0500</td><td>0.0500</td></tr>" in html
    assert "<td>none</td><td>undefined</td><td>undefined</td></tr>" in html


def test_no_level_is_shown_where_it_is_zero():
    html = page(matrix(chance=np.zeros((6, 6))))
    assert "<th>chance</th>" not in html
    assert data(html)["chance"] is None
    assert [field["name"] for field in data(html)["fields"]] == ["CKA", "chance"]  # for the CSV


def test_pairs_that_are_not_above_chance_are_marked():
    pvalues = np.full((6, 6), 1e-9)
    pvalues[4, 5] = 0.4
    html = page(matrix(unbiased=np.full((6, 6), 0.5), stderr=np.full((6, 6), 0.1), pvalues=pvalues))
    assert np.argwhere(data(html)["notAbove"]).tolist() == [[4, 5]]
    assert data(page(matrix()))["notAbove"] is None


def test_many_warnings_are_folded_up():
    few, many = (tuple(f"layer {k!r} is constant" for k in range(n)) for n in (5, 6))
    assert "<summary>" not in re.search(r'<ul class="warnings">.*?</ul>', page(matrix(warnings=few)))[0]
    assert '<details class="warnings"><summary>6 warnings</summary><ul><li>' in page(matrix(warnings=many))


def test_names_in_tables_break_at_their_dots():
    html = page(matrix(rows=[f"layer.{i}.attention.0.1" for i in range(6)]))
    assert "<th>layer.3.<wbr>attention.0.1</th>" in html
    assert re.search(r"<td>0\.\d{4}</td>", html)


def test_names_may_hold_what_utf8_cannot(tmp_path):
    matrix(models=("half \udc80", "B")).to_html(tmp_path / "page.html")
    assert "half \\udc80 × B" in (tmp_path / "page.html").read_text(encoding="utf-8")


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
        return browser.evaluate("document.querySelector('#curve .curve.chosen')?.getAttribute('d')")

    assert dashed() is None
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
def test_keys_show_the_first_cell_before_they_move(browser):
    m = matrix()
    browser.evaluate("document.activeElement.blur(), [heatmap.i, heatmap.j] = [0, 0]")
    browser.move(2, 2)
    browser.press("Tab")  # what comes next was brought about by keys
    browser.evaluate("heatmap.at.focus()")
    assert details(browser) == [m.rows[0], m.columns[0], "0.0000"]
    browser.press("ArrowUp")
    assert details(browser)[:2] == [m.rows[1], m.columns[0]]
    browser.press("Escape")
    assert details(browser) is None
    browser.press("ArrowUp")  # shows where it is
    assert details(browser)[:2] == [m.rows[1], m.columns[0]]
    for key, modifiers, i, j in (
        ("End", 0, 1, 5), ("Home", 0, 1, 0), ("PageUp", 0, 5, 0), ("PageDown", 0, 0, 0),
        ("Home", CTRL, 5, 0), ("End", CTRL, 0, 5),
    ):  # fmt: skip
        browser.press(key, modifiers)
        assert details(browser)[:2] == [m.rows[i], m.columns[j]], key
    spoken = browser.evaluate("document.querySelector('[role=status]').textContent")
    assert spoken == "ResNet & <co> stem, ViT block5, CKA 0.0500"
    browser.evaluate("document.activeElement.blur()")
    assert details(browser) is None


@needs_chromium
def test_all_values_are_a_table_for_those_who_cannot_see_the_map(browser):
    assert browser.evaluate("document.querySelectorAll('#table td').length") == 0
    browser.click_on("#all summary")
    browser.wait_until("document.querySelectorAll('#table tbody tr').length === 6")
    lines = browser.evaluate(
        "[...document.querySelectorAll('#table tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    m = matrix()
    assert lines[0] == ["", *m.columns]
    assert [line[0] for line in lines[1:]] == list(m.rows)
    assert lines[2][1:] == ["-0.2500", "0.1100", "0.1200", "undefined", "0.1400", "0.1500"]
    scopes = browser.evaluate("[...document.querySelectorAll('#table th')].map(th => th.scope)")
    assert scopes == ["col"] * 6 + ["row"] * 6
    browser.click_on("#all summary")


@needs_chromium
def test_curves_differ_in_colour_marker_and_stroke(browser):
    looks = """['own', 'chosen'].map(style => {
        const [line, marker] = ['curve', 'marker'].map(
            kind => document.querySelector(`#curve .${kind}.${style}`));
        return [getComputedStyle(line).stroke, getComputedStyle(line).strokeDasharray,
                marker.getAttribute('d').replace(/^M[^a-z]*/, '')];
    })"""
    browser.evaluate("choose(1)")
    own, chosen = browser.evaluate(looks)
    assert all(a != b for a, b in zip(own, chosen, strict=True))
    legend = "[...document.querySelectorAll('#legend li')].map(e => e.textContent)"
    first, second = browser.evaluate(legend)
    assert "best match in ViT" in first
    assert "block1 of ViT" in second
    browser.evaluate("choose('')")
    assert browser.evaluate(legend) == [first]


@needs_chromium
def test_the_table_sorts(browser):
    def column(k):
        return browser.evaluate(
            f"[...document.querySelectorAll('#matches tbody tr')].map(r => r.cells[{k}].textContent)"
        )

    browser.click_on("#matches th:nth-child(3) button")
    assert column(2) == ["0.5500", "0.4500", "0.3500", "0.1500", "0.0500", "undefined"]
    browser.click_on("#matches th:nth-child(3) button")
    assert column(2) == ["undefined", "0.0500", "0.1500", "0.3500", "0.4500", "0.5500"]
    browser.click_on("#matches th:nth-child(1) button")
    encoders = [f"encoder.layers.{i}.attention.output.dense" for i in range(2, 6)]
    assert column(0) == [EVIL, *encoders, "stem"]
    browser.click_on("#matches th:nth-child(1) button")
    assert column(0) == ["stem", *encoders[::-1], EVIL]


@needs_chromium
def test_best_matches_are_marked(browser):
    def marked():
        """Return the cells with a mark, as (row, column)."""
        places = browser.evaluate(
            "[...document.querySelectorAll('#heatmap .best')]"
            ".map(e => ['y', 'x'].map(k => +e.getAttribute(k)))"
        )
        left, bottom, size = browser.evaluate("[heatmap.left, heatmap.bottom, heatmap.cell]")
        return {((bottom - y) // size, (x - left) // size) for y, x in places}

    assert marked() == {(i, 5) for i in (0, 1, 3, 4, 5)}
    browser.click_on("#mark")
    assert marked() == set()
    browser.click_on("#mark")


@needs_chromium
def test_search_marks_layers_and_goes_to_them(browser):
    def shown():
        return browser.evaluate("document.querySelectorAll('#matches tbody tr:not([hidden])').length")

    browser.evaluate("document.getElementById('search').focus()")
    browser.type("LAYERS.4")
    assert browser.evaluate("document.getElementById('found').textContent") == "1 row, 0 columns"
    assert browser.evaluate("document.querySelectorAll('#heatmap rect.found').length") == 1
    assert shown() == 1
    browser.press("Enter")
    assert details(browser) == [matrix().rows[4], "block5", "0.4500"]
    browser.evaluate("document.getElementById('search').value = 'block'; search()")
    assert browser.evaluate("document.getElementById('found').textContent") == "0 rows, 6 columns"
    browser.press("Enter")
    browser.press("Enter")
    assert details(browser) == [matrix().rows[5], "block1", "0.5100"]  # the highest of the second column
    browser.evaluate("document.getElementById('search').value = ''; search()")
    assert browser.evaluate("document.querySelectorAll('#heatmap .found').length") == 0
    assert shown() == 6


@needs_chromium
def test_the_colour_scale_has_a_range(browser):
    def scale():
        return browser.evaluate(
            "[heatmap.low, heatmap.high,"
            " [...document.querySelectorAll('#heatmap text')].map(e => e.textContent)]"
        )

    browser.click_on("#fit")
    low, high, texts = scale()
    assert (low, high) == (-0.25, 0.55)
    assert {"−0.2", "0.0", "0.4"} < set(texts)
    assert not any("below" in text for text in texts)
    browser.evaluate("showRange(0.1, 0.3)")
    assert {"below 0.1", "above 0.3", "0.10", "0.30"} < set(scale()[2])
    assert browser.evaluate("[color(0.1), color(0.3), color(0.09)]") == browser.evaluate(
        "[rgb(MAGMA[0]), rgb(MAGMA[16]), rgb(BELOW)]"
    )
    browser.evaluate("showRange(-0.25, 0.5)")  # blues below zero, as in the figures
    values = [-0.3, -0.25, -0.125, -1e-3, 0.0, 0.25, 0.5]
    shown = matrix().plot(vmin=-0.25, vmax=0.5).collections[0]
    expected = shown.cmap(shown.norm(values))[:, :3]
    drawn = np.array(browser.evaluate(f"{values}.map(color)")) / 255
    np.testing.assert_allclose(drawn, expected, atol=0.02)
    browser.evaluate("showRange(0.1, 0.3)")
    browser.evaluate("showRange(0.5, 0.3)")  # not a scale: the last one stays
    assert scale()[:2] == [0.1, 0.3]
    assert browser.evaluate("document.getElementById('low').checkValidity()") is False
    browser.click_on("#whole")
    assert scale()[:2] == [0, 1]
    assert browser.evaluate("document.getElementById('low').checkValidity()") is True


@pytest.fixture(scope="module")
def downloads(browser):
    folder = browser.folder / "downloads"
    browser.call(
        "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True
    )
    return folder


@needs_chromium
def test_the_csv_holds_every_bit_and_the_settings(browser, downloads):
    browser.click_on("#csv")
    browser.wait_for("Browser.downloadProgress", state="completed")
    matrix().to_csv(downloads / "expected.csv")
    assert (downloads / "ResNet-co-ViT.csv").read_bytes() == (downloads / "expected.csv").read_bytes()


@needs_chromium
def test_numbers_are_written_as_python_writes_them(browser):
    numbers = [0.0, 1.0, -0.25, 1 / 3, 1e-4, 1e-5, -1.5e-7, 2.5e-17, 1.0000000000000002]
    assert browser.evaluate(f"{json.dumps(numbers)}.map(exact)") == [repr(number) for number in numbers]


@needs_chromium
def test_the_map_is_saved_as_a_drawing(browser, downloads, tmp_path):
    browser.click_on("#svg")
    browser.wait_for("Browser.downloadProgress", state="completed")
    drawing = ElementTree.parse(downloads / "ResNet-co-ViT.svg").getroot()
    names = {"svg": "http://www.w3.org/2000/svg"}
    assert drawing.findall(".//svg:image", names) == []
    cells = drawing.findall(".//svg:g[@shape-rendering]/svg:rect", names)
    assert len(cells) == np.isfinite(matrix().values).sum()
    assert EVIL not in "".join(drawing.itertext())  # shortened, as in the map
    assert {"ViT", "stem", "block5"} < {text.text for text in drawing.findall(".//svg:text", names)}
    assert not [e for e in drawing.iter() if e.get("class") == "cursor"]
    # A picture of its own that the browser can show.
    with Page(downloads / "ResNet-co-ViT.svg", tmp_path / "profile") as opened:
        assert opened.evaluate("getComputedStyle(document.querySelector('text')).fontSize") == "12px"
        assert opened.complaints == []


@needs_chromium
def test_light_and_dark(browser):
    def colours():
        return browser.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")

    browser.prefer("light")
    light = colours()
    browser.prefer("dark")
    dark = colours()
    browser.prefer("light")
    brightness = [[sum(map(int, re.findall(r"\d+", colour))) for colour in pair] for pair in (light, dark)]
    assert brightness[0][0] > 700 > 150 > brightness[0][1]
    assert brightness[1][0] < 150 < 650 < brightness[1][1]


@needs_chromium
def test_chance_is_shown_and_downloaded(tmp_path):
    chance = [[1e-5, np.nan]]
    m = CKAMatrix([[0.5, np.nan]], ("a",), ("b", "c,d"), "linear", "biased", 9, chance=chance)
    m.to_html(tmp_path / "page.html")
    m.to_csv(tmp_path / "values.csv")
    with Page(tmp_path / "page.html", tmp_path / "profile") as opened:
        opened.evaluate("heatmap.visit(0, 0)")
        assert details(opened) == ["a", "b", "0.5000", "1.00e-5"]
        text = opened.evaluate("wideCsv()")
    assert "# chance: [[1e-05, null]]" in text
    assert text == (tmp_path / "values.csv").read_text(encoding="utf-8")


@needs_chromium
def test_the_curve_has_the_level_of_chance(tmp_path):
    chance = np.arange(36.0).reshape(6, 6) / 100
    matrix(chance=chance).to_html(tmp_path / "page.html")
    with Page(tmp_path / "page.html", tmp_path / "profile") as opened:
        names = "[...document.querySelectorAll('#legend span')].map(e => e.textContent)"
        assert opened.evaluate(names)[1:] == ["chance level of the first"]
        drawn = opened.evaluate("curve.lines()[1].values")
        partners = opened.evaluate("partner")
        assert drawn == [None if j < 0 else chance[i, j] for i, j in enumerate(partners)]
        assert opened.evaluate("document.querySelectorAll('#curve path.curve').length") == 2


# What of the text of the pictures lies outside of them.
OUTSIDE = """[...document.querySelectorAll('svg text')].filter(text => {
    const [a, b] = [text, text.closest('svg')].map(e => e.getBoundingClientRect());
    return a.left < b.left - 1 || a.right > b.right + 1
        || a.top < b.top - 1 || a.bottom > b.bottom + 1;
}).map(text => text.textContent)"""
MODELS = ("ResNet-50, 90 epochs of ImageNet", "ViT-S/16, 300 epochs of ImageNet")
DESKTOP, PHONE = (1280, 900), (400, 800)


@needs_chromium
@pytest.mark.parametrize("shape", [(4, 4), (3, 30), (24, 17), (150, 150)])
def test_pages_of_every_size_work(tmp_path, shape):
    m = matrix(*shape, models=MODELS)
    m.to_html(tmp_path / "page.html")
    with Page(tmp_path / "page.html", tmp_path / "profile") as opened:
        for size in (DESKTOP, PHONE):
            opened.resize(*size)
            assert opened.evaluate(OUTSIDE) == []
            assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
            opened.evaluate("heatmap.visit(rows.length - 1, columns.length - 1)")
            assert details(opened)[:2] == [m.rows[-1], m.columns[-1]]
            x, y, width, height = opened.evaluate(
                "(b => [b.left, b.top, b.width, b.height])(heatmap.cursor.getBoundingClientRect())"
            )
            opened.move(x + width / 2, y + height / 2)  # it was scrolled into view
            assert details(opened)[:2] == [m.rows[-1], m.columns[-1]]
        assert opened.complaints == []


@needs_chromium
@pytest.mark.parametrize(("n", "smallest"), [(5, 34), (40, 14), (150, 4)])
def test_cells_stay_legible_on_a_phone(tmp_path, n, smallest):
    names = [f"bert.encoder.layer.{i}.attention.self.query" for i in range(n)]
    matrix(n, n, rows=names, columns=names, models=MODELS).to_html(tmp_path / "page.html")
    with Page(tmp_path / "page.html", tmp_path / "profile") as opened:
        opened.resize(*PHONE)
        assert opened.box("#heatmap image")[2] / n >= smallest
        assert opened.evaluate("document.documentElement.scrollWidth") == 400
        # Titles end within the window, and so does the table of best matches.
        ends = opened.evaluate(
            "[...document.querySelectorAll('svg .title, #matches td')]"
            ".map(e => e.getBoundingClientRect().right)"
        )
        assert max(ends) <= 400
        # A finger shows a cell as the pointer of a mouse does.
        left, top, width, height = opened.box("#heatmap image")
        opened.tap(left + width / n / 2, top + height - height / n / 2)
        opened.wait_until("!document.getElementById('details').hidden")
        assert details(opened) == [names[0], names[0], "0.0000"]
        opened.tap(left + width / 2, top - 30)
        opened.wait_until("document.getElementById('details').hidden")


@needs_chromium
def test_a_huge_map_can_be_used(tmp_path):
    values = np.linspace(0.25, 0.5, 400 * 400).reshape(400, 400)
    names = tuple(map(str, range(400)))
    CKAMatrix(values, names, names, "linear", "biased", 9).to_html(tmp_path / "page.html")
    with Page(tmp_path / "page.html", tmp_path / "profile") as opened:
        opened.click_on("#fit")
        assert opened.evaluate("[heatmap.low, heatmap.high]") == [0.25, 0.5]
        opened.evaluate("magnify(100)")
        assert opened.evaluate("document.querySelectorAll('#heatmap text').length") < 900  # no values
        assert opened.complaints == []


@needs_chromium
def test_a_large_map_is_magnified_and_scrolls(tmp_path):
    m = matrix(180, 160)
    m.to_html(tmp_path / "page.html")
    with Page(tmp_path / "page.html", tmp_path / "profile") as opened:
        opened.resize(*DESKTOP)
        before = opened.evaluate("[heatmap.cell, document.querySelectorAll('#heatmap .names text').length]")
        for _ in range(9):
            opened.click_on("#larger")
        after = opened.evaluate("[heatmap.cell, document.querySelectorAll('#heatmap .names text').length]")
        assert before[0] < 8
        assert after[0] >= 24
        assert after[1] >= m.values.shape[0] + m.values.shape[1]  # every layer is named
        assert opened.evaluate("document.getElementById('larger').disabled")
        assert opened.evaluate("[heatmap.at.scrollWidth > 4000, heatmap.at.clientHeight < 900]") == [
            True,
            True,
        ]
        # A search keeps the names of the others; a key that zooms keeps the cell.
        opened.evaluate("document.getElementById('search').value = 'block7'; search()")
        assert opened.evaluate("document.querySelectorAll('#heatmap .names text').length") == after[1]
        opened.evaluate("heatmap.at.focus(), heatmap.visit(9, 150)")
        opened.press("-")
        assert details(opened)[:2] == [m.rows[9], m.columns[150]]
        opened.press("+")
        # Names stay in sight while the map moves under them.
        opened.evaluate("heatmap.at.scrollTo(2000, 2000)")
        opened.wait_until(
            "(([rows, columns], map) =>"
            " Math.abs(rows.left - map.left) + Math.abs(map.bottom - columns.bottom) < 20)"
            "([...document.querySelectorAll('.names')].map(e => e.getBoundingClientRect()),"
            " heatmap.at.getBoundingClientRect())"
        )
        opened.evaluate("heatmap.visit(90, 100)")
        assert details(opened)[:2] == [m.rows[90], m.columns[100]]
        for _ in range(9):
            opened.click_on("#smaller")
        assert opened.evaluate("[heatmap.cell, heatmap.zoom]") == [before[0], 1]
        assert opened.complaints == []

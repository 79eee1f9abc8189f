# SPDX-License-Identifier: BSD-3-Clause
"""The pictures: right values in the right places, legible at every size, and no trace left in matplotlib."""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from fastcka import CKAMatrix
from fastcka.results.heatmap import BELOW, NEGATIVE

BERT = ("attention.self.query", "attention.self.key", "attention.output.dense", "output.dense")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def long_names(n):
    return tuple(f"encoder.layers.{i // 4}.{BERT[i % 4]}" for i in range(n))


def matrix(values, rows=None, columns=None, **settings):
    values = np.array(values, dtype=float)
    rows = rows or tuple(f"layer{i}" for i in range(values.shape[0]))
    columns = columns or tuple(f"layer{i}" for i in range(values.shape[1]))
    settings = {"kernel": "linear", "estimator": "biased", "n_samples": 100, **settings}
    return CKAMatrix(values, rows, columns, models=("ResNet", "ViT"), **settings)


def ramp(n_rows, n_columns=None):
    """Values from 0 to 1, every one different."""
    n_columns = n_columns or n_rows
    return np.linspace(0, 1, n_rows * n_columns).reshape(n_rows, n_columns)


def new_axes(**options):
    return FigureCanvasAgg(Figure(**options)).figure.subplots()


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def color_at(ax, x, y):
    """The colour on the canvas at a point given in the coordinates of the data."""
    image = pixels(ax.figure)
    column, row = ax.transData.transform((x, y))
    return image[image.shape[0] - 1 - int(row), int(column)]


def tick_labels(axis):
    """The labels that are drawn, with the room that each takes on the canvas."""
    axis.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high and t.label1.get_text()]
    return [(t.label1.get_text(), t.label1.get_window_extent()) for t in ticks]


def texts(ax):
    """The values that are drawn into the cells."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda self, renderer: drawn.append(self))
        ax.figure.canvas.draw()
    return [text for text in ax.texts if text in drawn]


def strip(ax):
    """The colour bar's Axes."""
    (found,) = ax.child_axes
    return found


def magma(value):
    return matplotlib.colormaps["magma"](value)[:3]


def relative_luminance(rgb):
    c = np.asarray(rgb[:3])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


# Values and places ------------------------------------------------------------------------------------------


def test_heatmap_starts_in_the_lower_left_corner_and_is_magma():
    values = ramp(3, 4)
    ax = matrix(values).plot(annotate=False)
    for (i, j), value in np.ndenumerate(values):
        np.testing.assert_allclose(color_at(ax, j, i), magma(value), atol=0.01)
    (x0, y0), (x1, y1) = ax.transData.transform([(0, 0), (1, 1)])
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert x1 > x0


def test_the_colour_scale_is_fixed_unless_told():
    low = matrix(0.2 * ramp(3))
    assert color_at(low.plot(annotate=False), 2, 2) == pytest.approx(magma(0.2), abs=0.01)
    told = low.plot(vmin=0.1, vmax=0.2, cmap="viridis", annotate=False)
    assert color_at(told, 2, 2) == pytest.approx(matplotlib.colormaps["viridis"](1.0)[:3], abs=0.01)
    assert strip(told).get_ylim() == (0.1, 0.2)
    with pytest.raises(ValueError, match=r"vmin < vmax, got 1\.0 and 0\.5"):
        low.plot(vmin=1.0, vmax=0.5)


def test_both_axes_and_the_colour_bar_are_titled():
    ax = matrix(ramp(3), estimator="unbiased", kernel="RBF(bandwidth=0.5)").plot()
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("ResNet", "ViT")
    assert strip(ax).get_ylabel().replace("\n", " ") == "unbiased CKA, RBF(bandwidth=0.5)"


def test_the_scale_starts_at_the_lowest_value_when_asked():
    assert strip(matrix(0.63 + 0.3 * ramp(3)).plot(vmin="auto")).get_ylim() == pytest.approx((0.6, 1))
    assert strip(matrix(0.6 + 0.4 * ramp(3)).plot(vmin="auto")).get_ylim() == pytest.approx((0.6, 1))
    assert strip(matrix([[1.0, 1.0]]).plot(vmin="auto")).get_ylim() == pytest.approx((0.95, 1))
    assert strip(matrix([[np.nan]]).plot(vmin="auto")).get_ylim() == pytest.approx((0.95, 1))
    for wrong, words in (
        ({"vmin": "lowest"}, "vmin: expected a number or 'auto', got 'lowest'"),
        ({"vmin": None}, "vmin: expected a number or 'auto', got None"),
        ({"vmax": "auto"}, "vmax: expected a number, got 'auto'"),
        ({"cmap": "magna"}, "'magna' is not a"),
    ):
        with pytest.raises(ValueError, match=words):
            matrix(ramp(3)).plot(**wrong)


def test_a_scale_that_starts_below_zero_has_blues_there():
    ax = matrix([[-0.28, -0.02], [0.02, 0.9]]).plot(vmin="auto", annotate=False)
    assert strip(ax).get_ylim() == pytest.approx((-0.3, 1))
    assert ax.collections[0].colorbar.extend == "neither"
    for x in (0, 1):
        red, green, blue = color_at(ax, x, 0)
        assert red < green < blue
    assert color_at(ax, 0, 0)[0] > color_at(ax, 1, 0)[0] + 0.2  # lighter, the lower
    assert color_at(ax, 0, 1) == pytest.approx(magma(0.02), abs=0.02)
    assert color_at(ax, 1, 1) == pytest.approx(magma(0.9), abs=0.02)
    plain = matrix([[-1.0, 1.0]]).plot(vmin=-1, cmap="coolwarm", annotate=False)
    assert color_at(plain, 0, 0) == pytest.approx(matplotlib.colormaps["coolwarm"](0.0)[:3], abs=0.01)


DEFICIENCIES = {  # Machado et al. (2009), severity 1: what an eye without one kind of cones sees
    "none": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def lab(colors, deficiency):
    """CIELAB of sRGB colours, as seen with a deficiency."""
    colors = np.asarray(colors)[..., :3]
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(DEFICIENCIES[deficiency]), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = seen @ np.transpose(to_xyz) / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_negative_values_are_told_apart_by_every_eye(deficiency):
    positive = lab(matplotlib.colormaps["magma"](np.linspace(0, 1, 256)), deficiency)
    for color in (BELOW, *NEGATIVE):
        assert np.linalg.norm(positive - lab(to_rgb(color), deficiency), axis=1).min() > 30


def test_best_matches_are_framed():
    values = np.array([[0.9, 0.2, 0.1], [0.3, np.nan, 0.8], [np.nan, np.nan, np.nan]])
    ax = matrix(values).plot(highlight="best")
    frames = [p for p in ax.patches if p.get_edgecolor()[:3] == (1, 1, 1)]
    assert [(round(p.get_x() + 0.46), round(p.get_y() + 0.46)) for p in frames] == [(0, 0), (2, 1)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["undefined", "best of its row"]
    pixels(ax.figure)
    with pytest.raises(ValueError, match="highlight: expected None or 'best', got 'worst'"):
        matrix(values).plot(highlight="worst")


def test_what_is_written_tells_the_best_from_the_others():
    close = matrix([[0.9712, 0.9731], [0.5, 0.6]])
    assert {t.get_text() for t in texts(close.plot())} == {"0.97", "0.50", "0.60"}
    framed = {t.get_text() for t in texts(close.plot(highlight="best"))}
    assert framed == {"0.971", "0.973", "0.500", "0.600"}
    assert {len(t.get_text()) for t in texts(matrix([[0.5, 0.5]]).plot(highlight="best"))} == {6}  # a tie
    assert {t.get_text() for t in texts(close.plot(fmt=".0%"))} == {"97%", "50%", "60%"}
    assert {t.get_text() for t in texts(matrix([[-0.4, 0.4]]).plot(fmt="+.1f"))} == {"−0.4", "+0.4"}


def test_chance_stands_below_the_value():
    ax = matrix(ramp(3), chance=ramp(3) / 2).plot()
    assert {t.get_text() for t in texts(ax)} >= {"0.50\n(0.25)", "1.00\n(0.50)"}
    assert strip(ax).get_ylabel().replace("\n", " ") == "CKA, linear (in parentheses: chance)"
    (plain,) = matrix(ramp(3), chance=ramp(3) / 2).plot(annotate=False).child_axes
    assert plain.get_ylabel() == "CKA, linear"
    (x0, y0), (x1, y1) = ax.transData.transform([(0, 0), (1, 1)])
    for text in texts(ax):
        assert text.get_window_extent().width < x1 - x0
        assert text.get_window_extent().height < y1 - y0


def test_title_and_label_are_those_given():
    ax = matrix(ramp(3)).plot(title="Two seeds", label="unbiased CKA")
    assert (ax.get_title(), strip(ax).get_ylabel()) == ("Two seeds", "unbiased CKA")


@pytest.mark.parametrize("draw", [CKAMatrix.plot, CKAMatrix.plot_curve])
def test_a_file_name_is_told_how_to_save(draw):
    with pytest.raises(TypeError, match=r"ax: .* got 'x\.png'.* \.figure\.savefig\('x\.png'\)"):
        draw(matrix(ramp(3)), "x.png")
    with pytest.raises(TypeError, match=r"ax: expected matplotlib Axes, got 3$"):
        draw(matrix(ramp(3)), 3)


def test_names_are_never_read_as_mathematics_or_broken():
    names = ("$a_$", r"\\frac$", "\udcff", "line\nbreak")
    m = matrix(ramp(4), rows=names).with_models("$x_$", "\udcff")
    for ax in (
        m.plot(),
        m.T.plot(),
        m.plot_curve(label="a"),
        m.plot_curve(by="position", reference="layer0"),
    ):
        pixels(ax.figure)


def test_negative_values_have_a_colour_of_their_own():
    ax = matrix([[0.5, -0.2], [0.0, -1e-9]]).plot(annotate=False)
    assert color_at(ax, 1, 0) == pytest.approx(to_rgb(BELOW), abs=0.01)
    for x, y in ((0, 1), (1, 1)):  # zero, and a rounding error below it
        assert color_at(ax, x, y) == pytest.approx(magma(0.0), abs=0.01)

    def extends(values, **scale):
        return matrix(values).plot(**scale).collections[0].colorbar.extend

    assert extends([[0.5, -0.2]]) == "min"
    assert extends([[0.5, -1e-9, 1 + 1e-9]]) == "neither"
    assert extends([[0.5, 0.9]], vmax=0.8) == "max"
    assert extends([[0.5, 0.9]], vmin=0.6, vmax=0.8) == "both"


def test_undefined_cells_are_hatched_and_named():
    values = ramp(4)
    values[1] = np.nan
    ax = matrix(values).plot()
    ax.figure.canvas.draw()
    (x0, y0), (x1, y1) = ax.transData.transform([(-0.4, 0.6), (3.4, 1.4)])
    image = pixels(ax.figure)
    cells = image[image.shape[0] - int(y1) : image.shape[0] - int(y0), int(x0) : int(x1)].reshape(-1, 3)
    assert np.ptp(cells, axis=1).max() < 0.02  # shades of grey
    assert np.ptp(cells[:, 0]) > 0.1  # more than one of them
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["undefined"]
    assert matrix(ramp(4)).plot().get_legend() is None


def test_nothing_but_nan_can_be_drawn():
    m = matrix(np.full((3, 3), np.nan))
    pixels(m.plot().figure)
    pixels(m.plot_curve(reference="layer0").figure)
    pixels(matrix(np.full((3, 2), np.nan)).plot_curve().figure)


def test_few_values_are_written_in():
    written = {t.get_text(): t.get_position() for t in texts(matrix([[0.25, -0.5], [-0.001, np.nan]]).plot())}
    assert written == {"0.25": (0, 0), "−0.50": (1, 0), "0.00": (0, 1)}
    assert len(texts(matrix(ramp(12)).plot())) == 144
    assert len(texts(matrix(ramp(13)).plot())) == 0
    assert len(texts(matrix(ramp(13)).plot(annotate=True))) == 169
    assert len(texts(matrix(ramp(2)).plot(annotate=False))) == 0


def test_written_values_stand_out():
    for cmap in ("magma", "viridis", "gray"):
        ax = matrix(ramp(10)).plot(cmap=cmap)
        for text in texts(ax):
            j, i = text.get_position()
            cell = relative_luminance(matplotlib.colormaps[cmap](ramp(10)[i, j]))
            ink = relative_luminance(to_rgb(text.get_color()))
            assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) > 4.3, (text.get_text(), cmap)


@pytest.mark.parametrize(
    ("inches", "layout", "expected"),
    [(1.5, None, [0]), (4, None, [0, 100]), (4, "constrained", [0, 100]), (8, "constrained", [100])],
)
def test_written_values_fit_their_cells_or_are_left_out(inches, layout, expected):
    ax = matrix(-ramp(10), rows=long_names(10)).plot(new_axes(figsize=(inches, inches), layout=layout))
    written = texts(ax)
    (x0, y0), (x1, y1) = ax.transData.transform([(0, 0), (1, 1)])
    for text in written:
        extent = text.get_window_extent()
        assert extent.width < x1 - x0
        assert extent.height < y1 - y0
    assert len(written) in expected


# Names ------------------------------------------------------------------------------------------------------


def test_every_layer_is_named_when_there_is_room():
    m = matrix(ramp(5), rows=long_names(5))
    ax = m.plot()
    assert [name for name, _ in tick_labels(ax.xaxis)] == list(m.columns)
    assert [name for name, _ in tick_labels(ax.yaxis)] == [n.removeprefix("encoder.layers.") for n in m.rows]
    assert ax.get_ylabel() == "ResNet (encoder.layers.*)"


def test_names_without_a_common_prefix_lose_their_middle():
    ax = matrix(ramp(2), rows=("a" * 20 + "b" * 20, "c")).plot()
    assert [name for name, _ in tick_labels(ax.yaxis)] == ["a" * 14 + "…" + "b" * 15, "c"]


@pytest.mark.parametrize("n", [5, 24, 150])
@pytest.mark.parametrize("inches", [None, 3])
@pytest.mark.parametrize("names", [long_names, lambda n: tuple(map(str, range(n)))], ids=["long", "numbers"])
def test_names_never_overlap_and_are_right(n, inches, names):
    m = matrix(ramp(n, n + 1), rows=names(n), columns=names(n + 1))
    ax = m.plot(None if inches is None else new_axes(figsize=(inches, inches)))
    curve = m.plot_curve(None if inches is None else new_axes(figsize=(inches, inches)))
    for axis, layers in ((ax.xaxis, m.columns), (ax.yaxis, m.rows), (curve.xaxis, m.rows)):
        labels = tick_labels(axis)
        assert labels
        for (_, a), (_, b) in itertools.pairwise(labels):
            assert not a.overlaps(b)
        step = len(layers) if len(labels) == 1 else axis.get_majorticklocs()[1]
        for (label, _), layer in zip(labels, layers[:: int(step)], strict=True):
            assert layer.endswith(label)


def test_names_return_when_zoomed_in():
    ax = matrix(ramp(150)).plot()
    assert len(tick_labels(ax.yaxis)) < 50
    ax.set(xlim=(99.5, 109.5), ylim=(99.5, 109.5))
    assert [name for name, _ in tick_labels(ax.yaxis)] == [f"layer{i}" for i in range(100, 110)]


# Guests in matplotlib ---------------------------------------------------------------------------------------


def test_given_axes_are_used_returned_and_keep_their_place():
    figure = new_axes().figure
    figure.clear()
    left, right = figure.subplots(1, 2)
    places = [ax.get_position(original=True).bounds for ax in (left, right)]
    assert matrix(ramp(4)).plot(left) is left
    assert matrix(ramp(4)).plot(right, colorbar=False) is right
    figure.canvas.draw()
    assert [ax.get_position(original=True).bounds for ax in (left, right)] == places
    assert (len(left.child_axes), len(right.child_axes)) == (1, 0)
    assert matrix(ramp(4)).plot_curve(figure.add_subplot()) in figure.axes


def test_the_colour_bar_stands_beside_the_heat_map_and_is_as_high():
    for shape, figsize in (((24, 17), (4, 6)), ((3, 30), (7, 3)), ((4, 4), (3, 3))):
        ax = matrix(ramp(*shape)).plot(new_axes(figsize=figsize))
        ax.figure.canvas.draw()
        cells, bar = ax.get_window_extent(), strip(ax).get_window_extent()
        assert (bar.y0, bar.y1) == pytest.approx((cells.y0, cells.y1))
        assert (bar.x0 - cells.x1) / ax.figure.dpi == pytest.approx(0.1)
        assert bar.width / ax.figure.dpi == pytest.approx(0.13)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (12, 12), (24, 17), (3, 30), (40, 2), (150, 150)])
def test_nothing_is_cut_off_in_own_figures(shape):
    values = ramp(*shape)
    values[0, 0] = np.nan
    kernel = "Polynomial(degree=2, coef0=1.0, gamma=0.01)"
    m = matrix(values, rows=long_names(shape[0]), kernel=kernel, estimator="unbiased")
    m = m.with_models("ResNet-50, 90 epochs", "ViT-S/16, 300 epochs")
    for ax in (m.plot(), m.plot_curve(reference="layer0")):
        ax.figure.draw_without_rendering()
        drawn, page = ax.get_tightbbox(), ax.figure.bbox
        assert drawn.x0 >= 0
        assert drawn.y0 >= 0
        assert drawn.x1 <= page.x1
        assert drawn.y1 <= page.y1


def test_no_global_state_is_changed():
    before = copy.deepcopy(dict(matplotlib.rcParams)), matplotlib.get_backend(), pyplot.get_fignums()
    m = matrix(ramp(5))
    m.plot(new_axes())
    m.plot_curve(new_axes())
    assert (dict(matplotlib.rcParams), matplotlib.get_backend(), pyplot.get_fignums()) == before
    m.plot()
    m.plot_curve()
    assert dict(matplotlib.rcParams) == before[0]
    assert len(pyplot.get_fignums()) == 2


def test_cells_are_vectors():
    file = io.StringIO()
    matrix(ramp(30)).plot(colorbar=False).figure.savefig(file, format="svg")
    assert "<image" not in file.getvalue()
    assert file.getvalue().count("<path") >= 900


def test_figures_can_be_pickled():
    ax = matrix(ramp(5)).plot()
    again = pickle.loads(pickle.dumps(ax.figure))
    assert [name for name, _ in tick_labels(again.axes[0].yaxis)] == [f"layer{i}" for i in range(5)]


# Curves -----------------------------------------------------------------------------------------------------


def curves(ax):
    return {line.get_label(): line.get_ydata() for line in ax.lines}


def test_curve_compares_each_layer_with_its_counterpart():
    values = ramp(3)
    ax = matrix(values, rows=("a", "b", "c"), columns=("c", "a", "b")).plot_curve(reference="b")
    assert list(curves(ax)) == ["same layer", "with b"]
    np.testing.assert_array_equal(curves(ax)["same layer"], values[[0, 1, 2], [1, 2, 0]])
    np.testing.assert_array_equal(curves(ax)["with b"], values[:, 2])
    assert [name for name, _ in tick_labels(ax.xaxis)] == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("ResNet", "CKA, linear\nwith ViT")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["same layer", "with b"]


def test_curve_of_unequal_networks_shows_best_matches():
    values = np.array([[0.1, 0.9], [0.8, np.nan], [np.nan, np.nan]])
    ax = matrix(values).plot_curve()
    np.testing.assert_array_equal(curves(ax)["best match"], [0.9, 0.8, np.nan])


def test_curves_share_axes_and_limits():
    ax = matrix(-0.5 * ramp(4)).plot_curve(label="trained")
    assert matrix(ramp(4)).plot_curve(ax, label="untrained", reference="layer1") is ax
    assert list(curves(ax)) == ["trained", "untrained", "untrained, with layer1"]
    bottom, top = ax.get_ylim()
    assert bottom < -0.5
    assert top > 1
    colors = [line.get_color() for line in ax.lines]
    assert colors[0] != colors[1] == colors[2]
    assert ax.get_ylabel() == "CKA, linear\nwith the same layer"
    assert (
        len({line.get_marker() for line in ax.lines})
        == len({str(line.get_linestyle()) for line in ax.lines})
        == 2
    )


def test_curves_differ_by_more_than_colour():
    ax = None
    for i in range(8):
        ax = matrix(ramp(4)).plot_curve(ax, label=str(i))
    looks = {(line.get_marker(), str(line._dash_pattern)) for line in ax.lines}
    assert len(looks) == 8
    hollow = matrix(ramp(4)).plot_curve(reference="layer1").lines[1]
    assert hollow.get_markerfacecolor() == "none"


def test_curve_of_several_seeds_is_a_mean_with_a_band():
    many = [matrix(v * ramp(3)) for v in (0.2, 0.4, 0.9)]
    many[1] = matrix(np.where(np.eye(3, dtype=bool), np.nan, 0.5))  # has no say in the mean
    ax = many[0].plot_curve(others=many[1:], label="seeds")
    np.testing.assert_allclose(curves(ax)["seeds"], 0.55 * np.diag(ramp(3)))
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    for x, value in enumerate(np.diag(ramp(3))):
        here = corners[corners[:, 0] == x, 1]
        assert (here.min(), here.max()) == (pytest.approx(0.2 * value), pytest.approx(0.9 * value))
    with pytest.raises(ValueError, match="by: expected 'name' or 'position', got 'depth'"):
        many[0].plot_curve(by="depth")
    with pytest.raises(TypeError, match=r"others: expected a sequence of CKAMatrix objects, got CKAMatrix"):
        many[0].plot_curve(others=many[1])
    with pytest.raises(ValueError, match=r"others: .* same row layers"):
        many[0].plot_curve(others=[matrix(ramp(4))])


def test_curves_of_unequal_networks_share_an_axis_in_percent():
    ax = matrix(ramp(3)).plot_curve(depth="percent", label="short")
    matrix(ramp(5)).plot_curve(ax, depth="percent", label="long")
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0, 50, 100], [0, 25, 50, 75, 100]]
    assert ax.get_xlabel() == "depth (%)"
    pixels(matrix([[0.5]]).plot_curve(depth="percent").figure)
    with pytest.raises(ValueError, match=r"depth: .* got 'metres'"):
        matrix(ramp(3)).plot_curve(depth="metres")


def test_curves_say_with_what_layers_are_compared():
    other = matrix(ramp(3), rows=("a", "b", "c"))
    ax = other.plot_curve(label="ResNet")
    assert list(curves(ax)) == ["ResNet, best match"]
    assert ax.get_ylabel() == "CKA, linear"
    ax = other.plot_curve(by="position")
    np.testing.assert_array_equal(curves(ax)["same position"], np.diag(ramp(3)))
    with pytest.raises(ValueError, match="ResNet has 3, ViT has 4"):
        matrix(ramp(3, 4)).plot_curve(by="position")


def test_chance_is_a_dotted_curve():
    ax = matrix(ramp(3), chance=ramp(3) / 4).plot_curve(label="trained")
    matrix(ramp(3), chance=ramp(3) / 2).plot_curve(ax, label="untrained")
    np.testing.assert_array_equal(curves(ax)["chance"], np.diag(ramp(3)) / 4)
    assert [line.get_linestyle() for line in ax.lines].count(":") == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["trained", "chance", "untrained"]


def test_curve_is_drawn_on_the_scale_from_0_to_1():
    bottom, top = matrix(0.5 + 0.01 * ramp(4)).plot_curve().get_ylim()
    assert -0.1 < bottom < 0
    assert 1 < top < 1.1


def test_curve_hatches_what_is_undefined():
    values = ramp(4)
    values[2] = np.nan
    ax = matrix(values).plot_curve(reference="layer0")
    spans = [patch for patch in ax.patches if patch.get_hatch()]
    extents = [span.get_path().get_extents(span.get_patch_transform()) for span in spans]
    assert {(extent.x0, extent.x1) for extent in extents} == {(1.5, 2.5)}
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(names) == ["same layer", "undefined", "with layer0"]


def test_an_unknown_reference_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match=r"reference: ViT has no layer 'layr1'; it has .*layer1"):
        matrix(ramp(4)).plot_curve(reference="layr1")

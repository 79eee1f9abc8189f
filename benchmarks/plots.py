# SPDX-License-Identifier: BSD-3-Clause
"""The plots of docs/performance.md and its like, from the parts of a result file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

# Three colours of Okabe and Ito, which colour-blind people tell apart; each also has a marker of its own.
STYLES = {
    "fastcka": {"color": "#0072B2", "marker": "o"},
    "NumPy": {"color": "#D55E00", "marker": "s"},
    "torch": {"color": "#009E73", "marker": "^"},
}
SWEEPS = {
    "n": "samples (256 features)",
    "n, RBF": "samples (256 features), RBF",
    "p": "features (2000 samples)",
    "layers": "layers (1000 × 256), all pairs",
}
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
Rows = list[dict]


def draw(plot: Callable[[Rows], Figure], rows: Rows, image: Path) -> None:
    figure = plot(rows)
    figure.savefig(image, dpi=120, facecolor="white", metadata={"Software": None})
    pyplot.close(figure)


def _logarithmic(ax: Axes, axis: str) -> None:
    getattr(ax, f"set_{axis}scale")("log")
    one = getattr(ax, f"{axis}axis")
    one.set_major_formatter(PLAIN)
    one.set_minor_formatter(NullFormatter())
    ax.grid(color="0.9")
    ax.set_axisbelow(True)


def linear(rows: Rows):
    """The ratios of the linear pairs with their spread, NumPy and torch."""
    rows = [row for row in rows if "dtype" in row and "best" in row]
    figure, ax = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    for y, row in enumerate(rows):
        torch = min(row["beside"].values(), key=lambda r: r["ratio"], default=None)
        for name, shift, r in (("NumPy", -0.15, row["opponents"][row["best"]]), ("torch", 0.15, torch)):
            if r is not None:
                ax.plot([r["lowest"], r["highest"]], [y + shift] * 2, color=STYLES[name]["color"], alpha=0.5)
                label = f"best form in {name}" if y == 0 else None
                ax.plot(r["ratio"], y + shift, linestyle="", **STYLES[name], label=label)
    ax.axvline(1, color="0.3", linewidth=1)
    _logarithmic(ax, "x")
    ax.set_xticks([t for t in (0.5, 0.7, 1, 1.5, 2, 3, 5, 10) if ax.get_xlim()[0] < t < ax.get_xlim()[1]])
    ax.set_yticks(range(len(rows)), [row["name"].removeprefix("linear pair ") for row in rows])
    ax.invert_yaxis()
    ax.set_xlabel("time relative to fastcka (median, lowest to highest); right of 1, fastcka is faster")
    ax.set_title("Linear CKA of a pair")
    figure.legend(loc="outside lower center", ncols=3)  # beside the axes: it hides no line
    return figure


def scaling(rows: Rows):
    """Times over size, a panel for each sweep."""
    figure, panels = pyplot.subplots(2, 2, figsize=(9, 7), layout="constrained")
    for ax, (along, label) in zip(panels.flat, SWEEPS.items(), strict=True):
        sweep = [row for row in rows if row["along"] == along and "best" in row]
        at = [row["at"] for row in sweep]
        ax.plot(at, [1e3 * row["seconds"] for row in sweep], **STYLES["fastcka"], label="fastcka")
        best = [1e3 * row["opponents"][row["best"]]["seconds"] for row in sweep]
        ax.plot(at, best, **STYLES["NumPy"], label="best form in NumPy")
        _logarithmic(ax, "x")
        _logarithmic(ax, "y")
        ax.set_xticks(at, [str(size) for size in at])
        ax.set_xlabel(label)
        ax.set_ylabel("milliseconds")
    panels[0, 0].legend()
    figure.suptitle("Time by size, float32")
    return figure


def memory(rows: Rows):
    """Peak memory over samples."""
    sweep = [row for row in rows if "at" in row]
    figure, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    at = [row["at"] for row in sweep]
    ax.plot(at, [row["peak_mb"] for row in sweep], **STYLES["fastcka"], label="fastcka")
    numpy = [row for row in sweep if row["numpy_mb"] is not None]
    ax.plot(
        [row["at"] for row in numpy],
        [row["numpy_mb"] for row in numpy],
        **STYLES["NumPy"],
        label="best form in NumPy",
    )
    copies = [row["peak_mb"] - row["value"] for row in sweep]
    ax.plot(at, copies, color="0.5", linestyle="--", label="packed copies of the input")
    _logarithmic(ax, "x")
    _logarithmic(ax, "y")
    ax.set_xticks(at, [str(size) for size in at])
    ax.set_xlabel("samples (2 layers of 64 features)")
    ax.set_ylabel("MB beside the input, at the peak")
    ax.set_title("Memory, RBF with a given sigma")
    ax.legend()
    return figure


def peers(rows: Rows):
    """The ratios of the published packages, a group for each of them."""
    rows = [row for row in rows if "best" in row]
    labels = list(dict.fromkeys(f"{row['peer']}\n{' '.join(row['name'].split()[:2])}" for row in rows))
    works = list(dict.fromkeys(" ".join(row["name"].split()[4:]) for row in rows))
    figure, ax = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for work, style in zip(works, STYLES.values(), strict=True):
        here = [row for row in rows if row["name"].endswith(work)]
        y = [labels.index(f"{row['peer']}\n{' '.join(row['name'].split()[:2])}") for row in here]
        ax.plot(
            [row["opponents"][row["best"]]["ratio"] for row in here], y, linestyle="", **style, label=work
        )
    ax.axvline(1, color="0.3", linewidth=1)
    _logarithmic(ax, "x")
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.set_xlabel("time relative to fastcka; right of 1, fastcka is faster")
    ax.set_title("Published packages, all pairs of layers")
    figure.legend(loc="outside lower center", ncols=3)  # beside the axes: it hides no line
    return figure


def gains(parts: dict) -> Figure:
    """For the README: the published packages beside fastcka, and memory over samples."""
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 3.4), layout="constrained", width_ratios=(1.25, 1)
    )
    work = "12 layers 500 × 768"
    fastest: dict[str, float] = {}
    for row in parts["peers"]["rows"]:
        if row["name"].endswith(work) and "linear" in row["name"] and "best" in row:
            ratio = row["opponents"][row["best"]]["ratio"]
            fastest[row["peer"]] = min(ratio, fastest.get(row["peer"], ratio))
    names = ["fastcka", *sorted(fastest, key=lambda peer: fastest[peer])]
    ratios = [1.0, *(fastest[peer] for peer in names[1:])]
    colors = [STYLES["fastcka"]["color"], *["0.65"] * (len(names) - 1)]
    begin = 0.7  # of the bars: a scale of ratios has no zero
    bars = left.barh(names, [ratio - begin for ratio in ratios], left=begin, color=colors, height=0.7)
    left.bar_label(bars, [f"{ratio:.3g}×" if ratio > 1 else "1" for ratio in ratios], padding=4)
    _logarithmic(left, "x")
    left.grid(visible=False, axis="y")
    left.set(xlim=(begin, 2.5 * max(ratios)), title=f"Time for all pairs of {work}")
    left.set_xlabel("time relative to fastcka (log scale)")
    left.invert_yaxis()

    sweep = [row for row in parts["memory"]["rows"] if "at" in row]
    numpy = [row for row in sweep if row["numpy_mb"] is not None]
    for name, rows, key in (("NumPy", numpy, "numpy_mb"), ("fastcka", sweep, "peak_mb")):
        right.plot([row["at"] for row in rows], [row[key] for row in rows], **STYLES[name])
        label, shift = ("n × n matrices in NumPy", (-10, 2)) if name == "NumPy" else ("fastcka", (0, -16))
        nearby = rows[-1] if name == "NumPy" else rows[2]
        at = (nearby["at"], nearby[key])
        style = {"ha": "right" if name == "NumPy" else "left", "color": STYLES[name]["color"]}
        right.annotate(label, at, xytext=shift, textcoords="offset points", **style)
    _logarithmic(right, "x")
    _logarithmic(right, "y")
    right.set_xticks([row["at"] for row in sweep], [f"{row['at']:,}" for row in sweep])
    right.set(xlabel="samples", ylabel="MB", title="Peak memory beside the input, RBF kernel")
    right.margins(y=0.15)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


PLOTS: dict[str, Callable[[Rows], Figure]] = {
    "linear": linear,
    "scaling": scaling,
    "memory": memory,
    "peers": peers,
}

# SPDX-License-Identifier: BSD-3-Clause
"""The page for users: one table, and where fastcka loses."""

from __future__ import annotations

from collections.abc import Callable

from words import duration, number, spread

Parts = dict[str, dict]
ONE_BATCH = "17 × 17 layers, one batch of 2048"
BATCHES = "17 × 17 layers, 8 batches of 256"
NARROW = "stubs, 192 to 192 wide, 13 × 13 layers, 16 batches of 128"

# Task and size; part and name of the row; of several rows with that name, the opponent's.
ROWS = [
    ("linear pair", "200 × 50", "linear", "linear pair 200 × 50, float32", None),
    ("linear pair", "4096 × 512", "linear", "linear pair 4096 × 512, float32", None),
    ("linear pair", "4096 × 4096", "linear", "linear pair 4096 × 4096, float32", None),
    ("linear pair, float64", "4096 × 4096", "linear", "linear pair 4096 × 4096, float64", None),
    ("linear, 24 layers", "2048 × 768", "layers", "all linear pairs of 24 layers 2048 × 768", None),
    ("RBF pair", "4096 × 1024", "rbf", "RBF pair 4096 × 1024, median", None),
    ("RBF, 12 layers", "2048 × 768", "rbf", "all RBF pairs of 12 layers 2048 × 768", None),
    ("p-value, linear pair", "2000 × 256", "inference", "p-value by moments, linear, pair 2000 × 256", None),
    *(
        ("linear, 12 layers", "500 × 768", "peers", f"{estimator} linear pairs of 12 layers 500 × 768", peer)
        for estimator, peer in (
            ("unbiased", "pytorch-cka"),
            ("unbiased", "torch-cka"),
            ("biased", "ckatorch"),
            ("biased", "thingsvision"),
            ("biased", "repsim"),
        )
    ),
    ("two models, 17 layers each", "one batch of 2048", "models", ONE_BATCH, "pytorch-cka"),
    ("two models, 17 layers each", "8 batches of 256", "models", BATCHES, "pytorch-cka"),
]


def table(parts: Parts) -> str:
    lines = [
        "| task | samples × features | fastcka | against | its time | ratio (lowest – highest) |",
        "|---|---|---:|---|---:|---:|",
    ]
    for task, size, part, name, opponent in ROWS:
        row = found(parts, part, name, opponent)
        if part == "models":
            ours, theirs, who = ours_of(parts, name)["beyond"], row["beyond"], row["who"]
        else:
            row, ours, who = row["opponents"][row["best"]], row["seconds"], row["best"]
            theirs = row["seconds"]
        size, mine, its, ratio = map(unbroken, (size, duration(ours), duration(theirs), spread(row)))
        cells = [task, size, mine, who, its, ratio]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def headline(parts: Parts) -> str:
    """What to expect, in two sentences."""
    pair = found(parts, "linear", "linear pair 4096 × 512, float32")["seconds"]
    layers = found(parts, "layers", "all linear pairs of 24 layers 2048 × 768")
    rbf = found(parts, "rbf", "RBF pair 4096 × 1024, median")
    linear = [row for row in parts["linear"]["rows"] if "dtype" in row and "best" in row]
    pairs = [best(row)["ratio"] for row in linear]
    peers = [best(row)["ratio"] for row in parts["peers"]["rows"] if "best" in row]
    return (
        f"On two cores of a server, a linear pair of 4096 × 512 takes {duration(pair)}, all pairs of 24 "
        f"layers of 2048 × 768 take {duration(layers['seconds'])}, and an RBF pair of 4096 × 1024 with its "
        f"median bandwidth takes {duration(rbf['seconds'])}. The strongest NumPy code that we could write "
        f"takes {min(pairs):.1f} to {max(pairs):.1f} times as long for a linear pair, "
        f"{best(layers)['ratio']:.0f} times for the 24 layers, and {best(rbf)['ratio']:.0f} times for the "
        f"RBF pair; published packages take {min(peers):.1f} to {max(peers):.0f} times as long on the same "
        "arrays."
    )


def losses(parts: Parts) -> str:
    """Say where fastcka is the slower one, or gains little, with the numbers of this run."""
    narrow = found(parts, "models", NARROW, "pytorch-cka")
    batches = found(parts, "models", BATCHES, "pytorch-cka")
    exact = found(parts, "models", BATCHES, "fastcka")
    mini = ours_of(parts, BATCHES)
    streams = [best(row) for row in parts["streaming"]["rows"]]
    small = {row["name"]: best(row) for row in parts["out_of_core"]["rows"] if "best" in row}
    rbf = next(ratio for name, ratio in small.items() if name.startswith("rbf") and " 1/4 " in name)
    wide = next(ratio for name, ratio in small.items() if "2 layers 8192" in name and " 1/16 " in name)
    peak = [row["value"] for row in parts["layers"]["rows"] if row.get("unit") == "%"]
    pairs = [row for row in parts["roofline"]["rows"] if "float32" in row["name"] and "blas_share" in row]
    double = best(found(parts, "linear", "linear pair 2048 × 16384, float64"))
    items = [
        f"**Narrow layers in small batches.** For two models with 13 layers of 192 features, in batches of "
        f"128, `compare` takes {duration(ours_of(parts, NARROW)['beyond'])} beyond the models, pytorch-cka "
        f"{duration(narrow['beyond'])}: a ratio of {spread(narrow)}.",
        f"**Mini-batches in general.** With 17 wider layers and batches of 256 the two are about even "
        f"({number(batches['ratio'])}), and pytorch-cka needs less memory: {number(batches['memory_mb'])} "
        f"MB, fastcka {number(mini['memory_mb'])} MB. The exact value over all batches takes "
        f"{number(exact['ratio'])} times as long as the mini-batch estimator, and "
        f"{number(exact['memory_mb'])} MB.",
        f"**Exact streams of many wide layers.** A stream takes {times(streams[0])} times as long as whole "
        f"arrays with 24 layers of 2048 × 768, and {times(streams[1])} times with 4 layers of 16384 × 256.",
        f"**Little memory.** With a quarter of the memory that it would use, an RBF pair of 8192 × 4096 "
        f"takes {times(rbf)} times as long, because its distances are computed twice. With a sixteenth, a "
        f"linear pair of this size takes {times(wide)} times as long.",
        f"**Share of the peak.** With 64 to 2000 layers, calls reach {min(peak):.0f} to {max(peak):.0f} % of "
        f"the peak rate of multiply-adds. A single pair reaches {low_high(pairs, 'value')} %, where a "
        f"product of BLAS alone reaches {low_high(pairs, 'blas_share')} %.",
        f"**Wide pairs in float64.** At 2048 × 16384 the ratio to NumPy is only {spread(double)}.",
    ]
    return "\n".join(f"* {item}" for item in items)


def unbroken(words: str) -> str:
    return words.replace(" ", "\N{NO-BREAK SPACE}")


def found(parts: Parts, part: str, name: str, opponent: str | None = None) -> dict:
    rows = [row for row in parts[part]["rows"] if row["name"] == name]
    return next(row for row in rows if opponent in (None, row.get("peer"), row.get("who")))


def ours_of(parts: Parts, name: str) -> dict:
    """The row of two models that the ratios compare with: the first of fastcka."""
    rows = [row for row in parts["models"]["rows"] if row["name"] == name]
    return next(row for row in rows if row["who"].startswith("fastcka"))


def best(row: dict) -> dict:
    return row["opponents"][row["best"]]


def times(ratio: dict) -> str:
    return f"{1 / ratio['ratio']:.1f}"


def low_high(rows: list[dict], key: str) -> str:
    values = [row[key] for row in rows]
    return f"{min(values):.0f} to {max(values):.0f}"


PARTS: dict[str, Callable[[Parts], str]] = {"headline": headline, "summary": table, "losses": losses}

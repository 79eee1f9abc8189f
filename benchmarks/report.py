# SPDX-License-Identifier: BSD-3-Clause
"""Rewrite the table of docs/performance.md: ``python benchmarks/report.py RESULT.json``."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def table(result: dict) -> str:
    m = result["machine"]
    lines = [
        f"{m['cpu']}, {m['threads']} threads, SIMD level {m['simd_level']}; "
        f"NumPy {m['numpy']} with {', '.join(m['blas'])}; commit {m['commit']}, {m['date']}.",
        "",
        "| work | fastcka | best opponent | its time | ratio (lowest – highest) | target | |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    for r in result["rows"]:
        spread = "" if r["lowest"] is None else f" ({r['lowest']:.2f} – {r['highest']:.2f})"
        verdict = "" if r["target"] is None or r["ratio"] >= r["target"] else "**missed**"
        lines.append(
            f"| {r['name']} | {r['ours_ms']:.2f} ms | {r['opponent']} | {r['opponent_ms']:.2f} ms "
            f"| {r['ratio']:.2f}{spread} | {r['target']} | {verdict} |"
        )
    for dtype in ("float32", "float64"):
        ratios = [
            r["ratio"]
            for r in result["rows"]
            if r["name"].startswith("linear pair")
            and r["dtype"] == dtype
            and r["opponent"].startswith("NumPy")
        ]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines += ["", f"Geometric mean over the linear pairs, {dtype}: {mean:.2f}."]
    return "\n".join(lines)


def main() -> None:
    text = PAGE.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    PAGE.write_text(f"{before}\n{table(json.loads(Path(sys.argv[1]).read_text()))}\n{after}")


if __name__ == "__main__":
    main()

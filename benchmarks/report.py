# SPDX-License-Identifier: BSD-3-Clause
"""Rewrite the generated parts of the pages about performance, and draw their plots.

python benchmarks/report.py                          every page, each from its result (--check: only compare)
python benchmarks/report.py RESULT.json PAGE.md      one page, such as a copy of diary/xeon-2-cores.md

A part stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``; what is outside stays as it is. A
page has the parts that it has markers for, and the plots that it shows.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import plots
import summary
from words import duration, number, spread

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
# The pages that are kept, and their results.
PAGES = {
    DOCS / "performance.md": "xeon-2-cores-v4",
    HERE / "diary" / "xeon-2-cores.md": "xeon-2-cores-v4",
    HERE / "diary" / "epyc-2-cores.md": "epyc-2-cores-v3",
    HERE / "diary" / "16-cores.md": "xeon-16-cores-v4",
}
Rows = list[dict]


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        differ = [page.name for page in PAGES if filled(page.read_text(), kept(page)) != page.read_text()]
        if differ:
            raise SystemExit(f"not from their results: {', '.join(differ)}")
    elif sys.argv[1:]:
        write(Path(sys.argv[2]).resolve(), json.loads(Path(sys.argv[1]).read_text()))
    else:
        for page in PAGES:
            write(page, kept(page))
        plots.draw(plots.gains, kept(DOCS / "performance.md")["parts"], DOCS / "images" / "gains.png")


def kept(page: Path) -> dict:
    return json.loads((HERE / "results" / f"{PAGES[page]}.json").read_text())


def write(page: Path, result: dict) -> None:
    """Write the tables and draw the plots: those of a page that is not kept beside it, under its own name."""
    text = filled(page.read_text(), result)
    for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        name = Path(link).stem.rpartition("-")[2]
        if name in plots.PLOTS and name in result["parts"]:
            image = link if page in PAGES else f"{page.stem}-{name}.png"
            text = text.replace(f"({link})", f"({image})")
            plots.draw(plots.PLOTS[name], result["parts"][name]["rows"], page.parent / image)
    page.write_text(text)


def filled(text: str, result: dict) -> str:
    """The page with the parts of a result."""
    text = replaced(text, "machine", machine(result))
    for name, table in TABLES.items():
        if f"<!-- {name}: begin -->" in text:
            part = result["parts"].get(name)
            text = replaced(text, name, table(part["rows"]) if part else "Not measured in this run.")
    for name, part_of_all in summary.PARTS.items():
        if f"<!-- {name}: begin -->" in text:
            text = replaced(text, name, part_of_all(result["parts"]))
    return text


def replaced(text: str, name: str, part: str) -> str:
    """Put `part` between the markers `name`, which must be there once."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page needs {begin} and {end}, once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{part}\n{end}{rest.split(end)[1]}"


def machine(result: dict) -> str:
    here = result["machine"]
    versions = {name: version for name, version in here["versions"].items() if name != "fastcka"}
    later = [f"{name}: {part['commit']}" for name, part in result["parts"].items() if "commit" in part]
    commits = f"{here['commit']} ({', '.join(later)})" if later else here["commit"]
    return (
        f"{here['cpu']}, {here['processors']} processors, {here['threads']} threads, {here['memory_gb']} GB; "
        f"SIMD level {here['simd_level']}, compiler {here['compiler']}; BLAS: {', '.join(here['blas'])}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"commit {commits}, {here['date']}."
    )


# ------------------------------------------------------------------------------------------- ratios of times


def ratio_table(rows: Rows) -> str:
    lines = [
        "| work | fastcka | best opponent | its time | ratio (lowest – highest) | torch | target | |",
        "|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['name']} | | | | not timed: {row['refused']} | | | **missed** |")
            continue
        best = row["opponents"][row["best"]]
        torch = min((other["ratio"] for other in row["beside"].values()), default=None)
        lines.append(
            f"| {row['name']} | {duration(row['seconds'])} | {row['best']} | {duration(best['seconds'])} "
            f"| {spread(best)} | {number(torch)} | {number(row['target'])} "
            f"| {verdict(best['ratio'], row['target'])} |"
        )
    return "\n".join(lines)


def linear(rows: Rows) -> str:
    """The table, and the mean over the shapes of each type."""
    means = []
    for dtype, target in (("float32", 1.2), ("float64", None)):
        ratios = [
            row["opponents"][row["best"]]["ratio"]
            for row in rows
            if row.get("dtype") == dtype and "best" in row
        ]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        aim = f" (target {target}) {verdict(mean, target)}".rstrip() if target else ""
        means.append(f"Geometric mean of the ratios to NumPy, {dtype}: {mean:.2f}{aim}.")
    return "\n\n".join([ratio_table(rows), *means])


def mixed(rows: Rows) -> str:
    """Ratios first, then quantities."""
    ratios, quantities = ([row for row in rows if ("unit" in row) is wanted] for wanted in (False, True))
    return "\n\n".join(table(of) for table, of in ((ratio_table, ratios), (quantity_table, quantities)) if of)


def scaling(rows: Rows) -> str:
    """For each sweep a small table, a column for each size."""
    tables = []
    for along in dict.fromkeys(row["along"] for row in rows):
        sweep = [row for row in rows if row["along"] == along and "best" in row]
        best = [row["opponents"][row["best"]] for row in sweep]
        columns = {
            plots.SWEEPS[along]: [str(row["at"]) for row in sweep],
            "fastcka": [duration(row["seconds"]) for row in sweep],
            "best NumPy form": [duration(ratio["seconds"]) for ratio in best],
            "ratio": [number(ratio["ratio"]) for ratio in best],
        }
        head, *lines = ([name, *cells] for name, cells in columns.items())
        rule = ["---", *["---:"] * len(sweep)]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines)))
    return "\n\n".join(tables)


def models(rows: Rows) -> str:
    """For each setting the models alone, fastcka and the packages: whole times, and what is beyond models."""
    lines = [
        "| work | by | computes | whole time | beyond the models | ratio (lowest – highest) "
        "| memory beyond the models | target | |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        if "reason" in row:
            lines.append(f"| {row['name']} | {row['who']} | {row['computes']} | | | {row['reason']} | | | |")
            continue
        ratio, target = row.get("ratio"), row.get("target")
        beyond = duration(row["beyond"]) if "beyond" in row else ""
        memory = f"{number(row['memory_mb'])} MB" if "memory_mb" in row else ""
        lines.append(
            f"| {row['name']} | {row['who']} | {row['computes']} | {duration(row['seconds'])} | {beyond} "
            f"| {'' if ratio is None else spread(row)} | {memory} | {number(target)} "
            f"| {'' if ratio is None else verdict(ratio, target)} |"
        )
    return "\n".join(lines)


def peers(rows: Rows) -> str:
    lines = [
        "| package | computes | work | fastcka | its time | ratio (lowest – highest) |",
        "|---|---|---|---:|---:|---:|",
    ]
    for row in rows:
        if "not_imported" in row:
            lines.append(f"| {row['peer']} | not imported: {row['not_imported']} | | | | |")
        elif "refused" in row:
            lines.append(
                f"| {row['peer']} | {row['computes']} | {row['name']} | | | not timed: {row['refused']} |"
            )
        else:
            theirs = row["opponents"][row["best"]]
            lines.append(
                f"| {row['peer']} | {row['computes']} | {row['name']} | {duration(row['seconds'])} "
                f"| {duration(theirs['seconds'])} | {spread(theirs)} |"
            )
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- quantities


def quantity_table(rows: Rows) -> str:
    known = {"name", "value", "unit", "least", "most", "at"}
    beside = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in known]
    lines = [
        "".join(["| what | measured | target | |", *(f" {key.replace('_', ' ')} |" for key in beside)]),
        f"|---|---:|---:|---|{'---:|' * len(beside)}",
    ]
    for row in rows:
        cells = [number(row.get(key)) for key in beside]
        lines.append(
            f"| {row['name']} | {number(row['value'])} {row['unit']} | {bound(row)} "
            f"| {verdict(row['value'], row['least'], row['most'])} |{''.join(f' {cell} |' for cell in cells)}"
        )
    return "\n".join(lines)


def bound(row: dict) -> str:
    if row["least"] is not None:
        return f"at least {number(row['least'])}"
    return "" if row["most"] is None else f"at most {number(row['most'])}"


# --------------------------------------------------------------------------------------------------- words


def verdict(value: float, least: float | None, most: float | None = None) -> str:
    """Judge the two decimals that the table shows; the spread of a measurement is wider than that."""
    shown = round(value, 2)
    missed = (least is not None and shown < round(least, 2)) or (most is not None and shown > most)
    return "**missed**" if missed else ""


TABLES: dict[str, Callable[[Rows], str]] = {
    "linear": linear,
    "rbf": mixed,
    "layers": mixed,
    "out_of_core": mixed,
    "inference": mixed,
    "half": ratio_table,
    "threads": ratio_table,
    "roofline": quantity_table,
    "scaling": scaling,
    "memory": quantity_table,
    "import": quantity_table,
    "streaming": ratio_table,
    "models": models,
    "peers": peers,
}

if __name__ == "__main__":
    main()

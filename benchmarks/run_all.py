# SPDX-License-Identifier: BSD-3-Clause
"""Run the suite and write a result file: rows of every part, with machine, versions and commit.

python benchmarks/run_all.py --out benchmarks/results/NAME.json [--only linear,rbf] [--threads N]
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path

from fastcka import get_num_threads
from fastcka.bench import machine
from fastcka.bench.timing import equal_threads

PARTS = (
    "linear",
    "rbf",
    "layers",
    "inference",
    "half",
    "threads",
    "roofline",
    "scaling",
    "memory",
    "import",
    "streaming",
    "models",
    "peers",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--threads", type=int, default=get_num_threads())
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"--only: no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if not options.out.parent.is_dir():
        parser.error(f"--out: no folder {options.out.parent}")
    parts = {}
    with equal_threads(options.threads):
        here = machine.describe(options.threads)
        for name in chosen:
            start = time.perf_counter()
            print(f"\n{name}", flush=True)
            rows = importlib.import_module(f"bench_{name}").run(options.threads)
            parts[name] = {"seconds": round(time.perf_counter() - start, 1), "rows": rows}
            # after every part, so that what goes wrong in the next one loses nothing
            options.out.write_text(json.dumps({"machine": here, "parts": parts}, indent=1) + "\n")


if __name__ == "__main__":
    main()

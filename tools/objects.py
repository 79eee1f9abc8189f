# SPDX-License-Identifier: BSD-3-Clause
"""The object files of a CMake build folder, by the SIMD level that they were compiled for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BASE = "base"  # what is not compiled for a level: the core, its tests, the bindings


def objects_by_level() -> dict[str, list[Path]]:
    """Object files under the folder named on the command line; at least one level must be among them."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {Path(sys.argv[0]).name} BUILD_FOLDER")
    found: dict[str, list[Path]] = {BASE: []}
    for path in sorted(Path(sys.argv[1]).rglob("*.o")):
        level = re.search(r"/fastcka_level_(\w+)\.dir/", path.as_posix())
        found.setdefault(level[1] if level else BASE, []).append(path)
    if len(found) == 1 or not found[BASE]:
        sys.exit(f"no object files of a fastcka build under {sys.argv[1]}")
    return found


def output_of(*command: str | Path) -> str:
    """What a command prints; its failure is ours."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def report(subject: str, faults: list[str]) -> None:
    """Ends the script: status 1 and every fault on a line, or one line that all is well."""
    if faults:
        sys.exit("\n".join([f"{subject}: FAILED", *(f"  {fault}" for fault in faults)]))
    print(f"{subject}: fine")

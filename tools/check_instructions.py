# SPDX-License-Identifier: BSD-3-Clause
"""Each SIMD level has the instructions that it claims, and none above.

Run as: python tools/check_instructions.py BUILD_FOLDER. Levels agree with each other even when one of them
was compiled to slow code by mistake, so this looks at the code itself.
"""

from __future__ import annotations

import re
from pathlib import Path

from objects import BASE, objects_by_level, output_of, report

AVX = r"\tv(?!err|erw)\w+ "  # every AVX instruction begins with a v
EXPECTED = {
    BASE: {},
    "v2": {
        "packed float32 multiplication": r"\tmulps .*%xmm",
        "packed float64 multiplication": r"\tmulpd .*%xmm",
    },
    "v3": {"float32 FMA on ymm": r"\tvfn?madd\d+ps .*%ymm", "float64 FMA on ymm": r"\tvfn?madd\d+pd .*%ymm"},
    "v4": {"float32 FMA on zmm": r"\tvfn?madd\d+ps .*%zmm", "float64 FMA on zmm": r"\tvfn?madd\d+pd .*%zmm"},
}
FORBIDDEN = {
    BASE: {"AVX": AVX},
    "v2": {"AVX": AVX},
    "v3": {"AVX-512": r"%zmm|%[xy]mm(1[6-9]|2\d|3[01])\b|%k[0-7]"},
    "v4": {},
}


def faults_of(level: str, paths: list[Path]) -> list[str]:
    """Instructions that are missing from a level, or that it must not contain."""
    code = "".join(output_of("objdump", "--disassemble", "--no-show-raw-insn", path) for path in paths)
    missing = [
        f"{level} has no {name}" for name, pattern in EXPECTED[level].items() if not re.search(pattern, code)
    ]
    surplus = [
        f"{level} contains {name}: {hit[0].strip()}"
        for name, pattern in FORBIDDEN[level].items()
        if (hit := re.search(f".*({pattern}).*", code))
    ]
    return missing + surplus


if __name__ == "__main__":
    found = objects_by_level()
    if "baseline" in found:
        print("one level only, for any processor: no instruction set to check")
    else:
        report(
            f"instructions of {', '.join(found)}",
            [fault for item in found.items() for fault in faults_of(*item)],
        )

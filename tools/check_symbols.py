# SPDX-License-Identifier: BSD-3-Clause
"""No function compiled for one SIMD level may stand in for another.

Run as: python tools/check_symbols.py BUILD_FOLDER. The linker keeps one copy of an inline function that
several object files define. Were it the AVX-512 copy, the library would crash on a processor without AVX-512.
So no level may define a symbol that another level, or the core, defines too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from objects import objects_by_level, output_of, report

# Shared on purpose: the same few bytes whatever the flags.
ALLOWED = re.compile(r"DW\.ref\.__gxx_personality_v0|__clang_call_terminate")


def defined_symbols(path: Path, *options: str) -> set[str]:
    """External symbols that a file defines, weak ones included."""
    return set(
        output_of("nm", "--defined-only", "--extern-only", "--format=just-symbols", *options, path).split()
    )


def shared_symbols(objects: dict[str, list[Path]]) -> list[str]:
    """Symbols that a level has in common with another level or with the core."""
    faults = []
    owner: dict[str, str] = {}
    for level, paths in objects.items():
        symbols = set().union(*(defined_symbols(path) for path in paths))
        for symbol in sorted(symbols):
            first = owner.setdefault(symbol, level)
            if first != level and not ALLOWED.fullmatch(symbol):
                faults.append(f"{first} and {level} both define {output_of('c++filt', symbol).strip()}")
    return faults


def exported_symbols(build: Path) -> list[str]:
    """What the Python module shows to other libraries beyond its entry point."""
    return [
        f"{module.name} exports {symbol}"
        for module in build.glob("_core*.so")
        for symbol in sorted(defined_symbols(module, "--dynamic"))
        if symbol != "PyInit__core"
    ]


if __name__ == "__main__":
    found = objects_by_level()
    build = Path(sys.argv[1])
    report(f"symbols of {', '.join(found)}", shared_symbols(found) + exported_symbols(build))

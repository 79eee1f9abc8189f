# SPDX-License-Identifier: BSD-3-Clause
"""A wheel holds package, types, licences and, on Linux, OpenMP; no sources; its module exports one name.

Run as: python tools/check_wheel.py WHEEL...
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

EXPECTED = {
    "__init__.py",
    "_core.pyi",
    "py.typed",
    "LICENSE",
    "MPL-2.0.txt",
    "Apache-2.0.txt",
    "GPL-3.0.txt",
    "GCC-exception-3.1.txt",
    "THIRD_PARTY_NOTICES",
}
FOREIGN = {".cpp", ".hpp", ".h", ".cmake", ".a", ".o"}
LARGEST = 3_000_000  # bytes; about 1 MB for each SIMD level, and libgomp
OPENMP_VERSION = "OMP_5.0"  # of the symbols of a bundled libgomp: that of GCC 9 and later


def faults_of(wheel: Path) -> list[str]:
    faults = []
    with zipfile.ZipFile(wheel) as opened, tempfile.TemporaryDirectory() as folder:
        files = [PurePosixPath(name) for name in opened.namelist()]
        missing = EXPECTED - {file.name for file in files}
        foreign = [str(file) for file in files if file.suffix in FOREIGN or file.parts[0] == "tests"]
        modules = [file for file in files if file.match("fastcka/_core*.so")]
        runtimes = [file for file in files if file.name.startswith("libgomp")]
        if missing or foreign or len(modules) != 1:
            faults.append(f"missing {sorted(missing)}, foreign {foreign}, compiled modules {modules}")
        if wheel.stat().st_size > LARGEST:
            faults.append(f"{wheel.stat().st_size} bytes, more than {LARGEST}")
        exported = [
            symbol
            for module in modules
            for symbol in symbols(Path(opened.extract(str(module), folder)))
            if symbol.removeprefix("_") != "PyInit__core"
        ]
        if exported:
            faults.append(f"the module exports {exported}")
        if platform_of(wheel).startswith(("manylinux", "musllinux")) and len(runtimes) != 1:
            faults.append(f"exactly one libgomp is expected, found {[runtime.name for runtime in runtimes]}")
        faults += [
            f"{runtime.name} is too old: no symbols of version {OPENMP_VERSION}"
            for runtime in runtimes
            if OPENMP_VERSION not in versions(Path(opened.extract(str(runtime), folder)))
        ]
    return faults


def platform_of(wheel: Path) -> str:
    return wheel.stem.rpartition("-")[2]


def symbols(module: Path) -> list[str]:
    if sys.platform == "darwin":
        options = ["-gUj"]  # Apple's nm: external, defined, names only
    else:
        options = ["--dynamic", "--defined-only", "--extern-only", "--format=just-symbols"]
    shown = subprocess.run(["nm", *options, module], check=True, stdout=subprocess.PIPE, text=True)
    return shown.stdout.split()


def versions(library: Path) -> set[str]:
    """Return the symbol versions that a library of Linux defines. (GOMP_5.0 is another than OMP_5.0.)"""
    shown = subprocess.run(
        ["readelf", "--version-info", library], check=True, stdout=subprocess.PIPE, text=True
    )
    return set(re.findall(r"Name: (\S+)", shown.stdout))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        wheel = Path(argument)
        found = faults_of(wheel)
        if found:
            sys.exit("\n  ".join([f"{wheel.name}: FAILED", *found]))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, fine")

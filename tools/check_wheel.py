# SPDX-License-Identifier: BSD-3-Clause
"""A wheel holds the package, its types and its licences, and no sources.

Run as: python tools/check_wheel.py WHEEL.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import PurePosixPath

EXPECTED = {
    "__init__.py",
    "_core.pyi",
    "py.typed",
    "LICENSE",
    "MPL-2.0.txt",
    "Apache-2.0.txt",
    "THIRD_PARTY_NOTICES",
}
FOREIGN = {".cpp", ".hpp", ".h", ".cmake", ".a", ".o"}

if __name__ == "__main__":
    files = [PurePosixPath(name) for name in zipfile.ZipFile(sys.argv[1]).namelist()]
    missing = EXPECTED - {file.name for file in files}
    foreign = [str(file) for file in files if file.suffix in FOREIGN or file.parts[0] == "tests"]
    modules = [file.name for file in files if file.match("fastcka/_core*.so")]
    if missing or foreign or len(modules) != 1:
        sys.exit(f"{sys.argv[1]}: missing {sorted(missing)}, foreign {foreign}, compiled modules {modules}")
    print(f"{sys.argv[1]}: {len(files)} files, fine")

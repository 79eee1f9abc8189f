# SPDX-License-Identifier: BSD-3-Clause
"""What is about to be published is complete, and is what its tag says.

Run as: python tools/check_release.py --tag v0.1.0    the tag is the version, and the changelog has its date
        python tools/check_release.py --files dist    the sdist and every wheel, and nothing else
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PYPROJECT["project"]["version"]
# One for each job of .github/workflows/wheels.yml; the versions of Python are those of pyproject.toml.
PLATFORMS = (
    "manylinux*_x86_64",
    "manylinux*_aarch64",
    "musllinux*_x86_64",
    "musllinux*_aarch64",
    "macosx*_arm64",
)


def faults_of_tag(tag: str) -> list[str]:
    faults = [] if tag == f"v{VERSION}" else [f"the tag is {tag}, the version {VERSION}"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## {re.escape(VERSION)} \(\d{{4}}-\d\d-\d\d\)$", changes, flags=re.M):
        faults.append(f"CHANGELOG.md has no date for {VERSION}")
    return faults


def expected_files() -> list[str]:
    """A pattern for each file of a release."""
    pythons = [build.removesuffix("-*") for build in PYPROJECT["tool"]["cibuildwheel"]["build"]]
    wheels = [
        f"fastcka-{VERSION}-{python.rstrip('t')}-{python}-{platform}.whl"
        for python in pythons
        for platform in PLATFORMS
    ]
    return [f"fastcka-{VERSION}.tar.gz", *wheels]


def faults_of_files(names: Iterable[str]) -> list[str]:
    names, expected = list(names), expected_files()
    found = {pattern: [name for name in names if fnmatch(name, pattern)] for pattern in expected}
    faults = [f"{len(files)} files are {pattern}" for pattern, files in found.items() if len(files) != 1]
    surplus = set(names) - {name for files in found.values() for name in files}
    return faults + [f"{name} is not part of a release" for name in sorted(surplus)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tag")
    parser.add_argument("--files", type=Path)
    arguments = parser.parse_args()
    faults = faults_of_tag(arguments.tag) if arguments.tag else []
    if arguments.files:
        faults += faults_of_files(file.name for file in arguments.files.iterdir())
    if faults:
        sys.exit("\n".join(faults))

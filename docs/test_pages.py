# SPDX-License-Identifier: BSD-3-Clause
"""Every example of the pages runs, and every path, name and option that they mention exists.

`nox -s docs` runs this after it has built the site, which finds broken links.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("src/**/README.md"),
        ROOT / "benchmarks" / "README.md",
    ]
)
HISTORY = {"CHANGELOG.md"}  # tells what was: names in it may be gone
OTHERS = {"choosing.md", "coming-from.md", "faq.md", "neuroscience.md"}  # mention names of other packages
LABELS = {"model/layer"}  # look like a path
PLANNED = {"fastcka.Cauchy"}  # the kernel that CONTRIBUTING.md shows how to add
# Folders that a path may be given from: the reader of a page about the core knows that it is about src/cpp.
FROM = [ROOT, ROOT / "src" / "cpp", ROOT / "src" / "fastcka", ROOT / "tests", ROOT / "docs"]
SUFFIXES = ["", ".py", ".hpp", ".cpp", ".md"]

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@page
def test_examples_print_what_the_page_says(page):
    failed, _ = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0


@page
def test_paths_exist(page):
    paths = re.findall(r"`([\w.*-]+(?:/[\w.*-]+)+/?|\w+\.(?:cpp|hpp|py|md))`", prose(page))
    lost = [path for path in paths if path not in LABELS and not exists(path, page)]
    assert not lost or page.name in HISTORY | OTHERS, lost


@page
def test_names_of_the_package_exist(page):
    lost = [name for name in re.findall(r"`(fastcka(?:\.\w+)+)", prose(page)) if not resolves(name)]
    assert not set(lost) - PLANNED or page.name in HISTORY, lost


@page
def test_names_of_the_code_exist(page):
    """Words such as `make_plan`, `GramSweep::share_blocks` or `FASTCKA_THREADS` occur in the sources."""
    words = re.findall(
        r"`((?:\w+::)*(?=\w*[a-z0-9]_|\w*[a-z][A-Z]|[A-Z]\w*_|\w*::)\w+)(?:\(\))?`", prose(page)
    )
    lost = [word for word in words if not all(part in identifiers() for part in word.split("::"))]
    assert not lost or page.name in HISTORY | OTHERS, lost


@page
def test_options_of_the_command_exist(page):
    lines = re.findall(
        r"fastcka (compare|sweep \w+|extract|show|demo|info|bench)\b([^`\n]*)", page.read_text()
    )
    lost = [
        (command, option)
        for command, rest in lines
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest)
        if option not in options_of(command)
    ]
    assert not lost, lost


def test_the_api_page_has_every_public_name():
    import fastcka

    text = (ROOT / "docs" / "api.md").read_text()
    lost = [name for name in fastcka.__all__ if not re.search(rf"`{name}\b", text)]
    assert not lost, f"docs/api.md has no line for {lost}"


def test_the_map_of_the_core_has_every_file():
    text = (ROOT / "src" / "cpp" / "README.md").read_text()
    core = ROOT / "src" / "cpp"
    files = {str(file.relative_to(core).with_suffix("")) for file in core.rglob("*.?pp")}
    lost = sorted(file for file in files if f"`{file}" not in text)
    assert not lost, f"src/cpp/README.md has no line for {lost}"


def test_python_imports_point_one_way():
    """The table of docs/architecture.md has every module, and none imports from a floor below its own."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| floor | modules |") :].split("\n\n")[0].splitlines()[2:]
    floors = {name: floor for floor, line in enumerate(table) for name in re.findall(r"`(\w+)`", line)}
    package = ROOT / "src" / "fastcka"
    modules = {path.parent.name for path in package.glob("*/__init__.py")}
    modules |= {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert floors.keys() == modules
    upwards = [
        f"{path.relative_to(package)}:{node.lineno} imports {name}"
        for path in package.rglob("*.py")
        if (module := path.relative_to(package).parts[0].removesuffix(".py")) in floors
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level == len(path.relative_to(package).parts)
        for name in ([node.module.split(".")[0]] if node.module else [alias.name for alias in node.names])
        if floors.get(name, 0) > floors[module]
    ]
    assert not upwards


def test_the_version_is_everywhere_the_same():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f'version: "{version}"' in (ROOT / "tools" / "conda" / "recipe.yaml").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    eigen = re.search(r"cmeel-eigen==([\d.]+)", (ROOT / "pyproject.toml").read_text())
    assert f"Eigen {eigen[1]}\n" in (ROOT / "THIRD_PARTY_NOTICES").read_text()


# --- what the tests use --------------------------------------------------------------------------


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^(\s*)```.*?^\1```", "", page.read_text(), flags=re.S | re.M)


def exists(path: str, page: Path) -> bool:
    folders = [page.parent, *FROM]
    if "/" not in path and any(any(folder.rglob(path)) for folder in FROM[1:]):
        return True
    return any(any(folder.glob(path.rstrip("/") + suffix)) for folder in folders for suffix in SUFFIXES)


def resolves(name: str) -> bool:
    found = importlib.import_module("fastcka")
    for part in name.split(".")[1:]:
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
    return True


@cache
def identifiers() -> set[str]:
    """Every word of the tree outside of the pages."""
    patterns = (
        "src/**/*.?pp",
        "src/**/*.py*",
        "tests/**/*.?pp",
        "tests/*.py",
        "tools/*.py",
        "benchmarks/*.py",
    )
    patterns += (
        "cmake/*",
        "CMake*",
        "*.toml",
        "*.py",
        ".ci/run",
        "examples/*.py",
        "docs/conf.py",
        "benchmarks/*.c",
    )
    files = (file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file())
    files = (file for file in files if file.suffix not in (".pyc", ".so"))
    return {word for file in files for word in [file.stem, *re.findall(r"\w+", file.read_text())]}


@cache
def options_of(command: str) -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-m", "fastcka", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"--[a-z-]+", shown.stdout))


@pytest.mark.parametrize("name", ["theory", "choosing", "api"])
def test_the_tables_have_every_kernel(name):
    from fastcka.kernels import _KERNELS

    text = (ROOT / "docs" / f"{name}.md").read_text()
    for kernel in _KERNELS.values():
        word = f"`{type(kernel).__name__}(" if name == "api" else f"`{kernel.name}`"
        assert f"| {word}" in text or kernel.name == "precomputed", f"docs/{name}.md has no row for {word}"

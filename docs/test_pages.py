# SPDX-License-Identifier: BSD-3-Clause
"""Every example of the pages runs, and every path, name and option that they mention exists.

`nox -s docs` runs this after it has built the site, which finds broken links.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from stand_ins import TAKEN_FOR_GRANTED

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("src/**/README.md"),
        *ROOT.glob("benchmarks/**/*.md"),
    ]
)
HISTORY = {"CHANGELOG.md"}  # tells what was: names in it may be gone
OTHERS = {"choosing.md", "coming-from.md", "faq.md", "neuroscience.md"}  # mention names of other packages
LABELS = {"model/layer"}  # look like a path
PLANNED = {"fastcka.Cauchy"}  # the kernel that CONTRIBUTING.md shows how to add
# Folders that a path may be given from: the reader of a page about the core knows that it is about src/cpp.
FROM = [ROOT, ROOT / "src" / "cpp", ROOT / "src" / "fastcka", ROOT / "tests", ROOT / "docs"]
SUFFIXES = ["", ".py", ".hpp", ".cpp", ".md"]
PROGRAM = r"# (\w+\.py)\b"  # how a block begins that is a file of its own


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def examples(page: Path) -> tuple[str, list[str]]:
    """The page with a call of `run` for each block of Python without prompts, and these blocks.

    A block of text right behind one is what it prints. Left as they are: blocks with the name of a file in
    their first line, which test_recipes.py runs as programs.
    """
    blocks: list[str] = []

    def called(found: re.Match[str]) -> str:
        _, code, printed = found.groups()
        if code.startswith(">>>") or re.match(PROGRAM, code):
            return found[0]
        blocks.append(textwrap.dedent(code))
        return f">>> run({len(blocks) - 1})\n{printed or ''}" + "\n" * code.count("\n")

    pattern = r"^( *)```python\n(.*?)^\1```$(?:\n\n(?:<!--.*-->\n)?```text\n(.*?)^```$)?"
    text = re.sub(pattern, called, page.read_text(), flags=re.S | re.M)
    return (text if ">>> " in text else ""), blocks


def run(block: str, names: dict[str, object]) -> None:
    for line, made in TAKEN_FOR_GRANTED.items():
        if f"\n{line}" in f"\n{block}":
            names |= made(**names)
    exec(block, names)


page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)[0]], ids=name_of)
def test_examples_run_and_print_what_the_page_says(page, tmp_path, monkeypatch):
    """From top to bottom, as a reader types them: those with prompts print what follows them."""
    monkeypatch.chdir(tmp_path)
    text, blocks = examples(page)
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, page.name, str(page), 0)
    test.globs["run"] = lambda i: run(blocks[i], test.globs)
    result = doctest.DocTestRunner().run(test)
    assert (result.failed, result.attempted > 0) == (0, True)


def test_everything_that_examples_take_for_granted_is_used():
    blocks = [block for page in PAGES for block in examples(page)[1]]
    unused = [line for line in TAKEN_FOR_GRANTED if not any(f"\n{line}" in f"\n{block}" for block in blocks)]
    assert not unused


def test_the_programs_of_the_pages_are_run():
    recipes = (ROOT / "docs" / "test_recipes.py").read_text()
    programs = {name for page in PAGES for name in re.findall(f"```python\n{PROGRAM}", page.read_text())}
    assert programs
    assert all(f'"{name}"' in recipes for name in programs)


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


def test_the_api_page_says_which_functions_share_an_argument():
    import fastcka

    all_names, table = section_of_api("Arguments that the functions share").split("| argument |")
    functions = {name: inspect.signature(getattr(fastcka, name)).parameters for name in quoted(all_names)}
    found = {}
    for names, _, where in rows(table):
        listed = set(quoted(where))
        if where.startswith("all"):
            assert re.sub("`.*`", "", where).strip() in ("all", "all but")
            listed = functions.keys() - listed
        found |= dict.fromkeys(quoted(names), listed)
    taken = {name for name, value in functions["cka_matrix"].items() if value.kind is value.KEYWORD_ONLY}
    assert found == {name: {f for f in functions if name in functions[f]} for name in taken}


@pytest.mark.parametrize("name", ["CKAMatrix", "CKAModels", "StreamingCKA"])
def test_the_tables_of_a_class_have_every_attribute(name):
    import fastcka

    kind = getattr(fastcka, name)
    listed = {word for names, *_ in rows(section_of_api(name)) for word in quoted(names)}
    listed -= {name, "m"}  # m[...]
    arguments = set() if name == "CKAModels" else set(inspect.signature(kind).parameters)  # made by a call
    assert listed == arguments | attributes(kind)


@pytest.mark.parametrize(
    "name", ["CKATest", "CalibratedMax", "Plan", "Sweep", "Partial", "BestMatch", "Store", "create_store"]
)
def test_the_row_of_a_class_has_every_attribute(name):
    import fastcka
    from fastcka.store.writing import StoreWriter

    (row,) = re.findall(rf"^\| `{name}\b.*", (ROOT / "docs" / "api.md").read_text(), flags=re.M)
    kind = StoreWriter if name == "create_store" else getattr(fastcka, name)
    assert not attributes(kind) - set(quoted(row))


def section_of_api(title: str) -> str:
    text = (ROOT / "docs" / "api.md").read_text()
    return text[text.index(f"\n## {title}\n") :].split("\n## ")[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of tables, without their heads."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in re.findall(r"^\|.*\|$", text, flags=re.M)]
    lines = [[cell.strip() for cell in row] for row in cells]
    return lines[[line[0].startswith("---") for line in lines].index(True) + 1 :]


def quoted(text: str) -> list[str]:
    """The names in backticks, each up to its first bracket; of `Class.name`, the name."""
    return [word.rpartition(".")[2] for word in re.findall(r"`([A-Za-z_][\w.]*)[^`]*`", text)]


def attributes(kind: type) -> set[str]:
    """The public fields, methods and properties of a class; not those that any mapping or tuple has."""
    names = {*dir(kind), *getattr(kind, "__dataclass_fields__", ())} - {*dir(Mapping), *dir(tuple)}
    return {name for name in names if not name.startswith("_")}


def test_the_map_of_the_core_has_every_file():
    text = (ROOT / "src" / "cpp" / "README.md").read_text()
    core = ROOT / "src" / "cpp"
    files = {str(file.relative_to(core).with_suffix("")) for file in core.rglob("*.?pp")}
    lost = sorted(file for file in files if f"`{file}" not in text)
    assert not lost, f"src/cpp/README.md has no line for {lost}"


def test_python_imports_point_one_way():
    """The table of docs/architecture.md has every module, and none imports from a tier below its own."""
    tiers = table_of_tiers("| tier | modules |")
    package = ROOT / "src" / "fastcka"
    modules = {path.parent.name for path in package.glob("*/__init__.py")}
    modules |= {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert {module for tier in tiers for module in tier} == modules
    assert not list(imports_against(tiers, package))


def test_imports_of_fastcka_torch_point_one_way():
    """The same of the table of its tiers, whose first line imports the others."""
    tiers = table_of_tiers("| tier | what happens to a batch |")
    package = ROOT / "src" / "fastcka" / "torch"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert folders | modules <= {module for tier in tiers for module in tier}
    assert not list(imports_against(tiers[::-1], package))


def table_of_tiers(head: str) -> list[set[str]]:
    """The names of each line of a table of docs/architecture.md, from top to bottom."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [set(re.findall(r"`(\w+)`", line)) for line in table]


def imports_against(tiers: list[set[str]], package: Path) -> Iterator[str]:
    """Where a module of an earlier tier imports from a later one."""
    number = {name: i for i, tier in reversed([*enumerate(tiers)]) for name in tier}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).parts
        module = parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if module in number and isinstance(node, ast.ImportFrom) and node.level == len(parts):
                names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
                for name in names:
                    if number.get(name, 0) > number[module]:
                        yield f"{'/'.join(parts)}:{node.lineno} imports {name}"


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

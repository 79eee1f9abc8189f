# SPDX-License-Identifier: BSD-3-Clause
"""Type checkers accept every Python example: of README.md, docs/*.md and the docstrings.

Run as: python tools/check_examples.py; needs mypy and, from PyPI, pyright[nodejs]. Each document becomes a
module whose lines are those of the document, so that messages show where to look. Examples that show an error
are left out, since what they do may be wrong on purpose.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Names that examples use without making them, and what they stand for.
GIVEN = """
import functools
import operator
import itertools
from typing import Any
import numpy as np
import fastcka
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from fastcka import CKAMatrix

Layers = dict[str, np.ndarray]
X: np.ndarray
Y: np.ndarray
layers_a: Layers
layers_b: Layers
trained: list[Layers]
untrained: list[Layers]
matrix: CKAMatrix
matrices: list[CKAMatrix]
across: CKAMatrix
kernel: fastcka.RBF
ax: Axes
model: torch.nn.Module
model_a: torch.nn.Module
model_b: torch.nn.Module
resnet: torch.nn.Module
vit: torch.nn.Module
network: torch.nn.Module
networks: list[torch.nn.Module]
convolutional: torch.nn.Module
transformer: torch.nn.Module
loader: Any
held_out: Any
clean: Any
noisy: Any
layers: str
def resize(images: Any) -> Any: ...
def tokenizer_b(texts: Any, *, padding: bool, return_tensors: str) -> Any: ...
"""


def of_document(text: str) -> dict[int, str]:
    """Return the lines of code in Markdown, by line number."""
    lines = {}
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        first = text.count("\n", 0, block.start(1)) + 1
        if block[1].startswith(">>>"):
            lines |= of_prompts(block[1], first)
        else:
            lines |= dict(enumerate(block[1].splitlines(), first))
    return lines


def of_prompts(text: str, first: int) -> dict[int, str]:
    """Return the lines of code behind prompts, by line number."""
    lines = {}
    for example in doctest.DocTestParser().get_examples(text):
        if example.exc_msg is None:
            lines |= dict(enumerate(example.source.splitlines(), first + example.lineno))
    return lines


def docstrings(path: Path) -> dict[int, dict[int, str]]:
    """Return the examples of each docstring in a module, by the line where it begins."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            expression = node.body[0]
            assert isinstance(expression, ast.Expr)
            assert isinstance(expression.value, ast.Constant)
            if lines := of_prompts(expression.value.value, expression.lineno):
                found[expression.lineno] = lines
    return found


def module(lines: dict[int, str], home: Path | None = None) -> str:
    """Return a module with these lines at their places; on the first, imports of the names it does not make.

    Names come from the module `home` where that has them, and are given otherwise.
    """
    text = "\n".join(lines.get(i, "") for i in range(1, max(lines) + 1))
    tree = ast.parse(text)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)} | _bound(tree)
    missing = {node.id for node in names} - stored - set(dir(builtins))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.alias)]
    imports.sort(key=lambda alias: alias.lineno, reverse=True)  # of several imports, the first counts
    imported = {_local(alias): alias.lineno for alias in imports}
    missing |= {node.id for node in names if node.lineno < imported.get(node.id, 0)}  # used first
    known = missing & _bound(ast.parse(home.read_text(encoding="utf-8"))) if home else set()
    origins = {"given": missing - known}
    if home and known:
        parts = home.relative_to(ROOT / "src").with_suffix("").parts
        origins[".".join(part for part in parts if part != "__init__")] = known
    first = (f"from {origin} import {', '.join(sorted(of))}" for origin, of in origins.items() if of)
    return "; ".join(first) + text + "\n"


def _bound(tree: ast.Module) -> set[str]:
    """Return the names that are bound by imports, definitions and arguments."""
    bound = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            bound.add(_local(node))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return bound


def _local(alias: ast.alias) -> str:
    """Return the name that an import binds."""
    return (alias.asname or alias.name).partition(".")[0]


def write(folder: Path) -> int:
    """Write a module for each document and each docstring; return how many."""
    documents = {path: of_document(path.read_text(encoding="utf-8")) for path in (ROOT / "docs").glob("*.md")}
    documents[ROOT / "README.md"] = of_document((ROOT / "README.md").read_text(encoding="utf-8"))
    modules = {_name(path): module(lines) for path, lines in documents.items() if lines}
    for path in (ROOT / "src" / "fastcka").rglob("*.py"):
        for line, lines in docstrings(path).items():
            modules[f"{_name(path)}_{line}"] = module(lines, path)
    (folder / "given.py").write_text(GIVEN, encoding="utf-8")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return len(modules)


def _name(path: Path) -> str:
    return re.sub(r"\W", "_", str(path.relative_to(ROOT).with_suffix("")))


def main() -> int:
    """Run both type checkers; return the worse of their exit statuses."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{write(folder)} modules of examples")
        settings = {
            "extraPaths": [str(ROOT / "src")],
            "reportMissingImports": False,  # extras need not be there
            "reportMissingModuleSource": False,
            "reportUnusedExpression": False,  # what a prompt shows
        }
        (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        config = (
            f"[mypy]\nmypy_path = {ROOT / 'src'}\nignore_missing_imports = True\nfollow_imports = silent\n"
        )
        (folder / "mypy.ini").write_text(config, encoding="utf-8")
        mypy = ["mypy", "--config-file", "mypy.ini", "--check-untyped-defs", "--allow-redefinition", "."]
        status = [
            subprocess.run([sys.executable, "-m", *command], cwd=folder, check=False).returncode
            for command in (mypy, ["pyright", "--pythonpath", sys.executable])
        ]
    return max(status)


if __name__ == "__main__":
    sys.exit(main())

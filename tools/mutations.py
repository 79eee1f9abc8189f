# SPDX-License-Identifier: BSD-3-Clause
"""Plant known bugs, one at a time: the tests must find each. A test that cannot fail is not a test.

Run as: python tools/mutations.py [WORDS]. Only bugs whose file or text has one of the words are planted. The
tree is copied to a temporary folder; Python bugs run the tests on the copy, bugs of the core build it first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Bug(NamedTuple):
    file: str
    right: str  # occurs once
    wrong: str
    found_by: str  # a test file, or for the core a word in the names of its tests


BUGS = [
    # The core.
    Bug("src/cpp/measures/hsic.cpp", "1 / (n * (n - 3))", "1 / (n * (n - 2))", "hsic"),
    Bug("src/cpp/measures/hsic.cpp", "sums.rows * (2 / (n - 2))", "sums.rows * (2 / (n - 1))", "hsic"),
    Bug("src/cpp/sums/sum_tree.hpp", "if (node.number < sibling) {", "if (node.number > sibling) {", "tree"),
    Bug("src/cpp/sums/gram_sweep.cpp", "std::min(rows, all - i)", "std::min(rows - 1, all - i)", "pairwise"),
    Bug("src/cpp/simd/tuning.hpp", "carry_interval = 2048", "carry_interval = 1 << 20", "tile"),
    # Python.
    Bug("src/fastcka/_arrays.py", "if dtype.isnative and aligned:", "if aligned:", "hostile"),
    Bug(
        "src/fastcka/_files.py",
        "os.replace(temporary, target)",
        "Path(target).write_bytes(Path(temporary).read_bytes())",
        "results",
    ),
    Bug("src/fastcka/reference.py", "comb(", "(lambda *a: 1 + comb(*a))(", "reference"),
]


def survives(bug: Bug, tree: Path) -> bool:
    """Whether the tests pass in spite of the bug."""
    file = tree / bug.file
    text = file.read_text()
    if text.count(bug.right) != 1:
        sys.exit(f"{bug.file} does not have {bug.right!r} once: bring tools/mutations.py up to date")
    file.write_text(text.replace(bug.right, bug.wrong))
    try:
        return tests_of_core(bug, tree) if bug.file.endswith("pp") else tests_of_python(bug, tree)
    finally:
        file.write_text(text)


def tests_of_core(bug: Bug, tree: Path) -> bool:
    build = ("cmake", "--build", "--preset", "default", "--target", "fastcka_core_tests")
    subprocess.run(
        ["cmake", "--preset", "default", f"-DPython_EXECUTABLE={sys.executable}"],
        cwd=tree,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(build, cwd=tree, check=True, stdout=subprocess.DEVNULL)
    program = tree / "build" / "default" / "tests" / "cpp" / "fastcka_core_tests"
    return subprocess.run([program, bug.found_by], stdout=subprocess.DEVNULL, check=False).returncode == 0


def tests_of_python(bug: Bug, tree: Path) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "--exitfirst", "-q", f"tests/test_{bug.found_by}.py"]
    return (
        subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, check=False).returncode
        == 0
    )


def main() -> None:
    import fastcka._core  # the compiled module, which Python bugs run on

    bugs = [bug for bug in BUGS if not sys.argv[1:] or any(word in str(bug) for word in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "fastcka"
        ignored = shutil.ignore_patterns("build", ".*venv*", ".nox", ".git", "*.so", "__pycache__")
        shutil.copytree(ROOT, tree, ignore=ignored)
        shutil.copy(fastcka._core.__file__, tree / "src" / "fastcka")
        survivors = []
        for bug in bugs:
            found = not survives(bug, tree)
            print(f"{'found' if found else 'NOT FOUND'}: {bug.file}: {bug.right} -> {bug.wrong}", flush=True)
            survivors += [] if found else [bug]
    print(f"{len(bugs) - len(survivors)} of {len(bugs)} bugs found")
    if survivors:
        sys.exit(1)


if __name__ == "__main__":
    main()

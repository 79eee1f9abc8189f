# SPDX-License-Identifier: BSD-3-Clause
"""Plant known bugs, one at a time: the tests must find each. A test that cannot fail is not a test.

Run as: python tools/mutations.py [WORDS]. Only bugs whose file or text has one of the words are planted. The
tree is copied to a temporary folder; Python bugs run the tests on the copy, bugs of the core build it first.
With --check, nothing is planted: each bug must only be of the code and of the tests as they are.
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
    Bug(
        "src/cpp/measures/hsic.cpp", "sums.full_totals / (n * n)", "sums.full_totals / (n * (n - 1))", "hsic"
    ),
    Bug(
        "src/cpp/sums/sums.cpp",
        "terms.centred ? diagonals : product(terms.row_sums)",
        "terms.centred ? diagonals : product(terms.full)",
        "hsic",
    ),
    Bug("src/cpp/compare/finish.cpp", "if (gram_) products_ *= 2;", "if (gram_) products_ *= 1;", "pairwise"),
    Bug(
        "src/cpp/compare/finish.cpp",
        "products_(set_.rows() * set_.columns() + l)",
        "products_(set_.rows() * set_.columns() + l % set_.rows())",
        "pairwise",
    ),
    Bug(
        "src/cpp/sums/gram_blocks.hpp",
        "if (centred_ && !of.squared_norms().empty())",
        "if (false)",
        "diagonals",
    ),
    Bug("src/cpp/sums/linear_sums.cpp", "z << -2 * of_mean", "z << 2 * of_mean", "stream"),
    Bug(
        "src/cpp/sums/moment_block.cpp",
        "2 * factor * vector_of(sums.projections)",
        "factor * vector_of(sums.projections)",
        "stream",
    ),
    Bug(
        "src/cpp/sums/block_sums.cpp",
        "(row == column ? 1 : 2) * of_block(block)",
        "(row == column ? 2 : 2) * of_block(block)",
        "pairwise",
    ),
    Bug("src/cpp/layers/panel_tiles.cpp", "if (!near && self < 0) continue;", "if (!near) continue;", "gram"),
    Bug(
        "src/cpp/kernels/polynomial.hpp",
        "(2 * layer.largest_projection + std::ranges::max(layer.squared_norms))",
        "std::ranges::max(layer.squared_norms)",
        "polynomial",
    ),
    Bug("src/cpp/kernels/polynomial.hpp", "a * b_k + b * a_k", "a * b_k", "polynomial"),
    Bug("src/cpp/sums/plan_gram.cpp", "layers >= many_layers", "layers >= width_", "plan"),
    Bug("src/cpp/sums/plan_gram.cpp", "if (plan_.shared_block) return best;", "return best;", "plan"),
    Bug("src/cpp/sums/median_round.cpp", "all.back().last == range.first", "true", "median_round"),
    Bug(
        "src/cpp/sums/median_round.cpp",
        "if (wide_ || layer->needs_float64 || suits_float32",
        "if (true || suits_float32",
        "median_round",
    ),
    Bug(
        "src/cpp/layers/distance_blocks.hpp",
        "return diagonal ? i + 1 : 0;",
        "return diagonal ? i : 0;",
        "median",
    ),
    Bug("src/cpp/layers/bandwidth.cpp", "below += key < lowest;", "below += key <= lowest;", "median"),
    Bug("src/cpp/layers/bandwidth.cpp", "if (shift > 0) {", "if (shift > 9) {", "median"),
    Bug(
        "src/cpp/layers/bandwidth.cpp",
        "if (ranks.first() < below)",
        "if (ranks.first() + 1 < below)",
        "median",
    ),
    Bug(
        "src/cpp/layers/bandwidth.cpp",
        "else if (ranks.first() >= beyond)",
        "else if (ranks.first() > beyond)",
        "median",
    ),
    Bug("src/cpp/layers/panel_tiles.cpp", "to * samples_ / count", "to", "median_of_samples_in_strips"),
    Bug(
        "src/cpp/layers/bandwidth.cpp",
        "ranks.second() < beyond ? at(ranks.second())",
        "ranks.second() < beyond ? at(ranks.first())",
        "median",
    ),
    Bug("src/cpp/layers/origin.cpp", "i * view.rows / count", "i", "origin"),
    Bug("src/cpp/layers/origin.cpp", "first = apart % sorted", "first = 0", "origin"),
    Bug("src/cpp/layers/origin.cpp", "elsewhere <= 1 ? median : 0", "elsewhere <= 99 ? median : 0", "origin"),
    Bug("src/cpp/sums/massive_rows.cpp", "a.share > b.share", "a.share < b.share", "massive"),
    Bug("src/cpp/sums/sum_tree.hpp", "nodes = (nodes + 1) / 2", "nodes = nodes / 2", "tree"),
    Bug(
        "src/cpp/sums/feature_sweep.cpp",
        "(tile.left == tile.right ? 2 : 1) *",
        "1 *",
        "feature_route",
    ),
    Bug(
        "src/cpp/sums/feature_sweep.cpp",
        "(row == column ? 1 : 2) * operations",
        "(row == column ? 2 : 2) * operations",
        "feature_route",
    ),
    Bug(
        "src/cpp/measures/cka.cpp",
        "value * known_up_to < magnitude",
        "value * known_up_to > magnitude",
        "float64",
    ),
    Bug(
        "src/cpp/inference/jackknife.cpp",
        "all - 2 * product + within, rows",
        "all - product + within, rows",
        "second",
    ),
    Bug("src/cpp/inference/jackknife.cpp", "(1 - 1 / factor) * deviation", "deviation", "second"),
    Bug("src/cpp/inference/jackknife.cpp", "1 / ((m - 1) * (m - 2))", "1 / (m * (m - 2))", "second"),
    Bug(
        "src/cpp/simd/panels.hpp",
        "return (values[j] - high[j]) - low[j];",
        "return values[j] - high[j];",
        "mean",
    ),
    Bug(
        "src/cpp/simd/panels.hpp",
        "factors ? Wide{} + factors[k] : value",
        "factors ? value : value",
        "pairwise",
    ),
    Bug(
        "src/cpp/simd/maps.hpp",
        "d2 < static_cast<T>(near_distance) * norms",
        "d2 < T(0)",
        "near_samples",
    ),
    Bug("src/cpp/simd/maps.hpp", "std::fill(values + columns, values + W, T(0));", "", "beyond_the_edge"),
    Bug("src/cpp/base/parallel.cpp", "if (!failure_) failure_ =", "failure_ =", "team"),
    Bug("src/cpp/compare/stream.cpp", "massive_.shares.resize(", "static_cast<void>(", "saved"),
    Bug(
        "src/cpp/compare/stream.cpp",
        "if (other.pending_.count() > 0) absorb",
        "if (other.pending_.count() > 1) absorb",
        "merge",
    ),
    Bug("src/cpp/base/buffer.cpp", "header->bytes > kept_bytes)", "header->bytes > 0)", "buffer"),
    # Python.
    Bug(
        "src/fastcka/_arrays.py",
        "array.dtype.isnative and bool(array.flags.aligned)",
        "bool(array.flags.aligned)",
        "inputs",
    ),
    Bug(
        "src/fastcka/_files.py",
        "os.replace(temporary, target)",
        "Path(target).write_bytes(Path(temporary).read_bytes())",
        "results",
    ),
    Bug("src/fastcka/reference/digits.py", "comb(", "(lambda *a: 1 + comb(*a))(", "reference"),
    Bug(
        "src/fastcka/_streams/minibatch.py",
        'weight = 1.0 if self._settings.weights == "equal"',
        'weight = 1.0 if self._settings.weights != "equal"',
        "streaming",
    ),
    Bug("src/fastcka/_streams/minibatch.py", "float(n * (n - 3))", "float(n * (n - 1))", "streaming"),
    Bug("src/fastcka/_streams/minibatch.py", "else mine | other._state[name]", "else mine", "streaming"),
    Bug(
        "src/fastcka/_streams/minibatch.py",
        "variance = 2 / (n * (n - 3))",
        "variance = 2 / (n * (n - 1))",
        "stream_inference",
    ),
    Bug("src/fastcka/_samples.py", "set(index) == set(reference)", "index is not None", "samples"),
    Bug(
        "src/fastcka/_permutation_moments.py",
        "z.spread + z.total**2 / (n - 1)",
        "z.spread - z.total**2 / (n - 1)",
        "inference",
    ),
    Bug("src/fastcka/_permutation_moments.py", "third / variance**1.5", "third / variance", "inference"),
    Bug(
        "src/fastcka/_tails.py",
        "(known & ~normal & (skewness < 0), -1.0)",
        "(known & ~normal & (skewness < 0), 1.0)",
        "inference",
    ),
    Bug("src/fastcka/store/lock.py", "os.O_NOFOLLOW | ", "", "store"),
    Bug(
        "src/fastcka/store/lock.py",
        "if not stat.S_ISREG(os.fstat(descriptor).st_mode):",
        "if False:",
        "store",
    ),
    Bug("src/fastcka/_files.py", "if not stat.S_ISREG(path.stat().st_mode):", "if False:", "store"),
    Bug("src/fastcka/_values.py", "MOST_EXACT = 2**53", "MOST_EXACT = 2**63", "samples"),
    Bug("src/fastcka/results/page.py", 'encode(errors="backslashreplace")', "encode()", "report"),
    Bug("src/fastcka/results/containers.py", '.encode(errors="backslashreplace")', ".encode()", "results"),
    Bug(
        "src/fastcka/_archive.py",
        "file.tell() + math.prod(shape) * dtype.itemsize != info.file_size",
        "False",
        "saved_files",
    ),
    Bug("src/fastcka/streaming.py", "with first._lock, second._lock:", "with first._lock:", "streaming"),
    Bug(
        "src/fastcka/reference/__init__.py",
        "K0 - r[:, None] / (n - 2)",
        "K0 - r[:, None] / (n - 1)",
        "reference",
    ),
    Bug(
        "src/fastcka/_pairwise.py",
        "named, more = degenerate[:5]",
        "named, more = degenerate[:4]",
        "degenerate",
    ),
    Bug(
        "src/fastcka/_groups.py",
        'np.argsort(numbers.reshape(-1), kind="stable")',
        "np.arange(n)",
        "inference",
    ),
    Bug(
        "src/fastcka/_partial.py",
        "max(mine.start, theirs.start), min(mine.stop, theirs.stop)",
        "max(mine.start, theirs.start), min(mine.start, theirs.stop)",
        "sweep",
    ),
    Bug("src/fastcka/_checkpoint.py", 'found["scales"][0] == known["scales"][i]', "True", "checkpoint"),
]


def check(bug: Bug) -> None:
    """Exit when a bug is not one of this tree any more."""
    if (ROOT / bug.file).read_text().count(bug.right) != 1:
        sys.exit(f"{bug.file} does not have {bug.right!r} once: bring tools/mutations.py up to date")
    core = bug.file.endswith("pp")
    if not core and not (ROOT / "tests" / f"test_{bug.found_by}.py").exists():
        sys.exit(f"no tests: {bug.found_by}")


def survives(bug: Bug, tree: Path) -> bool:
    """Whether the tests pass in spite of the bug."""
    file = tree / bug.file
    text = file.read_text()
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
    if subprocess.run(build, cwd=tree, check=False, stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"does not compile: {bug.wrong}")
    program = tree / "build" / "default" / "tests" / "cpp" / "fastcka_core_tests"
    return passes([program, bug.found_by], {}, tree, no_tests=2)


def tests_of_python(bug: Bug, tree: Path) -> bool:
    environment = {"PYTHONPATH": str(tree / "src"), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "--exitfirst", "-q", f"tests/test_{bug.found_by}.py"]
    return passes(command, environment, tree, no_tests=4)


def passes(command: list[str | Path], environment: dict[str, str], tree: Path, no_tests: int) -> bool:
    """Whether tests pass; there must be some."""
    code = subprocess.run(
        command, cwd=tree, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=False
    ).returncode
    if code == no_tests:
        sys.exit(f"no tests: {command[-1]}")
    return code == 0


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--check"]
    bugs = [bug for bug in BUGS if not words or any(word in str(bug) for word in words)]
    for bug in bugs:
        check(bug)
    if "--check" in sys.argv:
        return
    import fastcka._core  # the compiled module, which Python bugs run on

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

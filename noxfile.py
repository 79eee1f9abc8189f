# SPDX-License-Identifier: BSD-3-Clause
"""Every task of development: `nox --list` shows them, `nox` runs the quick ones, `.ci/run` what must pass.

Versions of tools stand in pyproject.toml: dependency groups, and the build requirements.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"  # in one second; venv takes six
nox.options.sessions = ["lint", "tests"]
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).resolve().parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
BUILD = [*PYPROJECT["build-system"]["requires"], "cmake", "ninja"]
PYTHONS = ["3.11", "3.12", "3.13"]
LATEST = PYTHONS[-1]


def test_files(*names: str) -> list[str]:
    """Paths of test files."""
    return [f"tests/test_{name}.py" for name in names]


# What can differ between SIMD levels, between versions of Python; what may touch memory that is not its own.
NUMERIC = test_files("agreement", "mathematics")
PYTHON_SPECIFIC = [
    *test_files("bad_input", "citizen", "half", "inputs", "interpreters", "layers", "reference", "results"),
    *test_files("memory_limit", "processes", "saved_files", "store", "threads"),
]
HOSTILE = test_files("bad_input", "damaged", "hostile", "hostile_state")

# Groups of C++ tests that run under valgrind in CI, a word for each.
VALGRIND = [["pack"], ["stream_is"], ["streams_merge"], ["median_is"]]

# Two test workers share two cores: threads that wait for others must not spin meanwhile.
PATIENT = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}


def succeeds(*command: str | Path) -> bool:
    """Whether a command exists and ends with success."""
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def group(name: str) -> list[str]:
    """Requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(PYPROJECT, name)


def pytest(
    session: nox.Session,
    *arguments: str | Path,
    python: str | Path = "python",
    env: dict[str, str] | None = None,
) -> None:
    """Pytest with two workers, unless PYTEST_ADDOPTS says otherwise."""
    workers = os.environ.get("PYTEST_ADDOPTS", "--numprocesses=2 --dist=worksteal")
    environment = {"PYTEST_ADDOPTS": workers, **PATIENT, **(env or {})}
    session.run(
        python, "-m", "pytest", *arguments, *session.posargs, env=environment, external=python != "python"
    )


def requirements(extra: str) -> list[str]:
    """What the package and one of its extras need, without the package."""
    found = list(PYPROJECT["project"]["dependencies"])
    for requirement in PYPROJECT["project"]["optional-dependencies"][extra]:
        if requirement.startswith("fastcka["):
            inner = requirement.removeprefix("fastcka[").removesuffix("]").split(",")
            found += [needed for extra in inner for needed in requirements(extra)]
        else:
            found.append(requirement)
    return found


def install_package(session: nox.Session, extra: str) -> None:
    """The package with an extra: out of the wheel that FASTCKA_WHEEL names, or built from this checkout."""
    session.install(f"{os.environ.get('FASTCKA_WHEEL') or '.'}[{extra}]")


# --- every day -----------------------------------------------------------------------------------


@nox.session(python=False)
def develop(session: nox.Session) -> None:
    """Make .venv: the package with live Python files, and the tools of lint; again when the core changes."""
    python = ROOT / ".venv" / "bin" / "python"
    if not python.exists():
        session.run("python3", "-m", "venv", ".venv")
    pip = (str(python), "-m", "pip", "install")
    session.run(*pip, "--upgrade", "pip")
    session.run(*pip, *BUILD, *group("lint"))
    session.run(*pip, "--no-build-isolation", "--editable", ".[test]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types of Python and C++, types of all examples, security of the hosted workflows."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("python", "tools/check_examples.py")
    sources = [*ROOT.glob("src/cpp/**/*.?pp"), *ROOT.glob("tests/cpp/*.?pp")]
    session.run("clang-format", "--dry-run", "-Werror", *sources, log=False)
    session.run("zizmor", "--offline", "--quiet", ".github/workflows")
    for schema, files in {
        "github-workflows": ".github/workflows/*.yml",
        "dependabot": ".github/dependabot.yml",
        "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
        "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
        "citation-file-format": "CITATION.cff",
    }.items():
        options = ("--builtin-schema", f"vendor.{schema}", "--default-filetype", "yaml")
        session.run("check-jsonschema", *options, *ROOT.glob(files))
    session.run("python", "tools/mutations.py", "--check")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The Python tests, against the installed package; arguments go to pytest."""
    install_package(session, "test")
    pytest(session)


def install_with_torch(session: nox.Session) -> None:
    """The package and PyTorch, whose pinned version goes first: asked for later, pip may take another."""
    extra = PYPROJECT["project"]["optional-dependencies"]["test-torch"]
    session.install(*(requirement for requirement in extra if requirement.startswith("torch==")))
    install_package(session, "test-torch")


@nox.session(python="3.11")
def torch(session: nox.Session) -> None:
    """The test files with PyTorch in them, with PyTorch: none may be skipped."""
    install_with_torch(session)
    files = [file for file in ROOT.glob("tests/test_*.py") if 'importorskip("torch")' in file.read_text()]
    pytest(session, "--quiet", *sorted(files), env={"FASTCKA_NO_SKIPS": "1"})


@nox.session(python="3.11")
def levels(session: nox.Session) -> None:
    """The numeric tests at every SIMD level below the highest of this machine, where all other tests run."""
    needed = PYPROJECT["tool"]["cibuildwheel"]["test-requires"]  # all that numeric tests import
    session.install(os.environ.get("FASTCKA_WHEEL") or ".", "pytest-xdist", *needed)
    config = "from fastcka import _core; config = _core.config()"
    lower = f"{config}; print(*(level for level in config['simd_levels'] if level != config['simd_level']))"
    found = session.run("python", "-c", lower, silent=True)
    for level in (found or "").split():
        environment = {"FASTCKA_SIMD_LEVEL": level}
        session.run("python", "-c", f"{config}; assert config['simd_level'] == '{level}'", env=environment)
        pytest(session, "--quiet", *NUMERIC, env=environment)


# --- the core ------------------------------------------------------------------------------------


def build_core(session: nox.Session, preset: str, *, module: bool = False) -> None:
    """Configure and build a CMake preset in build/PRESET, with the Python module or without."""
    session.install(*BUILD)
    options = [f"-DPython_EXECUTABLE={shutil.which('python', path=session.bin)}"]
    if module:
        pybind11 = session.run("python", "-m", "pybind11", "--cmakedir", silent=True)
        options += ["-DFASTCKA_BUILD_MODULE=ON", f"-Dpybind11_DIR={(pybind11 or '').strip()}"]
    session.run("cmake", "--preset", preset, *options)
    session.run("cmake", "--build", "--preset", preset)


@nox.session
@nox.parametrize("preset", ["default", "asan", "tsan"])
def core(session: nox.Session, preset: str) -> None:
    """The C++ tests: optimised, under the address and under the thread sanitizer.

    Also: no SIMD level leaks into another. When optimised: each is what it claims, and the Python module
    exports nothing but its entry point.
    """
    if preset == "tsan" and not thread_sanitizer_works(session):
        stop = (
            session.error if os.environ.get("CI") else session.skip
        )  # in CI, what is not run has not passed
        stop("this compiler or kernel cannot run the thread sanitizer")
    build_core(session, preset, module=preset == "default")
    session.run("ctest", "--preset", preset)
    session.run("python", "tools/check_symbols.py", f"build/{preset}")
    if preset == "default":
        session.run("python", "tools/check_instructions.py", "build/default")


def thread_sanitizer_works(session: nox.Session) -> bool:
    """Whether an empty program compiles and runs: not with every compiler and kernel."""
    source = Path(session.create_tmp()) / "empty.cpp"
    source.write_text("int main() {}\n")
    program = source.with_suffix("")
    return succeeds(os.environ.get("CXX", "c++"), "-fsanitize=thread", source, "-o", program) and succeeds(
        program
    )


@nox.session
def hostile(session: nox.Session) -> None:
    """Numeric tests and hostile input, on a module built with address and undefined-behaviour sanitizers."""
    session.install(*requirements("test"))  # the package itself comes from below
    build_core(session, "asan", module=True)
    package = Path(session.create_tmp()) / "fastcka"  # sources and sanitized module together, as if installed
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree("src/fastcka", package, ignore=shutil.ignore_patterns("*.so"))
    for module in ROOT.glob("build/asan/_core*.so"):
        shutil.copy(module, package)
    # The sanitizer first of all libraries; behind it the one whose exceptions it watches.
    preloaded = [
        subprocess.check_output(["c++", f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    environment = {
        "PYTHONPATH": str(package.parent),
        "LD_PRELOAD": " ".join(preloaded),
        # Python frees little at exit; absurd sizes are to fail as they do without a sanitizer.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "FASTCKA_EXAMPLES": os.environ.get("FASTCKA_EXAMPLES", "50"),
    }
    files = [*NUMERIC, *HOSTILE]
    pytest(session, "--quiet", *files, env=environment)


@nox.session
@nox.parametrize("part", ["short", "all"])
def valgrind(session: nox.Session, part: str) -> None:
    """Memory errors in the C++ tests, uninitialised values among them: some of the tests, or by hand all.

    All take half an hour; arguments choose groups. Values are not judged: to valgrind, the extended precision
    of the tests is float64. It knows no AVX-512.
    """
    preset = "default" if part == "short" else "valgrind"
    build_core(session, preset)
    logs = ROOT / "build" / preset / "valgrind-logs"  # one for each process: some tests fork
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    program = f"build/{preset}/tests/cpp/fastcka_core_tests"
    options = ("--quiet", "--track-origins=yes", f"--log-file={logs}/%p")
    for words in VALGRIND if part == "short" else [session.posargs]:
        session.run(
            *("valgrind", *options, program, *words),
            external=True,
            env={"FASTCKA_SIMD_LEVEL": "v3", **PATIENT},
            success_codes=[0, 1],  # 1: values differ
        )
    if found := "".join(log.read_text() for log in logs.iterdir()):
        session.error(found)


@nox.session
@nox.parametrize("target", ["pairwise", "pieces"])
def fuzz(session: nox.Session, target: str) -> None:
    """Search for input that breaks the core: libFuzzer with sanitizers, guided by coverage; needs clang++.

    Half a minute each, or as arguments for libFuzzer say: `nox -s fuzz -- -runs=500000`. By hand and on
    the hosted machines; in .ci/run, the C++ tests give the same functions random bytes.
    """
    build_core(session, "fuzz")
    corpus = ROOT / "build" / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    limits = session.posargs or ["-max_total_time=30"]
    options = ("-max_len=4096", "-print_final_stats=1", "-timeout=60", "-rss_limit_mb=4096")
    session.run(f"build/fuzz/tests/cpp/fastcka_fuzz_{target}", *options, *limits, str(corpus), external=True)


@nox.session
def mutations(session: nox.Session) -> None:
    """Plant known bugs, one after the other: the tests must fail on each. By hand: it takes an hour."""
    session.install(*BUILD, ".[test]")
    session.run("python", "tools/mutations.py", *session.posargs)


# --- what users get ------------------------------------------------------------------------------


@nox.session
def sdist(session: nox.Session) -> None:
    """The source archive, with the Eigen headers in it, into dist/."""
    session.install(*BUILD, *group("wheels"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--no-isolation", "--outdir", "dist")


@nox.session(python=PYTHONS, requires=["sdist"])
def wheels(session: nox.Session) -> None:
    """A wheel from the sdist into dist/: built without a network, checked, and tested away from the sources.

    By all tests for the last version; that for the first one is tested by levels, torch and docs, which
    install it in .ci/run. Such a wheel is for this machine's C library and later ones; those to publish come
    from cibuildwheel.
    """
    session.install(*(requirement for requirement in BUILD if "eigen" not in requirement), *group("wheels"))
    work = ROOT / "build" / "wheel"  # the same for each version: ccache knows most of the core by then
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (archive,) = ROOT.glob("dist/fastcka-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(work, filter="data")
    (source,) = work.glob("fastcka-*")

    cut_off = ("unshare", "--net") if succeeds("unshare", "--net", "true") else ()
    offline = ("--no-build-isolation", "--no-index", "--no-deps", "--no-cache-dir")
    built, repaired = work / "built", work / "repaired"
    pip = ("python", "-m", "pip", "wheel")
    session.run(*cut_off, *pip, *offline, "--wheel-dir", built, source, external=True)
    session.run("check-wheel-contents", *built.glob("*.whl"))
    session.run("auditwheel", "repair", "--wheel-dir", repaired, *built.glob("*.whl"))
    (wheel,) = repaired.glob("*.whl")
    session.run("python", "tools/check_wheel.py", wheel)
    shutil.copy(wheel, "dist")
    session.run("twine", "check", "--strict", archive, wheel)

    if session.python == PYTHONS[0]:
        return
    shutil.copytree("tests", work / "suite" / "tests")
    shutil.copy("pyproject.toml", work / "suite")
    clean = work / "clean" / "bin" / "python"
    session.run("python", "-m", "venv", "--without-pip", clean.parent.parent)
    session.run("python", "-m", "pip", "--python", clean, "install", "--quiet", f"{wheel}[test]")
    files = ["tests"] if session.python == LATEST else PYTHON_SPECIFIC
    with session.chdir(work / "suite"):
        pytest(session, "--quiet", *files, python=clean)


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """The documentation site in build/site, with warnings as errors; then its examples, paths and names."""
    install_with_torch(session)
    session.install(*group("docs"))
    session.run(
        "python", "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "docs", "build/site"
    )
    pytest(session, "--quiet", "docs")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Times against NumPy, torch and other packages; arguments go to benchmarks/run_all.py."""
    session.install(".[bench]")
    session.run("python", "benchmarks/run_all.py", *(session.posargs or ["--out", "build/benchmarks.json"]))

# SPDX-License-Identifier: BSD-3-Clause
"""Tasks for development: `nox` runs the tests and the checks, `nox --list` shows the rest."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the Python tests against the installed package."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    session.install("pre-commit")
    session.run("pre-commit", "run", "--all-files", *session.posargs)


@nox.session
@nox.parametrize("preset", ["default", "asan", "tsan"])
def core(session: nox.Session, preset: str) -> None:
    """Build and run the C++ tests with a CMake preset."""
    session.install("cmake", "cmeel-eigen==3.4.1", "ninja")
    session.run("cmake", "--preset", preset)
    session.run("cmake", "--build", "--preset", preset)
    session.run("ctest", "--preset", preset)

# SPDX-License-Identifier: BSD-3-Clause
"""Random numbers that repeat, what is being tested on what, and how hard hypothesis looks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest

import fastcka
from fastcka import _core

# No deadline: the first call of a session starts threads and loads code, and machines are shared. Few
# examples keep the suite short, for most properties are asked of every kernel, route and precision; CI draws
# the same ones every time, a developer new ones, and FASTCKA_EXAMPLES=1000 more of them.
hypothesis.settings.register_profile(
    "fastcka",
    deadline=None,
    max_examples=int(os.environ.get("FASTCKA_EXAMPLES", "10")),
    derandomize="CI" in os.environ,
    print_blob=True,
)
hypothesis.settings.load_profile("fastcka")


def pytest_report_header() -> str:
    config = _core.config()
    levels = ", ".join(config["simd_levels"])
    return (
        f"fastcka {fastcka.__version__}: SIMD level {config['simd_level']} (of {levels}), "
        f"{fastcka.get_num_threads()} threads, {config['openmp']}, Eigen {config['eigen']}, "
        f"compiler {config['compiler']}, {config['build_type']} build; NumPy {np.__version__}"
    )


@pytest.fixture
def rng(request) -> np.random.Generator:
    """Random numbers: others for each test, the same for all cases of a test and in every run."""
    return np.random.default_rng(list(request.node.originalname.encode()))


@pytest.fixture(autouse=True, scope="module")
def _one_thread_of_torch(request) -> Iterator[None]:
    """Let torch compute tests of fastcka.torch with one thread: for tiny tensors, threads only wait."""
    if not request.module.__name__.startswith("test_torch"):
        yield
        return
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_sessionfinish(session) -> None:
    """With FASTCKA_NO_SKIPS, a skipped test is a failure: all that it could need is there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if "FASTCKA_NO_SKIPS" in os.environ and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def made_blocks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The blocks of sweeps that are made in this process, by stage."""
    made: Counter[str] = Counter()
    run = fastcka.Sweep.run

    def counting(self, blocks, stage=None, **options):
        part = run(self, blocks, stage, **options)
        made[part.stage] += sum(map(len, part.covered))
        return part

    monkeypatch.setattr(fastcka.Sweep, "run", counting)
    return made

# SPDX-License-Identifier: BSD-3-Clause
"""What runs here, as it is printed."""

from __future__ import annotations

from importlib.metadata import version

import fastcka
from fastcka import config


def test_show_config_prints_what_config_returns(capsys, monkeypatch):
    monkeypatch.setenv("FASTCKA_NUM_THREADS", "3")
    found = config.config()
    assert fastcka.show_config() is None
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(printed) == list(found)
    assert printed["version"] == found["version"] == fastcka.__version__
    assert printed["n_threads"] == "3"
    assert "FASTCKA_NUM_THREADS=3" in printed["environment"]
    assert found["simd_level"] in found["simd_levels"]
    assert printed["simd_levels"] == ", ".join(found["simd_levels"])
    assert {"compiler", "eigen", "openmp", "build_type", "numpy", "python", "platform"} <= set(printed)


def test_version():
    assert fastcka.__version__ == version("fastcka")

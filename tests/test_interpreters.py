# SPDX-License-Identifier: BSD-3-Clause
"""The end of the interpreter while a thread still computes, and interpreters beside the main one."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run_python(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


CALLS = [
    "fastcka.cka(X, X, kernel='rbf')",
    "fastcka.cka(X, X, kernel='rbf', n_threads=1)",
    "fastcka.cka_matrix([X, X], kernel='rbf', progress=lambda done, total: sum(range(10_000)))",
    "fastcka.gram(X, kernel='rbf')",
    "stream.update(X, X)",
    "stream.result()",
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("milliseconds", [60, 130, 210, 300])
def test_interpreter_ends_during_a_call_in_a_daemon_thread(call, milliseconds):
    """It used to abort: Python ends such a thread by unwinding, which the core took for an exception."""
    script = (
        "import threading, time, numpy as np, fastcka\n"
        "X = np.random.default_rng(0).normal(size=(5000, 64))\n"
        "stream = fastcka.StreamingCKA()\n"
        "stream.update(X, X)\n"
        "def work():\n"
        "    while True:\n"
        f"        {call}\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        f"time.sleep({milliseconds / 1000})\n"
    )
    assert run_python(script) == (0, "", "")


def test_call_while_the_interpreter_ends():
    """The thread that ends the interpreter may still compute, in the last __del__ of a script."""
    script = (
        "import numpy as np, fastcka\n"
        "class Late:\n"
        "    def __init__(self):\n"
        "        self.X, self.cka = np.random.default_rng(0).normal(size=(3000, 64)), fastcka.cka\n"
        "    def __del__(self):\n"
        "        print(round(self.cka(self.X, self.X, kernel='rbf'), 12))\n"
        "late = Late()\n"
        "late.__del__()\n"  # imports what it needs
    )
    assert run_python(script) == (0, "1.0\n1.0\n", "")


def test_import_in_a_subinterpreter_is_refused():
    """It used to hang for ever, Ctrl-C included."""
    script = (
        "try:\n"
        "    import _xxsubinterpreters as interpreters\n"
        "    other = interpreters.create(isolated=False)\n"
        "except ModuleNotFoundError:\n"
        "    import _interpreters as interpreters\n"
        "    other = interpreters.create('legacy')\n"
        "interpreters.run_string(other, '''\n"
        "try:\n"
        "    import fastcka\n"
        "except ImportError as error:\n"
        "    print(error, flush=True)\n"
        "''')\n"
        "interpreters.destroy(other)\n"
    )
    try:
        import _interpreters  # noqa: F401
    except ModuleNotFoundError:
        pytest.importorskip("_xxsubinterpreters")
    status, output, errors = run_python(script)
    assert (status, output) == (
        0,
        "fastcka cannot be imported in a subinterpreter: use threads or processes\n",
    ), errors

# SPDX-License-Identifier: BSD-3-Clause
"""Libraries with an OpenMP runtime of their own, loaded before fastcka or after it: both work, the bits stay.

A second runtime that comes late may find no room for its thread-local variables ("cannot allocate memory in
static TLS block", on aarch64), or meet symbols of the first. The published wheels run this, too.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
import {first}
import {second}
X = np.random.default_rng(0).normal(size=(700, 300))
for _ in range(2):
    print(fastcka.cka(X, X[:, :100] ** 3, kernel="rbf", n_threads=2).hex())
    {use}
"""
USES = {
    "torch": "torch.set_num_threads(2); torch.from_numpy(X).matmul(torch.from_numpy(X.T)).exp_()",
    "sklearn.cluster": "sklearn.cluster.KMeans(4, n_init=1, random_state=0).fit(X)",
}


@pytest.mark.parametrize("comes_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("library", USES)
def test_either_may_be_loaded_first(library, comes_first):
    if library == "torch":
        pytest.importorskip("torch")
    pytest.importorskip(library)
    first, second = (library, "fastcka") if comes_first else ("fastcka", library)
    script = SCRIPT.format(first=first, second=second, use=USES[library])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    values = done.stdout.split()
    assert len(values) == 2
    assert len(set(values)) == 1
    assert 0 < float.fromhex(values[0]) < 1

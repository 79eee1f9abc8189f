# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 at any moment, while a checkpoint is written or not: the file is whole, and the bits are the same.

FASTCKA_EXAMPLES=100 kills more often. (Stores: tests/killed.py.)
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from killed import was_killed

import fastcka
from fastcka import _checkpoint

OPTIONS = {
    "linear": {"kernel": "linear"},
    "every stage": {"kernel": "rbf", "inference": True},  # medians, products and inference
}


@pytest.mark.parametrize("case", OPTIONS)
def test_killed_at_random_moments(tmp_path, case):
    """This file as a script, whose forks are killed: they need no time to start."""
    kills = hypothesis.settings.default.max_examples
    done = subprocess.run(
        [sys.executable, __file__, tmp_path, case, str(kills)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def layers():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(400, 4))
    return {f"l{p}": shared @ rng.normal(size=(4, p)) + rng.normal(size=(400, p)) for p in (5, 40, 300)}


def start(result, case, checkpoint=None):
    """Compare in a fork; return its number."""
    child = os.fork()
    if child == 0:
        fastcka.cka_matrix(layers(), n_threads=2, checkpoint=checkpoint, **OPTIONS[case]).save(result)
        os._exit(0)
    return child


def wait_for_a_write(path, seconds, further):
    """Wait until the next write begins, no longer than some seconds, and then until it has got further."""
    end, before = time.monotonic() + seconds, len(os.listdir(path.parent))
    while len(os.listdir(path.parent)) <= before and time.monotonic() < end:
        pass
    time.sleep(further)


def blocks_in(path):
    """Return how many blocks of all stages so far are in a checkpoint, which must be a sound one, if any."""
    if not path.exists():
        return 0, 0
    done = _checkpoint._read(path, None)
    last = max(map(_checkpoint.ORDER.index, done))
    return last, sum(map(len, done[_checkpoint.ORDER[last]].covered))


def main(folder, case, kills):
    os.fsync = lambda descriptor: None  # whoever kills a process leaves the system's own buffers alone
    _checkpoint.SECONDS = 0.0  # write after each block
    folder, rng = Path(folder), np.random.default_rng(0)
    path, whole, resumed = folder / "sums.npz", folder / "whole.npz", folder / "resumed.npz"
    assert not was_killed(start(whole, case))
    begin = time.monotonic()
    assert not was_killed(start(resumed, case, path))
    longest = time.monotonic() - begin
    killed = in_a_write = 0
    while True:
        before = blocks_in(path)
        child = start(resumed, case, path)
        if killed < kills:
            time.sleep(rng.uniform(0, longest))
            if rng.random() < 0.8:
                wait_for_a_write(path, longest, rng.uniform(0, 0.002))
            os.kill(child, signal.SIGKILL)
        if was_killed(child):
            killed += 1
            assert blocks_in(path) >= before
        else:
            assert fastcka.CKAMatrix.load(resumed).equals(fastcka.CKAMatrix.load(whole))
            path.unlink()
            if killed == kills:
                break
    for name in os.listdir(folder):
        in_a_write += bool(re.fullmatch(r"\.sums\.npz\.[0-9a-f]{16}\.tmp", name))
        assert name in ("whole.npz", "resumed.npz") or name.endswith(".tmp")
    print(f"{killed} kills, {in_a_write} of them during a write")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

# SPDX-License-Identifier: BSD-3-Clause
"""Kill a process that writes a store, at one line after another of the code that writes; run as a script.

After each kill, the store must be readable and hold the batches up to some commit; and whoever goes on with
it must end with the files, byte for byte, of a process that was never killed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

import fastcka
from fastcka.store import is_store

FEATURES = {"conv/1": 5000, "fc": 3}  # the first is larger than a buffer of Python: it is not written at once
N_BATCH, BATCHES = 2, 3
OLD = {"old": np.eye(5)}  # what is there when a store is replaced
WRITING = {f"{name}.py" for name in ("creating", "_files", "layer_file", "manifest", "writing")}


def layers(batch):
    rng = np.random.default_rng(batch)
    return {name: rng.normal(size=(N_BATCH, p)).astype(np.float32) for name, p in FEATURES.items()}


def ids(batch):
    return [f"sample {batch}.{i}" for i in range(N_BATCH)]


def write(path, if_exists):
    """Write the store, or what is missing of it."""
    with fastcka.create_store(path, if_exists=if_exists, provenance={"seed": 0}) as writer:
        for batch in range(writer.n_samples // N_BATCH, BATCHES):
            writer.append(layers(batch), ids(batch))


def content(path):
    """Return all files by name; the lock remembers who had it."""
    return {file.name: file.read_bytes() for file in Path(path).iterdir() if file.name != ".lock"}


def write_until_killed(path, if_exists, lines):
    """Return whether a process that writes the store was killed before it executed so many lines."""
    child = os.fork()
    if child == 0:
        counter = itertools.count()

        def trace(frame, event, argument):
            if os.path.basename(frame.f_code.co_filename) not in WRITING:
                return None
            if event == "line" and next(counter) == lines:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        write(path, if_exists)
        os._exit(0)
    return was_killed(child)


def was_killed(child):
    """Wait for the end of a child; return whether it was killed, and not at its end."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert status == 0
    return False


def check_readable(path):
    """Check that the store holds the batches up to some commit; return how many."""
    if not is_store(path):
        return None  # killed before there was one
    store = fastcka.open_store(path)
    if list(store) == list(OLD):
        np.testing.assert_array_equal(store["old"], OLD["old"])
        return "old"
    committed, rest = divmod(store.n_samples, N_BATCH)
    assert rest == 0
    assert list(store) == (list(FEATURES) if committed else [])
    for name, array in store.items():
        expected = np.concatenate([layers(batch)[name] for batch in range(committed)])
        np.testing.assert_array_equal(array, expected)
    assert list(store.ids or ()) == [x for batch in range(committed) for x in ids(batch)]
    return committed


def main(folder, if_exists, step):
    os.fsync = lambda descriptor: None  # whoever kills a process leaves the system's own buffers alone
    folder = Path(folder)
    write(folder / "whole", "error")
    whole, seen = content(folder / "whole"), []
    for lines in itertools.count(0, step):
        path = folder / "killed"
        if if_exists == "replace":
            with fastcka.create_store(path) as writer:
                writer.append(OLD, ids=range(5))
        killed = write_until_killed(path, if_exists, lines)
        seen.append(check_readable(path))
        write(path, if_exists)
        assert content(path) == whole, f"killed before line {lines}"
        shutil.rmtree(path)
        if not killed:
            break
    print(len(seen), *sorted(set(seen), key=str))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

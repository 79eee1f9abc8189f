# SPDX-License-Identifier: BSD-3-Clause
"""Where a file cannot be written: an OSError that names it, the old file as it was, and nothing else.

(Batches of a store on a full disk: tests/test_store.py.)
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import resource
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import fastcka
from fastcka import StreamingCKA, Sweep
from fastcka._files import atomic_write

RNG = np.random.default_rng(0)
LAYERS = {"conv": RNG.normal(size=(300, 4)), "fc": RNG.normal(size=(300, 2))}
NOBODY = 65534
codecs.lookup("cp437")  # names in archives: nobody may be unable to import it, and Python would remember that


def matrix():
    return fastcka.cka_matrix(LAYERS, inference=True)


def models():
    return fastcka.cka_models({"a": LAYERS, "b": LAYERS})


def stream():
    stream = StreamingCKA()
    stream.update(LAYERS)
    return stream


class Stopped(Exception):
    pass


def stop(done, total):
    raise Stopped


def run_with_checkpoint(path):
    """Of the first run, the first block is in the file; the second one resumes."""
    resumes = path.exists()
    with suppress(Stopped):
        fastcka.cka_matrix(LAYERS, kernel="distance", checkpoint=path, progress=None if resumes else stop)


WRITERS = {
    "matrix.npz": lambda path: matrix().save(path),
    "matrix.json": lambda path: matrix().save(path),
    "matrix.csv": lambda path: matrix().to_csv(path),
    "matrix.html": lambda path: matrix().to_html(path),
    "models.npz": lambda path: models().save(path),
    "models.json": lambda path: models().save(path),
    "models.html": lambda path: models().to_html(path),
    "stream.npz": lambda path: stream().save(path),
    "sums.partial": lambda path: Sweep(LAYERS).run(0).save(path),
    "checkpoint.npz": run_with_checkpoint,
}
each_writer = pytest.mark.parametrize("name", WRITERS)
each_state = pytest.mark.parametrize("exists", [True, False], ids=["over an old file", "new"])


@contextmanager
def full_disk(most_bytes):
    """A real error of the system: no file may grow beyond a limit."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def read_only(folder):
    """Take the permission to write in a folder, also from root, who then is nobody."""
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def shared_folder():
    """A folder that nobody can read; those of pytest are their owner's alone."""
    with tempfile.TemporaryDirectory() as name:
        with read_only(Path(name)):
            readable = os.access(name, os.R_OK, effective_ids=True)
        if not readable:
            pytest.skip(f"the user {NOBODY} cannot read in {tempfile.gettempdir()}")
        yield Path(name)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def prepare(path, exists):
    """Write an old file, which also imports all that writing needs; return what is in the folder then."""
    WRITERS[path.name](path)
    path.chmod(0o644)
    if not exists:
        path.unlink()
    return content(path.parent)


def refused(path, code):
    return pytest.raises(OSError, match=rf"\[Errno {code}\] .*{re.escape(str(path))}")


@each_writer
@each_state
def test_full_disk(tmp_path, name, exists):
    path = tmp_path / name
    before = prepare(path, exists)
    with full_disk(200), refused(path, errno.EFBIG):
        WRITERS[name](path)
    assert content(tmp_path) == before
    WRITERS[name](path)  # once there is room


@each_writer
@each_state
def test_read_only_folder(shared_folder, name, exists):
    path = shared_folder / name
    before = prepare(path, exists)
    with read_only(shared_folder), refused(path, errno.EACCES):
        WRITERS[name](path)
    assert content(shared_folder) == before
    WRITERS[name](path)


@pytest.mark.parametrize("if_exists", ["error", "replace"])
def test_store_on_a_full_disk(tmp_path, if_exists):
    path = tmp_path / "s"
    provenance = {"text": "x" * 1000}
    before = {}
    if if_exists == "replace":
        with fastcka.create_store(path) as writer:
            writer.append(LAYERS)
        before = content(path)
    with full_disk(200), refused(path, errno.EFBIG):
        fastcka.create_store(path, provenance=provenance, if_exists=if_exists)
    assert content(path) == before
    fastcka.create_store(path, provenance=provenance, if_exists=if_exists).close()


@pytest.mark.parametrize("if_exists", ["error", "append", "replace"])
def test_store_in_a_read_only_folder(shared_folder, if_exists):
    path = shared_folder / "s"
    with fastcka.create_store(shared_folder / "other") as writer:
        writer.append(LAYERS)
    if if_exists != "error":
        (shared_folder / "other").rename(path)
    before = content(path) if path.exists() else None
    where = path if path.exists() else shared_folder
    with read_only(where), refused(path, errno.EACCES):
        fastcka.create_store(path, if_exists=if_exists)
    assert before == (content(path) if path.exists() else None)
    fastcka.create_store(path, if_exists=if_exists).close()


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"/other'$"), atomic_write(tmp_path / "new"):
        (tmp_path / "other").read_bytes()
    assert not content(tmp_path)

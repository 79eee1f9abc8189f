# SPDX-License-Identifier: BSD-3-Clause
"""Write a file completely or not at all; refuse to read what is not a file; suffixes of file names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends without an error.

    The temporary lies in the folder of `path`, so that the final rename stays on one file system and is
    atomic: a reader, or a process killed at any moment, sees the old file or the new one, never a part.
    If the block raises, the temporary file is removed and `path` is unchanged.

    Raises
    ------
    FileNotFoundError
        If the folder of `path` does not exist.
    """
    target = Path(os.path.realpath(path))  # write through a symbolic link, as open() does
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder", str(target.parent))
    start = os.fsdecode(os.fsencode(target.name)[:200])  # file systems allow 255 bytes for a name
    temporary = target.with_name(f".{start}.{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:  # not tempfile: its files ignore the umask
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):  # a read-only file system removes not even what is not there
            temporary.unlink(missing_ok=True)
        if (
            isinstance(error, OSError)
            and error.errno is not None
            and error.filename in (None, os.fspath(temporary))
        ):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def checked_suffix(path: str | os.PathLike[str], *suffixes: str, argument: str = "path") -> str:
    """Return the suffix of a file name in lower case, which must be one of `suffixes`."""
    try:
        suffix = Path(path).suffix.lower()
    except TypeError:
        raise TypeError(f"{argument}: expected the name of a file, got {path!r}") from None
    if suffix not in suffixes:
        known = " or ".join(suffixes)
        raise ValueError(f"{argument}: expected a file name that ends in {known}, got {os.fspath(path)!r}")
    return suffix


def check_regular(path: Path) -> None:
    """Refuse a FIFO, a device, a socket or a folder: opening one may block forever or have side effects.

    Raises
    ------
    ValueError
        That names it.
    FileNotFoundError
        If there is nothing.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a regular file")

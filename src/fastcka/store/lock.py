# SPDX-License-Identifier: BSD-3-Clause
"""One writer in a folder at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

LOCK = ".lock"


class FolderLock:
    """A lock released when the process exits, even if killed; other writers get BlockingIOError.

    It belongs to this object, not to the process: a second writer in the same process is rejected too.
    """

    def __init__(self, folder: Path) -> None:
        self._process = os.getpid()
        self._descriptor: int | None = _open(folder / LOCK)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {self._process} on {os.uname().nodename}".encode(), 0)
        except BaseException as error:
            owner = os.pread(self._descriptor, 1000, 0).decode(errors="replace")
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                reason = f"{owner or 'another process'} is writing to it"
                raise BlockingIOError(errno.EAGAIN, reason, str(folder)) from None
            raise

    @property
    def held(self) -> bool:
        """Whether it is locked, and by this process, not by the one that this is a fork of."""
        return self._descriptor is not None and self._process == os.getpid()

    def release(self) -> None:
        """Unlock; a second time does nothing."""
        if self._descriptor is None:
            return
        if self.held:  # a fork has the same lock, which is not its own to free
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        self._descriptor = None


def _open(path: Path) -> int:
    """Open the file that is locked. It is overwritten, so it must be no way to another file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link: remove it", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file: remove it", str(path))
    return descriptor

# SPDX-License-Identifier: BSD-3-Clause
"""Run a command and report its errors.

Exit status: 0 on success; 1 when `bench` finds a value that differs; 2 on bad usage or bad input, with one
line that says what is wrong; 130 when interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ._parser import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; `argv` is what follows the name of the program."""
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments) or 0
        if sys.stdout is not None:  # as it is when the shell has closed it
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("fastcka: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone, as in `fastcka compare ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at exit
        return 0
    except (ValueError, TypeError, OSError, MemoryError, ImportError) as error:
        print(f"fastcka: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return status


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__

# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastcka``. Results go to standard output, everything else to standard error.

- `_main`: `main`, the exit status, and errors as one line
- `_parser`: the commands and what is common to them; `info`, `demo` and `bench` themselves
- `compare`: files of layers to values
- `sampling`: the same few samples of every layer
- `show`: a saved result as text
- `extract`: a PyTorch model and its data loader to a store
- `outputs`: the files that `compare` writes
"""

from ._main import main

__all__ = ["main"]

# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastcka``. Results go to standard output, everything else to standard error.

- `_main`: `main`, the exit status, and errors as one line
- `_parser`: the commands and what is common to them; `info`, `demo` and `bench` themselves
- `compare`: files of layers to values
- `sweep`: one comparison in pieces, for job arrays
- `inputs`: options and layers of `compare` and `sweep`
- `sampling`: the same few samples of every layer
- `show`: a saved result as text
- `extract`: a PyTorch model and its data loader to a store
- `outputs`: what `compare` and `sweep` print and write
"""

from ._main import main

__all__ = ["main"]

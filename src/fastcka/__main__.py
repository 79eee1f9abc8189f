# SPDX-License-Identifier: BSD-3-Clause
"""``python -m fastcka`` is the command ``fastcka``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

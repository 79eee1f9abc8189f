# SPDX-License-Identifier: BSD-3-Clause
"""The safetensors format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .._arrays import Array
from .stored import Found, mapped, natural, reading, view

_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "V2",  # NumPy has no bfloat16: two opaque bytes, as the core reads it
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


def open_safetensors(path: Path) -> Found:
    """Read the format itself: 8 bytes for the length of a JSON header, the header, the data.

    The package safetensors would copy every tensor, and has no bfloat16 for NumPy.
    """
    import json

    opened: dict[str, Array] = {}
    with reading(path):
        data = mapped(path)
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        if start > data.size:
            raise ValueError(f"its header would end at byte {start}, but the file has {data.size}")
        header = json.loads(data[8:start].tobytes())
        for name in natural(header.keys() - {"__metadata__"}):
            with reading(path, name):
                dtype, shape = header[name]["dtype"], tuple(header[name]["shape"])
                if dtype not in _SAFETENSORS:
                    raise ValueError(f"values of type {dtype} are not read, only {', '.join(_SAFETENSORS)}")
                first, last = header[name]["data_offsets"]
                array = view(data, start + first, shape, np.dtype(_SAFETENSORS[dtype]))
                if first < 0 or last - first != array.nbytes:
                    raise ValueError(f"bytes {first} to {last} cannot be an array {shape} of {dtype}")
                opened[name] = array
    return opened

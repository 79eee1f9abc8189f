# SPDX-License-Identifier: BSD-3-Clause
"""Open layers that other programs saved: one mapping of name to array, whatever the file format.

Uncompressed data are memory-mapped: opening a file of any size costs nothing, its pages are read when they
are needed. Of compressed and chunked data, rows are read when they are asked for.

opened         open_layers: which format a path has; the layers by name, and some of them
stored         StoredLayer: a layer of which rows are read; what all formats share
numpy_files    .npy, directories of them, shards, .npz
safetensors    .safetensors
chunked        HDF5, zarr
"""

from .opened import Selected, open_layers
from .stored import StoredLayer

__all__ = ["Selected", "StoredLayer", "open_layers"]

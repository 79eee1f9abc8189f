# SPDX-License-Identifier: BSD-3-Clause
"""Activations on disk: a folder with one .npy file a layer, written batch by batch, read without copying.

A process that is killed while it writes loses the batch it was at, nothing before. docs/stores.md describes
the format.

reading      open_store, Store: the layers as memory-mapped arrays
creating     create_store: what is checked before there is a writer
writing      StoreWriter: append, roll back, recover
manifest     what is committed; replacing it commits a batch
layer_file   one layer: a .npy file that grows in place
lock         one writer in a folder at a time

Only reading is imported here: most who import fastcka write no store.
"""

from .reading import Store, is_store, open_store

__all__ = ["Store", "is_store", "open_store"]

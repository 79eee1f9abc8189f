# SPDX-License-Identifier: BSD-3-Clause
"""From modules to rows: which layers, and what they give.

``selection``         which layers were asked for;  ``outputs``  the tensors in what a module returns
``axes``              what operations do to axes;   ``tracker``  follows them through a model
``masks``             which positions count for a layer;  ``pooling``  activations become rows
``maker``             the rows of a layer, out of all that;  ``rows``  those of a batch
``hooks``             watch a model while it runs;  ``state``  and restore it
``capture``           all of it: a batch goes in, rows come out
"""

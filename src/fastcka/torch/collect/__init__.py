# SPDX-License-Identifier: BSD-3-Clause
"""Where rows go.

``memory``   kept;  ``disk``  in a store
``core``     into CKA, by the core: kept, as sums, or in mini-batches
``device``   the same on the device where they are, with the sums of ``centred``
``methods``  which of these ways, and the loop over batches
"""

// SPDX-License-Identifier: BSD-3-Clause
// A sweep on the Gram route with many layers: all threads share the values of all layers in a block of the grid, which is
// one tile, and then the products of pairs over it.
#pragma once

#include "sums/gram_blocks.hpp"

namespace fastcka {

template <class T> void sum_shared_blocks(GramBlocks<T>& all);
// What that takes up besides `all`.
template <class T> Bytes shared_blocks_bytes(const Problem& problem, const Plan& plan);

}  // namespace fastcka

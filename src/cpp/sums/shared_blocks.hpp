// SPDX-License-Identifier: BSD-3-Clause
// A sweep on the Gram route with many layers: all threads share one block of the grid, which is one tile of every layer,
// first its Gram values and then the products of pairs over them.
#pragma once

#include "sums/gram_blocks.hpp"

namespace fastcka {

template <class T> void sum_shared_blocks(GramBlocks<T>& all);
// The memory of that besides `all`.
template <class T> Bytes shared_blocks_bytes(const Problem& problem, const Plan& plan);

}  // namespace fastcka

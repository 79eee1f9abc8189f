// SPDX-License-Identifier: BSD-3-Clause
// One coordinate block's share of a tile: a block of panels against a block of panels. Called through engine/operations.
#pragma once

#include "engine/microkernel.hpp"
#include "engine/operations.hpp"

#include <algorithm>

namespace fastcka::FASTCKA_LEVEL {

// One panel against another. A panel of what comes next is `ahead`; as many row groups as it takes fetch it.
template <class T, int V>
inline void panel_pair(const T* left, index row_groups, const T* right, index coordinates, bool overwrite,
                       const T* ahead, T* block) {
    constexpr index row_bytes = panel_width<T> * static_cast<index>(sizeof(T));
    constexpr index fetches_to_fill_a_panel = (row_bytes + cache_line - 1) / cache_line;
    for (index g = 0; g < row_groups; ++g) {
        const char* lines =
            reinterpret_cast<const char*>(ahead) + g % fetches_to_fill_a_panel * coordinates * cache_line;
        inner_products<T, V>(left + g * rows<T>, right, coordinates, overwrite, lines,
                             block + g * rows<T> * panel_width<T>);
    }
}

// See Operations::accumulate. The right panel stays in the L1 cache while the left panels stream past it from L2.
template <class T>
void accumulate(const Operand<T>& left, const Operand<T>& right, index coordinates, bool overwrite,
                bool triangle, T* tile) {
    constexpr index W = panel_width<T>;
    const index left_panels = (left.vectors + W - 1) / W, right_panels = (right.vectors + W - 1) / W;
    for (index b = 0; b < right_panels; ++b) {
        const T* right_panel = right.panels + b * W * coordinates;
        const index used = std::min(W, right.vectors - b * W);  // a ragged last panel needs fewer vectors
        for (index a = 0; a < (triangle ? b + 1 : left_panels); ++a) {
            const T* left_panel = left.panels + a * W * coordinates;
            const index row_groups = (std::min(W, left.vectors - a * W) + rows<T> - 1) / rows<T>;
            T* block = tile + block_number(a, b, right_panels, triangle) * W * W;
            if (overwrite && (used < W || row_groups * rows<T> < W)) std::fill(block, block + W * W, T(0));
            // Every panel of the next coordinate block is fetched once: left ones along the first column of blocks,
            // right ones along the first row.
            const T* ahead = b == 0   ? left_panel + left.to_next
                             : a == 0 ? right_panel + right.to_next
                                      : left_panel;
            if (used > 2 * lanes<T>)
                panel_pair<T, 3>(left_panel, row_groups, right_panel, coordinates, overwrite, ahead, block);
            else if (used > lanes<T>)
                panel_pair<T, 2>(left_panel, row_groups, right_panel, coordinates, overwrite, ahead, block);
            else
                panel_pair<T, 1>(left_panel, row_groups, right_panel, coordinates, overwrite, ahead, block);
        }
    }
}

}  // namespace fastcka::FASTCKA_LEVEL

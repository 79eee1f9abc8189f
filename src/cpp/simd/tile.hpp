// SPDX-License-Identifier: BSD-3-Clause
// One coordinate block's share of a tile: a block of panels against a block of panels. Called through simd/operations.
#pragma once

#include "simd/microkernel.hpp"
#include "simd/operations.hpp"
#include "simd/transpose.hpp"

#include <algorithm>

namespace fastcka::FASTCKA_LEVEL {

// A panel and how many vectors it has: the last one may have few.
template <class T> struct Panel {
    const T* values;
    index vectors;
};

// Rows of the last group of a panel, where no more are used.
template <class T> inline constexpr int few_rows = (rows<T> + 1) / 2;

// SIMD vectors that hold `vectors` of a panel, and rows that the micro-kernel takes for them.
template <class T> constexpr index simd_vectors(index vectors) { return (vectors + lanes<T> - 1) / lanes<T>; }
template <class T> constexpr index taken_rows(index vectors) {
    const index whole = vectors / rows<T> * rows<T>, rest = vectors - whole;
    return whole + (rest == 0 ? 0 : rest <= few_rows<T> ? few_rows<T> : rows<T>);
}

template <class T, int R>
inline void inner_products(index right_vectors, const T* left, const T* right, index coordinates,
                           bool overwrite, const char* ahead, T* out) {
    static_assert(vectors_per_panel == 3);
    if (right_vectors == 3)
        inner_products<T, R, 3>(left, right, coordinates, overwrite, ahead, out);
    else if (right_vectors == 2)
        inner_products<T, R, 2>(left, right, coordinates, overwrite, ahead, out);
    else
        inner_products<T, R, 1>(left, right, coordinates, overwrite, ahead, out);
}

// One panel against another, or what of a panel against itself lies on or above the diagonal (and a little more). The
// first groups of rows fetch the panel that starts `ahead`, or, where there are few of them, a part of it.
template <class T>
inline void panel_pair(Panel<T> left, Panel<T> right, index coordinates, bool overwrite, bool diagonal,
                       const T* ahead, T* block) {
    constexpr index W = panel_width<T>, R = rows<T>, N = lanes<T>;
    constexpr index row_bytes = W * static_cast<index>(sizeof(T));
    constexpr index fetches_to_fill_a_panel = (row_bytes + cache_line - 1) / cache_line;
    const auto lines = [&](index row) {
        return reinterpret_cast<const char*>(ahead) +
               row / R % fetches_to_fill_a_panel * coordinates * cache_line;
    };
    for (index row = 0; row < left.vectors; row += R) {
        const index first = diagonal ? row / N : 0, count = simd_vectors<T>(right.vectors) - first;
        const T *const rows_from = left.values + row, *const columns_from = right.values + first * N;
        T* const out = block + row * W + first * N;
        if (count == 1 && left.vectors - row > R + few_rows<T>) {
            // R sums of one vector would wait for one another.
            inner_products<T, 2 * R, 1>(rows_from, columns_from, coordinates, overwrite, lines(row), out);
            row += R;
            continue;
        }
        const auto products =
            left.vectors - row > few_rows<T> ? inner_products<T, R> : inner_products<T, few_rows<T>>;
        products(count, rows_from, columns_from, coordinates, overwrite, lines(row), out);
    }
}

// A block of a panel with itself is symmetric: what lies above the diagonal also goes below it.
template <class T> inline void mirror(T* block) {
    using Vec = typename Vector<T>::type;
    constexpr index W = panel_width<T>, N = lanes<T>;
    for (index row = 0; row < W; row += N)
        for (index column = row + N; column < W; column += N)
            transpose_square(block + row * W + column, W, [&](index i, Vec values) {
                *reinterpret_cast<Vec*>(block + (column + i) * W + row) = values;
            });
}

// The same block out of right' left, transposed.
template <class T>
inline void transposed_panel_pair(Panel<T> left, Panel<T> right, index coordinates, bool overwrite,
                                  const T* ahead, T* block) {
    using Vec = typename Vector<T>::type;
    constexpr index W = panel_width<T>, N = lanes<T>;
    alignas(64) T products[W * W];
    const index formed = simd_vectors<T>(right.vectors) * N;
    std::fill(products, products + formed * W, T(0));
    panel_pair(right, left, coordinates, true, false, ahead, products);
    for (index row = 0; row < formed; row += N)
        for (index column = 0; column < W; column += N)
            transpose_square(products + row * W + column, W, [&](index i, Vec values) {
                Vec& target = *reinterpret_cast<Vec*>(block + (column + i) * W + row);
                target = overwrite ? values : target + values;
            });
}

// See Operations::accumulate. The right panel stays in the L1 cache while the left panels stream past it from L2.
template <class T>
void accumulate(const Operand<T>& left, const Operand<T>& right, index coordinates, bool overwrite,
                bool triangle, T* tile) {
    constexpr index W = panel_width<T>;
    const index left_panels = (left.vectors + W - 1) / W, right_panels = (right.vectors + W - 1) / W;
    for (index b = 0; b < right_panels; ++b) {
        const Panel<T> on_right{right.panels + b * W * coordinates, std::min(W, right.vectors - b * W)};
        for (index a = 0; a < (triangle ? b + 1 : left_panels); ++a) {
            const Panel<T> on_left{left.panels + a * W * coordinates, std::min(W, left.vectors - a * W)};
            T* block = tile + block_number(a, b, right_panels, triangle) * W * W;
            const bool ragged = on_left.vectors < W || on_right.vectors < W, diagonal = triangle && a == b;
            if (overwrite && ragged) std::fill(block, block + W * W, T(0));
            // Every panel of the next coordinate block is fetched once: left ones along the first column of blocks,
            // right ones along the first row.
            const T* ahead = b == 0   ? on_left.values + left.to_next
                             : a == 0 ? on_right.values + right.to_next
                                      : on_left.values;
            const auto cost = [](Panel<T> broadcast, Panel<T> in_vectors) {
                return taken_rows<T>(broadcast.vectors) * simd_vectors<T>(in_vectors.vectors);
            };
            if (ragged && cost(on_right, on_left) < cost(on_left, on_right)) {
                transposed_panel_pair(on_left, on_right, coordinates, overwrite, ahead, block);
            } else {
                panel_pair(on_left, on_right, coordinates, overwrite, diagonal, ahead, block);
                if (diagonal) mirror(block);
            }
        }
    }
}

}  // namespace fastcka::FASTCKA_LEVEL

// SPDX-License-Identifier: BSD-3-Clause
// The innermost loop: a few vectors of one panel against up to a panel's width of another. Used by simd/tile only.
#pragma once

#include "simd/simd.hpp"

namespace fastcka::FASTCKA_LEVEL {

// out[r][c] = (or +=) sum_k left[k][r] * right[k][c]  for r < R, c < V * lanes; both panels hold panel_width values
// per coordinate k, and out has rows of panel_width values. Memory from `ahead` on is fetched into the L2 cache meanwhile,
// a cache line per coordinate.
template <class T, int R, int V>
inline void inner_products(const T* __restrict left, const T* __restrict right, index coordinates,
                           bool overwrite, const char* ahead, T* __restrict out) {
    using Vec = typename Vector<T>::type;
    constexpr int W = panel_width<T>, N = lanes<T>;
    Vec sum[R][V] = {};
    for (index k = 0; k < coordinates; ++k, left += W, right += W, ahead += cache_line) {
        __builtin_prefetch(ahead, 0, 2);
        Vec operand[V];
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) operand[v] = *reinterpret_cast<const Vec*>(right + v * N);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const T value = left[r];
#pragma GCC unroll 3
            for (int v = 0; v < V; ++v) sum[r][v] += value * operand[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) {
            Vec& target = *reinterpret_cast<Vec*>(out + r * W + v * N);
            target = overwrite ? sum[r][v] : target + sum[r][v];
        }
}

}  // namespace fastcka::FASTCKA_LEVEL

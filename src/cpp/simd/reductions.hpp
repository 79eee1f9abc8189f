// SPDX-License-Identifier: BSD-3-Clause
// The last steps of a tile: it is carried into float64, summed, and multiplied with the tiles of other layers.
#pragma once

#include "simd/operations.hpp"
#include "simd/simd.hpp"

#include <algorithm>

namespace fastcka::FASTCKA_LEVEL {

// See Operations::self_products: lane by lane the same chain of operations as in inner_products.
template <class T> void self_products(const T* panel, index coordinates, bool overwrite, T* out) {
    using Vec = typename Vector<T>::type;
    constexpr int W = panel_width<T>, N = lanes<T>;
    Vec sum[vectors_per_panel] = {};
    for (index k = 0; k < coordinates; ++k, panel += W)
        for (int v = 0; v < vectors_per_panel; ++v) {
            const Vec value = *reinterpret_cast<const Vec*>(panel + v * N);
            sum[v] += value * value;
        }
    for (int v = 0; v < vectors_per_panel; ++v) {
        Vec& target = *reinterpret_cast<Vec*>(out + v * N);
        target = overwrite ? sum[v] : target + sum[v];
    }
}

template <class T> void carry(const T* tile, index length, bool overwrite, double* wide) {
    if (overwrite)
        for (index i = 0; i < length; ++i) wide[i] = static_cast<double>(tile[i]);
    else
        for (index i = 0; i < length; ++i) wide[i] += static_cast<double>(tile[i]);
}

template <class T> void narrow(const double* wide, index length, T* tile) {
    for (index i = 0; i < length; ++i) tile[i] = static_cast<T>(wide[i]);
}

template <class T> void take_diagonal(T* block, T* diagonal) {
    constexpr index W = panel_width<T>;
    for (index i = 0; i < W; ++i) {
        diagonal[i] = block[i * W + i];
        std::fill(block + i * W, block + i * W + i + 1, T(0));
    }
}

template <class T> void block_sums(const T* block, double* row, double* column) {
    constexpr index W = panel_width<T>;
    for (index i = 0; i < W; ++i) {
        double across[4] = {};  // four chains: the order is fixed, the additions need not wait for each other
        for (index j = 0; j < W; ++j) {
            const double value = static_cast<double>(block[i * W + j]);
            across[j % 4] += value;
            column[j] += value;
        }
        row[i] += (across[0] + across[1]) + (across[2] + across[3]);
    }
}

// Products of up to L x R pairs of vectors over `count` SIMD vectors: float32 sums this short keep their digits.
template <class T, int L, int R>
inline void products_of(const T* const* left, const T* const* right, index first, index count,
                        double (&out)[L][R]) {
    using Vec = typename Vector<T>::type;
    constexpr index N = lanes<T>;
    Vec sum[L][R] = {};
    for (index t = first; t < first + count * N; t += N) {
        Vec operand[R];
#pragma GCC unroll 3
        for (int j = 0; j < R; ++j) operand[j] = *reinterpret_cast<const Vec*>(right[j] + t);
#pragma GCC unroll 4
        for (int i = 0; i < L; ++i) {
            const Vec value = *reinterpret_cast<const Vec*>(left[i] + t);
#pragma GCC unroll 3
            for (int j = 0; j < R; ++j) sum[i][j] += value * operand[j];
        }
    }
    for (int i = 0; i < L; ++i)
        for (int j = 0; j < R; ++j) {
            double total = 0;
            for (index lane = 0; lane < N; ++lane) total += static_cast<double>(sum[i][j][lane]);
            out[i][j] += total;
        }
}

template <class T, int L, int R>
void products_by(const T* const* left, index left_count, const T* const* right, index right_count,
                 index length, double* out, index stride) {
    constexpr index vectors_per_chunk = 64;
    for (index i = 0; i < left_count; i += L)
        for (index j = 0; j < right_count; j += R) {
            const T* rows[L];
            const T* columns[R];  // a group that is not full repeats its last vector and drops the result
            for (index l = 0; l < L; ++l) rows[l] = left[std::min(i + l, left_count - 1)];
            for (index r = 0; r < R; ++r) columns[r] = right[std::min(j + r, right_count - 1)];
            double sums[L][R] = {};
            const index vectors = length / lanes<T>;
            for (index v = 0; v < vectors; v += vectors_per_chunk)
                products_of<T, L, R>(rows, columns, v * lanes<T>, std::min(vectors_per_chunk, vectors - v),
                                     sums);
            for (index l = 0; l < std::min<index>(L, left_count - i); ++l)
                for (index r = 0; r < std::min<index>(R, right_count - j); ++r)
                    out[(i + l) * stride + j + r] += sums[l][r];
        }
}

// See Operations::sum_of_squares; four chains, so that the additions need not wait for each other.
template <class T> double sum_of_squares(const T* values, index length) {
    using Vec = typename Vector<T>::type;
    constexpr index N = lanes<T>, chains = 4, chunk = chains * 64 * N;
    double total = 0;
    for (index first = 0; first < length; first += chunk) {
        const index last = std::min(length, first + chunk);
        Vec sum[chains] = {};
        index t = first;
        for (; t + chains * N <= last; t += chains * N)
#pragma GCC unroll 4
            for (index c = 0; c < chains; ++c) {
                const Vec value = *reinterpret_cast<const Vec*>(values + t + c * N);
                sum[c] += value * value;
            }
        for (; t < last; t += N) {
            const Vec value = *reinterpret_cast<const Vec*>(values + t);
            sum[0] += value * value;
        }
        const Vec all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        for (index lane = 0; lane < N; ++lane) total += static_cast<double>(all[lane]);
    }
    return total;
}

// See Operations::products.
template <class T>
void products(const T* const* left, index left_count, const T* const* right, index right_count, index length,
              double* out, index stride) {
    if (left_count <= 2 && right_count <= 2)
        return products_by<T, 2, 2>(left, left_count, right, right_count, length, out, stride);
    products_by<T, 4, 3>(left, left_count, right, right_count, length, out, stride);
}

}  // namespace fastcka::FASTCKA_LEVEL

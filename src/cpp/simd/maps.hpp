// SPDX-License-Identifier: BSD-3-Clause
// From inner products to kernel values, block by block while the tile is hot. What each kernel does is in kernels/.
#pragma once

#include "simd/exponential.hpp"
#include "simd/operations.hpp"
#include "simd/simd.hpp"
#include "simd/tuning.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace fastcka::FASTCKA_LEVEL {

// What the values of kernels are written in.
template <class T> struct Simd {
    using Value = T;
    using Vec = typename Vector<T>::type;
    static constexpr int lanes = FASTCKA_LEVEL::lanes<T>;

    static Vec exp(Vec x) { return exponential<T>(x); }
    static Vec expm1(Vec x) { return exponential_minus_one<T>(x); }
    static Vec sqrt(Vec x) {
        for (int lane = 0; lane < lanes; ++lane) x[lane] = std::sqrt(x[lane]);
        return x;
    }
    static Vec pow(Vec x, T exponent) {
        Eigen::Map<Eigen::Array<T, lanes, 1>> powers(reinterpret_cast<T*>(&x));
        powers = powers.pow(exponent);
        return x;
    }
};
template <class T> using Vec = typename Simd<T>::Vec;

// |x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>. Norms and products come from the same arithmetic, so that equal vectors are at
// distance exactly zero; rounding may still push close ones below it.
template <class T> struct SquaredDistance {
    Vec<T> value;
    typename Vector<T>::bits near;

    SquaredDistance(T row_norm, Vec<T> column_norm, Vec<T> product) {
        const Vec<T> norms = row_norm + column_norm, d2 = norms - T(2) * product;
        value = d2 > T(0) ? d2 : Vec<T>{};
        near = d2 < static_cast<T>(near_distance) * norms;
    }
};

// block[i][j] = value(i, j, block[i][j]), a SIMD vector of columns j at a time; zero outside `rows` x `columns`.
template <class T, class Value>
inline void map_block(index rows, index columns, T* block, const Value value) {
    constexpr index W = panel_width<T>, N = lanes<T>;
    for (index i = 0; i < rows; ++i) {
        T* values = block + i * W;
        for (index j = 0; j < columns; j += N) {
            Vec<T>& target = *reinterpret_cast<Vec<T>*>(values + j);
            target = value(i, j, target);
        }
        std::fill(values + columns, values + W, T(0));
    }
}

template <class T> inline Vec<T> vector_at(const T* values) {
    return *reinterpret_cast<const Vec<T>*>(values);
}

// of(squared distances) in place of inner products, NaN where they are near; true: somewhere they are.
template <class T, class Of>
inline bool map_distances(const T* row_norms, const T* column_norms, index rows, index columns, T* block,
                          const Of of) {
    typename Vector<T>::bits marked = {};
    map_block(rows, columns, block, [=, &marked](index i, index j, Vec<T> products) {
        const SquaredDistance<T> d2(row_norms[i], vector_at(column_norms + j), products);
        marked |= d2.near;
        return d2.near ? Vec<T>{} + std::numeric_limits<T>::quiet_NaN() : of(d2.value);
    });
    bool any = false;
    for (int lane = 0; lane < lanes<T>; ++lane) any |= marked[lane] != 0;
    return any;
}

// See Operations::apply.
template <class T>
bool apply(const KernelMap& map, const T* row_terms, const T* column_terms, index rows, index columns,
           T* block) {
    bool near = false;
    std::visit(
        [&](const auto& constants) {
            constants.template with_values<Simd<T>>([&](const auto values) {
                if constexpr (std::is_invocable_v<decltype(values), Vec<T>>)
                    near = map_distances(row_terms, column_terms, rows, columns, block, values);
                else
                    map_block(rows, columns, block, [=](index i, index j, Vec<T> products) {
                        return values(row_terms[i], vector_at(column_terms + j), products);
                    });
            });
        },
        map);
    return near;
}

// See Operations::squared_distances.
template <class T>
bool squared_distances(const T* row_norms, const T* column_norms, index rows, index columns, T* block) {
    return map_distances(row_norms, column_norms, rows, columns, block, [](Vec<T> d2) { return d2; });
}

// See Operations::apply_to_distances.
template <class T> void apply_to_distances(const KernelMap& map, index rows, index columns, T* block) {
    std::visit(
        [&](const auto& constants) {
            constants.template with_values<Simd<T>>([&](const auto values) {
                if constexpr (std::is_invocable_v<decltype(values), Vec<T>>)
                    map_block(rows, columns, block, [=](index, index, Vec<T> d2) { return values(d2); });
            });
        },
        map);
}

// See Operations::squared_differences.
template <class T>
void squared_differences(const T* left, index lane, const T* right, index coordinates, double* out) {
    constexpr index W = panel_width<T>, N = lanes<T>;
    Vec<T> sums[vectors_per_panel] = {};
    for (index k = 0; k < coordinates; ++k)
        for (index v = 0; v < vectors_per_panel; ++v) {
            const Vec<T> difference = left[k * W + lane] - vector_at(right + k * W + v * N);
            sums[v] += difference * difference;
        }
    for (index j = 0; j < W; ++j) out[j] += static_cast<double>(sums[j / N][j % N]);
}

}  // namespace fastcka::FASTCKA_LEVEL

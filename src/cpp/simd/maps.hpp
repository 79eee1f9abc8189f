// SPDX-License-Identifier: BSD-3-Clause
// From inner products to kernel values, block by block while the tile is hot. What each kernel does is in kernels/.
#pragma once

#include "simd/exponential.hpp"
#include "simd/operations.hpp"
#include "simd/simd.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
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
template <class T> inline Vec<T> squared_distance(T row_norm, Vec<T> column_norm, Vec<T> product) {
    const Vec<T> d2 = (row_norm + column_norm) - T(2) * product;
    return d2 > T(0) ? d2 : Vec<T>{};
}

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

// See Operations::apply.
template <class T>
void apply(const KernelMap& map, const T* row_terms, const T* column_terms, index rows, index columns,
           T* block) {
    std::visit(
        [&](const auto& constants) {
            constants.template with_values<Simd<T>>([&](const auto values) {
                map_block(rows, columns, block, [=](index i, index j, Vec<T> products) {
                    const T row = row_terms[i];
                    const Vec<T> column = vector_at(column_terms + j);
                    if constexpr (std::is_invocable_v<decltype(values), Vec<T>>)
                        return values(squared_distance(row, column, products));
                    else
                        return values(row, column, products);
                });
            });
        },
        map);
}

// See Operations::apply_to_distances.
template <class T> void apply_to_distances(const KernelMap& map, index rows, index columns, T* block) {
    std::visit(
        [&](const auto& constants) {
            constants.template with_values<Simd<T>>([&](const auto values) {
                if constexpr (std::is_invocable_v<decltype(values), Vec<T>>)
                    map_block(rows, columns, block,
                              [=](index, index, Vec<T> distances) { return values(distances); });
            });
        },
        map);
}

// See Operations::squared_distances.
template <class T>
void squared_distances(const T* row_norms, const T* column_norms, index rows, index columns, T* block) {
    map_block(rows, columns, block, [=](index i, index j, Vec<T> products) {
        return squared_distance(row_norms[i], vector_at(column_norms + j), products);
    });
}

}  // namespace fastcka::FASTCKA_LEVEL

// SPDX-License-Identifier: BSD-3-Clause
// From inner products to kernel values, block by block while the tile is hot. A new kernel starts here (CONTRIBUTING).
#pragma once

#include "engine/exponential.hpp"
#include "engine/operations.hpp"
#include "engine/simd.hpp"

#include <Eigen/Core>

#include <cmath>

namespace fastcka::FASTCKA_LEVEL {

// |x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>. Norms and products come from the same arithmetic, so that equal vectors are at
// distance exactly zero; rounding may still push close ones below it.
template <class T> inline T squared_distance(T row_norm, T column_norm, T product) {
    const T d2 = (row_norm + column_norm) - T(2) * product;
    return d2 > T(0) ? d2 : T(0);
}

// Each kernel: a struct with its constants and value(row term, column term, inner product). The terms of a vector are
// its squared norm, or for the polynomial kernel its product with the mean.
template <class T> struct RBF {
    T rate, reference, level;
    bool centred;
    T value(T row, T column, T product) const {
        const T exponent = -rate * squared_distance(row, column, product);
        return centred ? level * exponential_minus_one(exponent + reference) : exponential(exponent);
    }
};

template <class T> struct Laplacian {
    T rate, reference, level;
    bool centred;
    T value(T row, T column, T product) const {
        const T exponent = -rate * std::sqrt(squared_distance(row, column, product));
        return centred ? level * exponential_minus_one(exponent + reference) : exponential(exponent);
    }
};

// -1/2 (|x - y| - reference): of the distance kernel 1/2 (|x|^e + |y|^e - |x - y|^e) centring keeps only this.
template <class T> struct Distance {
    T reference;
    T value(T row, T column, T product) const {
        return T(-0.5) * (std::sqrt(squared_distance(row, column, product)) - reference);
    }
};

// (base + d)^degree - base^degree - degree base^(degree - 1) (row + column), d = row + column + rate <x, y>: constants and
// terms of one vector alone, which centring removes, are left out before they can cost digits. Evaluated in float64.
template <class T> struct Polynomial {
    double rate, base;
    int degree;
    bool centred;
    T value(T row, T column, T product) const {
        const double alone = static_cast<double>(row) + static_cast<double>(column);
        const double d = alone + rate * static_cast<double>(product);
        double power = 1, difference = 0, slope = 0;  // (base + d)^k, (base + d)^k - base^k, k base^(k - 1)
        double base_power = 1;
        for (int k = 0; k < degree; ++k) {
            difference = difference * base + power * d;
            slope = slope * base + base_power;
            power *= base + d;
            base_power *= base;
        }
        return static_cast<T>(centred ? difference - slope * alone : power);
    }
};

template <class T, class Kernel>
inline void map_block(const Kernel& kernel, const T* row_terms, const T* column_terms, index rows, index columns,
                      T* block) {
    constexpr index W = panel_width<T>;
    for (index i = 0; i < rows; ++i) {
        T* values = block + i * W;
        const T row = row_terms[i];
        for (index j = 0; j < W; ++j) values[j] = kernel.value(row, column_terms[j], values[j]);
        for (index j = columns; j < W; ++j) values[j] = T(0);
    }
}

// See Operations::apply.
template <class T>
void apply(const KernelMap<T>& map, const T* row_terms, const T* column_terms, index rows, index columns, T* block) {
    constexpr index W = panel_width<T>;
    const T rate = static_cast<T>(map.rate), reference = static_cast<T>(map.reference);
    const T level = static_cast<T>(map.level);
    switch (map.kind) {
        case KernelKind::linear:
        case KernelKind::cosine:
        case KernelKind::precomputed: return;
        case KernelKind::rbf:
            return map_block(RBF<T>{rate, reference, level, map.centred}, row_terms, column_terms, rows, columns, block);
        case KernelKind::laplacian:
            return map_block(Laplacian<T>{rate, reference, level, map.centred}, row_terms, column_terms, rows, columns,
                             block);
        case KernelKind::polynomial:
            return map_block(Polynomial<T>{map.rate, map.reference, map.degree, map.centred}, row_terms, column_terms,
                             rows, columns, block);
        case KernelKind::distance: break;
    }
    if (map.exponent == 1)
        return map_block(Distance<T>{reference}, row_terms, column_terms, rows, columns, block);
    for (index i = 0; i < rows; ++i) {
        Eigen::Map<Eigen::Array<T, W, 1>> values(block + i * W);
        for (index j = 0; j < W; ++j) values[j] = squared_distance(row_terms[i], column_terms[j], values[j]);
        values = T(-0.5) * (values.pow(static_cast<T>(map.exponent / 2)) - reference);
        for (index j = columns; j < W; ++j) values[j] = T(0);
    }
}

// See Operations::squared_distances.
template <class T>
void squared_distances(const T* row_norms, const T* column_norms, index rows, index columns, T* block) {
    constexpr index W = panel_width<T>;
    for (index i = 0; i < rows; ++i) {
        T* values = block + i * W;
        for (index j = 0; j < W; ++j) values[j] = squared_distance(row_norms[i], column_norms[j], values[j]);
        for (index j = columns; j < W; ++j) values[j] = T(0);
    }
}

}  // namespace fastcka::FASTCKA_LEVEL

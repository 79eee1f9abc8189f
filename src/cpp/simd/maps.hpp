// SPDX-License-Identifier: BSD-3-Clause
// From inner products to kernel values, block by block while the tile is hot. A new kernel starts here (CONTRIBUTING).
#pragma once

#include "simd/exponential.hpp"
#include "simd/operations.hpp"
#include "simd/simd.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>

namespace fastcka::FASTCKA_LEVEL {

template <class T> using Vec = typename Vector<T>::type;

template <class T> inline Vec<T> square_root(Vec<T> x) {
    for (int lane = 0; lane < lanes<T>; ++lane) x[lane] = std::sqrt(x[lane]);
    return x;
}

// |x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>. Norms and products come from the same arithmetic, so that equal vectors are at
// distance exactly zero; rounding may still push close ones below it.
template <class T> inline Vec<T> squared_distance(T row_norm, Vec<T> column_norm, Vec<T> product) {
    const Vec<T> d2 = (row_norm + column_norm) - T(2) * product;
    return d2 > T(0) ? d2 : Vec<T>{};
}

// Each kernel: a struct with its constants, and values(row term, column terms, inner products) for a vector of columns.
// The term of a sample is its squared norm, or for the polynomial kernel its product with the mean.
template <class T, bool centred> struct RBF {
    T rate, reference, level;
    Vec<T> values(T row, Vec<T> columns, Vec<T> products) const {
        const Vec<T> exponent = reference - rate * squared_distance(row, columns, products);
        return centred ? level * exponential_minus_one<T>(exponent) : exponential<T>(exponent);
    }
};

template <class T, bool centred> struct Laplacian {
    T rate, reference, level;
    Vec<T> values(T row, Vec<T> columns, Vec<T> products) const {
        const Vec<T> exponent = reference - rate * square_root<T>(squared_distance(row, columns, products));
        return centred ? level * exponential_minus_one<T>(exponent) : exponential<T>(exponent);
    }
};

// -1/2 (|x - y|^e - reference): of the kernel 1/2 (|x|^e + |y|^e - |x - y|^e) centring keeps only this.
template <class T> struct Distance {
    T reference;
    Vec<T> values(T row, Vec<T> columns, Vec<T> products) const {
        return T(-0.5) * (square_root<T>(squared_distance(row, columns, products)) - reference);
    }
};

template <class T> struct DistancePower {
    T reference, exponent;
    Vec<T> values(T row, Vec<T> columns, Vec<T> products) const {
        Vec<T> d2 = squared_distance(row, columns, products);
        Eigen::Map<Eigen::Array<T, lanes<T>, 1>> power(reinterpret_cast<T*>(&d2));
        power = power.pow(exponent / 2);
        return T(-0.5) * (d2 - reference);
    }
};

// (base + d)^degree - base^degree - slope (row + column), with d = row + column + rate <x, y> and slope = degree
// base^(degree - 1): constants and terms of one sample alone, which centring removes, are left out before they can cost
// digits. Evaluated in float64.
template <class T, bool centred> struct Polynomial {
    double rate, base;
    int degree;
    Vec<T> values(T row, Vec<T> columns, Vec<T> products) const {
        Vec<T> out;
        for (int lane = 0; lane < lanes<T>; ++lane) {
            const double product = rate * static_cast<double>(products[lane]);
            const double d = static_cast<double>(row) + static_cast<double>(columns[lane]) + product;
            double power = 1, base_power = 1;  // (base + d)^k, base^k
            double difference = 0,
                   curvature = 0;  // power - base_power, and that less slope * d, without cancellation
            double slope = 0;      // k base^(k - 1)
            for (int k = 0; k < degree; ++k) {
                curvature = base * curvature + difference * d;
                difference = base * difference + power * d;
                slope = base * slope + base_power;
                power *= base + d;
                base_power *= base;
            }
            out[lane] = static_cast<T>(centred ? curvature + slope * product : power);
        }
        return out;
    }
};

// The squared distance itself, for the search for its median.
template <class T> struct SquaredDistance {
    Vec<T> values(T row, Vec<T> columns, Vec<T> products) const {
        return squared_distance(row, columns, products);
    }
};

template <class T, class Kernel>
inline void map_block(const Kernel kernel, const T* row_terms, const T* column_terms, index rows,
                      index columns, T* block) {
    constexpr index W = panel_width<T>, N = lanes<T>;
    for (index i = 0; i < rows; ++i) {
        T* values = block + i * W;
        for (index j = 0; j < columns; j += N) {
            Vec<T>& target = *reinterpret_cast<Vec<T>*>(values + j);
            target = kernel.values(row_terms[i], *reinterpret_cast<const Vec<T>*>(column_terms + j), target);
        }
        std::fill(values + columns, values + W, T(0));
    }
}

// See Operations::apply.
template <class T>
void apply(const KernelMap<T>& map, const T* row_terms, const T* column_terms, index rows, index columns,
           T* block) {
    const T rate = static_cast<T>(map.rate), reference = static_cast<T>(map.reference);
    const T level = static_cast<T>(map.level);
    const auto with = [&](auto kernel) { map_block(kernel, row_terms, column_terms, rows, columns, block); };
    switch (map.kind) {
        case KernelKind::linear:
        case KernelKind::cosine:
        case KernelKind::precomputed: return;
        case KernelKind::rbf:
            return map.centred ? with(RBF<T, true>{rate, reference, level})
                               : with(RBF<T, false>{rate, reference, level});
        case KernelKind::laplacian:
            return map.centred ? with(Laplacian<T, true>{rate, reference, level})
                               : with(Laplacian<T, false>{rate, reference, level});
        case KernelKind::polynomial:
            return map.centred ? with(Polynomial<T, true>{map.rate, map.reference, map.degree})
                               : with(Polynomial<T, false>{map.rate, map.reference, map.degree});
        case KernelKind::distance:
            return map.exponent == 1 ? with(Distance<T>{reference})
                                     : with(DistancePower<T>{reference, static_cast<T>(map.exponent)});
    }
}

// See Operations::squared_distances.
template <class T>
void squared_distances(const T* row_norms, const T* column_norms, index rows, index columns, T* block) {
    map_block(SquaredDistance<T>{}, row_norms, column_norms, rows, columns, block);
}

}  // namespace fastcka::FASTCKA_LEVEL

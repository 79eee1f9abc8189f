// SPDX-License-Identifier: BSD-3-Clause
// Kernels exp(-t), where t grows with the distance in bandwidths: what RBF and Laplacian have in common.
#pragma once

#include "base/errors.hpp"
#include "kernels/traits.hpp"

#include <algorithm>
#include <cmath>

namespace fastcka {

struct Bandwidth {
    double relative = 1;       // sigma = relative * sqrt(median of squared distances) ...
    double sigma = not_given;  // ... unless this is given
    bool offdiagonal = false;  // the median is over different samples: without the n zero distances

    template <class Visit> void visit_options(Visit&& visit) {
        visit("bandwidth", relative);
        visit("sigma", sigma);
        visit("offdiagonal", offdiagonal);
    }
    bool needs_median() const { return !(sigma == sigma); }
};

// factor * (exp(reference - t) - 1) if centred, otherwise exp(reference - t), with t = rate * argument(squared distance).
// Centring removes any constant. So the value at the mean distance is subtracted if most values are close to it: the rest
// keeps its digits when all Gram values are nearly equal.
struct ExponentialMap {
    double rate = 0;
    double reference = 0;
    double factor = 1;
    bool centred = true;

    template <class Simd, class Use, class Argument>
    void with_exponentials(Use&& use, Argument argument) const {
        using T = typename Simd::Value;
        using Vec = typename Simd::Vec;
        const T r = static_cast<T>(rate), shift = static_cast<T>(reference), f = static_cast<T>(factor);
        if (centred)
            use([=](Vec d2) -> Vec { return f * Simd::expm1(shift - r * argument(d2)); });
        else
            use([=](Vec d2) -> Vec { return Simd::exp(shift - r * argument(d2)); });
    }
};

// `rate` of t in packed units; `typical`: the argument that it is a multiple of, at the mean squared distance.
inline Resolved<ExponentialMap> resolve_exponential(double rate, double typical_argument,
                                                    const LayerFacts& layer) {
    // With a typical exponent below `concentrated`, the constant exp(-typical) is subtracted from all values. Above it
    // values differ widely and are small: they are multiplied by exp(min(typical, largest_shift)) instead, so that their
    // products stay within the range of float32 for exponents from 0 to about 80.
    constexpr double concentrated = 16, largest_shift = 40;
    // Distances are about 1, or at least 1e-8 of that: beyond the largest rate all exponents are far below any that
    // counts, and an infinite one would make NaN of distance zero. Below the smallest one exp(-t) - 1 is -t in float64,
    // too, so that any rate that small gives the same values but for a factor.
    const bool single = layer.precision == Precision::float32;
    const double largest_rate = single ? 1e36 : 1e300, smallest_rate = 1e-20;

    ExponentialMap map{.rate = std::min(rate, largest_rate), .centred = !layer.as_defined};
    if (layer.as_defined) return {map, 1};
    map.rate = std::max(map.rate, smallest_rate);
    const double typical = map.rate * typical_argument;
    if (single && typical > largest_shift) throw NeedsDouble{};
    map.centred = typical < concentrated;
    map.reference = std::min(typical, largest_shift);
    if (single) map.reference = static_cast<float>(map.reference);  // as applied
    map.factor = std::exp(-map.reference);
    if (!map.centred) return {map, map.factor};
    // Values are about the typical exponent; a power of two brings them to about 1.
    int exponent = 0;
    std::frexp(std::min(typical, 1.0), &exponent);
    const double most = map.reference < std::log(2.0) ? std::expm1(-map.reference) : map.factor;
    map.factor = std::ldexp(map.factor, -exponent);
    return {map, std::ldexp(std::min(rate / smallest_rate, 1.0), exponent), std::ldexp(most, -exponent)};
}

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = (|x|^e + |y|^e - |x - y|^e) / 2, whose CKA is the squared distance correlation.
#pragma once

#include "kernels/traits.hpp"

#include <algorithm>
#include <cmath>

namespace fastcka {

struct Distance {
    static constexpr const char* name = "distance";
    static constexpr Traits traits{.form = Form::distances};

    double exponent = 1;
    template <class Visit> void visit_options(Visit&& visit) { visit("exponent", exponent); }

    // The term of the definition for each of two samples, by its norm; centring removes it.
    double own_term(double norm) const { return norm > 0 ? std::pow(norm, exponent) / 2 : 0; }

    // -1/2 (|x - y|^e - reference): all of the kernel that centring does not remove.
    struct Map {
        double reference = 0;
        double exponent = 1;

        template <class Simd, class Use> void with_values(Use&& use) const {
            using T = typename Simd::Value;
            using Vec = typename Simd::Vec;
            const T left_out = static_cast<T>(reference), half = static_cast<T>(exponent / 2);
            if (exponent == 1)
                use([=](Vec d2) -> Vec { return T(-0.5) * (Simd::sqrt(d2) - left_out); });
            else
                use([=](Vec d2) -> Vec { return T(-0.5) * (Simd::pow(d2, half) - left_out); });
        }
    };
    Resolved<Map> resolve(const LayerFacts& layer) const {
        const double typical = layer.as_defined ? 0 : typical_power(layer);
        return {
            {.reference = typical, .exponent = exponent}, std::pow(1 / layer.scale, exponent), -typical / 2};
    }

  private:
    // About the mean of |x - y|^e. A massive sample moves the mean of squares far from it, but hardly that of |x|^e, where
    // the origin is amid the samples; where it is not, |x|^e is too large.
    double typical_power(const LayerFacts& layer) const {
        double sum = 0;
        for (double square : layer.squared_norms) sum += std::pow(2 * square, exponent / 2);
        return std::min(sum / static_cast<double>(layer.squared_norms.size()),
                        std::pow(layer.mean_distance, exponent / 2));
    }
};

}  // namespace fastcka

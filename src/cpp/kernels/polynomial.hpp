// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = (gamma <x, y> + coef0)^degree.
#pragma once

#include "kernels/traits.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace fastcka {

struct Polynomial {
    static constexpr const char* name = "polynomial";
    static constexpr Traits traits{.form = Form::about_the_origin};

    int degree = 2;
    double coef0 = 1;
    double gamma = not_given;  // not given: 1 / features
    template <class Visit> void visit_options(Visit&& visit) {
        visit("degree", degree);
        visit("coef0", coef0);
        visit("gamma", gamma);
    }

    // With x = origin + x_o and y = origin + y_o, gamma <x, y> + coef0 is base + a + b + c, where
    // a = rate <x_o, origin>, b = rate <y_o, origin> and c = rate <x_o, y_o>.
    // The map gives k(x, y) - k(x, origin) - k(origin, y) + k(origin, origin). The terms that it leaves out depend on one
    // sample or none: centring would remove them, but only after they have cost digits. Evaluated in float64.
    struct Map {
        double rate = 0;
        double base = 0;
        int degree = 1;
        bool centred = true;

        template <class Simd, class Use> void with_values(Use&& use) const {
            using T = typename Simd::Value;
            using Vec = typename Simd::Vec;
            use([*this](T row, Vec columns, Vec products) -> Vec {
                Vec out;
                for (int lane = 0; lane < Simd::lanes; ++lane)
                    out[lane] = static_cast<T>(value<Simd>(rate * static_cast<double>(row),
                                                           rate * static_cast<double>(columns[lane]),
                                                           rate * static_cast<double>(products[lane])));
                return out;
            });
        }

      private:
        // Let s_k = (base + a + b + c)^k, a_k = (base + a)^k - base^k, b_k likewise, and
        // e_k = s_k - (base + a)^k - (base + b)^k + base^k.
        // The step from k to k + 1 only adds products: nothing cancels unless it is small itself.
        template <class Simd>
        double value(double a, double b, double c) const {  // of its level: see FastckaLevel.cmake
            double s_k = 1, power_a = 1, power_b = 1;       // (base + a)^k, (base + b)^k
            double a_k = 0, b_k = 0, e_k = 0;
            for (int k = 0; k < degree; ++k) {
                e_k = (base + a + b) * e_k + a * b_k + b * a_k + c * s_k;
                a_k = base * a_k + power_a * a;
                b_k = base * b_k + power_b * b;
                s_k *= base + (a + b + c);
                power_a *= base + a;
                power_b *= base + b;
            }
            return centred ? e_k : s_k;
        }
    };
    Resolved<Map> resolve(const LayerFacts& layer) const {
        const double factor = gamma == gamma ? gamma : 1.0 / static_cast<double>(layer.features);
        const Map map{.rate = factor / (layer.scale * layer.scale),
                      .base = coef0 + factor * layer.origin_norm,
                      .degree = degree,
                      .centred = !layer.as_defined};
        const double step =
            std::abs(map.rate) * (2 * layer.largest_projection + std::ranges::max(layer.squared_norms));
        const double bound = 4 * std::pow(std::abs(map.base) + step, degree);
        const double largest = layer.precision == Precision::float32 ? 1e18 : 1e150;  // its square is summed
        if (layer.mean_distance > 0 && !(bound < largest))
            throw std::invalid_argument(
                "the polynomial kernel overflows on these values; scale them or set gamma");
        return {map, 1};
    }
};

}  // namespace fastcka

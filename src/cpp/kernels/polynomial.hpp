// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = (gamma <x, y> + coef0)^degree.
#pragma once

#include "kernels/traits.hpp"

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

    // gamma <x, y> + coef0 with x = origin + x_o is base + d, d = rate (<x_o, origin> + <y_o, origin> + <x_o, y_o>). Of
    // (base + d)^degree the map leaves out base^degree and slope * rate (<x_o, origin> + <y_o, origin>), slope = degree
    // base^(degree - 1): constants and terms of one sample alone, which centring removes, before they can cost digits.
    // Evaluated in float64.
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
                    out[lane] = static_cast<T>(
                        value<Simd>(static_cast<double>(row) + static_cast<double>(columns[lane]),
                                    static_cast<double>(products[lane])));
                return out;
            });
        }

      private:
        template <class Simd> double value(double projections, double product) const {
            const double d = rate * (projections + product);
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
            return centred ? curvature + slope * rate * product : power;
        }
    };
    Resolved<Map> resolve(const LayerFacts& layer) const {
        const double factor = gamma == gamma ? gamma : 1.0 / static_cast<double>(layer.features);
        const Map map{.rate = factor / (layer.scale * layer.scale),
                      .base = coef0 + factor * layer.origin_norm,
                      .degree = degree,
                      .centred = !layer.as_defined};
        const double step = std::abs(map.rate) * (2 * layer.largest_projection + layer.largest_norm);
        const double bound = 2 * std::pow(std::abs(map.base) + step, degree);
        const double largest = layer.precision == Precision::float32 ? 1e18 : 1e150;  // its square is summed
        if (layer.mean_distance > 0 && !(bound < largest))
            throw std::invalid_argument(
                "the polynomial kernel overflows on these values; scale them or set gamma");
        return {map, 1};
    }
};

}  // namespace fastcka

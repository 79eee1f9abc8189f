// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = exp(-|x - y|^2 / (2 sigma^2)).
#pragma once

#include "kernels/bandwidth.hpp"

namespace fastcka {

struct RBF {
    static constexpr const char* name = "rbf";
    static constexpr Traits traits{.form = Form::distances};

    Bandwidth bandwidth;
    template <class Visit> void visit_options(Visit&& visit) { bandwidth.visit_options(visit); }

    struct Map : ExponentialMap {
        template <class Simd, class Use> void with_values(Use&& use) const {
            with_exponentials<Simd>(use, [](typename Simd::Vec d2) { return d2; });
        }
    };
    Resolved<Map> resolve(const LayerFacts& layer) const {
        const double sigma = layer.sigma * layer.scale;
        const auto [map, unit, left_out] =
            resolve_exponential(1 / (2 * sigma * sigma), layer.mean_distance, layer);
        return {Map{map}, unit, left_out};
    }
};

}  // namespace fastcka

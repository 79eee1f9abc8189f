// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = exp(-|x - y| / sigma).
#pragma once

#include "kernels/bandwidth.hpp"

namespace fastcka {

struct Laplacian {
    static constexpr const char* name = "laplacian";
    static constexpr Traits traits{.form = Form::distances};

    Bandwidth bandwidth;
    template <class Visit> void visit_options(Visit&& visit) { bandwidth.visit_options(visit); }

    struct Map : ExponentialMap {
        template <class Simd, class Use> void with_values(Use&& use) const {
            with_exponentials<Simd>(use, [](typename Simd::Vec d2) { return Simd::sqrt(d2); });
        }
    };
    Resolved<Map> resolve(const LayerFacts& layer) const {
        const double rate = 1 / (layer.sigma * layer.scale);
        const auto [map, unit, left_out] = resolve_exponential(rate, std::sqrt(layer.mean_distance), layer);
        return {Map{map}, unit, left_out};
    }
};

}  // namespace fastcka

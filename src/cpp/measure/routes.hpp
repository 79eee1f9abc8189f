// SPDX-License-Identifier: BSD-3-Clause
// The two routes to the same sums: Gram tiles (vectors are samples, any kernel) and cross products of features (linear).
#pragma once

#include "base/errors.hpp"
#include "measure/gram_layer.hpp"
#include "measure/plan.hpp"

#include <optional>
#include <vector>

namespace fastcka {

struct Sides {
    std::vector<MatrixView> a;
    std::optional<std::vector<MatrixView>> b;  // none: all pairs of a with itself

    index layers_a() const { return static_cast<index>(a.size()); }
    index layers() const { return layers_a() + (b ? static_cast<index>(b->size()) : 0); }

    // visit(number, view) for the layers of both sides, a first; failures name the side and the layer.
    template <class Visit> void for_each_layer(Visit&& visit) const {
        for (index number = 0; number < layers(); ++number) at_layer(number, visit);
    }
    template <class Visit> void at_layer(index number, Visit&& visit) const {
        const index side = number < layers_a() ? 0 : 1, layer = number - side * layers_a();
        try {
            visit(number, (side == 0 ? a : *b)[static_cast<std::size_t>(layer)]);
        } catch (const NonFinite& e) {
            throw NonFinite(side, layer, e.row, e.column);
        } catch (const std::invalid_argument& e) {
            throw UnusableLayer(side, layer, e.what());
        }
    }
};

template <class T>
RouteResult gram_route(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine);

template <class T>
RouteResult feature_route(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine);

}  // namespace fastcka

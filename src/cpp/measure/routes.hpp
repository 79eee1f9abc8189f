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
};

template <class T>
RouteResult gram_route(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine);

template <class T>
RouteResult feature_route(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine);

// make(view) for every layer, so that failures name the side and the layer.
template <class Make> void make_each(const std::vector<MatrixView>& views, index side, Make&& make) {
    for (std::size_t layer = 0; layer < views.size(); ++layer) try {
            make(views[layer]);
        } catch (const NonFinite& e) {
            throw NonFinite(side, static_cast<index>(layer), e.row, e.column);
        } catch (const std::invalid_argument& e) {
            throw UnusableLayer(side, static_cast<index>(layer), e.what());
        }
}

}  // namespace fastcka

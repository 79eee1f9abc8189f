// SPDX-License-Identifier: BSD-3-Clause
// The layers of a sweep on the Gram route: packed as its plan says, their bandwidths found where they are not known.
#pragma once

#include "layers/bandwidth.hpp"
#include "sums/sweep.hpp"

namespace fastcka {

// How a layer is packed if no other layer is packed at the same time.
template <class T> Strips strips_of(const Plan& plan, const Source& source) {
    if (plan.held.rows == 0) return {};
    const index each = Panels<T>::bytes(plan.tile, source.columns(), plan.panel_width);
    return {plan.tile, std::max(plan.held.rows + plan.held.columns, plan.held_bytes / each)};
}

// A packed layer; a bandwidth that is relative to the median is still missing. `known`: its statistics, or null.
template <class T>
GramLayer<T> packed_layer(const Source& source, const Kernel& kernel, const LayerStatistics* known,
                          const Plan& plan, const Engine& engine) {
    return GramLayer<T>(source, kernel, false, known != nullptr ? &known->centring : nullptr, engine,
                        strips_of<T>(plan, source));
}

// A packed layer with its kernel resolved, with the median searched for if it is needed and not known. `keep`: its
// squared distances stay in memory, for its tiles.
template <class T>
GramLayer<T> make_layer(const Source& source, const Kernel& kernel, const LayerStatistics* known, bool keep,
                        const Plan& plan, const Engine& engine) {
    GramLayer<T> layer = packed_layer<T>(source, kernel, known, plan, engine);
    if (!kernel.needs_median()) return layer;
    if (layer.note.status != Status::fine) {  // any bandwidth will do: its values do not count
        layer.set_sigma(1.0);
        layer.note.sigma = not_given;
        return layer;
    }
    const bool found = known != nullptr && !known->is_open(kernel);
    const TileGrid grid(source.rows(), plan.tile);
    const double sigma =
        found ? known->sigma : relative_sigma(layer, *kernel.bandwidth(), grid, plan.keeps_distances, engine);
    if (!keep) layer.panel_tiles().forget_distances();
    layer.set_sigma(sigma > 0 ? sigma : 1.0);
    if (sigma > 0) return layer;
    layer.note.status = Status::zero_bandwidth;
    layer.note.sigma = 0;
    return layer;
}

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
// The tiles of X'Y that all pairs of layers need. Shared by the feature route, the planner and streams.
#pragma once

#include "layers/layer_set.hpp"
#include "layers/tiles.hpp"

#include <vector>

namespace fastcka {

// The largest side of a tile, in whole panels, that still gives `tiles_of(side)` >= wanted_tiles.
template <class TilesOf> index tile_side(index panel_width, index limit, TilesOf&& tiles_of) {
    const auto whole = [&](index vectors) {
        return std::max(panel_width, vectors / panel_width * panel_width);
    };
    index side = whole(std::min(largest_tile, limit));
    while (side - panel_width >= whole(std::min(smallest_tile, limit)) && tiles_of(side) < wanted_tiles)
        side -= panel_width;
    return side;
}

struct FeatureTile {
    index left, right;  // layers
    TileRange range;    // features of each
};

inline index feature_tile_count(const LayerSet& layers, index side) {
    const auto across = [&](index layer) { return ceil_divide(layers.width(layer), side); };
    index count = layers.sum_of_products(across);
    for (index l = 0; l < layers.count(); ++l) count += across(l) * (across(l) + 1) / 2;
    return count;
}

// All tiles with `side` features on a side; of a layer with itself those on and above the diagonal.
inline std::vector<FeatureTile> feature_tiles(const LayerSet& layers, index side) {
    std::vector<FeatureTile> tiles;
    layers.for_each_pair([&](index i, index j) {
        const index p = layers.width(i), q = layers.width(j);
        for (index row = 0; row < p; row += side)
            for (index column = i == j ? row : 0; column < q; column += side)
                tiles.push_back({i,
                                 j,
                                 {row, std::min(side, p - row), column, std::min(side, q - column),
                                  i == j && row == column}});
    });
    return tiles;
}

}  // namespace fastcka

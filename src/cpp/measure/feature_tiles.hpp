// SPDX-License-Identifier: BSD-3-Clause
// The tiles of X'Y that all pairs of layers need. Shared by the feature route, the planner and streams.
#pragma once

#include "measure/tiles.hpp"

#include <vector>

namespace fastcka {

// Layers of both sides in one row, a first, and which pairs of them are wanted.
struct LayerPairs {
    std::vector<index> widths;
    index layers_a;
    bool one_sided;

    index count() const { return static_cast<index>(widths.size()); }
    index width(index layer) const { return widths[static_cast<std::size_t>(layer)]; }
    bool wanted(index i, index j) const { return i == j || one_sided || (i < layers_a && j >= layers_a); }
    // visit(i, j) for wanted pairs i <= j
    template <class Visit> void for_each(Visit&& visit) const {
        for (index i = 0; i < count(); ++i)
            for (index j = i; j < count(); ++j)
                if (wanted(i, j)) visit(i, j);
    }
};

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

inline index feature_tile_count(const LayerPairs& pairs, index side) {
    const auto across = [side](index width) { return (width + side - 1) / side; };
    index count = 0;
    pairs.for_each([&](index i, index j) {
        const index p = across(pairs.width(i)), q = across(pairs.width(j));
        count += i == j ? p * (p + 1) / 2 : p * q;
    });
    return count;
}

// All tiles with `side` features on a side; of a layer with itself those on and above the diagonal.
inline std::vector<FeatureTile> feature_tiles(const LayerPairs& pairs, index side) {
    std::vector<FeatureTile> tiles;
    pairs.for_each([&](index i, index j) {
        const index p = pairs.width(i), q = pairs.width(j);
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

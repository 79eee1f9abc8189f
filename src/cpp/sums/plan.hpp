// SPDX-License-Identifier: BSD-3-Clause
// The route, tiles and threads of a computation, and its cost. Decided before anything is allocated.
#pragma once

#include "layers/layer_set.hpp"
#include "layers/tiles.hpp"
#include "sums/settings.hpp"

namespace fastcka {

struct Problem {
    index samples = 0;
    LayerSet layers;
    Settings settings;
    Bytes result = {};  // the memory that finishing the sums takes
};

struct Plan {
    Route route;
    double flops;  // of the products; symmetric halves count once
    index bytes;   // allocated by the core at the peak, without the inputs
    index tile;    // vectors on a side
    index tiles;   // tiles to compute: per layer by the Gram route, in all by the feature route
    index
        segments;  // feature route: parts of the samples, whose sums are added along the tree; a power of two
    index
        blocks;  // the units of work whose sums are added along the tree: some tiles, or a segment of a tile
    index run;   // Gram route: the most tiles in a block
    bool
        joint;  // the products of all layers with all are summed, though only pairs of two networks may be wanted
    bool keeps_distances;  // Gram route: squared distances of a layer are kept for the median
    index kept_layers;     // ... and those of the first so many layers until their tiles are filled
    bool shared_block;     // Gram route: all threads work on one block of tiles of all layers
    bool
        layer_by_layer;  // ... and all blocks fit: the panels of a layer are freed once its tiles are computed
    bool row_products;   // Gram route: sums of single samples are computed, too
    Held held;  // rows and columns of tiles whose samples, or features, are packed at a time; rows 0: all
    index held_bytes;    // Gram route: the bytes of their panels
    index held_samples;  // feature route: how many samples of them are packed at a time
    index read_bytes;    // how much of a layer that is not in memory is read at a time
    double reads;        // about how often each value is read
    int threads;
    index panel_width;
    Precision precision;
};

// The least memory for reading layers that are not in memory, one at a time, in bytes.
index least_read_bytes(const Problem& problem);

// Throws OverBudget if the smallest plan does not fit into max_bytes, or sizes leave 64 bits.
Plan make_plan(const Problem& problem, index panel_width);

}  // namespace fastcka

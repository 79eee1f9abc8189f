// SPDX-License-Identifier: BSD-3-Clause
// Which route, tiles and threads a computation will use, and what it will cost. Decided before anything is allocated.
#pragma once

#include "layers/layer_set.hpp"
#include "layers/tiles.hpp"
#include "sums/settings.hpp"

namespace fastcka {

struct Problem {
    index samples = 0;
    LayerSet layers;
    Settings settings;
    Bytes result = {};  // of what is made of the sums
};

struct Plan {
    Route route;
    double flops;    // of the products, symmetric halves counted once
    index bytes;     // allocated by the core at the peak, inputs not counted
    index tile;      // vectors on a side
    index tiles;     // tiles to compute, per layer by the Gram route and in all by the feature route
    index segments;  // feature route: parts of the samples that are summed apart and added in order
    index blocks;    // of tiles, or tiles and segments: what sums are made of apart and added along a tree
    index run;       // Gram route: tiles in a block, at most
    bool joint;      // products of all layers with all, although only pairs of two networks are wanted
    bool keeps_distances;  // Gram route: squared distances of a layer are kept while their median is searched
    index kept_layers;     // and those of so many layers for their tiles
    bool shared_block;     // Gram route: all threads work on one block of tiles of all layers
    bool layer_by_layer;   // ... and all blocks fit: a layer's panels are forgotten once its tiles are made
    bool row_products;     // Gram route: sums of single samples are made, too
    Held held;             // rows and columns of tiles whose samples, or features, are packed at a time
    index held_bytes;      // Gram route: what their panels take
    index held_samples;    // feature route: how many samples of them
    index read_bytes;      // of a layer that is not in memory, at a time
    double reads;          // of all values, about: how often each is read
    int threads;
    index panel_width;
    Precision precision;
};

// The least memory in which layers that are not in memory are read, one at a time.
index least_read_bytes(const Problem& problem);

// Throws OverBudget, with the numbers in its text, when no route fits into max_bytes.
Plan make_plan(const Problem& problem, index panel_width);

}  // namespace fastcka

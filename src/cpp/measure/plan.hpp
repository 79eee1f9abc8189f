// SPDX-License-Identifier: BSD-3-Clause
// Which route, tiles and threads a computation will use, and what it will cost. Decided before anything is allocated.
#pragma once

#include "measure/kernel.hpp"

#include <vector>

namespace fastcka {

enum class Route { automatic, gram, feature };

struct Problem {
    index samples = 0;
    std::vector<index> widths_a, widths_b;  // features of each layer
    bool one_sided = false;                 // all pairs of a with itself; widths_b is empty
    Kernel kernel;
    bool double_precision = false;  // float64 arithmetic
    int threads = 1;                // at most
    index max_bytes = 0;            // 0: no limit
    Route wanted = Route::automatic;

    index layers() const { return static_cast<index>(widths_a.size() + widths_b.size()); }
};

struct Plan {
    Route route;
    double flops;       // of the products, symmetric halves counted once
    index bytes;        // allocated by the core at the peak, inputs not counted
    index tile;         // vectors on a side
    index tiles;        // tiles to compute, per layer by the Gram route and in all by the feature route
    index segments;     // feature route: parts of the samples that are summed apart and added in order
    index partials;     // blocks of tiles whose sums are added along a tree, or tiles and segments
    index kept_layers;  // Gram route: layers whose squared distances are kept from the search for the median
    bool shared_block;  // Gram route: all threads work on one block of tiles of all layers
    bool
        whole_tile;  // ... which covers all samples: the panels of a layer are forgotten once its tile is made
    int threads;
    index panel_width;
    bool double_precision;  // float64 arithmetic
};

// Throws OverBudget, with the numbers in its text, when no route fits into max_bytes.
Plan make_plan(const Problem& problem, index panel_width);

}  // namespace fastcka

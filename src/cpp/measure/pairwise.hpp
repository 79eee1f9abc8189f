// SPDX-License-Identifier: BSD-3-Clause
// The whole method in one function: all pairs of layers of two sides. Start reading here.
#pragma once

#include "measure/routes.hpp"

namespace fastcka {

struct PairwiseOptions {
    Kernel kernel;
    bool unbiased = false;
    bool double_precision = false;  // float64 arithmetic; that of few samples always is
    int threads = 1;
    index max_bytes = 0;  // 0: no limit
    Route route = Route::automatic;
};

struct Pairwise : Alignment {
    Plan plan;
};

// The problem that `sides` and `options` pose to the planner. Throws std::invalid_argument on inconsistent shapes.
Problem problem_of(const Sides& sides, const PairwiseOptions& options);

Pairwise pairwise(const Sides& sides, const PairwiseOptions& options, const Observer& observer = {});

}  // namespace fastcka

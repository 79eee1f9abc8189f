// SPDX-License-Identifier: BSD-3-Clause
// From the sums of all blocks to the result of all pairs, and to what single samples and pairs add to it.
#pragma once

#include "measures/cka.hpp"
#include "sums/partial.hpp"
#include "sums/plan.hpp"

namespace fastcka {

struct Pairwise : Alignment {
    Plan plan;
    // Whether the self-HSIC of a layer is so small a part of its terms that their rounding counts, which that of float64 on
    // the Gram route never does.
    bool too_coarse;
};

// All throw std::invalid_argument where blocks are missing or shapes differ.
Pairwise finish(const Problem& problem, const Plan& plan, const Partial& partial);
bool too_coarse(const Problem& problem, const Plan& plan, const Partial& partial);
Sums sums_of(const Problem& problem, const Plan& plan, const Partial& partial);
Margins margins_of(const Problem& problem, const Partial& partial);

// What finish() takes up.
Bytes result_bytes(const LayerSet& set, index samples);

}  // namespace fastcka

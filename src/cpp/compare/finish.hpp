// SPDX-License-Identifier: BSD-3-Clause
// From the sums of all blocks to the result of all pairs, and to the sums and margins that inference starts from.
#pragma once

#include "measures/cka.hpp"
#include "sums/partial.hpp"
#include "sums/plan.hpp"

namespace fastcka {

struct Pairwise : Alignment {
    Plan plan;
    // Whether the self-HSIC of a layer is so small beside its terms that their rounding counts. Never in float64 by the
    // Gram route.
    bool too_coarse;
};

// All throw std::invalid_argument if blocks are missing or shapes differ.
Pairwise finish(const Problem& problem, const Plan& plan, const Partial& partial);
bool too_coarse(const Problem& problem, const Plan& plan, const Partial& partial);
Sums sums_of(const Problem& problem, const Plan& plan, const Partial& partial);
Margins margins_of(const Problem& problem, const Partial& partial);

// The memory of finish().
Bytes result_bytes(const LayerSet& set, index samples);

}  // namespace fastcka

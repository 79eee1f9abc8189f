// SPDX-License-Identifier: BSD-3-Clause
// The whole method in one function: all pairs of layers of one network or two. Start reading here.
#pragma once

#include "compare/finish.hpp"
#include "sums/median_round.hpp"
#include "sums/sweep.hpp"

namespace fastcka {

// What is asked of the planner. Throws std::invalid_argument where shapes do not fit.
Problem problem_of(index samples, LayerSet layers, Settings settings);
Problem problem_of(const Layers& layers, const Settings& settings);
Plan plan_of(const Problem& problem);

// The sums of all blocks, as exact as the values ask for, and what they say about pairs and single samples.
struct Swept {
    Problem problem;
    Plan plan;
    Partial partial;
};
Swept sweep_all(const Layers& layers, const Settings& settings, const Observer& observer = {});

Pairwise pairwise(const Layers& layers, const Settings& settings, const Observer& observer = {});

// The same in pieces, for finish(): what is found out about layers [first, last), rounds of the search for their medians,
// and the sums of blocks [first, last).
Statistics statistics(const Layers& layers, const Settings& settings, index first, index last,
                      Medians medians, const Observer& observer = {});
MedianRound median_round(const Layers& layers, const Settings& settings, const Statistics& known, index first,
                         index last, const Observer& observer = {});
// All that is known then, the searches that are open finished here.
Statistics with_medians(const Layers& layers, const Settings& settings, const Statistics& known,
                        const Observer& observer = {});
Partial partial(const Layers& layers, const Settings& settings, index first, index last,
                const Statistics& statistics, const Observer& observer = {});

}  // namespace fastcka

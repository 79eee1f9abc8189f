// SPDX-License-Identifier: BSD-3-Clause
// The whole method in one function: all pairs of layers of one network or two. Start reading here.
#pragma once

#include "compare/finish.hpp"
#include "sums/median_round.hpp"
#include "sums/sweep.hpp"

namespace fastcka {

// The problem for the planner. Throws std::invalid_argument if shapes or settings do not fit together.
Problem problem_of(index samples, LayerSet layers, Settings settings);
Problem problem_of(const Layers& layers, const Settings& settings);
Plan plan_of(const Problem& problem);

// The sums of all blocks, in the precision and by the route that the values need.
struct Swept {
    Problem problem;
    Plan plan;
    Partial partial;
};
Swept sweep_all(const Layers& layers, const Settings& settings, const Observer& observer = {});

Pairwise pairwise(const Layers& layers, const Settings& settings, const Observer& observer = {});

// The same in pieces, for finish(): the statistics of layers [first, last), a round of the search for medians over blocks
// [first, last) of all layers, and the sums of blocks [first, last). All depend on the arguments alone: any process may
// compute any piece.
Statistics statistics(const Layers& layers, const Settings& settings, index first, index last,
                      Medians medians, const Observer& observer = {});
MedianRound median_round(const Layers& layers, const Settings& settings, const Statistics& known, index first,
                         index last, const Observer& observer = {});
// The statistics with all medians: searches that are still open are finished here.
Statistics with_medians(const Layers& layers, const Settings& settings, const Statistics& known,
                        const Observer& observer = {});
Partial partial(const Layers& layers, const Settings& settings, index first, index last,
                const Statistics& statistics, const Observer& observer = {});

}  // namespace fastcka

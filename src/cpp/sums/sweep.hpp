// SPDX-License-Identifier: BSD-3-Clause
// The two routes to the same sums, block by block: Gram tiles (vectors are samples, any kernel) and cross products of
// features (linear).
#pragma once

#include "layers/layer_set.hpp"
#include "sums/partial.hpp"
#include "sums/plan.hpp"

namespace fastcka {

// What all blocks have in common.
struct Sweep {
    const Layers& layers;
    const Kernel& kernel;
    const Plan& plan;
    const Engine& engine;
};

// What is found out about one layer. Both throw NeedsDouble from float32. `known`: what was found already, or null.
// Medians that bandwidths follow are searched, unless that is left to rounds.
enum class Medians { searched, left_to_rounds };
template <class T>
LayerStatistics gram_statistics(const Sweep& sweep, index layer, const LayerStatistics* known,
                                Medians medians);
template <class T> LayerStatistics feature_statistics(const Sweep& sweep, index layer);

// The next digit of distances of one layer, in some blocks of the grid.
template <class T>
DigitCounts gram_counts(const Sweep& sweep, index layer, const LayerStatistics& known, Span blocks);

// The sums of blocks [first, last). `known` null: statistics are made on the way; otherwise all must be there.
template <class T> Partial gram_blocks(const Sweep& sweep, index first, index last, const Statistics* known);
template <class T>
Partial feature_blocks(const Sweep& sweep, index first, index last, const Statistics* known);

// What they take up by a plan, whose bytes are not known yet, while everything is read at once.
template <class T> Bytes gram_bytes(const Problem& problem, const Plan& plan);
template <class T> Bytes feature_bytes(const Problem& problem, const Plan& plan);

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
// The two routes to the same sums, block by block: Gram tiles (vectors are samples, any kernel) and cross products of
// features (linear).
#pragma once

#include "layers/layer_set.hpp"
#include "sums/partial.hpp"
#include "sums/plan.hpp"

namespace fastcka {

// What all blocks of a comparison share. It owns nothing.
struct Sweep {
    const Layers& layers;
    const Kernel& kernel;
    const Plan& plan;
    const Engine& engine;
};

// The statistics of one layer. Both throw NeedsDouble in float32. `known`: its statistics so far, or null. The median
// that a bandwidth is relative to is searched for here, unless that is left to rounds.
enum class Medians { searched, left_to_rounds };
template <class T>
LayerStatistics gram_statistics(const Sweep& sweep, index layer, const LayerStatistics* known,
                                Medians medians);
template <class T> LayerStatistics feature_statistics(const Sweep& sweep, index layer);

// Counts the next digit of the distances of one layer, in some blocks of the grid.
template <class T>
DigitCounts gram_counts(const Sweep& sweep, index layer, const LayerStatistics& known, Span blocks);

// The sums of blocks [first, last). `known`: the statistics of all layers; null: they are computed here.
template <class T> Partial gram_blocks(const Sweep& sweep, index first, index last, const Statistics* known);
template <class T>
Partial feature_blocks(const Sweep& sweep, index first, index last, const Statistics* known);

// Their memory by a plan whose `bytes` are not set yet. What reading layers takes is counted only where they are packed
// layer by layer.
template <class T> Bytes gram_bytes(const Problem& problem, const Plan& plan);
template <class T> Bytes feature_bytes(const Problem& problem, const Plan& plan);

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
#include "base/buffer.hpp"
#include "sums/feature_strips.hpp"
#include "sums/feature_tiles.hpp"
#include "sums/plan_sizes.hpp"
#include "sums/sum_tree.hpp"

#include <cmath>

namespace fastcka {
namespace {

struct FeatureCosts {
    double multiply_adds;
    index shared, per_thread;
    index tile, waiting;  // bytes of one whose segment is not complete, and of its segments that are
    index strips;         // of features
    index segment;        // samples
};

// Where the features of all samples do not fit: as many strips of features as do, and of these so many samples at a time.
// `bytes` beyond max_bytes: none do.
void plan_feature_strips(const Problem& problem, const Sizes& s, const FeatureCosts& costs, Plan& plan) {
    const index max_bytes = problem.settings.max_bytes, fewest = std::min(s.n, carry_interval);
    const auto bytes = [&](const Held& held, index samples, index threads) {
        const index strip = s.element == 4 ? FeatureStrips<float>::bytes(plan.tile, samples, s.width)
                                           : FeatureStrips<double>::bytes(plan.tile, samples, s.width);
        const index square = triangle_number(held.rows), tiles = std::max(square, held.rows * held.columns);
        const index of_a_tile =
            (samples < costs.segment ? costs.tile : 0) + (samples < s.n ? costs.waiting : 0);
        return costs.shared + threads * costs.per_thread + (held.rows + held.columns) * strip +
               tiles * of_a_tile;
    };
    // The most strips that fit with so many samples; {1, 1} where none do.
    const auto most = [&](index samples, index threads, bool square) {
        const auto fits = [&](const Held& held) { return bytes(held, samples, threads) <= max_bytes; };
        if (fits({costs.strips, 0})) return Held{costs.strips, 0};
        Held held{1, 1};
        while (held.rows < costs.strips && fits({held.rows + 1, square ? held.rows + 1 : 1}))
            held = {held.rows + 1, square ? held.rows + 1 : 1};
        return held;
    };
    // Threads may take half of the room, strips the rest.
    const Held least{1, 1};
    const index room = (max_bytes - bytes(least, fewest, 0)) / 2;
    choose_threads(problem, costs.multiply_adds, plan.blocks, max_bytes - room, costs.per_thread, plan);
    // All samples of few strips, or few samples of many.
    const Held all = most(s.n, plan.threads, false), few = most(fewest, plan.threads, true);
    const bool whole = bytes(all, s.n, plan.threads) <= max_bytes &&
                       packings(costs.strips, all) <= packings(costs.strips, few, false);
    plan.held = whole ? all : few;
    plan.held_samples = whole ? s.n : fewest;
    for (index more = 2 * plan.held_samples;
         !whole && more < 2 * s.n && bytes(plan.held, std::min(more, s.n), plan.threads) <= max_bytes;
         more *= 2)
        plan.held_samples = std::min(more, s.n);
    plan.bytes = bytes(plan.held, plan.held_samples, plan.threads);
    plan.reads += packings(costs.strips, plan.held, whole);
}

}  // namespace

Plan plan_feature(const Problem& problem, const Sizes& s) {
    const LayerSet& pairs = problem.layers;
    const auto tiles_of = [&](index side) { return feature_tile_count(pairs, side); };
    Plan plan{};
    plan.route = Route::feature;
    plan.panel_width = s.width;
    plan.precision = problem.settings.precision;
    plan.tile = tile_side(s.width, largest_tile, tiles_of);
    plan.tiles = tiles_of(plan.tile);
    // A power of two: all segments of a tile are then a node of the tree.
    plan.segments = static_cast<index>(std::bit_floor(static_cast<std::uint64_t>(std::clamp<index>(
        std::min(ceil_divide(wanted_tiles, plan.tiles), s.n / carry_interval), 1, wanted_tiles))));
    plan.blocks = plan.segments > 1 ? plan.tiles * plan.segments : std::min(plan.tiles, most_feature_blocks);
    plan.joint = true;
    plan.reads = problem.settings.kernel.traits().rows == Rows::as_given ? 2 : 3;

    const double n = static_cast<double>(s.n);
    const auto width = [&](index layer) { return static_cast<double>(pairs.width(layer)); };
    double multiply_adds = n * pairs.sum_of_products(width);
    for (index l = 0; l < pairs.count(); ++l) multiply_adds += n * width(l) * (width(l) + 1) / 2;
    plan.flops = 2 * multiply_adds;

    index panels = 0, strips = 0;
    for (index p : s.features)
        for (index first = 0; first < p; first += plan.tile, ++strips) {
            const index features = std::min(plan.tile, p - first);
            panels += s.element == 4 ? FeatureStrips<float>::bytes(features, s.n, s.width)
                                     : FeatureStrips<double>::bytes(features, s.n, s.width);
        }
    const index tile_values = s.whole_panels(plan.tile) * s.whole_panels(plan.tile);
    // Open tiles wait for the next segment, and each thread makes one more.
    const index open = plan.segments > 1 ? acquired_bytes(tile_values * 8) : 0;
    const index shared = least_read_bytes(problem) + plan.blocks * 8 + most_waiting(plan.segments) * open +
                         s.vectors_bytes() + 3 * 8 * s.layers * s.layers + s.results_bytes();
    const index per_thread = tile_values * (s.element + 8) + 2 * open;
    const index max_bytes = problem.settings.max_bytes;
    if (max_bytes > 0 && shared + panels + per_thread > max_bytes) {
        const FeatureCosts costs{
            .multiply_adds = multiply_adds,
            .shared = shared + plan.tiles * 8,
            .per_thread = per_thread,
            .tile = acquired_bytes(tile_values * 8),
            .waiting = most_waiting(plan.segments) * open,
            .strips = strips,
            .segment = ceil_divide(ceil_divide(s.n, coordinate_block), plan.segments) * coordinate_block,
        };
        plan_feature_strips(problem, s, costs, plan);
    } else {
        choose_threads(problem, multiply_adds, plan.blocks, shared + panels, per_thread, plan);
    }
    choose_reading(problem, s, plan);
    return plan;
}

}  // namespace fastcka

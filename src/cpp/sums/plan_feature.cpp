// SPDX-License-Identifier: BSD-3-Clause
#include "sums/feature_tiles.hpp"
#include "sums/plan_sizes.hpp"
#include "sums/sweep.hpp"

#include <cmath>

namespace fastcka {
namespace {

// If the features of all samples do not fit: chooses how many strips of features, and how many samples of them, are
// packed at a time. The plan's bytes are more than max_bytes if even one strip does not fit. bytes_of(plan): the memory
// of a plan.
template <class BytesOf>
void hold_strips(const Problem& problem, double multiply_adds, BytesOf&& bytes_of, Plan& plan) {
    const index n = problem.samples, max_bytes = problem.settings.max_bytes;
    const index fewest = std::min(n, carry_interval);
    index strips = 0;
    for (index p : problem.layers.widths()) strips += ceil_divide(p, plan.tile);
    const auto bytes = [&](const Held& held, index samples) {
        plan.held = held, plan.held_samples = samples;
        return bytes_of(plan);
    };
    const auto holds = [&](const Held& held, index samples) {
        return bytes(held, samples).with(plan.threads) <= max_bytes;
    };
    // The most strips that fit with that many samples; {1, 1} if none do.
    const auto most = [&](index samples, bool square) {
        if (holds({strips, 0}, samples)) return Held{strips, 0};
        Held held{1, 1};
        const auto next = [&]() -> Held { return {held.rows + 1, square ? held.rows + 1 : 1}; };
        while (held.rows < strips && holds(next(), samples)) held = next();
        return held;
    };
    // Threads may take half of the room, and strips the other half.
    const Bytes least = bytes({1, 1}, fewest);
    const index room = (max_bytes - least.shared) / 2;
    choose_threads(problem, multiply_adds, plan.blocks, {max_bytes - room, least.per_thread}, plan);
    // All samples of few strips, or few samples of many.
    const Held all = most(n, false), few = most(fewest, true);
    const bool whole = holds(all, n) && packings(strips, all) <= packings(strips, few, false);
    const Held held = whole ? all : few;
    index samples = whole ? n : fewest;
    while (samples < n && holds(held, std::min(2 * samples, n))) samples = std::min(2 * samples, n);
    plan.bytes = bytes(held, samples).with(plan.threads);
    plan.reads += packings(strips, held, whole);
}

}  // namespace

template <class T> Plan plan_feature(const Problem& problem, index panel_width) {
    const LayerSet& set = problem.layers;
    const auto tiles_of = [&](index side) { return feature_tile_count(set, side); };
    Plan plan{};
    plan.route = Route::feature;
    plan.panel_width = panel_width;
    plan.precision = problem.settings.precision;
    plan.tile = tile_side(panel_width, largest_tile, tiles_of);
    plan.tiles = tiles_of(plan.tile);
    // A power of two: all segments of a tile are then a node of the tree.
    plan.segments = static_cast<index>(std::bit_floor(static_cast<std::uint64_t>(
        std::clamp<index>(std::min(ceil_divide(wanted_tiles, plan.tiles), problem.samples / carry_interval),
                          1, wanted_tiles))));
    plan.blocks = plan.segments > 1 ? plan.tiles * plan.segments : std::min(plan.tiles, most_feature_blocks);
    plan.joint = true;
    plan.reads = problem.settings.kernel.traits().rows == Rows::as_given ? 2 : 3;

    const double n = static_cast<double>(problem.samples);
    const auto width = [&](index layer) { return static_cast<double>(set.width(layer)); };
    double multiply_adds = n * set.sum_of_products(width);
    for (index l = 0; l < set.count(); ++l) multiply_adds += n * width(l) * (width(l) + 1) / 2;
    plan.flops = 2 * multiply_adds;

    const auto bytes_of = [&](const Plan& by) {
        Bytes bytes = feature_bytes<T>(problem, by);
        bytes += problem.result;
        bytes.shared += least_read_bytes(problem);
        return bytes;
    };
    const Bytes bytes = bytes_of(plan);
    if (fits(problem, bytes.with(1)))
        choose_threads(problem, multiply_adds, plan.blocks, bytes, plan);
    else
        hold_strips(problem, multiply_adds, bytes_of, plan);
    choose_reading(problem, plan);
    return plan;
}

template Plan plan_feature<float>(const Problem&, index);
template Plan plan_feature<double>(const Problem&, index);

}  // namespace fastcka

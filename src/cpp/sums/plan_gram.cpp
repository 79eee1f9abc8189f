// SPDX-License-Identifier: BSD-3-Clause
#include "base/buffer.hpp"
#include "sums/feature_tiles.hpp"
#include "sums/pair_products.hpp"
#include "sums/plan_sizes.hpp"
#include "sums/row_products.hpp"
#include "sums/sum_tree.hpp"

#include <cmath>

namespace fastcka {
namespace {

// Squared distances of one layer, tile by tile; tiles at the edge are as large as the others.
double kept_bytes(const Sizes& s, const Plan& plan) {
    const index side = s.whole_panels(std::min(plan.tile, s.n));
    return static_cast<double>(plan.tiles) * static_cast<double>(side * side * s.element);
}

// Samples on the side of a block that all threads share: all of them, or parts of equal size that fit.
index shared_tile_side(const Sizes& s) {
    const index of_a_layer = shared_block_bytes / (s.layers * s.element);
    const index whole = s.whole_panels(s.n), panels = whole / s.width;
    if (whole <= largest_whole_tile && panels * (panels + 1) / 2 * s.width * s.width <= of_a_layer)
        return whole;
    const index limit =
        std::min(largest_tile, static_cast<index>(std::sqrt(static_cast<double>(of_a_layer))));
    const index most = std::max(limit / s.width, index{1});
    return ceil_divide(panels, ceil_divide(panels, most)) * s.width;
}

// Whether threads should share out layers rather than tiles: there are more of them, and what it costs to hand over the
// values of a layer is little beside making them, or saved by pairs that fill a panel.
bool pays_by_layer(const Sizes& s, index tiles) {
    const double n = static_cast<double>(s.n);
    const double products = n * n / 2 * std::accumulate(s.features.begin(), s.features.end(), 0.0);
    return tiles < s.layers &&
           (s.layers >= s.width || products >= static_cast<double>(s.layers) * work_to_hand_over);
}

struct PairProductsSize {
    index bytes, side;
};
PairProductsSize pair_products_size(const LayerBlock& pairs, index values, const Sizes& s) {
    if (s.element == 4)
        return {PairProducts<float>::bytes(pairs, values, s.width),
                PairProducts<float>::tile_side(pairs, s.width)};
    return {PairProducts<double>::bytes(pairs, values, s.width),
            PairProducts<double>::tile_side(pairs, s.width)};
}

struct StripCosts {
    double multiply_adds;
    index tasks, shared, per_thread;  // bytes of what all threads use, and of what each has
    index strip, row;  // bytes of the panels of a strip of all layers, and of the sums of a row of tiles
    index rows;        // of tiles
};

// Where the panels of all samples do not fit: as many strips of samples as do. `bytes` beyond max_bytes: none do.
void plan_strips(const Problem& problem, const Sizes& s, const StripCosts& costs, Plan& plan) {
    const index max_bytes = problem.settings.max_bytes;
    const auto bytes = [&](const Held& held, index threads) {
        return costs.shared + threads * costs.per_thread + (held.rows + held.columns) * costs.strip +
               held.rows * costs.row;
    };
    plan.held = {1, 1};
    // Threads may take half of the room, strips the rest.
    const index room = (max_bytes - bytes(plan.held, 0)) / 2;
    choose_threads(problem, costs.multiply_adds, costs.tasks, max_bytes - room, costs.per_thread, plan);
    const index more = (max_bytes - bytes(plan.held, plan.threads)) / (costs.strip + costs.row);
    plan.held.rows = std::clamp<index>(1 + more, 1, costs.rows);
    // Each thread has a tile of its own, so there should be several for each.
    while (!plan.shared_block && plan.held.rows * plan.held.columns < 4 * plan.threads &&
           plan.held.rows > 4 * plan.held.columns) {
        plan.held.rows -= plan.held.columns;
        plan.held.columns *= 2;
    }
    plan.bytes = bytes(plan.held, plan.threads);
    plan.held_bytes = (plan.held.rows + plan.held.columns) * costs.strip;
    plan.reads += packings(costs.rows, plan.held);
    if (!problem.settings.kernel.needs_median()) return;
    double values = 0, again = 0;  // a search looks at all distances about three times
    for (index p : s.features) {
        const index held = plan.held_bytes / acquired_bytes(plan.tile * p * s.element);
        values += static_cast<double>(p);
        if (held < costs.rows)
            again += 3 * static_cast<double>(p) * packings(costs.rows, {std::max<index>(held - 1, 1), 1});
    }
    plan.reads += again / values;
}

}  // namespace

Plan plan_gram(const Problem& problem, const Sizes& s) {
    const index tile_limit = static_cast<index>(
        std::sqrt(static_cast<double>(tile_bytes_per_thread) / static_cast<double>(s.layers * s.element)));
    const auto tiles_of = [&](index side) { return triangle_number(ceil_divide(s.n, side)); };
    Plan plan{};
    plan.route = Route::gram;
    plan.panel_width = s.width;
    plan.precision = problem.settings.precision;
    const index own_tile = tile_side(s.width, tile_limit, tiles_of);
    plan.shared_block = tile_limit < least_tile_with_many_layers || pays_by_layer(s, tiles_of(own_tile));
    plan.tile = plan.shared_block ? shared_tile_side(s) : own_tile;
    plan.tiles = tiles_of(plan.tile);
    plan.segments = 1;
    // For one pair, the products of both with both are as cheap as the three that are needed.
    plan.joint = problem.layers.one_network() || s.layers == 2;
    const LayerBlock pairs_of_layers{s.layers, plan.joint ? 0 : problem.layers.split()};
    const index entries = plan.joint ? s.layers * s.layers : s.pairs;
    const TileGrid grid(s.n, plan.tile);
    plan.run = plan.shared_block
                   ? 1
                   : ceil_divide(plan.tiles, std::max(least_partials, partial_bytes / (8 * entries)));
    plan.blocks = TileRuns(grid, plan.run).count();

    const double n = static_cast<double>(s.n), half = n * (n + 1) / 2;
    double multiply_adds = half * static_cast<double>(s.pairs);
    index panels = 0, largest_panels = 0, strip = 0;  // strip: a row of tiles of all layers
    if (problem.settings.kernel.is_given())           // is read where it is, or held as it is stored
        for (index l = 0; l < s.layers; ++l) {
            panels += s.n * problem.layers.row_bytes(l);
            strip += plan.tile * problem.layers.row_bytes(l);
        }
    else
        for (index p : s.features) {
            multiply_adds += half * static_cast<double>(p);
            const index of_layer = acquired_bytes(s.whole_panels(s.n) * p * s.element);
            panels += of_layer;
            largest_panels = std::max(largest_panels, of_layer);
            strip += acquired_bytes(plan.tile * p * s.element);
        }
    plan.flops = 2 * multiply_adds;

    const index tile_values = grid.tile_values(s.width), rows = grid.across();
    // A block has sums for the samples of its row and of its columns of tiles. Sums of blocks wait for their sibling: within
    // a row those of at most all its columns, and of several rows one for every power of two.
    const bool centred = problem.settings.kernel.is_centred();
    const auto sums_bytes = [&](index samples) { return 8 * (entries + (centred ? 0 : samples * s.layers)); };
    const index waiting_row = most_waiting(rows) * sums_bytes(plan.tile) + sums_bytes(s.n);
    const index waiting = waiting_row + (most_waiting(rows) + 4) * sums_bytes(2 * s.n);
    // Each thread makes the sums of one block, and merges them.
    index per_thread = tile_values * 8 + 4 * 8 * plan.tile +
                       (plan.shared_block ? 0 : 2 * sums_bytes((plan.run + 1) * plan.tile));
    index shared = waiting + s.results_bytes();
    if (plan.shared_block) {
        const auto [bytes, side] = pair_products_size(pairs_of_layers, grid.most_values(), s);
        shared += bytes;
        per_thread += side * side * s.element + tile_values * s.element;
    } else {
        per_thread += s.layers * tile_values * s.element;
    }
    if (problem.settings.row_products && problem.settings.kernel.is_linear()) {
        const LayerSet& set = problem.layers;
        const index of_samples = row_products_size(set, s.n);
        plan.row_products = of_samples <= row_products_bytes;
        if (plan.row_products) {
            // A strip waits in a node on each level of its tree, at most; a thread makes one while two merge.
            shared += most_waiting(rows) * of_samples + s.sample_vectors_bytes();
            per_thread += 3 * row_products_size(set, plan.tile) +
                          (s.element == 4 ? RowFold<float>::scratch_bytes
                                          : RowFold<double>::scratch_bytes)(set, plan.tile, s.width);
        }
    }
    const auto shared_values = [&](index of_a_layer) {
        return plan.shared_block ? acquired_bytes(s.layers * of_a_layer * s.element) : 0;
    };
    const bool median = problem.settings.kernel.needs_median();
    // What is collected in a search for the median grows to twice its size, and is copied once.
    const index collected = std::min(median_collected_bytes, 3 * plan.tiles * tile_values * s.element);
    if (median) per_thread += median_histogram_bytes;
    struct Memory {
        index shared, packed, per_thread;
    };
    const auto layer_by_layer = [&]() -> Memory {  // as many searches as threads, each with a tile of its own
        const index search = median ? median_histogram_bytes + tile_values * (s.element + 8) + collected : 0;
        const index waiting_rows = centred ? 0 : 8 * 2 * plan.tile * s.layers * plan.tiles;
        return {shared + s.sample_vectors_bytes() + shared_values(s.n * (s.n - 1) / 2) + waiting_rows, 0,
                per_thread + largest_panels + s.feature_vectors_bytes() + search +
                    s.n * problem.layers.most_row_bytes()};
    };
    const auto all_layers = [&]() -> Memory {
        const index search = median ? median_histogram_bytes + collected : 0;
        const index reading = least_read_bytes(problem) + origin_samples * problem.layers.most_row_bytes();
        return {shared + s.vectors_bytes() + shared_values(grid.most_values()) + search + reading, panels,
                per_thread};
    };
    const index tasks = plan.shared_block ? s.layers : plan.blocks;
    plan.reads = problem.settings.kernel.traits().rows == Rows::as_given ? 2 : 3;  // means, panels; norms
    if (problem.settings.kernel.is_given()) plan.reads = 1 + 0.5;
    const index max_bytes = problem.settings.max_bytes;
    const auto fits = [&](const Memory& memory) {
        return max_bytes == 0 || memory.shared + memory.packed + memory.per_thread <= max_bytes;
    };
    plan.layer_by_layer = plan.shared_block &&
                          s.n * (s.n - 1) / 2 * s.layers * s.element <= layer_by_layer_bytes &&
                          (rows == 1 || fits(layer_by_layer()));
    const Memory memory = plan.layer_by_layer ? layer_by_layer() : all_layers();
    if (!fits(memory) && memory.packed > 0 && rows > 1) {
        plan_strips(problem, s, {multiply_adds, tasks, memory.shared, per_thread, strip, waiting_row, rows},
                    plan);
        choose_reading(problem, s, plan);
        return plan;
    }
    choose_threads(problem, multiply_adds, tasks, memory.shared + memory.packed, memory.per_thread, plan);
    choose_reading(problem, s, plan);
    if (median) {
        const double one = kept_bytes(s, plan);
        index room = kept_distance_bytes;
        if (max_bytes > 0) room = std::min(room, max_bytes - plan.bytes);
        const index kept = std::max<index>(static_cast<index>(static_cast<double>(room) / one), 0);
        // Layer by layer, each thread searches one. Otherwise the team does, and those of the first layers stay.
        const index searched = plan.layer_by_layer ? plan.threads : 1;
        plan.keeps_distances = kept >= searched;
        if (plan.keeps_distances) {
            const bool all = plan.layer_by_layer || kept >= s.layers;
            plan.kept_layers = all ? s.layers : kept - 1;
            const index at_a_time = plan.layer_by_layer ? searched : std::min(kept, s.layers);
            plan.bytes += static_cast<index>(static_cast<double>(at_a_time) * one);
        }
    }
    return plan;
}

}  // namespace fastcka

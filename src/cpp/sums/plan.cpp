// SPDX-License-Identifier: BSD-3-Clause
#include "sums/plan.hpp"

#include "base/buffer.hpp"
#include "base/errors.hpp"
#include "simd/tuning.hpp"
#include "sums/feature_strips.hpp"
#include "sums/feature_tiles.hpp"
#include "sums/pair_products.hpp"
#include "sums/row_products.hpp"
#include "sums/sum_tree.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace fastcka {
namespace {

// Problems beyond these are refused, so that no count of operations or bytes leaves 64 bits.
constexpr double most_values = 0x1p56;
constexpr index most_samples = index{1} << 36;

index ceil_divide(index a, index b) { return (a + b - 1) / b; }
index triangle_number(index n) { return n * (n + 1) / 2; }

// What both routes need to know of a problem.
struct Sizes {
    index n, layers, width, element;     // width: vectors per panel
    const std::vector<index>& features;  // of all layers
    index pairs;                         // pairs of layers, selves included

    Sizes(const Problem& problem, index panel_width)
        : n(problem.samples), layers(problem.layers.count()), width(panel_width),
          element(problem.settings.precision == Precision::float64 ? 8 : 4),
          features(problem.layers.widths()), pairs(problem.layers.wanted_pairs()) {}
    index whole_panels(index vectors) const { return ceil_divide(vectors, width) * width; }
    index most_features() const { return *std::max_element(features.begin(), features.end()); }
    // Sums of the features of one layer, chunk by chunk.
    index chunk_bytes() const {
        return 8 * std::min(most_row_chunks, ceil_divide(n, least_rows_per_chunk)) * most_features();
    }
    // Margins, means, terms of every layer: a few vectors of n and p float64 values.
    index vectors_bytes() const {
        const index p = std::accumulate(features.begin(), features.end(), index{0});
        return 8 * (8 * n * layers + 5 * p) + chunk_bytes();
    }
    // The same where the features of a layer are forgotten once its tile is made.
    index sample_vectors_bytes() const { return 8 * 8 * n * layers; }
    index feature_vectors_bytes() const { return 8 * 5 * most_features() + chunk_bytes(); }
    index results_bytes() const { return 8 * 8 * pairs; }
};

// A layer that is not in memory is read as a whole where there is room for that, so that each value is read once, not once
// for its means and again to be packed. `bytes` counts the least already.
void choose_reading(const Problem& problem, const Sizes& s, Plan& plan) {
    plan.read_bytes = least_read_bytes(problem);
    const index whole = s.n * problem.layers.most_row_bytes(), more = whole - plan.read_bytes;
    if (whole == 0) return;
    if (plan.layer_by_layer || (problem.settings.kernel.is_given() && plan.held.rows == 0)) {
        plan.read_bytes = whole;  // what is there all the time is counted
        plan.reads = 1;
        return;
    }
    if (problem.settings.kernel.is_given()) return;
    const index max_bytes = problem.settings.max_bytes;
    if ((max_bytes > 0 && plan.bytes + more > max_bytes)) return;
    plan.read_bytes = whole;
    plan.bytes += more;
    plan.reads -= problem.settings.kernel.traits().rows == Rows::as_given ? 1 : 2;
}

// Sets threads and bytes. Threads that max_bytes has no room for are left out; whether a plan fits, and so the route, is a
// matter of one thread, since results must not depend on their number.
void choose_threads(const Problem& problem, double multiply_adds, index tasks, index shared_bytes,
                    index bytes_per_thread, Plan& plan) {
    const double worth = std::max(1.0, std::floor(multiply_adds / work_per_thread));
    index threads = static_cast<index>(
        std::min({static_cast<double>(problem.settings.threads), worth, static_cast<double>(tasks)}));
    if (problem.settings.max_bytes > 0)
        threads =
            std::clamp<index>((problem.settings.max_bytes - shared_bytes) / bytes_per_thread, 1, threads);
    plan.threads = static_cast<int>(threads);
    plan.bytes = shared_bytes + threads * bytes_per_thread;
}

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

// How often all strips are packed while all pairs of them meet; `stay`: those of the rows are packed once.
double packings(index rows, const Held& held, bool stay = true) {
    double strips = 0;
    walk(rows, held, [&](Span group, Span columns) {
        const bool first = columns.first == group.first;
        strips += static_cast<double>((first || !stay ? group.count() : 0) + (first ? 0 : columns.count()));
    });
    return strips / static_cast<double>(rows);
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

}  // namespace

index least_read_bytes(const Problem& problem) {
    const index of_a_row = problem.layers.most_row_bytes();
    const index rows = std::max(fastcka::read_bytes / std::max<index>(of_a_row, 1), coordinate_block);
    return std::min(rows, problem.samples) * of_a_row;
}

Plan make_plan(const Problem& problem, index panel_width) {
    if (problem.layers.count() == 0) throw std::invalid_argument("no layers");
    double values = 8 * static_cast<double>(problem.layers.count());
    for (index p : problem.layers.widths()) values += static_cast<double>(p);
    values *= static_cast<double>(problem.samples);
    if (values > most_values || problem.samples > most_samples)
        throw OverBudget("more values than can be counted");
    const Sizes sizes(problem, panel_width);
    const Plan gram = plan_gram(problem, sizes);
    const auto fits = [&](const Plan& plan) {
        return problem.settings.max_bytes == 0 || plan.bytes <= problem.settings.max_bytes;
    };
    const auto refuse = [&](const Plan& plan) -> Plan {
        throw OverBudget("this needs at least " + std::to_string(plan.bytes) +
                             " bytes beside its inputs, but max_bytes is " +
                             std::to_string(problem.settings.max_bytes),
                         plan.bytes);
    };
    if (!problem.settings.kernel.is_linear() || problem.settings.route == Route::gram)
        return fits(gram) ? gram : refuse(gram);
    const Plan feature = plan_feature(problem, sizes);
    if (problem.settings.route == Route::feature) return fits(feature) ? feature : refuse(feature);
    const Plan& faster =
        feature.flops <= gram.flops ? feature : gram;  // whatever max_bytes: bits follow the route
    return fits(faster) ? faster : refuse(faster);
}

}  // namespace fastcka

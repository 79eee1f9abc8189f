// SPDX-License-Identifier: BSD-3-Clause
#include "layers/bandwidth.hpp"
#include "sums/feature_tiles.hpp"
#include "sums/pair_products.hpp"
#include "sums/plan_sizes.hpp"
#include "sums/row_products.hpp"
#include "sums/sweep.hpp"

#include <cmath>
#include <numeric>

namespace fastcka {
namespace {

template <class T> class GramPlanner {
  public:
    GramPlanner(const Problem& problem, index panel_width)
        : problem_(problem), set_(problem.layers), kernel_(problem.settings.kernel), n_(problem.samples),
          width_(panel_width) {}

    Plan plan() {
        choose_grid();
        count_operations();
        plan_.reads = kernel_.traits().rows == Rows::as_given ? 2 : 3;  // means, panels; norms
        if (kernel_.is_given()) plan_.reads = 1 + 0.5;
        const index across = TileGrid(n_, plan_.tile).across();
        const double n = static_cast<double>(n_),
                     values = n * (n - 1) / 2 * static_cast<double>(set_.count());
        plan_.layer_by_layer = plan_.shared_block && values * element <= layer_by_layer_bytes;
        if (across > 1 && plan_.layer_by_layer && !fits(problem_, bytes().with(1)))
            plan_.layer_by_layer = false;
        if (!plan_.layer_by_layer && across > 1 && strip_bytes() > 0 && !fits(problem_, bytes().with(1))) {
            hold_strips(across);
            choose_reading(problem_, plan_);
            return plan_;
        }
        choose_threads(problem_, multiply_adds_, tasks(), bytes(), plan_);
        choose_reading(problem_, plan_);
        if (kernel_.needs_median()) keep_distances();
        return plan_;
    }

  private:
    static constexpr index element = sizeof(T);

    Bytes bytes() const {
        Bytes bytes = gram_bytes<T>(problem_, plan_);
        bytes += problem_.result;
        if (!plan_.layer_by_layer) bytes.shared += least_read_bytes(problem_);
        return bytes;
    }
    index tasks() const { return plan_.shared_block ? set_.count() : plan_.blocks; }

    void choose_grid() {
        const index tile_limit = static_cast<index>(std::sqrt(static_cast<double>(tile_bytes_per_thread) /
                                                              static_cast<double>(set_.count() * element)));
        const auto tiles_of = [&](index side) { return triangle_number(ceil_divide(n_, side)); };
        plan_.route = Route::gram;
        plan_.panel_width = width_;
        plan_.precision = problem_.settings.precision;
        const index own_tile = tile_side(width_, tile_limit, tiles_of);
        plan_.shared_block = tile_limit < least_tile_with_many_layers || pays_by_layer(tiles_of(own_tile));
        plan_.tile = plan_.shared_block ? shared_tile_side() : own_tile;
        plan_.tiles = tiles_of(plan_.tile);
        plan_.segments = 1;
        // For one pair, the products of both with both are as cheap as the three that are needed.
        plan_.joint = set_.one_network() || set_.count() == 2;
        const index entries = LayerBlock::of(set_, plan_.joint).entries_with_selves();
        plan_.run = plan_.shared_block
                        ? 1
                        : ceil_divide(plan_.tiles, std::max(least_partials, partial_bytes / (8 * entries)));
        plan_.blocks = TileRuns(TileGrid(n_, plan_.tile), plan_.run).count();
        plan_.row_products = problem_.settings.row_products && kernel_.is_linear() &&
                             RowProducts::bytes(set_, n_) <= row_products_bytes;
    }

    // Samples on the side of a block that all threads share: all of them, or parts of equal size that fit.
    index shared_tile_side() const {
        const index of_a_layer = shared_block_bytes / (set_.count() * element);
        const index panels = ceil_divide(n_, width_), whole = panels * width_;
        if (whole <= largest_whole_tile && triangle_number(panels) * width_ * width_ <= of_a_layer)
            return whole;
        const index limit =
            std::min(largest_tile, static_cast<index>(std::sqrt(static_cast<double>(of_a_layer))));
        const index most = std::max(limit / width_, index{1});
        return ceil_divide(panels, ceil_divide(panels, most)) * width_;
    }

    // Whether threads should share out layers rather than tiles: if there are more layers than tiles, and handing over
    // the values of a layer costs little compared with computing them, or with the products of many layers.
    bool pays_by_layer(index tiles) const {
        const index layers = set_.count();
        const double n = static_cast<double>(n_),
                     features = std::accumulate(set_.widths().begin(), set_.widths().end(), 0.0);
        return tiles < layers && (layers >= many_layers ||
                                  n * n / 2 * features >= static_cast<double>(layers) * work_to_hand_over);
    }

    void count_operations() {
        multiply_adds_ = half_ * static_cast<double>(set_.wanted_pairs());
        if (!kernel_.is_given())
            for (index p : set_.widths()) multiply_adds_ += half_ * static_cast<double>(p);
        plan_.flops = 2 * multiply_adds_;
    }

    // The memory of the samples of one row of tiles, of all layers.
    index strip_bytes() const {
        index bytes = 0;
        for (index l = 0; l < set_.count(); ++l)
            bytes += GramLayer<T>::samples_bytes(kernel_, set_, l, plan_.tile, width_);
        return bytes;
    }

    // If the samples do not fit: chooses how many strips of them are packed at a time. The plan's bytes are more than
    // max_bytes if even the least does not fit.
    void hold_strips(index across) {
        const index max_bytes = problem_.settings.max_bytes;
        const auto with = [&](index rows) {
            plan_.held = {rows, 1};
            return bytes();
        };
        const Bytes two = with(2), least = with(1);
        // Threads may take half of the room, and strips the other half.
        const index room = (max_bytes - least.shared) / 2;
        choose_threads(problem_, multiply_adds_, tasks(), {max_bytes - room, least.per_thread}, plan_);
        const index more = (max_bytes - least.with(plan_.threads)) / (two.shared - least.shared);
        plan_.held.rows = std::clamp<index>(1 + more, 1, across);
        plan_.held = cheapest(across, plan_.held.rows + 1);
        plan_.bytes = bytes().with(plan_.threads);
        plan_.held_bytes = (plan_.held.rows + plan_.held.columns) * strip_bytes();
        plan_.reads += packings(across, plan_.held);
        if (!kernel_.needs_median()) return;
        // A search copies a sample, and looks at all distances once; in float64 mostly twice.
        constexpr double looks = sizeof(T) == 4 ? 1 : 2;
        double values = 0, again = 0;
        for (index p : set_.widths()) {
            const index held = plan_.held_bytes / Panels<T>::bytes(plan_.tile, p, width_);
            values += static_cast<double>(p);
            if (held < across)
                again += static_cast<double>(p) *
                         (1 + looks * packings(across, {std::max<index>(held - 1, 1), 1}));
        }
        plan_.reads += again / values;
    }

    // So many strips, shared out between rows and columns in the way that takes least time: more rows are packed less often, but
    // give threads, each of which forms a tile, few tiles before all wait for the next columns.
    Held cheapest(index across, index strips) const {
        double values = 0;  // of a strip
        for (index p : set_.widths()) values += static_cast<double>(plan_.tile * p);
        const auto time = [&](const Held& held) {
            index tiles = 0;  // of the thread that has most
            walk(across, held, [&](Span rows, Span columns) {
                const bool triangle = columns.first == rows.first;
                tiles += ceil_divide(
                    triangle ? triangle_number(rows.count()) : rows.count() * columns.count(), plan_.threads);
            });
            return static_cast<double>(tiles) * multiply_adds_ / static_cast<double>(plan_.tiles) +
                   packings(across, held) * static_cast<double>(across) * values * work_to_pack /
                       plan_.threads;
        };
        Held best{strips - 1, 1};
        if (plan_.shared_block) return best;  // threads share out layers
        for (Held held{strips - 2, 2}; held.columns <= held.rows; --held.rows, ++held.columns)
            if (time(held) < time(best)) best = held;
        return best;
    }

    void keep_distances() {
        const index of_a_layer = kept_distances_bytes<T>(TileGrid(n_, plan_.tile), width_);
        index room = kept_distance_bytes;
        if (problem_.settings.max_bytes > 0) room = std::min(room, problem_.settings.max_bytes - plan_.bytes);
        const index kept = std::max<index>(room / of_a_layer, 0);
        // Layer by layer, each thread searches one layer. Otherwise the team searches one after another, and the
        // distances of the first layers stay in memory.
        const index searched = plan_.layer_by_layer ? plan_.threads : 1;
        plan_.keeps_distances = kept >= searched;
        if (!plan_.keeps_distances) return;
        const bool all = plan_.layer_by_layer || kept >= set_.count();
        plan_.kept_layers = all ? set_.count() : kept - 1;
        plan_.bytes += of_a_layer * (plan_.layer_by_layer ? searched : std::min(kept, set_.count()));
    }

    const Problem& problem_;
    const LayerSet& set_;
    const Kernel& kernel_;
    const index n_, width_;
    const double half_ = static_cast<double>(n_) * (static_cast<double>(n_) + 1) / 2;
    double multiply_adds_ = 0;
    Plan plan_{};
};

}  // namespace

template <class T> Plan plan_gram(const Problem& problem, index panel_width) {
    return GramPlanner<T>(problem, panel_width).plan();
}

template Plan plan_gram<float>(const Problem&, index);
template Plan plan_gram<double>(const Problem&, index);

}  // namespace fastcka

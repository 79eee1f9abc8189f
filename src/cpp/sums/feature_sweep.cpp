// SPDX-License-Identifier: BSD-3-Clause
#include "sums/feature_strips.hpp"
#include "sums/feature_tiles.hpp"
#include "sums/sweep.hpp"

namespace fastcka {
namespace {

template <class T> class FeatureBlocks {
  public:
    FeatureBlocks(const Sweep& sweep, index first, index last, const Statistics* known)
        : engine_(sweep.engine), plan_(sweep.plan), width_(engine_.operations<T>().panel_width),
          samples_(sweep.layers.samples()), layers_(sweep.layers.count()), first_(first), last_(last),
          tiles_(feature_tiles(sweep.layers.set(), plan_.tile)), squares_(tiles_.size(), 0.0),
          strips_(sweep.layers.set(), plan_, engine_), of_row_(static_cast<std::size_t>(strips_.count())),
          scratch_(static_cast<std::size_t>(engine_.team.threads())),
          partial_(plan_.blocks, samples_, layers_) {
        for (index t = 0; t < static_cast<index>(tiles_.size()); ++t)
            of_row_[static_cast<std::size_t>(row_of(tile(t)))].push_back(t);
        sweep.layers.for_each([&](index l, const Source& source) {
            strips_.add(l, source, sweep.kernel,
                        known != nullptr ? &known->layers[static_cast<std::size_t>(l)]->centring : nullptr);
        });
    }

    static Bytes bytes(const Problem& problem, const Plan& plan) {
        const index n = problem.samples, values = tile_values(plan), layers = problem.layers.count();
        // Open tiles wait for the next segment, and each thread makes one more.
        const index open = plan.segments > 1 ? TileValues::bytes(values) : 0;
        const index waiting = most_waiting(plan.segments) * open;
        const index of_a_tile =
            sizeof(double) + 2 * (sizeof(FeatureTile) + sizeof(index));  // vectors that grow
        const index products = 3 * 8 * layers * layers;                  // that wait, come, and are merged
        Bytes bytes{FeatureStrips<T>::bytes(problem, plan) + Partial::bytes(n, layers) + waiting +
                        plan.tiles * of_a_tile + products,
                    TileScratch<T>::bytes(values) + 2 * open};
        if (plan.held.rows == 0) return bytes;
        const auto [rows, columns] = plan.held;
        const index of_a_round = std::max(rows * (rows + 1) / 2, rows * columns);
        bytes.shared +=
            of_a_round *
            ((plan.held_samples < n ? waiting : 0) +
             (plan.held_samples < longest_segment(n, plan.segments) ? Buffer<double>::bytes(values) : 0));
        return bytes;
    }

    // A block is some tiles over all samples, or one tile over one segment of them.
    Partial run() {
        index tasks = 0;
        for_each_round([&](const Round& round) { tasks += static_cast<index>(round.parts.size()); });
        engine_.team.expect(tasks);
        for_each_round([&](const Round& round) {
            strips_.hold(round.strips, round.samples);
            engine_.team.for_each_observed(
                static_cast<index>(round.parts.size()), [&](index task, int worker) {
                    add(round.parts[static_cast<std::size_t>(task)], round.samples, worker);
                });
        });
        if (plan_.segments == 1)
            for (index block = first_; block < last_; ++block) {
                BlockSums sums;
                for (index t = first_tile(block); t < first_tile(block + 1); ++t)
                    sums.add(entry(tile(t)), squares_[static_cast<std::size_t>(t)]);
                partial_.sums.add(block, std::move(sums));
            }
        for (index l = 0; l < layers_; ++l) {
            partial_.layers[static_cast<std::size_t>(l)] = strips_.note(l);
            partial_.diagonals.col(l) =
                Eigen::Map<const Eigen::VectorXd>(strips_.squared_norms(l).data(), samples_);
        }
        return std::move(partial_);
    }

  private:
    // A task: some samples of one segment of one tile.
    struct Part {
        index tile, segment;
        Span samples;
        bool whole;        // the samples are all of the segment
        index unfinished;  // the number of the tile among those of its round
    };
    // The tasks for the strips, and the samples of them, that are in memory at a time.
    struct Round {
        std::vector<bool> strips;
        Span samples;
        std::vector<Part> parts;
    };

    const FeatureTile& tile(index number) const { return tiles_[static_cast<std::size_t>(number)]; }
    static index tile_values(const Plan& plan) { return plan.tile * plan.tile; }  // whole panels
    index first_tile(index block) const { return block * static_cast<index>(tiles_.size()) / plan_.blocks; }
    index row_of(const FeatureTile& tile) const { return strips_.number(tile.left, tile.range.first_row); }
    index column_of(const FeatureTile& tile) const {
        return strips_.number(tile.right, tile.range.first_column);
    }
    index entry(const FeatureTile& tile) const { return tile.left * layers_ + tile.right; }

    static index coordinate_blocks(index samples) { return ceil_divide(samples, coordinate_block); }
    static index longest_segment(index samples, index segments) {
        return ceil_divide(coordinate_blocks(samples), segments) * coordinate_block;
    }
    Span segment(index number) const {
        const index blocks = coordinate_blocks(samples_);
        return {number * blocks / plan_.segments * coordinate_block,
                std::min(samples_, (number + 1) * blocks / plan_.segments * coordinate_block)};
    }
    // Whether a segment of a tile is in one of the blocks [first_, last_).
    bool is_mine(index t, index segment) const {
        if (plan_.segments == 1) return first_tile(first_) <= t && t < first_tile(last_);
        const index block = t * plan_.segments + segment;
        return first_ <= block && block < last_;
    }

    // The samples that are in memory at a time: whole segments, or a part of one, of whole carry intervals.
    std::vector<Span> pieces() const {
        const index most = plan_.held.rows > 0 ? plan_.held_samples : samples_;
        std::vector<Span> pieces;
        for (index s = 0; s < plan_.segments;) {
            Span piece = segment(s++);
            if (piece.count() > most) {
                const index step = most / carry_interval * carry_interval;
                for (index from = piece.first; from < piece.last; from += step)
                    pieces.push_back({from, std::min(piece.last, from + step)});
                continue;
            }
            for (; s < plan_.segments && segment(s).last - piece.first <= most; ++s)
                piece.last = segment(s).last;
            pieces.push_back(piece);
        }
        return pieces;
    }

    template <class Visit> void for_each_round(Visit&& visit) {
        walk(strips_.count(), plan_.held, [&](Span rows, Span columns) {
            std::vector<index> numbers;
            Round round{std::vector<bool>(static_cast<std::size_t>(strips_.count())), {0, 0}, {}};
            for (index row = rows.first; row < rows.last; ++row)
                for (index t : of_row_[static_cast<std::size_t>(row)]) {
                    const index column = column_of(tile(t));
                    bool mine = false;
                    for (index s = 0; s < plan_.segments; ++s) mine |= is_mine(t, s);
                    if (!mine || !columns.has(column)) continue;
                    numbers.push_back(t);
                    round.strips[static_cast<std::size_t>(row)] = true;
                    round.strips[static_cast<std::size_t>(column)] = true;
                }
            if (numbers.empty()) return;
            unfinished_.resize(numbers.size());
            for (const Span& samples : pieces()) {
                round.samples = samples;
                round.parts.clear();
                for (std::size_t k = 0; k < numbers.size(); ++k)
                    for (index s = 0; s < plan_.segments; ++s) {
                        const Span all = segment(s);
                        const Span part{std::max(all.first, samples.first), std::min(all.last, samples.last)};
                        if (part.count() <= 0 || !is_mine(numbers[k], s)) continue;
                        round.parts.push_back(
                            {numbers[k], s, part, part.count() == all.count(), static_cast<index>(k)});
                    }
                if (!round.parts.empty()) visit(std::as_const(round));
            }
        });
    }

    // Computes a tile, or adds some samples to it. Once it is complete its squares are summed, or it becomes an open tile.
    void add(const Part& part, Span packed, int worker) {
        TileScratch<T>& scratch = scratch_[static_cast<std::size_t>(worker)];
        if (scratch.tile.data() == nullptr) scratch = TileScratch<T>(tile_values(plan_));
        T* values = scratch.tile.data();
        double* wide = scratch.wide.data();
        Buffer<double>& unfinished = unfinished_[static_cast<std::size_t>(part.unfinished)];
        if (!part.whole) {
            if (unfinished.data() == nullptr) unfinished = Buffer<double>(tile_values(plan_));
            if constexpr (sizeof(T) == 4)
                wide = unfinished.data();
            else
                values = unfinished.data();
        }
        const FeatureTile& of = tile(part.tile);
        const Span all = segment(part.segment);
        const TileRange within{0, of.range.rows, 0, of.range.columns, of.range.triangle};
        const bool carried = tile_products(strips_.panels(row_of(of)), strips_.panels(column_of(of)), within,
                                           all, part.samples, packed.first, values, wide, engine_, worker);
        if (part.samples.last < all.last) return;
        if (plan_.segments > 1) {
            BlockSums sums;
            sums.open = carried ? open(of, wide) : open(of, values);
            partial_.sums.add(part.tile * plan_.segments + part.segment, std::move(sums));
        } else {
            squares_[static_cast<std::size_t>(part.tile)] =
                carried ? sum_of_squares(of, wide) : sum_of_squares(of, values);
        }
        if (!part.whole) unfinished = {};
    }

    template <class Value> OpenTile open(const FeatureTile& tile, const Value* from) const {
        const TileRange& range = tile.range;
        const index values = range.blocks(width_) * width_ * width_;
        OpenTile open{entry(tile),    range.rows, width_,         tile.left == tile.right,
                      range.triangle, 1,          plan_.segments, TileValues(values)};
        std::copy_n(from, values, open.values.data());
        return open;
    }

    // Values off the diagonal of a symmetric product count twice: blocks of a triangle, tiles of a layer with itself.
    template <class Value> double sum_of_squares(const FeatureTile& tile, const Value* values) const {
        const auto& operations = engine_.operations<Value>();
        const index size = width_ * width_;
        if (!tile.range.triangle)
            return (tile.left == tile.right ? 2 : 1) *
                   operations.sum_of_squares(values, tile.range.blocks(width_) * size);
        double sum = 0;
        tile.range.for_each_block(width_, [&](index block, index row, index column) {
            sum += (row == column ? 1 : 2) * operations.sum_of_squares(values + block * size, size);
        });
        return sum;
    }

    const Engine& engine_;
    const Plan& plan_;
    index width_, samples_, layers_, first_, last_;
    std::vector<FeatureTile> tiles_;
    std::vector<double> squares_;  // sums of squares of complete tiles
    FeatureStrips<T> strips_;
    std::vector<std::vector<index>> of_row_;  // the tiles in each row of strips
    std::vector<TileScratch<T>> scratch_;     // per thread
    std::vector<Buffer<double>> unfinished_;  // tiles of a round with samples to come
    Partial partial_;
};

}  // namespace

template <class T> LayerStatistics feature_statistics(const Sweep& sweep, index layer) {
    LayerStatistics statistics;
    FeatureStrips<T> strips(sweep.layers.set(), sweep.plan, sweep.engine);
    sweep.layers.at(layer, [&](index l, const Source& source) {
        statistics.centring = strips.add(l, source, sweep.kernel, nullptr);
    });
    return statistics;
}

template <class T>
Partial feature_blocks(const Sweep& sweep, index first, index last, const Statistics* known) {
    return FeatureBlocks<T>(sweep, first, last, known).run();
}

template <class T> Bytes feature_bytes(const Problem& problem, const Plan& plan) {
    return FeatureBlocks<T>::bytes(problem, plan);
}

template Bytes feature_bytes<float>(const Problem&, const Plan&);
template Bytes feature_bytes<double>(const Problem&, const Plan&);
template LayerStatistics feature_statistics<float>(const Sweep&, index);
template LayerStatistics feature_statistics<double>(const Sweep&, index);
template Partial feature_blocks<float>(const Sweep&, index, index, const Statistics*);
template Partial feature_blocks<double>(const Sweep&, index, index, const Statistics*);

}  // namespace fastcka

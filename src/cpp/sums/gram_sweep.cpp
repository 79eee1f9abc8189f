// SPDX-License-Identifier: BSD-3-Clause
#include "sums/gram_layers.hpp"
#include "sums/pair_products.hpp"
#include "sums/row_products.hpp"
#include "sums/sweep.hpp"

#include <cmath>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

namespace fastcka {
namespace {

// A worker's memory: one tile of every layer, unless the team shares a block of them, and row sums of one.
template <class T> struct Workspace {
    std::vector<Buffer<T>> tiles;
    std::vector<const T*> pointers;
    Buffer<double> wide;
    std::vector<double> row, column;

    Workspace(std::size_t layers, index tile_values) : wide(sizeof(T) == 4 ? tile_values : 1) {
        for (std::size_t l = 0; l < layers; ++l) {
            tiles.emplace_back(tile_values);
            pointers.push_back(tiles.back().data());
        }
    }
};

// All layers, and the tiles of some blocks on their way into sums.
template <class T> class GramBlocks {
  public:
    GramBlocks(const Sweep& sweep, index first, index last, const Statistics* known)
        : engine_(sweep.engine), plan_(sweep.plan), centred_(sweep.kernel.is_centred()),
          n_(sweep.layers.samples()), first_(first), last_(last), grid_(n_, plan_.tile),
          runs_(grid_, plan_.run), tile_values_(grid_.tile_values(engine_.operations<T>().panel_width)),
          layers_(static_cast<std::size_t>(sweep.layers.count())), set_(sweep.layers.set()),
          split_(sweep.layers.split), workspaces_(static_cast<std::size_t>(engine_.team.threads())),
          partial_(plan_.blocks, n_, sweep.layers.count()) {
        if (plan_.shared_block) {
            stride_ = grid_.most_values();
            if (plan_.layer_by_layer) {
                stride_ = 0;
                for (index block = first_; block < last_; ++block)
                    stride_ += grid_[grid_.number(runs_[block].row, runs_[block].columns.first)].values();
            }
            block_ = Buffer<T>(size_product(layers(), stride_));
        }
        if (plan_.layer_by_layer)
            form_layer_by_layer(sweep, known);
        else
            sweep.layers.for_each([&](index l, const Source& source) {
                layer(l) = make_layer<T>(source, sweep.kernel, known_of(known, l), l < plan_.kept_layers,
                                         plan_, engine_);
                if (!sweep.kernel.is_given() || plan_.held.rows > 0) source.forget();
                if (plan_.held.rows == 0) return;
                layer(l).release();  // for the next
                release_buffers();
            });
        if (plan_.row_products) begin_rows();
    }

    Partial run() {
        if (plan_.shared_block) pairs_.emplace(layer_block(), grid_.most_values(), engine_);
        for (Shared& tile : formed_) finish(std::move(tile));
        if (!plan_.layer_by_layer) {
            engine_.team.expect(observed_tasks());
            walk_blocks();
        }
        for (index l = 0; l < layers(); ++l) {
            const GramLayer<T>& of = layer(l);
            partial_.layers[static_cast<std::size_t>(l)] = of.note;
            if (centred_ && !of.squared_norms().empty())  // float64 norms are better than a float32 diagonal
                partial_.diagonals.col(l) = Eigen::Map<const Eigen::VectorXd>(of.squared_norms().data(), n_);
        }
        return std::move(partial_);
    }

  private:
    index layers() const { return static_cast<index>(layers_.size()); }
    GramLayer<T>& layer(index number) { return layers_[static_cast<std::size_t>(number)]; }

    static const LayerStatistics* known_of(const Statistics* known, index layer) {
        return known != nullptr ? &*known->layers[static_cast<std::size_t>(layer)] : nullptr;
    }

    // Many layers: the team shares the values of all of them in a block of the grid, which is one tile.
    struct Shared {
        index block, number;  // of the block and of the tile
        index at;             // where its values begin among those of a layer
        BlockSums sums;
        std::vector<double> squares;  // sum of squares of each layer, where pairs of two networks are wanted
    };
    Shared shared(index block, index at) const {
        const auto [row, columns] = runs_[block];
        Shared tile{block, grid_.number(row, columns.first), at, no_row_sums(block), {}};
        if (!plan_.joint) tile.squares.resize(layers_.size());
        return tile;
    }
    T* values_of(const Shared& tile, index layer) const { return block_.data() + layer * stride_ + tile.at; }

    void add_layer(Shared& tile, index l, const Engine& engine, int own, int worker) {
        Workspace<T>& mine = workspace(worker, 1);
        T* const values = mine.tiles.front().data();
        const TileRange range = grid_[tile.number];
        const index width = engine_.operations<T>().panel_width;
        layer(l).fill(grid_, tile.number, values, mine.wide.data(), partial_.diagonals.col(l).data(), engine,
                      own);
        if (!centred_) add_row_sums(range, l, values, mine, tile.sums);
        if (!plan_.joint)
            tile.squares[static_cast<std::size_t>(l)] =
                engine_.operations<T>().sum_of_squares(values, range.blocks(width) * width * width);
        copy_values(range, width, values, values_of(tile, l));
    }

    // All products of pairs of layers over one tile.
    void finish(Shared tile) {
        const TileRange range = grid_[tile.number];
        if (rows_) {
            std::vector<const T*> values;
            for (index l = 0; l < layers(); ++l) values.push_back(values_of(tile, l));
            add_rows(range, false, values.data(),
                     [&](index panels, auto&& fill) { engine_.team.for_each(panels, fill); });
        }
        std::vector<double>& products = tile.sums.products;
        products.assign(static_cast<std::size_t>(layer_block().entries()), 0.0);
        pairs_->add(block_.data() + tile.at, stride_, range.values());
        pairs_->finish(products.data());
        products.insert(products.end(), tile.squares.begin(), tile.squares.end());
        partial_.sums.add(tile.block, std::move(tile.sums));
    }

    // A thread makes all tiles of a layer while its panels are in the cache, and forgets them.
    void form_layer_by_layer(const Sweep& sweep, const Statistics* known) {
        index at = 0;
        for (index block = first_; block < last_; ++block) {
            formed_.push_back(shared(block, at));
            at += grid_[formed_.back().number].values();
        }
        std::vector<std::exception_ptr> failures(layers_.size());
        const auto form = [&](index l, int worker) {
            Team alone(1, [&](index, index) { engine_.team.poll(worker); });
            const Engine engine{engine_.level, alone};
            try {
                sweep.layers.at(l, [&](index, const Source& source) {
                    layer(l) = make_layer<T>(source, sweep.kernel, known_of(known, l), l < plan_.kept_layers,
                                             plan_, engine);
                });
            } catch (const std::invalid_argument&) {  // to be reported in the order of the layers
                failures[static_cast<std::size_t>(l)] = std::current_exception();
                return;
            }
            layer(l).hold({0, 1}, {0, 1}, engine);
            for (Shared& tile : formed_) add_layer(tile, l, engine, 0, worker);
            layer(l).forget_values();
        };
        // Only this thread may read: layers that are not in memory come a team at a time.
        engine_.team.expect(layers());
        const bool lazy = sweep.layers.set().most_row_bytes() > 0;
        const index together = lazy ? engine_.team.threads() : layers();
        for (index first = 0; first < layers(); first += together) {
            const index last = std::min(layers(), first + together);
            const auto there = [&](auto&& visit) {
                for (index l = first; l < last; ++l) visit(sweep.layers.sources[static_cast<std::size_t>(l)]);
            };
            there([&](const Source& source) { source.read(0, n_); });
            engine_.team.for_each_observed(last - first,
                                           [&](index task, int worker) { form(first + task, worker); });
            there([](const Source& source) { source.forget(); });
        }
        for (const std::exception_ptr& failure : failures)
            if (failure) std::rethrow_exception(failure);
    }

    void walk_blocks() {
        walk(grid_.across(), plan_.held, [&](Span rows, Span columns) {
            const std::vector<Part> parts = parts_of(rows, columns);
            if (parts.empty()) return;
            for (GramLayer<T>& each : layers_) each.hold(rows, columns, engine_);
            if (plan_.shared_block)
                for (const Part& part : parts) {
                    Shared tile = shared(part.block, 0);
                    engine_.team.for_each_observed(
                        layers(), [&](index l, int worker) { add_layer(tile, l, engine_, worker, worker); });
                    finish(std::move(tile));
                }
            else
                engine_.team.for_each_observed(static_cast<index>(parts.size()), [&](index task, int worker) {
                    fold(parts[static_cast<std::size_t>(task)], worker);
                });
        });
    }

    // Tiles of one block whose samples are in memory.
    struct Part {
        index block, row;
        Span columns;
    };
    std::vector<Part> parts_of(Span rows, Span columns) const {
        std::vector<Part> parts;
        for (index row = rows.first; row < rows.last; ++row)
            for (index column = std::max(row, columns.first); column < columns.last;) {
                const index block = runs_.number(row, column);
                const index last = std::min(columns.last, runs_[block].columns.last);
                if (first_ <= block && block < last_) parts.push_back({block, row, {column, last}});
                column = last;
            }
        return parts;
    }
    index observed_tasks() const {
        index parts = 0;
        walk(grid_.across(), plan_.held,
             [&](Span rows, Span columns) { parts += static_cast<index>(parts_of(rows, columns).size()); });
        return plan_.shared_block ? parts * layers() : parts;
    }

    // The tiles of a block come from left to right, but others may come between them.
    void fold(const Part& part, int worker) {
        const Span all = runs_[part.block].columns;
        BlockSums sums = part.columns.first == all.first ? no_sums(part.block) : take_open(part.block);
        Workspace<T>& mine = workspace(worker, layers_.size());
        for (index column = part.columns.first; column < part.columns.last; ++column)
            fold(grid_.number(part.row, column), mine, sums, worker);
        if (part.columns.last == all.last) return partial_.sums.add(part.block, std::move(sums));
        const std::lock_guard lock(open_mutex_);
        open_.emplace(part.block, std::move(sums));
    }
    BlockSums take_open(index block) {
        const std::lock_guard lock(open_mutex_);
        return std::move(open_.extract(block).mapped());
    }

    LayerBlock layer_block() const { return {layers(), plan_.joint ? 0 : split_}; }

    BlockSums no_sums(index block) const {
        const index entries = layer_block().entries() + (plan_.joint ? 0 : layers());
        BlockSums sums = no_row_sums(block);
        sums.products.assign(static_cast<std::size_t>(entries), 0.0);
        return sums;
    }
    BlockSums no_row_sums(index block) const {
        BlockSums sums;
        if (centred_) return sums;
        const auto [row, columns] = runs_[block];
        const auto zeros = [&](Span strips) {
            const index first = strips.first * plan_.tile, last = std::min(n_, strips.last * plan_.tile);
            return SampleValues{first, Eigen::MatrixXd::Zero(last - first, layers())};
        };
        sums.row_sums = zeros({row, row + 1});
        sums.column_sums = zeros(columns);
        return sums;
    }

    Workspace<T>& workspace(int worker, std::size_t tiles) {
        auto& mine = workspaces_[static_cast<std::size_t>(worker)];
        if (!mine) mine = std::make_unique<Workspace<T>>(tiles, tile_values_);
        return *mine;
    }

    // Forms the tile of every layer, and folds all their products into `sums`.
    void fold(index number, Workspace<T>& workspace, BlockSums& sums, int worker) {
        const auto& operations = engine_.operations<T>();
        const index width = operations.panel_width;
        const TileRange range = grid_[number];
        for (index l = 0; l < layers(); ++l) {
            const auto at = static_cast<std::size_t>(l);
            layers_[at].fill(grid_, number, workspace.tiles[at].data(), workspace.wide.data(),
                             partial_.diagonals.col(l).data(), engine_, worker);
            if (!centred_) add_row_sums(range, l, workspace.pointers[at], workspace, sums);
        }
        if (rows_)
            add_rows(range, true, workspace.pointers.data(), [&](index panels, auto&& fill) {
                for (index panel = 0; panel < panels; ++panel) fill(panel, worker);
            });
        const index length = range.blocks(width) * width * width;
        const index all = layers(), a = split_;
        const T* const* tiles = workspace.pointers.data();
        double* const out = sums.products.data();
        if (plan_.joint) {
            constexpr index rows = 4;  // of the upper half at a time
            for (index i = 0; i < all; i += rows)
                operations.products(tiles + i, std::min(rows, all - i), tiles + i, all - i, length,
                                    out + i * all + i, all);
        } else {
            operations.products(tiles, a, tiles + a, all - a, length, out, all - a);
            for (index l = 0; l < all; ++l)
                out[a * (all - a) + l] += operations.sum_of_squares(tiles[l], length);
        }
    }

    // The rows of K sum to zero, so that margins are known before the first tile.
    void begin_rows() {
        Margins margins{Eigen::MatrixXd(n_, layers()), {}};
        std::vector<bool> degenerate;
        for (index l = 0; l < layers(); ++l) {
            const std::vector<double>& norms = layer(l).squared_norms();
            margins.diagonal.col(l) = Eigen::Map<const Eigen::VectorXd>(norms.data(), n_);
            degenerate.push_back(layer(l).note.status != Status::fine);
        }
        margins.row_sums = -margins.diagonal;
        rows_.emplace(set_, margins, degenerate, plan_.tile, engine_.operations<T>());
        row_scratch_.resize(workspaces_.size());
        for (index strip = 0; strip < grid_.across(); ++strip) partial_.rows.emplace_back(grid_.across());
    }

    // Adds a tile of all layers, in blocks or row by row, to the sums of single samples. each(panels, fill) calls
    // fill(panel, worker) for every panel.
    template <class Each>
    void add_rows(const TileRange& range, bool in_blocks, const T* const* tiles, Each&& each) {
        using Side = typename RowFold<T>::Side;
        const auto add = [&](Side side, index samples, index strip, index other) {
            RowProducts sums = rows_->zeros(samples);
            each(rows_->panels(range, side), [&](index panel, int worker) {
                auto& mine = row_scratch_[static_cast<std::size_t>(worker)];
                if (!mine) mine.emplace(rows_->scratch());
                rows_->fill(range, side, panel, in_blocks, tiles, *mine, sums);
            });
            partial_.rows[static_cast<std::size_t>(strip)].add(other, std::move(sums));
        };
        const index row = range.first_row / plan_.tile, column = range.first_column / plan_.tile;
        add(Side::rows, range.rows, row, column);
        if (row != column) add(Side::columns, range.columns, column, row);
    }

    void add_row_sums(const TileRange& range, index l, const T* tile, Workspace<T>& workspace,
                      BlockSums& sums) {
        const auto& operations = engine_.operations<T>();
        const index width = operations.panel_width;
        workspace.row.assign(static_cast<std::size_t>(range.row_panels(width) * width), 0.0);
        workspace.column.assign(static_cast<std::size_t>(range.column_panels(width) * width), 0.0);
        range.for_each_block(width, [&](index block, index row, index column) {
            operations.block_sums(tile + block * width * width, workspace.row.data() + row - range.first_row,
                                  workspace.column.data() + column - range.first_column);
        });
        const auto add = [l](SampleValues& to, index first, index count, const std::vector<double>& values) {
            to.values.col(l).segment(first - to.first, count) +=
                Eigen::Map<const Eigen::VectorXd>(values.data(), count);
        };
        add(sums.row_sums, range.first_row, range.rows, workspace.row);
        add(sums.column_sums, range.first_column, range.columns, workspace.column);
    }

    const Engine& engine_;
    const Plan& plan_;
    bool centred_;
    index n_, first_, last_;
    TileGrid grid_;
    TileRuns runs_;  // the blocks
    index tile_values_;
    std::vector<GramLayer<T>> layers_;
    LayerSet set_;
    index split_;
    Buffer<T> block_;   // values of one tile of every layer, or of several, which the team shares; or empty
    index stride_ = 0;  // from layer to layer
    std::vector<Shared> formed_;  // of which the products of pairs are missing
    std::optional<PairProducts<T>> pairs_;
    std::optional<RowFold<T>> rows_;  // sums of single samples are wanted, too
    std::vector<std::optional<typename RowFold<T>::Scratch>> row_scratch_;  // per thread
    std::mutex open_mutex_;
    std::map<index, BlockSums> open_;                        // blocks with tiles to come
    std::vector<std::unique_ptr<Workspace<T>>> workspaces_;  // per thread
    Partial partial_;
};

}  // namespace

template <class T> Partial gram_blocks(const Sweep& sweep, index first, index last, const Statistics* known) {
    return GramBlocks<T>(sweep, first, last, known).run();
}

template Partial gram_blocks<float>(const Sweep&, index, index, const Statistics*);
template Partial gram_blocks<double>(const Sweep&, index, index, const Statistics*);

}  // namespace fastcka

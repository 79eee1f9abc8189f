// SPDX-License-Identifier: BSD-3-Clause
// The Gram route: the layers of a sweep, the grid of their tiles, and the sums of its blocks. Shared by the two ways to
// compute them, sums/gram_sweep (each thread its own blocks) and sums/shared_blocks (all threads one block).
#pragma once

#include "layers/origin.hpp"
#include "sums/gram_layers.hpp"
#include "sums/pair_products.hpp"

#include <memory>
#include <optional>

namespace fastcka {

// A worker's memory: tiles of some layers, and row sums of one.
template <class T> struct Workspace {
    TileScratch<T> first;
    std::vector<Buffer<T>> others;
    std::vector<T*> tiles;  // of all layers
    std::vector<double> row, column;

    Workspace(index layers, index tile_values) : first(tile_values), tiles{first.tile.data()} {
        for (index l = 1; l < layers; ++l) tiles.push_back(others.emplace_back(tile_values).data());
    }
    static index bytes(index layers, const TileGrid& grid, index width) {
        const index values = grid.tile_values(width);
        return TileScratch<T>::bytes(values) + (layers - 1) * Buffer<T>::bytes(values) + 2 * 8 * grid.side();
    }
};

template <class T> class GramBlocks {
  public:
    const Engine& engine;
    const Plan& plan;
    const Layers& inputs;
    const Span blocks;  // to be computed
    const TileGrid grid;
    const TileRuns runs;     // the blocks
    const LayerBlock pairs;  // the pairs of layers whose products are summed
    Partial partial;

    // Layers are not packed yet.
    GramBlocks(const Sweep& sweep, Span wanted, const Statistics* known)
        : engine(sweep.engine), plan(sweep.plan), inputs(sweep.layers), blocks(wanted),
          grid(inputs.samples(), plan.tile), runs(grid, plan.run),
          pairs(LayerBlock::of(inputs.set(), plan.joint)),
          partial(plan.blocks, inputs.samples(), inputs.count()), kernel_(sweep.kernel), known_(known),
          centred_(kernel_.is_centred()), samples_(inputs.samples()), set_(inputs.set()),
          layers_(static_cast<std::size_t>(inputs.count())),
          workspaces_(static_cast<std::size_t>(engine.team.threads())) {}

    // Its memory, with all layers packed or layer by layer.
    static Bytes bytes(const Problem& problem, const Plan& plan) {
        const LayerSet& set = problem.layers;
        const Kernel& kernel = problem.settings.kernel;
        const index n = problem.samples, width = plan.panel_width;
        const TileGrid grid(n, plan.tile);
        // Sums wait for their sibling in the tree: one for each level. Within a row of blocks they have the samples of
        // that row and of at most all columns; sums of several rows have more.
        const index waiting = most_waiting(grid.across());
        const auto sums = [&](index samples) { return sums_bytes(problem, plan, samples); };
        const index of_a_row = waiting * sums(plan.tile) + sums(n);
        const index making = centring_bytes(n, set.most_features()) + origin_bytes(n, set.most_row_bytes());
        Bytes bytes{(1 + plan.held.rows) * of_a_row + (waiting + 4) * sums(2 * n) +
                    Partial::bytes(n, set.count())};
        if (plan.row_products) bytes += RowFold<T>::bytes(set, n, plan.tile, width);

        const index copied = plan.held.rows > 0 ? 0 : set.most_features();
        const Bytes search = kernel.needs_median() ? median_search_bytes<T>(grid, width, copied) : Bytes{};
        const auto samples = [&](index l, index count) {
            return GramLayer<T>::samples_bytes(kernel, set, l, count, width);
        };
        const auto layer = [&](index l) { return GramLayer<T>::bytes(kernel, n, set.width(l), width); };
        if (plan.layer_by_layer) {  // as many searches as threads, each with a tile of its own
            index largest = 0;
            for (index l = 0; l < set.count(); ++l) largest = std::max(largest, layer(l) + samples(l, n));
            const index reading = kernel.is_given() ? 0 : n * set.most_row_bytes();
            const index tile = kernel.needs_median() ? TileScratch<T>::bytes(grid.tile_values(width)) : 0;
            bytes.shared += set.count() * GramLayer<T>::bytes_left(n);
            bytes.per_thread += largest + making + reading + search.with(1) + tile;
            return bytes;
        }
        const index strips = plan.held.rows + plan.held.columns;
        for (index l = 0; l < set.count(); ++l)
            bytes.shared += layer(l) + (strips > 0 ? strips * samples(l, plan.tile) : samples(l, n));
        bytes.shared += making;
        bytes += search;
        return bytes;
    }
    // The bytes of the sums of a block with that many samples on its sides together.
    static index sums_bytes(const Problem& problem, const Plan& plan, index samples) {
        const bool centred = problem.settings.kernel.is_centred();
        return 8 * LayerBlock::of(problem.layers, plan.joint).entries_with_selves() +
               (centred ? 0 : SampleValues::bytes(samples, problem.layers.count()));
    }

    index layers() const { return pairs.layers; }
    GramLayer<T>& layer(index number) { return layers_[static_cast<std::size_t>(number)]; }
    Workspace<T>& workspace(int worker, index tiles) {
        auto& mine = workspaces_[static_cast<std::size_t>(worker)];
        const index values = grid.tile_values(engine.operations<T>().panel_width);
        if (!mine) mine = std::make_unique<Workspace<T>>(tiles, values);
        return *mine;
    }

    // Packs a layer, so that its tiles can be filled.
    void pack(index l, const Source& source, const Engine& packing) {
        const LayerStatistics* const known =
            known_ != nullptr ? &*known_->layers[static_cast<std::size_t>(l)] : nullptr;
        layer(l) = make_layer<T>(source, kernel_, known, l < plan.kept_layers, plan, packing);
    }
    void pack_all() {
        inputs.for_each([&](index l, const Source& source) {
            pack(l, source, engine);
            if (!kernel_.is_given() || plan.held.rows > 0) source.forget();
            if (plan.held.rows == 0) return;
            layer(l).release();  // for the next
            release_buffers();
        });
    }
    // To be called once all layers are packed. Does nothing unless sums of single samples are wanted; the rows of K sum
    // to zero then, so that margins are known before the first tile.
    void begin_rows() {
        if (!plan.row_products) return;
        Margins margins{Eigen::MatrixXd(samples_, layers()), {}};
        std::vector<bool> degenerate;
        for (index l = 0; l < layers(); ++l) {
            const std::vector<double>& norms = layer(l).squared_norms();
            margins.diagonal.col(l) = Eigen::Map<const Eigen::VectorXd>(norms.data(), samples_);
            degenerate.push_back(layer(l).note.status != Status::fine);
        }
        margins.row_sums = -margins.diagonal;
        rows_.emplace(set_, margins, degenerate, plan.tile, engine);
        for (index strip = 0; strip < grid.across(); ++strip) partial.rows.emplace_back(grid.across());
    }
    // See RowFold::add. Does nothing unless they are wanted.
    template <class Each>
    void add_rows(const TileRange& range, bool in_blocks, const T* const* tiles, Each&& each) {
        if (rows_) rows_->add(range, in_blocks, tiles, partial.rows, each);
    }

    // The sums of a block before its first tile; `products` is empty.
    BlockSums no_sums(index block) const {
        BlockSums sums;
        if (centred_) return sums;
        const auto [row, columns] = runs[block];
        const auto zeros = [&](Span strips) {
            const index first = strips.first * plan.tile, last = std::min(samples_, strips.last * plan.tile);
            return SampleValues{first, Eigen::MatrixXd::Zero(last - first, layers())};
        };
        sums.row_sums = zeros({row, row + 1});
        sums.column_sums = zeros(columns);
        return sums;
    }
    // Computes one tile of a layer, and adds its row and column sums. Threads may fill different tiles, or the same tile of
    // different layers.
    void fill(index l, index number, T* tile, Workspace<T>& workspace, BlockSums& sums, const Engine& filling,
              int worker) {
        layer(l).fill(grid, number, tile, workspace.first.wide.data(), partial.diagonals.col(l).data(),
                      filling, worker);
        if (!centred_) add_row_sums(l, grid[number], tile, workspace, sums);
    }

    // The tiles of one block that can be computed from the strips in memory.
    struct Part {
        index block, row;
        Span columns;
    };
    index parts() const {
        index count = 0;
        walk(grid.across(), plan.held,
             [&](Span rows, Span columns) { count += static_cast<index>(parts_of(rows, columns).size()); });
        return count;
    }
    // Packs one group of strips after the other, and calls visit(parts) for the tiles of each.
    template <class Visit> void for_each_parts(Visit&& visit) {
        walk(grid.across(), plan.held, [&](Span rows, Span columns) {
            const std::vector<Part> parts = parts_of(rows, columns);
            if (parts.empty()) return;
            for (GramLayer<T>& each : layers_) each.hold(rows, columns, engine);
            visit(parts);
        });
    }

    // The result: sums, diagonals and notes. To be called once.
    Partial take() {
        for (index l = 0; l < layers(); ++l) {
            const GramLayer<T>& of = layer(l);
            partial.layers[static_cast<std::size_t>(l)] = of.note;
            if (centred_ && !of.squared_norms().empty())  // float64 norms are better than a float32 diagonal
                partial.diagonals.col(l) =
                    Eigen::Map<const Eigen::VectorXd>(of.squared_norms().data(), samples_);
        }
        return std::move(partial);
    }

  private:
    std::vector<Part> parts_of(Span rows, Span columns) const {
        std::vector<Part> parts;
        for (index row = rows.first; row < rows.last; ++row)
            for (index column = std::max(row, columns.first); column < columns.last;) {
                const index block = runs.number(row, column);
                const index last = std::min(columns.last, runs[block].columns.last);
                if (blocks.has(block)) parts.push_back({block, row, {column, last}});
                column = last;
            }
        return parts;
    }

    void add_row_sums(index l, const TileRange& range, const T* tile, Workspace<T>& workspace,
                      BlockSums& sums) const {
        const auto& operations = engine.operations<T>();
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

    const Kernel& kernel_;
    const Statistics* known_;
    bool centred_;
    index samples_;
    LayerSet set_;
    std::vector<GramLayer<T>> layers_;
    std::optional<RowFold<T>> rows_;
    std::vector<std::unique_ptr<Workspace<T>>> workspaces_;  // per thread
};

}  // namespace fastcka

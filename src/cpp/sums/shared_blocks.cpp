// SPDX-License-Identifier: BSD-3-Clause
#include "sums/shared_blocks.hpp"

#include <exception>

namespace fastcka {
namespace {

template <class T> class SharedBlocks {
  public:
    explicit SharedBlocks(GramBlocks<T>& all)
        : all_(all), team_(all.engine.team), stride_(values_of_a_layer(all.plan, all.grid, all.blocks)),
          values_(size_product(all.layers(), stride_)) {}

    static Bytes bytes(const Problem& problem, const Plan& plan) {
        const index layers = problem.layers.count(), width = plan.panel_width;
        const TileGrid grid(problem.samples, plan.tile);
        Bytes bytes =
            PairProducts<T>::bytes(LayerBlock::of(problem.layers, plan.joint), grid.most_values(), width);
        bytes.shared += Buffer<T>::bytes(layers * values_of_a_layer(plan, grid, {0, plan.blocks}));
        bytes.per_thread += Workspace<T>::bytes(1, grid, width);
        if (plan.layer_by_layer && !problem.settings.kernel.is_centred())
            bytes.shared += plan.tiles * SampleValues::bytes(2 * plan.tile, layers);
        return bytes;
    }

    void run() {
        std::vector<Tile> formed;
        if (all_.plan.layer_by_layer)
            formed = form_layer_by_layer();
        else
            all_.pack_all();
        all_.begin_rows();
        pairs_.emplace(all_.pairs, all_.grid.most_values(), all_.engine);
        for (Tile& tile : formed) finish(std::move(tile));
        if (all_.plan.layer_by_layer) return;
        team_.expect(all_.parts() * all_.layers());
        all_.for_each_parts([&](const auto& parts) {
            for (const auto& part : parts) {
                Tile tile = tile_of(part.block, 0);
                team_.for_each_observed(all_.layers(), [&](index l, int worker) {
                    add_layer(tile, l, all_.engine, worker, worker);
                });
                finish(std::move(tile));
            }
        });
    }

  private:
    struct Tile {
        index block, number;  // the numbers of the block and of its tile
        index at;             // where its values begin among those of a layer
        BlockSums sums;
        std::vector<double> squares;  // sum of squares of each layer, where pairs of two networks are wanted
    };

    static index number_of(const TileGrid& grid, const TileRuns::Run& run) {
        return grid.number(run.row, run.columns.first);
    }
    // The Gram values of a layer in memory at a time: of one tile or, layer by layer, of all tiles.
    static index values_of_a_layer(const Plan& plan, const TileGrid& grid, Span blocks) {
        if (!plan.layer_by_layer) return grid.most_values();
        const TileRuns runs(grid, plan.run);
        index values = 0;
        for (index block = blocks.first; block < blocks.last; ++block)
            values += grid[number_of(grid, runs[block])].values();
        return values;
    }
    T* values_of(const Tile& tile, index layer) const { return values_.data() + layer * stride_ + tile.at; }

    Tile tile_of(index block, index at) const {
        Tile tile{block, number_of(all_.grid, all_.runs[block]), at, all_.no_sums(block), {}};
        if (!all_.plan.joint) tile.squares.resize(static_cast<std::size_t>(all_.layers()));
        return tile;
    }

    // Computes a tile of one layer. `worker`: the number of the thread in the team of the sweep; `own`: in the team of
    // `engine`.
    void add_layer(Tile& tile, index l, const Engine& engine, int own, int worker) {
        Workspace<T>& mine = all_.workspace(worker, 1);
        T* const values = mine.tiles.front();
        const auto& operations = engine.operations<T>();
        const index width = operations.panel_width;
        const TileRange range = all_.grid[tile.number];
        all_.fill(l, tile.number, values, mine, tile.sums, engine, own);
        if (!all_.plan.joint)
            tile.squares[static_cast<std::size_t>(l)] =
                operations.sum_of_squares(values, range.blocks(width) * width * width);
        copy_values(range, width, values, values_of(tile, l));
    }

    // A thread computes all tiles of a layer while its panels are in the cache, and frees the panels. What is still
    // missing then are the products of pairs: see finish().
    std::vector<Tile> form_layer_by_layer() {
        std::vector<Tile> tiles;
        index at = 0;
        for (index block = all_.blocks.first; block < all_.blocks.last; ++block) {
            tiles.push_back(tile_of(block, at));
            at += all_.grid[tiles.back().number].values();
        }
        const index layers = all_.layers();
        std::vector<std::exception_ptr> failures(static_cast<std::size_t>(layers));
        const auto form = [&](index l, int worker) {
            Team alone(1, [&](index, index) { team_.poll(worker); });
            const Engine engine{all_.engine.level, alone};
            try {
                all_.inputs.at(l, [&](index, const Source& source) { all_.pack(l, source, engine); });
            } catch (const std::invalid_argument&) {  // to be reported in the order of the layers
                failures[static_cast<std::size_t>(l)] = std::current_exception();
                return;
            }
            all_.layer(l).hold({0, 1}, {0, 1}, engine);
            for (Tile& tile : tiles) add_layer(tile, l, engine, 0, worker);
            all_.layer(l).forget_values();
        };
        // Only this thread may read: layers that are not in memory are read one for each thread of the team at a time.
        team_.expect(layers);
        const bool lazy = all_.inputs.set().most_row_bytes() > 0;
        const index together = lazy ? team_.threads() : layers;
        for (index first = 0; first < layers; first += together) {
            const index last = std::min(layers, first + together);
            const auto there = [&](auto&& visit) {
                for (index l = first; l < last; ++l) visit(all_.inputs.sources[static_cast<std::size_t>(l)]);
            };
            there([&](const Source& source) { source.read(0, source.rows()); });
            team_.for_each_observed(last - first,
                                    [&](index task, int worker) { form(first + task, worker); });
            there([](const Source& source) { source.forget(); });
        }
        for (const std::exception_ptr& failure : failures)
            if (failure) std::rethrow_exception(failure);
        return tiles;
    }

    // Adds the products of all pairs of layers over one tile, and hands over its sums.
    void finish(Tile tile) {
        const TileRange range = all_.grid[tile.number];
        std::vector<const T*> values;
        for (index l = 0; l < all_.layers(); ++l) values.push_back(values_of(tile, l));
        all_.add_rows(range, false, values.data(),
                      [&](index panels, auto&& fill) { team_.for_each(panels, fill); });
        std::vector<double>& products = tile.sums.products;
        products.assign(static_cast<std::size_t>(all_.pairs.entries()), 0.0);
        pairs_->add(values_.data() + tile.at, stride_, range.values());
        pairs_->finish(products.data());
        products.insert(products.end(), tile.squares.begin(), tile.squares.end());
        all_.partial.sums.add(tile.block, std::move(tile.sums));
    }

    GramBlocks<T>& all_;
    Team& team_;
    index stride_;      // from layer to layer
    Buffer<T> values_;  // of all layers
    std::optional<PairProducts<T>> pairs_;
};

}  // namespace

template <class T> void sum_shared_blocks(GramBlocks<T>& all) { SharedBlocks<T>(all).run(); }

template <class T> Bytes shared_blocks_bytes(const Problem& problem, const Plan& plan) {
    return SharedBlocks<T>::bytes(problem, plan);
}

template void sum_shared_blocks(GramBlocks<float>&);
template void sum_shared_blocks(GramBlocks<double>&);
template Bytes shared_blocks_bytes<float>(const Problem&, const Plan&);
template Bytes shared_blocks_bytes<double>(const Problem&, const Plan&);

}  // namespace fastcka

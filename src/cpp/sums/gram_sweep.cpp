// SPDX-License-Identifier: BSD-3-Clause
#include "sums/gram_blocks.hpp"
#include "sums/shared_blocks.hpp"

#include <map>
#include <mutex>

namespace fastcka {
namespace {

// Each thread works on a block of its own: it forms a tile of every layer, and multiplies them while they are in its cache.
template <class T> class OwnBlocks {
  public:
    explicit OwnBlocks(GramBlocks<T>& all) : all_(all) {}
    // Each thread holds the sums of one block, and those of another while it merges them.
    static Bytes bytes(const Problem& problem, const Plan& plan) {
        const TileGrid grid(problem.samples, plan.tile);
        return {0, Workspace<T>::bytes(problem.layers.count(), grid, plan.panel_width) +
                       2 * GramBlocks<T>::sums_bytes(problem, plan, (plan.run + 1) * plan.tile)};
    }

    void run() {
        all_.pack_all();
        all_.begin_rows();
        Team& team = all_.engine.team;
        team.expect(all_.parts());
        all_.for_each_parts([&](const auto& parts) {
            team.for_each_observed(static_cast<index>(parts.size()), [&](index task, int worker) {
                add_part(parts[static_cast<std::size_t>(task)], worker);
            });
        });
    }

  private:
    // The tiles of a block come from left to right; parts of other blocks may come in between, so that sums wait in
    // `open_`.
    void add_part(const typename GramBlocks<T>::Part& part, int worker) {
        const Span whole = all_.runs[part.block].columns;
        BlockSums sums = part.columns.first == whole.first ? begin(part.block) : take_open(part.block);
        for (index column = part.columns.first; column < part.columns.last; ++column)
            add_tile(all_.grid.number(part.row, column), sums, worker);
        if (part.columns.last == whole.last) return all_.partial.sums.add(part.block, std::move(sums));
        const std::lock_guard lock(open_mutex_);
        open_.emplace(part.block, std::move(sums));
    }
    BlockSums begin(index block) const {
        BlockSums sums = all_.no_sums(block);
        sums.products.assign(static_cast<std::size_t>(all_.pairs.entries_with_selves()), 0.0);
        return sums;
    }
    BlockSums take_open(index block) {
        const std::lock_guard lock(open_mutex_);
        return std::move(open_.extract(block).mapped());
    }

    // Forms the tile of every layer, and adds all their products to `sums`.
    void add_tile(index number, BlockSums& sums, int worker) {
        const index all = all_.layers();
        Workspace<T>& mine = all_.workspace(worker, all);
        for (index l = 0; l < all; ++l)
            all_.fill(l, number, mine.tiles[static_cast<std::size_t>(l)], mine, sums, all_.engine, worker);
        const T* const* tiles = mine.tiles.data();
        const TileRange range = all_.grid[number];
        all_.add_rows(range, true, tiles, [&](index panels, auto&& fill) {
            for (index panel = 0; panel < panels; ++panel) fill(panel, worker);
        });
        const auto& operations = all_.engine.template operations<T>();
        const index width = operations.panel_width, length = range.blocks(width) * width * width;
        double* const out = sums.products.data();
        if (all_.plan.joint) {
            constexpr index rows = 4;  // of the upper half at a time
            for (index i = 0; i < all; i += rows)
                operations.products(tiles + i, std::min(rows, all - i), tiles + i, all - i, length,
                                    out + i * all + i, all);
        } else {
            const index a = all_.pairs.rows;
            operations.products(tiles, a, tiles + a, all - a, length, out, all - a);
            for (index l = 0; l < all; ++l)
                out[a * (all - a) + l] += operations.sum_of_squares(tiles[l], length);
        }
    }

    GramBlocks<T>& all_;
    std::mutex open_mutex_;
    std::map<index, BlockSums> open_;  // of blocks with tiles to come
};

}  // namespace

template <class T> Partial gram_blocks(const Sweep& sweep, index first, index last, const Statistics* known) {
    GramBlocks<T> all(sweep, {first, last}, known);
    if (sweep.plan.shared_block)
        sum_shared_blocks(all);
    else
        OwnBlocks<T>(all).run();
    return all.take();
}

template <class T> Bytes gram_bytes(const Problem& problem, const Plan& plan) {
    Bytes bytes = GramBlocks<T>::bytes(problem, plan);
    bytes += plan.shared_block ? shared_blocks_bytes<T>(problem, plan) : OwnBlocks<T>::bytes(problem, plan);
    return bytes;
}

template Partial gram_blocks<float>(const Sweep&, index, index, const Statistics*);
template Partial gram_blocks<double>(const Sweep&, index, index, const Statistics*);
template Bytes gram_bytes<float>(const Problem&, const Plan&);
template Bytes gram_bytes<double>(const Problem&, const Plan&);

}  // namespace fastcka

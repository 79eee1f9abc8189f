// SPDX-License-Identifier: BSD-3-Clause
// All squared distances between samples, block by block: formed from panels as they are needed, or kept once formed.
#pragma once

#include "layers/panel_tiles.hpp"

#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace fastcka {

template <class T> class DistanceBlocks {
  public:
    // The bits of a distance. They have the order of the distances.
    using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

    // Of a tile; on the diagonal only the distances of pairs i < j count.
    struct Block {
        const T* values;
        index number, width, rows, columns;
        bool diagonal;

        index first_column(index i) const { return diagonal ? i + 1 : 0; }
        Key key(index i, index j) const { return std::bit_cast<Key>(values[i * width + j]); }
    };

    DistanceBlocks(PanelTiles<T>& tiles, const TileGrid& grid, const Engine& engine)
        : tiles_(tiles), grid_(grid), engine_(engine), width_(engine.operations<T>().panel_width),
          values_(grid.tile_values(width_)), scratch_(static_cast<std::size_t>(engine.team.threads())) {}

    PanelTiles<T>& tiles() const { return tiles_; }
    const Engine& engine() const { return engine_; }
    const TileGrid& grid() const { return grid_; }
    Span all() const { return {0, grid_.tiles()}; }
    index blocks_in_a_tile() const { return values_ / (width_ * width_); }
    index pairs() const { return tiles_.samples() * (tiles_.samples() - 1) / 2; }

    static index kept_bytes(const TileGrid& grid, index width) {
        return Buffer<T>::bytes(all_values(grid, width));
    }
    void keep() {
        Buffer<T> kept(all_values(grid_, width_));
        engine_.team.for_each(grid_.tiles(), [&](index number, int worker) {
            tiles_.fill_distances(grid_[number], kept.data() + number * values_, scratch(worker).wide.data(),
                                  engine_, worker);
        });
        tiles_.keep_distances(std::move(kept));
    }
    bool are_kept() const { return tiles_.kept_distances() != nullptr; }

    // visit(worker, number of the tile, block) for every block of some tiles.
    template <class Visit> void for_each_block(Span wanted, Visit&& visit) {
        walk(grid_.across(), tiles_.held_alone(), [&](Span rows, Span columns) {
            std::vector<index> numbers;
            for (index row = rows.first; row < rows.last; ++row)
                for (index column = std::max(row, columns.first); column < columns.last; ++column)
                    if (const index number = grid_.number(row, column); wanted.has(number))
                        numbers.push_back(number);
            if (numbers.empty()) return;
            tiles_.hold(rows, columns, engine_);
            engine_.team.for_each(static_cast<index>(numbers.size()), [&](index task, int worker) {
                visit_tile(numbers[static_cast<std::size_t>(task)], worker, visit);
            });
        });
    }

    // look(worker, key) for every pair of samples i < j of some tiles.
    template <class Look> void for_each_key(Span wanted, Look&& look) {
        for_each_block(wanted, [&](int worker, index, const Block& block) {
            for (index i = 0; i < block.rows; ++i)
                for (index j = block.first_column(i); j < block.columns; ++j) look(worker, block.key(i, j));
        });
    }

  private:
    static index all_values(const TileGrid& grid, index width) {
        return size_product(grid.tiles(), grid.tile_values(width));
    }
    TileScratch<T>& scratch(int worker) {
        TileScratch<T>& mine = scratch_[static_cast<std::size_t>(worker)];
        if (mine.tile.data() == nullptr) mine = TileScratch<T>(values_);
        return mine;
    }
    template <class Visit> void visit_tile(index number, int worker, Visit&& visit) {
        const TileRange range = grid_[number];
        const T* tile = tiles_.kept_distances();
        if (tile != nullptr) {
            tile += number * values_;
        } else {
            tile = scratch(worker).tile.data();
            tiles_.fill_distances(range, scratch(worker).tile.data(), scratch(worker).wide.data(), engine_,
                                  worker);
        }
        const index n = tiles_.samples();
        range.for_each_block(width_, [&](index block, index row, index column) {
            visit(worker, number,
                  Block{tile + block * width_ * width_, block, width_, std::min(width_, n - row),
                        std::min(width_, n - column), row == column});
        });
    }

    PanelTiles<T>& tiles_;
    const TileGrid grid_;
    const Engine& engine_;
    index width_, values_;                 // of a panel; in a tile
    std::vector<TileScratch<T>> scratch_;  // per thread
};

}  // namespace fastcka

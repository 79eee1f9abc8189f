// SPDX-License-Identifier: BSD-3-Clause
// Tiles of inner products out of panels: the one loop that both routes, gram() and the search for the median share.
#pragma once

#include "layers/representation.hpp"

#include <algorithm>
#include <vector>

namespace fastcka {

// Vectors [first_row, + rows) against [first_column, + columns). A triangle has the same vectors on both sides.
struct TileRange {
    index first_row, rows, first_column, columns;
    bool triangle;

    index row_panels(index width) const { return ceil_divide(rows, width); }
    index column_panels(index width) const { return ceil_divide(columns, width); }
    index blocks(index width) const {
        const index a = row_panels(width), b = column_panels(width);
        return triangle ? a * (a + 1) / 2 : a * b;
    }
    // The number of values; of a triangle, above the diagonal.
    index values() const { return triangle ? rows * (rows - 1) / 2 : rows * columns; }
    // visit(block number, row of its first value, column of its first value)
    template <class Visit> void for_each_block(index width, Visit&& visit) const {
        for (index a = 0; a < row_panels(width); ++a)
            for (index b = triangle ? a : 0; b < column_panels(width); ++b)
                visit(block_number(a, b, column_panels(width), triangle), first_row + a * width,
                      first_column + b * width);
    }
};

// Copies a tile row by row, without the padding of its blocks and, of a triangle, only what is above the diagonal: values()
// of them.
template <class T> void copy_values(const TileRange& range, index width, const T* tile, T* out) {
    const index across = range.column_panels(width);
    for (index row = 0; row < range.rows; ++row) {
        const index a = row / width, first = range.triangle ? row + 1 : 0;
        for (index column = first; column < range.columns;) {
            const index b = column / width, last = std::min((b + 1) * width, range.columns);
            const T* const block = tile + block_number(a, b, across, range.triangle) * width * width;
            out = std::copy_n(block + (row - a * width) * width + column - b * width, last - column, out);
            column = last;
        }
    }
}

// A worker's memory for one tile. float32 products of many coordinates are carried over into `wide`, which float64 does not
// need.
template <class T> struct TileScratch {
    Buffer<T> tile;
    Buffer<double> wide;

    TileScratch() = default;
    explicit TileScratch(index values) : tile(values), wide(wide_values(values)) {}
    static index bytes(index values) {
        return Buffer<T>::bytes(values) + Buffer<double>::bytes(wide_values(values));
    }

  private:
    static index wide_values(index values) { return sizeof(T) == 4 ? values : 1; }
};

// The upper half of an n x n grid of tiles, row by row.
class TileGrid {
  public:
    TileGrid(index vectors, index side)
        : vectors_(vectors), side_(side), across_(ceil_divide(vectors, side)) {}

    index vectors() const { return vectors_; }
    index across() const { return across_; }
    index side() const { return side_; }
    index tiles() const { return across_ * (across_ + 1) / 2; }
    index number(index row, index column) const { return row * across_ - row * (row - 1) / 2 + column - row; }
    // Values of a whole tile in blocks of width x width.
    index tile_values(index width) const {
        const index panels = ceil_divide(std::min(side_, vectors_), width);
        return (across_ == 1 ? panels * (panels + 1) / 2 : panels * panels) * width * width;
    }
    // The most values() of any tile.
    index most_values() const {
        const index first = std::min(side_, vectors_);
        return std::max((*this)[0].values(), across_ == 1 ? 0 : first * std::min(side_, vectors_ - first));
    }
    TileRange operator[](index tile) const {
        index i = 0, left = tile;
        while (left >= across_ - i) left -= across_ - i++;
        return range(i, i + left);
    }

  private:
    TileRange range(index i, index j) const {
        return {i * side_, std::min(side_, vectors_ - i * side_), j * side_,
                std::min(side_, vectors_ - j * side_), i == j};
    }
    index vectors_, side_, across_;
};

// Consecutive numbers [first, last): of rows or columns of tiles, of samples, of blocks.
struct Span {
    index first, last;
    index count() const { return last - first; }
    bool has(index number) const { return first <= number && number < last; }
};

// The upper half of a grid of tiles in blocks: runs of at most `length` tiles of one row, row by row.
class TileRuns {
  public:
    struct Run {
        index row;
        Span columns;
    };

    TileRuns(const TileGrid& grid, index length) : across_(grid.across()), length_(length) {
        for (index row = 0; row < across_; ++row) first_.push_back(first_.back() + in_row(row));
    }

    index count() const { return first_.back(); }
    index first_of_row(index row) const { return first_[static_cast<std::size_t>(row)]; }
    // The run that holds a tile.
    index number(index row, index column) const { return first_of_row(row) + (column - row) / length_; }
    Run operator[](index number) const {
        const auto next = std::upper_bound(first_.begin(), first_.end(), number);
        const index row = next - first_.begin() - 1, column = row + (number - first_of_row(row)) * length_;
        return {row, {column, std::min(across_, column + length_)}};
    }

  private:
    index in_row(index row) const { return ceil_divide(across_ - row, length_); }

    index across_, length_;
    std::vector<index> first_{0};  // runs before each row
};

// How many rows and columns of tiles of a grid have their samples in memory at a time.
struct Held {
    index rows = 0, columns = 0;  // rows 0: all of them
};

// The order of tiles that reads least: a group of rows is held, and all columns are walked past it. visit(rows, columns)
// comes once for every two groups; the tiles of a row come from left to right.
template <class Visit> void walk(index across, const Held& held, Visit&& visit) {
    const index rows = held.rows == 0 ? across : held.rows;
    for (index row = 0; row < across; row += rows) {
        const Span group{row, std::min(across, row + rows)};
        visit(group, group);
        for (index column = group.last; column < across; column += held.columns)
            visit(group, Span{column, std::min(across, column + held.columns)});
    }
}

// Inner products over the coordinates `all` into `tile`; or, if these are too many for float32 sums, into `wide`: then it
// returns true. The coordinates may come in parts, one call after another, each of which begins a multiple of
// carry_interval after the first: `part` is added now. `packed`: the number of the panels' coordinate 0 among all.
template <class T>
bool tile_products(const Panels<T>& left, const Panels<T>& right, const TileRange& range, Span all, Span part,
                   index packed, T* tile, double* wide, const Engine& engine, int worker) {
    const auto& operations = engine.operations<T>();
    const index width = left.width(), values = range.blocks(width) * width * width;
    const bool carries = sizeof(T) == 4 && all.count() > carry_interval;
    for (index k = part.first; k < part.last; k += coordinate_block) {
        const index in_interval = (k - all.first) % carry_interval;
        const bool starts = carries ? in_interval == 0 : k == all.first;
        operations.accumulate(left.operand(k - packed, range.first_row, range.rows),
                              right.operand(k - packed, range.first_column, range.columns),
                              Panels<T>::block_size(k, all.last), starts, range.triangle, tile);
        const bool ends =
            k + coordinate_block >= all.last || in_interval + coordinate_block == carry_interval;
        if (carries && ends) operations.carry(tile, values, k - in_interval == all.first, wide);
        engine.team.poll(worker);
    }
    return carries;
}
template <class T>
bool tile_products(const Panels<T>& left, const Panels<T>& right, const TileRange& range, index first,
                   index last, T* tile, double* wide, const Engine& engine, int worker) {
    const Span all{first, last};
    return tile_products(left, right, range, all, all, 0, tile, wide, engine, worker);
}

// Inner products over all coordinates, always into `tile`.
template <class T>
void gram_products(const Panels<T>& left, const Panels<T>& right, const TileRange& range, T* tile,
                   double* wide, const Engine& engine, int worker) {
    const index width = left.width();
    if (tile_products(left, right, range, 0, left.coordinates(), tile, wide, engine, worker))
        engine.operations<T>().narrow(wide, range.blocks(width) * width * width, tile);
}

}  // namespace fastcka

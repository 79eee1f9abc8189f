// SPDX-License-Identifier: BSD-3-Clause
#include "inference/cubes.hpp"

#include "layers/tiles.hpp"

#include <numeric>

namespace fastcka {
namespace {

constexpr index side = 192;

// visit(tile number, i, j, value) for inner products of vectors i <= j.
template <class T, class Visit>
void for_each_product(const Panels<T>& panels, const TileGrid& grid, const Engine& engine, Visit&& visit) {
    const index width = panels.width(), values = grid.tile_values(width);
    engine.team.for_each(grid.tiles(), [&](index number, int worker) {
        const TileScratch<T> scratch(values);
        const TileRange range = grid[number];
        const bool carried = tile_products(panels, panels, range, 0, panels.coordinates(),
                                           scratch.tile.data(), scratch.wide.data(), engine, worker);
        range.for_each_block(width, [&](index block, index row, index column) {
            for (index i = row; i < std::min(row + width, range.first_row + range.rows); ++i)
                for (index j = std::max(i, column);
                     j < std::min(column + width, range.first_column + range.columns); ++j) {
                    const index at = (block * width + i - row) * width + j - column;
                    visit(number, i, j,
                          carried ? scratch.wide.data()[at] : static_cast<double>(scratch.tile.data()[at]));
                }
        });
    });
}

TileGrid grid_of(index vectors, index width) { return {vectors, std::max(side / width, index{1}) * width}; }

template <class T> Element element() { return sizeof(T) == 4 ? Element::f32 : Element::f64; }

}  // namespace

template <class T> double trace_of_cube(const T* matrix, index size, index stride, const Engine& engine) {
    const index bytes = static_cast<index>(sizeof(T));
    const MatrixView view{
        reinterpret_cast<const std::byte*>(matrix), size, size, stride * bytes, bytes, element<T>()};
    SampleSums unused;
    const Panels<T> panels = pack<T>(view, true, nullptr, nullptr, {}, unused, engine);
    const TileGrid grid = grid_of(size, panels.width());
    std::vector<double> sums(static_cast<std::size_t>(grid.tiles()));
    for_each_product(panels, grid, engine, [&](index tile, index i, index j, double square) {
        sums[static_cast<std::size_t>(tile)] +=
            (i == j ? 1 : 2) * square * static_cast<double>(matrix[i * stride + j]);
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <class T>
double trace_of_cube_of_features(const Source& source, const Centring& centring,
                                 const RowScaling* row_scaling, const Engine& engine) {
    SampleSums unused;
    const Panels<T> panels = pack<T>(source, false, &centring, row_scaling, {}, unused, engine);
    const index p = source.columns();
    const Buffer<T> matrix(size_product(p, p));
    for_each_product(panels, grid_of(p, panels.width()), engine,
                     [&](index, index i, index j, double product) {
                         matrix.data()[i * p + j] = matrix.data()[j * p + i] = static_cast<T>(product);
                     });
    return trace_of_cube(matrix.data(), p, p, engine);
}

template <class T> Bytes trace_of_cube_bytes(index size, index panel_width) {
    const TileGrid grid = grid_of(size, panel_width);
    return {Panels<T>::bytes(size, size, panel_width) + 8 * grid.tiles(),
            TileScratch<T>::bytes(grid.tile_values(panel_width))};
}

template <class T> Bytes trace_of_cube_of_features_bytes(index samples, index features, index panel_width) {
    Bytes bytes = trace_of_cube_bytes<T>(features, panel_width);
    bytes.shared +=
        Panels<T>::bytes(features, samples, panel_width) + Buffer<T>::bytes(size_product(features, features));
    return bytes;
}

template Bytes trace_of_cube_bytes<float>(index, index);
template Bytes trace_of_cube_bytes<double>(index, index);
template Bytes trace_of_cube_of_features_bytes<float>(index, index, index);
template Bytes trace_of_cube_of_features_bytes<double>(index, index, index);
template double trace_of_cube(const float*, index, index, const Engine&);
template double trace_of_cube(const double*, index, index, const Engine&);
template double trace_of_cube_of_features<float>(const Source&, const Centring&, const RowScaling*,
                                                 const Engine&);
template double trace_of_cube_of_features<double>(const Source&, const Centring&, const RowScaling*,
                                                  const Engine&);

}  // namespace fastcka

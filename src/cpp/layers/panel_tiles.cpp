// SPDX-License-Identifier: BSD-3-Clause
#include "layers/panel_tiles.hpp"

#include <algorithm>

namespace fastcka {
namespace {

// Squared norms from the same arithmetic as the inner products: equal samples are then at distance exactly zero.
template <class T> Buffer<T> self_products(const Panels<T>& panels, const Engine& engine) {
    const auto& operations = engine.operations<T>();
    const index width = panels.width();
    Buffer<T> products(panels.count() * width);
    engine.team.for_each(panels.count(), [&](index panel, int) {
        T* out = products.data() + panel * width;
        std::vector<double> wide(static_cast<std::size_t>(width));
        const index last = panels.coordinates();
        const bool carries = sizeof(T) == 4 && last > carry_interval;
        for (index k = 0; k < last; k += coordinate_block) {
            const index in_interval = k % carry_interval;
            operations.self_products(panels.operand(k, panel * width, width).panels,
                                     Panels<T>::block_size(k, last), carries ? in_interval == 0 : k == 0,
                                     out);
            if (carries && (k + coordinate_block >= last || in_interval + coordinate_block == carry_interval))
                operations.carry(out, width, k == in_interval, wide.data());
        }
        if (carries) operations.narrow(wide.data(), width, out);
    });
    return products;
}

template <class T> Buffer<T> in_panels(const std::vector<double>& values, const Panels<T>& panels) {
    Buffer<T> out(panels.count() * panels.width());
    std::fill_n(out.data(), panels.count() * panels.width(), T(0));
    std::transform(values.begin(), values.end(), out.data(), [](double x) { return static_cast<T>(x); });
    return out;
}

}  // namespace

template <class T>
PanelTiles<T>::PanelTiles(Panels<T> panels, Form form, const SampleSums& sums, const Engine& engine)
    : panels_(std::move(panels)) {
    if (form == Form::distances) terms_ = self_products(panels_, engine);
    if (form == Form::about_the_origin) terms_ = in_panels(sums.projections, panels_);
}

template <class T>
template <class Visit>
void PanelTiles<T>::for_each_block(const TileRange& range, T* tile, Visit&& visit) const {
    const index width = panels_.width(), n = samples();
    range.for_each_block(width, [&](index number, index row, index column) {
        visit(tile + number * width * width, row, column, std::min(width, n - row),
              std::min(width, n - column));
    });
}

template <class T>
void PanelTiles<T>::mend(T* block, index row, index column, const KernelMap* map,
                         const Engine& engine) const {
    const auto& operations = engine.operations<T>();
    const index width = panels_.width(), last = panels_.coordinates();
    const index columns = std::min(width, samples() - column);
    alignas(64) T line[most_panel_width];
    std::vector<double> distances(static_cast<std::size_t>(width));
    for (index i = 0; i < std::min(width, samples() - row); ++i) {
        T* const values = block + i * width;
        // The distance of a sample to itself, always marked, is zero without a look at its values.
        const index self = row == column ? i : -1;
        bool near = false;
        for (index j = 0; j < columns; ++j) near |= j != self && values[j] != values[j];
        if (!near && self < 0) continue;
        std::fill(distances.begin(), distances.end(), 0.0);
        for (index k = 0; near && k < last; k += coordinate_block)
            operations.squared_differences(panels_.operand(k, row, width).panels, i,
                                           panels_.operand(k, column, width).panels,
                                           Panels<T>::block_size(k, last), distances.data());
        std::transform(distances.begin(), distances.end(), line, [](double x) { return static_cast<T>(x); });
        if (map != nullptr) operations.apply_to_distances(*map, 1, columns, line);
        for (index j = 0; j < columns; ++j)
            if (values[j] != values[j]) values[j] = line[j];
    }
}

template <class T>
void PanelTiles<T>::fill_distances(const TileRange& range, T* tile, double* wide, const Engine& engine,
                                   int worker) const {
    gram_products(panels_, range, tile, wide, engine, worker);
    for_each_block(range, tile, [&](T* block, index row, index column, index rows, index columns) {
        if (engine.operations<T>().squared_distances(terms_.data() + row, terms_.data() + column, rows,
                                                     columns, block))
            mend(block, row, column, nullptr, engine);
    });
}

template <class T>
void PanelTiles<T>::fill(const TileGrid& grid, index number, T* tile, double* wide, const Engine& engine,
                         int worker) const {
    const auto& operations = engine.operations<T>();
    const TileRange range = grid[number];
    if (kept_.data() != nullptr) {
        const index width = panels_.width();
        std::copy_n(kept_.data() + number * grid.tile_values(width), range.blocks(width) * width * width,
                    tile);
        return for_each_block(range, tile, [&](T* block, index, index, index rows, index columns) {
            operations.apply_to_distances(map_, rows, columns, block);
        });
    }
    fill_range(range, tile, wide, engine, worker);
}

template <class T>
void PanelTiles<T>::fill_range(const TileRange& range, T* tile, double* wide, const Engine& engine,
                               int worker) const {
    gram_products(panels_, range, tile, wide, engine, worker);
    if (terms_.data() == nullptr) return;
    const auto& operations = engine.operations<T>();
    for_each_block(range, tile, [&](T* block, index row, index column, index rows, index columns) {
        if (operations.apply(map_, terms_.data() + row, terms_.data() + column, rows, columns, block))
            mend(block, row, column, &map_, engine);
    });
}

template class PanelTiles<float>;
template class PanelTiles<double>;

}  // namespace fastcka

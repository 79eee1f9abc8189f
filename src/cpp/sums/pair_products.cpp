// SPDX-License-Identifier: BSD-3-Clause
#include "sums/pair_products.hpp"

namespace fastcka {
namespace {

// Everything that follows from the number of layers alone, and so never from the number of threads.
struct Shape {
    index side, tiles, parts, slab;

    index tile() const { return side * side; }
    index sums() const { return parts * tiles * tile(); }

    Shape(const LayerBlock& pairs, index values, index width, index element) {
        const auto across = [&](index layers, index of) { return ceil_divide(layers, of); };
        const index longest = std::max(pairs.rows, pairs.columns());
        const index panels = across(longest, width);
        side = ceil_divide(panels, across(panels, std::max(index{1}, largest_tile / width))) * width;
        tiles = pairs.rows == 0 ? across(longest, side) * (across(longest, side) + 1) / 2
                                : across(pairs.rows, side) * across(pairs.columns(), side);
        parts = std::clamp<index>(ceil_divide(pair_tasks, tiles), 1, pair_tasks);
        const index most = pair_slab_bytes / (pairs.layers * element) / pair_carry_interval;
        slab = std::min(std::max(most, index{1}) * pair_carry_interval, round_up(values, coordinate_block));
    }
};

std::vector<TileRange> tiles_of(const LayerBlock& pairs, index side) {
    std::vector<TileRange> tiles;
    const bool all = pairs.rows == 0;
    const index rows = pairs.left(), columns = pairs.columns();
    for (index i = 0; i < rows; i += side)
        for (index j = all ? i : 0; j < columns; j += side)
            tiles.push_back({i, std::min(side, rows - i), j, std::min(side, columns - j), all && i == j});
    return tiles;
}

}  // namespace

template <class T>
PairProducts<T>::PairProducts(const LayerBlock& pairs, index values, const Engine& engine)
    : pairs_(pairs), engine_(engine), width_(engine.operations<T>().panel_width) {
    const Shape shape(pairs, values, width_, sizeof(T));
    side_ = shape.side;
    parts_ = shape.parts;
    tiles_ = tiles_of(pairs, side_);
    left_ = Panels<T>(pairs.left(), shape.slab, width_);
    if (pairs.rows != 0) right_ = Panels<T>(pairs.columns(), shape.slab, width_);
    sums_ = Buffer<double>(shape.sums());
    any_.assign(static_cast<std::size_t>(parts_ * shape.tiles), 0);
    for (int worker = 0; worker < engine.team.threads(); ++worker) scratch_.emplace_back(shape.tile());
}

template <class T> Bytes PairProducts<T>::bytes(const LayerBlock& pairs, index values, index panel_width) {
    const Shape shape(pairs, values, panel_width, sizeof(T));
    const auto panels = [&](index layers) { return Panels<T>::bytes(layers, shape.slab, panel_width); };
    return {panels(pairs.left()) + (pairs.rows != 0 ? panels(pairs.columns()) : 0) +
                Buffer<double>::bytes(shape.sums()),
            Buffer<T>::bytes(shape.tile())};
}

template <class T> void PairProducts<T>::add(const T* block, index stride, index values) {
    const index slab = left_.capacity();
    for (index first = 0; first < values; first += slab) {
        const index count = std::min(slab, values - first);
        pack(block, stride, first, count);
        multiply(count);
    }
}

template <class T> void PairProducts<T>::pack(const T* block, index stride, index first, index count) {
    constexpr index size = sizeof(T);
    const auto packing = [&](Panels<T>& panels, index first_layer) {
        panels.set_coordinates(count);
        Packing<T> job{};
        job.view = {reinterpret_cast<const std::byte*>(block + first_layer * stride + first),
                    panels.vectors(),
                    count,
                    stride * size,
                    size,
                    size == 4 ? Element::f32 : Element::f64};
        job.vectors_are_samples = true;
        job.scale = 1;
        job.panels = panels.data();
        return job;
    };
    const Packing<T> left = packing(left_, 0);
    const Packing<T> right = pairs_.rows != 0 ? packing(right_, pairs_.rows) : left;
    const index blocks = ceil_divide(count, coordinate_block), panels = left_.count();
    const index all_panels = panels + (pairs_.rows != 0 ? right_.count() : 0);
    engine_.team.for_each(blocks * all_panels, [&](index task, int) {
        const index k = task / all_panels * coordinate_block, panel = task % all_panels;
        engine_.operations<T>().pack(panel < panels ? left : right, panel < panels ? panel : panel - panels,
                                     k, Panels<T>::block_size(k, count));
    });
}

template <class T> void PairProducts<T>::multiply(index count) {
    const auto& operations = engine_.operations<T>();
    const Panels<T>& right = pairs_.rows != 0 ? right_ : left_;
    const index intervals = ceil_divide(count, pair_carry_interval);
    engine_.team.for_each(static_cast<index>(tiles_.size()) * parts_, [&](index task, int worker) {
        const TileRange& range = tiles_[static_cast<std::size_t>(task / parts_)];
        const index part = task % parts_;
        T* const tile = scratch_[static_cast<std::size_t>(worker)].data();
        unsigned char& any = any_[static_cast<std::size_t>(task)];
        for (index interval = part * intervals / parts_; interval < (part + 1) * intervals / parts_;
             ++interval) {
            const index first = interval * pair_carry_interval;
            const index last = std::min(count, first + pair_carry_interval);
            for (index k = first; k < last; k += coordinate_block)
                operations.accumulate(left_.operand(k, range.first_row, range.rows),
                                      right.operand(k, range.first_column, range.columns),
                                      Panels<T>::block_size(k, last), k == first, range.triangle, tile);
            operations.carry(tile, range.blocks(width_) * width_ * width_, !any,
                             sums_.data() + task * side_ * side_);
            any = 1;
            engine_.team.poll(worker);
        }
    });
}

template <class T> void PairProducts<T>::finish(double* products) {
    const index columns = pairs_.columns(), values = side_ * side_;
    engine_.team.for_each(static_cast<index>(tiles_.size()), [&](index number, int) {
        const TileRange& range = tiles_[static_cast<std::size_t>(number)];
        const index used = range.blocks(width_) * width_ * width_;
        double* const sums = sums_.data() + number * parts_ * values;
        unsigned char* const any = any_.data() + number * parts_;
        for (index step = 1; step < parts_; step *= 2)  // parts are added along a binary tree, too
            for (index part = 0; part + step < parts_; part += 2 * step) {
                if (!any[part + step]) continue;
                double* const left = sums + part * values;
                const double* const right = sums + (part + step) * values;
                for (index v = 0; v < used; ++v) left[v] = any[part] ? left[v] + right[v] : right[v];
                any[part] = 1;
            }
        if (any[0])
            range.for_each_block(width_, [&](index block, index row, index column) {
                const index last_row = std::min(row + width_, range.first_row + range.rows);
                const index last_column = std::min(column + width_, range.first_column + range.columns);
                for (index i = row; i < last_row; ++i)
                    for (index j = column; j < last_column; ++j)
                        products[i * columns + j] += sums[(block * width_ + i - row) * width_ + j - column];
            });
        std::fill_n(any, parts_, static_cast<unsigned char>(0));
    });
}

template class PairProducts<float>;
template class PairProducts<double>;

}  // namespace fastcka

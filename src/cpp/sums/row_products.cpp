// SPDX-License-Identifier: BSD-3-Clause
#include "sums/row_products.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace fastcka {

void RowProducts::merge(const RowProducts& other) {
    if (values.rows() != other.values.rows() || values.cols() != other.values.cols())
        throw std::invalid_argument("sums of another shape");
    values += other.values;
}

Eigen::MatrixXd all_rows(const RowTrees& trees, index entries, index samples) {
    Eigen::MatrixXd all(entries, samples);
    index first = 0;
    for (const SumTree<RowProducts>& tree : trees) {
        const Eigen::MatrixXd& strip = tree.root().values;
        if (strip.rows() != entries || first + strip.cols() > samples)
            throw std::invalid_argument("sums of another shape");
        all.middleCols(first, strip.cols()) = strip;
        first += strip.cols();
    }
    if (first != samples) throw std::invalid_argument("sums of another shape");
    return all;
}

template <class T>
RowFold<T>::RowFold(const LayerSet& set, const Margins& margins, const std::vector<bool>& degenerate,
                    index tile, const Engine& engine)
    : set_(set), entries_(set), operations_(engine.operations<T>()), samples_(margins.diagonal.rows()),
      tile_(tile), width_(operations_.panel_width), stride_(round_up(tile, width_)), degenerate_(degenerate),
      scratch_(static_cast<std::size_t>(engine.team.threads())) {
    const Eigen::MatrixXd diagonals = centred_diagonals(margins);
    for (index l = 0; l < set.count(); ++l) {
        terms_.emplace_back(margins, l, Centred::hollow);
        const double mean = diagonals.col(l).mean();
        std::vector<T>& weights = weights_.emplace_back();
        weights.reserve(static_cast<std::size_t>(samples_));
        for (index i = 0; i < samples_; ++i) weights.push_back(static_cast<T>(diagonals(i, l) - mean));
    }
}

// A strip has at most one waiting node on each level of its tree, and a thread holds one more while two merge. Margins,
// centred diagonals and means are in memory while the terms are computed.
template <class T> Bytes RowFold<T>::bytes(const LayerSet& set, index samples, index tile, index width) {
    const index strips = ceil_divide(samples, tile), layers = set.count();
    const index vectors = CentringTerms<T>::bytes(samples) + index{sizeof(T)} * samples + 4 * 8 * samples;
    return {most_waiting(strips) * RowProducts::bytes(set, samples) + layers * vectors,
            3 * RowProducts::bytes(set, tile) + Scratch::bytes(layers, width, round_up(tile, width))};
}

template <class T> typename RowFold<T>::Scratch& RowFold<T>::scratch(int worker) {
    auto& mine = scratch_[static_cast<std::size_t>(worker)];
    if (!mine) mine.emplace(set_.count(), width_, stride_);
    return *mine;
}

// Writes rows of W to `strip`, `stride_` values apart: the panel's samples against the samples of the other side.
template <class T>
void RowFold<T>::unpack(index layer, const TileRange& range, Side side, index panel, const T* tile,
                        T* strip) const {
    const bool by_rows = side == Side::rows;
    const index right_panels = range.column_panels(width_);
    const index first = (by_rows ? range.first_row : range.first_column) + panel * width_;
    const index other_first = by_rows ? range.first_column : range.first_row;
    const index others = by_rows ? range.columns : range.rows;
    const index own = std::min(
        width_, (by_rows ? range.first_row + range.rows : range.first_column + range.columns) - first);
    const T* const term = terms_[static_cast<std::size_t>(layer)].row.data();
    for (index other = 0; other * width_ < others; ++other) {
        // The block as it is, or the one across the diagonal.
        const bool stored = by_rows && (!range.triangle || panel <= other);
        const T* const block = tile + (stored ? block_number(panel, other, right_panels, range.triangle)
                                              : block_number(other, panel, right_panels, range.triangle)) *
                                          width_ * width_;
        const bool both = range.triangle && panel == other;  // what is above its diagonal
        const index count = std::min(width_, others - other * width_);
        const T* const other_term = term + other_first + other * width_;
        for (index i = 0; i < own; ++i) {
            T* const out = strip + i * stride_ + other * width_;
            const T own_term = term[first + i];
            const T* const row = block + i * width_;
            if (stored)
                for (index j = 0; j < count; ++j) out[j] = row[j] - own_term - other_term[j];
            else
                for (index j = 0; j < count; ++j) out[j] = block[j * width_ + i] - own_term - other_term[j];
            if (both) {
                for (index j = 0; j < i; ++j) out[j] = block[j * width_ + i] - own_term - other_term[j];
                out[i] = T(0);
            }
            std::fill(out + count, out + width_, T(0));
        }
    }
}

// The same from values that are stored row by row, without padding.
template <class T>
void RowFold<T>::gather(index layer, const TileRange& range, Side side, index panel, const T* values,
                        T* strip) const {
    const bool by_rows = side == Side::rows;
    const index first = panel * width_, others = by_rows ? range.columns : range.rows;
    const index last = std::min(first + width_, by_rows ? range.rows : range.columns);
    const index own_first = by_rows ? range.first_row : range.first_column;
    const index other_first = by_rows ? range.first_column : range.first_row;
    const auto at = [&](index i, index j) {
        if (!range.triangle) return by_rows ? values[i * range.columns + j] : values[j * range.columns + i];
        if (i > j) std::swap(i, j);
        return values[i * (2 * range.rows - i - 1) / 2 + j - i - 1];
    };
    const T* const term = terms_[static_cast<std::size_t>(layer)].row.data();
    for (index i = first; i < last; ++i) {
        T* const out = strip + (i - first) * stride_;
        const T own_term = term[own_first + i];
        for (index j = 0; j < others; ++j)
            out[j] = range.triangle && i == j ? T(0) : at(i, j) - own_term - term[other_first + j];
        std::fill(out + others, out + stride_, T(0));
    }
}

template <class T>
void RowFold<T>::fill(const TileRange& range, Side side, index panel, bool in_blocks, const T* const* tiles,
                      Scratch& scratch, RowProducts& out) const {
    const bool by_rows = side == Side::rows;
    const index all = set_.count(), own = by_rows ? range.rows : range.columns;
    const index others = by_rows ? range.columns : range.rows;
    const index other_first = by_rows ? range.first_column : range.first_row;
    const index length = round_up(others, width_), size = width_ * stride_;
    const index count = std::min(width_, own - panel * width_);
    for (index l = 0; l < all; ++l) {
        T* const strip = scratch.strips.data() + l * size;
        if (degenerate_[static_cast<std::size_t>(l)])
            std::fill_n(strip, size, T(0));
        else
            (this->*(in_blocks ? &RowFold::unpack : &RowFold::gather))(l, range, side, panel, tiles[l],
                                                                       strip);
    }

    std::vector<const T*> rows(static_cast<std::size_t>(all));
    for (index i = 0; i < count; ++i) {
        const index sample = (by_rows ? range.first_row : range.first_column) + panel * width_ + i;
        double* const sums = out.values.col(panel * width_ + i).data();
        for (index l = 0; l < all; ++l) {
            const T* const row = scratch.strips.data() + l * size + i * stride_;
            rows[static_cast<std::size_t>(l)] = row;
            const std::vector<T>& weights = weights_[static_cast<std::size_t>(l)];
            cubes_and_forms(row, weights.data() + other_first, others, sums[entries_.cube(l)],
                            sums[entries_.form(l)]);
            sums[entries_.form(l)] *= static_cast<double>(weights[static_cast<std::size_t>(sample)]);
        }
        if (!set_.one_network()) {
            const index a = set_.rows();
            operations_.products(rows.data(), a, rows.data() + a, all - a, length, sums, all - a);
            for (index l = 0; l < all; ++l)
                sums[entries_.pair(l, l)] =
                    operations_.sum_of_squares(rows[static_cast<std::size_t>(l)], length);
            continue;
        }
        constexpr index at_a_time = 4;  // of the upper half
        std::fill(scratch.products.begin(), scratch.products.end(), 0.0);
        for (index a = 0; a < all; a += at_a_time)
            operations_.products(rows.data() + a, std::min(at_a_time, all - a), rows.data() + a, all - a,
                                 length, scratch.products.data() + a * all + a, all);
        for (index a = 0; a < all; ++a)
            std::copy_n(scratch.products.data() + a * all + a, all - a, sums + entries_.pair(a, a));
    }
}

template class RowFold<float>;
template class RowFold<double>;

}  // namespace fastcka

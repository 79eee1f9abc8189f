// SPDX-License-Identifier: BSD-3-Clause
// The layers of one network or of two, in one row, and which pairs of them are wanted.
#pragma once

#include "base/errors.hpp"
#include "base/matrix_view.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace fastcka {

// One network: all pairs of its layers. Two: each layer of the first (a row of the result) with each of the second (a
// column). Each layer with itself, in any case.
class LayerSet {
  public:
    LayerSet() = default;
    // `split`: layers of the first network; all of them where there is no second.
    LayerSet(std::vector<index> widths, index split) : widths_(std::move(widths)), split_(split) {}

    const std::vector<index>& widths() const { return widths_; }  // features of each layer
    index width(index layer) const { return widths_[static_cast<std::size_t>(layer)]; }
    index count() const { return static_cast<index>(widths_.size()); }
    index split() const { return split_; }
    bool one_network() const { return split_ == count(); }

    index rows() const { return split_; }
    index columns() const { return one_network() ? count() : count() - split_; }
    index first_column() const { return one_network() ? 0 : split_; }  // the layer of the first column

    // Pairs i <= j.
    bool wanted(index i, index j) const { return i == j || one_network() || (i < split_ && j >= split_); }
    index wanted_pairs() const {
        return one_network() ? count() * (count() + 1) / 2 : rows() * columns() + count();
    }
    // The sum of of(i) * of(j) over wanted pairs i < j.
    template <class Of> auto sum_of_products(Of&& of) const {
        decltype(of(index{0})) first = 0, second = 0, squares = 0;
        for (index l = 0; l < count(); ++l) {
            (l < split_ ? first : second) += of(l);
            squares += of(l) * of(l);
        }
        return one_network() ? (first * first - squares) / 2 : first * second;
    }
    // visit(i, j) for wanted pairs i <= j, in order
    template <class Visit> void for_each_pair(Visit&& visit) const {
        for (index i = 0; i < count(); ++i) {
            visit(i, i);
            for (index j = one_network() ? i + 1 : (i < split_ ? split_ : count()); j < count(); ++j)
                visit(i, j);
        }
    }

  private:
    std::vector<index> widths_;
    index split_ = 0;
};

// The same with their values.
struct Layers {
    std::vector<MatrixView> views;
    index split = 0;

    Layers() = default;
    Layers(std::vector<MatrixView> first, const std::optional<std::vector<MatrixView>>& second = {})
        : views(std::move(first)), split(static_cast<index>(views.size())) {
        if (!second) return;
        if (second->empty()) throw std::invalid_argument("a network without layers");
        views.insert(views.end(), second->begin(), second->end());
    }

    index count() const { return static_cast<index>(views.size()); }
    index samples() const { return views.front().rows; }
    LayerSet set() const {
        std::vector<index> widths;
        for (const MatrixView& view : views) widths.push_back(view.columns);
        return {std::move(widths), split};
    }

    // visit(layer, view); failures name the network and the layer in it.
    template <class Visit> void at(index layer, Visit&& visit) const {
        const index network = layer < split ? 0 : 1, within = layer - network * split;
        try {
            visit(layer, views[static_cast<std::size_t>(layer)]);
        } catch (const NonFinite& e) {
            throw NonFinite(network, within, e.row, e.column);
        } catch (const std::invalid_argument& e) {
            throw UnusableLayer(network, within, e.what());
        }
    }
    template <class Visit> void for_each(Visit&& visit) const {
        for (index layer = 0; layer < count(); ++layer) at(layer, visit);
    }
};

}  // namespace fastcka

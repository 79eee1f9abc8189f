// SPDX-License-Identifier: BSD-3-Clause
// The layers of one network or of two, in one list, and which pairs of them are wanted.
#pragma once

#include "base/errors.hpp"
#include "base/source.hpp"

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
    // `row_bytes`: the bytes of a sample of each layer that has to be read; 0, or no list at all: it lies in memory.
    LayerSet(std::vector<index> widths, index split, std::vector<index> row_bytes = {})
        : widths_(std::move(widths)), row_bytes_(std::move(row_bytes)), split_(split) {
        row_bytes_.resize(widths_.size(), 0);
    }

    const std::vector<index>& widths() const { return widths_; }  // features of each layer
    index width(index layer) const { return widths_[static_cast<std::size_t>(layer)]; }
    index most_features() const { return *std::max_element(widths_.begin(), widths_.end()); }
    index row_bytes(index layer) const { return row_bytes_[static_cast<std::size_t>(layer)]; }
    index most_row_bytes() const {
        return row_bytes_.empty() ? 0 : *std::max_element(row_bytes_.begin(), row_bytes_.end());
    }
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
    std::vector<index> widths_, row_bytes_;
    index split_ = 0;
};

// The same with the values. It does not own them: arrays must live as long as it does.
struct Layers {
    std::vector<Source> sources;
    index split = 0;

    Layers() = default;
    Layers(const std::vector<MatrixView>& first, const std::optional<std::vector<MatrixView>>& second = {})
        : Layers(of(sources_of(first), second ? std::optional(sources_of(*second)) : std::nullopt)) {}
    static Layers of(std::vector<Source> first, const std::optional<std::vector<Source>>& second = {}) {
        Layers layers;
        layers.split = static_cast<index>(first.size());
        layers.sources = std::move(first);
        if (!second) return layers;
        if (second->empty()) throw std::invalid_argument("a network without layers");
        layers.sources.insert(layers.sources.end(), second->begin(), second->end());
        return layers;
    }

    index count() const { return static_cast<index>(sources.size()); }
    index samples() const { return sources.front().rows(); }
    LayerSet set() const {
        std::vector<index> widths, bytes;
        for (const Source& source : sources) {
            widths.push_back(source.columns());
            bytes.push_back(source.is_lazy() ? source.columns() * size_of(source.element()) : 0);
        }
        return {std::move(widths), split, std::move(bytes)};
    }

    // visit(layer, source); failures name the network and the layer in it.
    template <class Visit> void at(index layer, Visit&& visit) const {
        const index network = layer < split ? 0 : 1, within = layer - network * split;
        try {
            visit(layer, sources[static_cast<std::size_t>(layer)]);
        } catch (const NonFinite& e) {
            throw NonFinite(network, within, e.row, e.column);
        } catch (const std::invalid_argument& e) {
            throw UnusableLayer(network, within, e.what());
        }
    }
    template <class Visit> void for_each(Visit&& visit) const {
        for (index layer = 0; layer < count(); ++layer) at(layer, visit);
    }

  private:
    static std::vector<Source> sources_of(const std::vector<MatrixView>& views) {
        return {views.begin(), views.end()};
    }
};

}  // namespace fastcka

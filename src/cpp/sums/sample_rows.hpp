// SPDX-License-Identifier: BSD-3-Clause
// Samples of all layers as the caller gave them, row by row: samples waiting for a full block, and massive samples.
#pragma once

#include "base/buffer.hpp"
#include "base/precision.hpp"
#include "layers/layer_set.hpp"

#include <cstring>
#include <utility>
#include <vector>

namespace fastcka {

class SampleRows {
  public:
    SampleRows() = default;
    SampleRows(const LayerSet& set, Precision precision, index capacity)
        : widths_(set.widths()), element_(precision == Precision::float64 ? Element::f64 : Element::f32),
          capacity_(capacity) {
        for (index p : widths_) rows_.emplace_back(size_product(capacity, p * size()));
    }
    static index bytes(const LayerSet& set, Precision precision, index capacity) {
        index width = 0;
        for (index p : set.widths()) width += p;
        return width * capacity * (precision == Precision::float64 ? 8 : 4);
    }

    index count() const { return count_; }
    bool full() const { return count_ == capacity_; }
    index free() const { return capacity_ - count_; }
    void set_count(index count) { count_ = count; }  // values of new rows are undefined

    std::byte* at(index layer, index row) const {
        const auto l = static_cast<std::size_t>(layer);
        return rows_[l].data() + row * widths_[l] * size();
    }
    double value(index layer, index row, index column) const {
        const std::byte* const place = at(layer, row) + column * size();
        return element_ == Element::f64 ? *reinterpret_cast<const double*>(place)
                                        : static_cast<double>(*reinterpret_cast<const float*>(place));
    }
    void append(const SampleRows& other, index row) {
        for (std::size_t l = 0; l < widths_.size(); ++l)
            std::memcpy(at(static_cast<index>(l), count_), other.at(static_cast<index>(l), row),
                        static_cast<std::size_t>(widths_[l] * size()));
        ++count_;
    }
    std::vector<MatrixView> views() const {
        std::vector<MatrixView> all;
        for (std::size_t l = 0; l < widths_.size(); ++l)
            all.push_back({rows_[l].data(), count_, widths_[l], widths_[l] * size(), size(), element_});
        return all;
    }

  private:
    index size() const { return element_ == Element::f64 ? 8 : 4; }

    std::vector<index> widths_;
    Element element_ = Element::f64;
    index capacity_ = 0, count_ = 0;
    std::vector<Buffer<std::byte>> rows_;
};

}  // namespace fastcka

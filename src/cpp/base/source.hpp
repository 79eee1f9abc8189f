// SPDX-License-Identifier: BSD-3-Clause
// A layer as something that gives rows: an array in memory, or a reader, which brings some rows into memory at a
// time.
#pragma once

#include "base/matrix_view.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace fastcka {

// Brings rows of a layer into memory. Called by one thread at a time, the one that called the core, and never by workers.
class Reader {
  public:
    virtual ~Reader() = default;
    Reader() = default;
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // A view in which rows [first, last) are in memory until the next call; nothing is read if they are already. Rows
    // have the numbers that they have in the layer, and `data` is where row 0 would be. Throws what the reader throws.
    const MatrixView& read(index first, index last) {
        if (first < first_ || last > last_) {
            first_ = last_ = 0;
            rows_ = fetch(first, last);
            rows_.data = rows_.data - first * rows_.row_stride;  // indexed as the whole layer is
            first_ = first, last_ = last;
        }
        return rows_;
    }
    void forget() {
        if (last_ > 0) drop();
        first_ = last_ = 0;
    }

    index at_once = 0;  // about how many rows to read at a time

  private:
    virtual MatrixView fetch(index first, index last) = 0;  // these rows alone
    virtual void drop() = 0;                                // frees the rows that were fetched

    index first_ = 0, last_ = 0;
    MatrixView rows_{};
};

class Source {
  public:
    Source() = default;
    Source(const MatrixView& view) : view_(view) {}  // NOLINT: an array is a source
    // `shape`: its shape and element type; there are no data.
    Source(const MatrixView& shape, std::shared_ptr<Reader> reader)
        : view_(shape), reader_(std::move(reader)) {}

    index rows() const { return view_.rows; }
    index columns() const { return view_.columns; }
    Element element() const { return view_.element; }
    bool is_lazy() const { return reader_ != nullptr; }
    bool is_empty() const { return view_.rows == 0; }

    // The array itself; of a lazy source its shape.
    const MatrixView& view() const { return view_; }

    // A view of the whole layer, of which at least rows [first, last) are in memory, until other rows are read.
    MatrixView read(index first, index last) const {
        if (!is_lazy()) return view_;
        MatrixView view = reader_->read(first, last);
        view.rows = view_.rows;
        return view;
    }
    void forget() const {
        if (is_lazy()) reader_->forget();
    }
    // Sets about how much of a lazy source is read at a time. No bit of a result depends on it.
    void read_at_once(index bytes) const {
        if (is_lazy())
            reader_->at_once = std::max<index>(bytes / (view_.columns * size_of(view_.element)), 1);
    }

    // visit(view, from, to) for rows [first, last) in order, a multiple of `unit` of them at a time but for the last. An
    // array is visited once.
    template <class Visit> void for_each_piece(index first, index last, index unit, Visit&& visit) const {
        const index rows = is_lazy() ? std::max(reader_->at_once / unit * unit, unit) : last - first;
        for (index from = first; from < last; from += rows) {
            const index to = std::min(last, from + rows);
            visit(read(from, to), from, to);
        }
    }

  private:
    MatrixView view_{};
    std::shared_ptr<Reader> reader_;
};

}  // namespace fastcka

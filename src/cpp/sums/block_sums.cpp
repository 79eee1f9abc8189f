// SPDX-License-Identifier: BSD-3-Clause
#include "sums/block_sums.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace fastcka {

double OpenTile::sum_of_squares() const {
    const index size = width * width;
    const auto of_block = [&](index block) {
        const double* const first = values.data() + block * size;
        return Eigen::Map<const Eigen::VectorXd>(first, size).squaredNorm();
    };
    double sum = 0;
    if (triangle) {
        TileRange{0, rows, 0, rows, true}.for_each_block(width, [&](index block, index row, index column) {
            sum += (row == column ? 1 : 2) * of_block(block);
        });
        return sum;
    }
    for (index block = 0; block < values.size() / size; ++block) sum += of_block(block);
    return symmetric ? 2 * sum : sum;
}

void SampleValues::add(const SampleValues& other) {
    if (values.cols() != other.values.cols()) throw std::invalid_argument("sums of another shape");
    if (first <= other.first && other.last() <= last()) {
        values.middleRows(other.first - first, other.values.rows()) += other.values;
        return;
    }
    SampleValues both;
    both.first = std::min(first, other.first);
    both.values.setZero(std::max(last(), other.last()) - both.first, values.cols());
    both.values.middleRows(first - both.first, values.rows()) = values;
    both.values.middleRows(other.first - both.first, other.values.rows()) += other.values;
    *this = std::move(both);
}

void BlockSums::add(index entry, double product) {
    if (products.empty()) first = entry;
    const auto at = static_cast<std::size_t>(entry - first);
    if (at >= products.size()) products.resize(at + 1, 0.0);
    products[at] += product;
}

void BlockSums::close() {
    if (!open || open->present < open->segments) return;
    const OpenTile tile = std::move(*std::exchange(open, std::nullopt));
    add(tile.entry, tile.sum_of_squares());
}

void BlockSums::merge(const BlockSums& right) {
    const auto check = [](bool fits) {
        if (!fits) throw std::invalid_argument("sums of another shape");
    };
    check(open.has_value() == right.open.has_value());
    if (open) {
        check(open->entry == right.open->entry && open->values.size() == right.open->values.size());
        double* const mine = open->values.data();
        const double* const theirs = right.open->values.data();
        for (index v = 0; v < open->values.size(); ++v) mine[v] += theirs[v];
        open->present += right.open->present;
        return close();
    }
    check(right.first >= first);
    const auto offset = static_cast<std::size_t>(right.first - first);
    products.resize(std::max(products.size(), offset + right.products.size()), 0.0);
    for (std::size_t i = 0; i < right.products.size(); ++i) products[offset + i] += right.products[i];
    row_sums.add(right.row_sums);
    column_sums.add(right.column_sums);
}

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
#include "layers/origin.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace fastcka {
namespace {

// Copies of `count` evenly spaced samples of a source that is read.
class SomeSamples {
  public:
    SomeSamples(const Source& source, index count) {
        const index p = source.columns(), element = size_of(source.element());
        values_.resize(static_cast<std::size_t>(origin_bytes(source.rows(), p * element)));
        for (index i = 0; i < count; ++i) {
            const index row = i * source.rows() / count;
            const MatrixView there = source.read(row, row + 1);
            std::byte* const copy = values_.data() + i * p * element;
            for (index j = 0; j < p; ++j)
                std::memcpy(copy + j * element, there.at(row, j), static_cast<std::size_t>(element));
        }
        view_ = {values_.data(), count, p, p * element, element, source.element()};
    }
    const MatrixView& view() const { return view_; }

  private:
    std::vector<std::byte> values_;
    MatrixView view_{};
};

// Sorts each column of a matrix of `count` rows, all columns side by side: Batcher's odd-even merge sort (Knuth, The Art of
// Computer Programming 3, 5.2.2, algorithm M), whose comparisons do not depend on the values.
void sort_columns(index count, index columns, double* rows) {
    const auto order = [&](index upper, index lower) {
        double* const a = rows + upper * columns;
        double* const b = rows + lower * columns;
        for (index j = 0; j < columns; ++j) {
            const double smaller = std::min(a[j], b[j]), larger = std::max(a[j], b[j]);
            a[j] = smaller, b[j] = larger;
        }
    };
    for (index sorted = 1; sorted < count; sorted *= 2)  // runs of that length are merged
        for (index apart = sorted; apart > 0; apart /= 2)
            for (index first = apart % sorted; first + apart < count; first += 2 * apart)
                for (index i = first; i < std::min(first + apart, count - apart); ++i)
                    if (i / (2 * sorted) == (i + apart) / (2 * sorted)) order(i, i + apart);
}

}  // namespace

double median_of(const std::vector<double>& sorted) { return sorted[(sorted.size() - 1) / 2]; }

double median_if_far(const std::vector<double>& sorted) {
    const auto quartile = [&](std::size_t k) { return sorted[k * (sorted.size() - 1) / 4]; };
    const double median = median_of(sorted);
    return std::abs(median) > quartile(3) - quartile(1) ? median : 0;
}

double median_if_exact(const std::vector<double>& sorted) {
    const double median = median_of(sorted);
    const auto elsewhere = std::count_if(sorted.begin(), sorted.end(), [&](double x) {
        const double part = x / median;
        return !(0.5 <= part && part <= 2);
    });
    return elsewhere <= 1 ? median : 0;
}

std::vector<double> robust_origin(const Source& source, OriginRule rule, const Engine& engine) {
    const auto& operations = engine.operations<double>();
    const index p = source.columns(), count = std::min(source.rows(), origin_samples);
    std::optional<SomeSamples> copied;
    if (source.is_lazy()) copied.emplace(source, count);
    const MatrixView& view = copied ? copied->view() : source.view();
    const index chunk = 256;
    std::vector<double> origin(static_cast<std::size_t>(p));
    engine.team.for_each(ceil_divide(p, chunk), [&](index task, int) {
        const index first = task * chunk, columns = std::min(chunk, p - first);
        const std::vector<double> zero(static_cast<std::size_t>(columns), 0.0);
        std::vector<double> rows(static_cast<std::size_t>(count * columns), 0.0);
        std::vector<double> feature(static_cast<std::size_t>(count));
        double ignored = 0;
        for (index i = 0; i < count; ++i)
            operations.feature_statistics(view, {}, i * view.rows / count, 1, first, columns, zero.data(),
                                          rows.data() + i * columns, &ignored);
        sort_columns(count, columns, rows.data());
        for (index j = 0; j < columns; ++j) {
            for (index i = 0; i < count; ++i)
                feature[static_cast<std::size_t>(i)] = rows[static_cast<std::size_t>(i * columns + j)];
            origin[static_cast<std::size_t>(first + j)] = rule(feature);
        }
    });
    return origin;
}

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
#include "inference/jackknife.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace fastcka {
namespace {

// <W, V> over the m samples that remain without a group, after centring W and V again. Let r_i be the sum of row i of W
// over these samples before that (minus its sum over the group), and s the sum of all r_i; r' and s' likewise for V.
// Centring changes <W, V> by -2/m r.r' + s s'/m^2 (Kc), or by -2/(m - 2) r.r' + s s'/((m - 1) (m - 2)) (Ku).
struct Recentring {
    double rows, total;
    Recentring(double m, Centred centred)
        : rows(centred == Centred::doubly ? 2 / m : 2 / (m - 2)),
          total(centred == Centred::doubly ? 1 / (m * m) : 1 / ((m - 1) * (m - 2))) {}
    double operator()(double left, double row_products, double totals) const {
        return left - rows * row_products + total * totals;
    }
};

constexpr index layers_in_task = 8;

double inverse_root(double square) { return square > 0 ? 1 / std::sqrt(square) : not_given; }

// out(i, j) = sum over `length` values of vector first + i times vector first_other + j, row by row.
template <class Value>
void multiply(const std::vector<const Value*>& vectors, index first, index last, index first_other,
              index columns, index length, const Engine& engine, std::vector<double>& out) {
    out.assign(static_cast<std::size_t>((last - first) * columns), 0.0);
    engine.operations<Value>().products(vectors.data() + first, last - first, vectors.data() + first_other,
                                        columns, length, out.data(), columns);
}

}  // namespace

void Deviations::merge(const Deviations& other) {
    if (sums.rows() != other.sums.rows() || sums.cols() != other.sums.cols())
        throw std::invalid_argument("sums of another shape");
    sums += other.sums;
    squares += other.squares;
    weighted_sums += other.weighted_sums;
    weights += other.weights;
}

FullProducts::FullProducts(const LayerSet& set, Eigen::MatrixXd pairs, Eigen::VectorXd selves)
    : set_(set), pairs_(std::move(pairs)), selves_(std::move(selves)),
      roots_(selves_.unaryExpr(&inverse_root)) {}

void FullProducts::add(Deviations& to, index i, index j, double product, double root_i, double root_j,
                       double factor) const {
    const index column = j - set_.first_column();
    const double deviation = product * root_i * root_j - pairs_(i, column) * roots_(i) * roots_(j);
    to.sums(i, column) += deviation;
    to.squares(i, column) += (factor - 1) * deviation * deviation;
    to.weighted_sums(i, column) += (1 - 1 / factor) * deviation;
}

// Busing et al. 1999: with h = n / (samples of a group), deviations d of the values without it, and D = sum (1 - 1/h) d,
// the variance is the mean over groups of (h - 1) d^2 - 2 d D + D^2 / (h - 1). For groups of one sample it is the usual
// (n - 1) / n sum (d - mean d)^2.
Eigen::MatrixXd FullProducts::standard_errors(const Deviations& deviations, index groups) const {
    const auto root = [](double variance) {  // of nan: nan; a difference of equal terms may be below zero
        return variance < 0 ? 0.0 : std::sqrt(variance);
    };
    const auto weighted = deviations.weighted_sums.array();
    const Eigen::ArrayXXd total = deviations.squares.array() - 2 * deviations.sums.array() * weighted +
                                  deviations.weights * weighted.square();
    Eigen::MatrixXd errors = (total / static_cast<double>(groups)).unaryExpr(root).matrix();
    if (!set_.one_network()) return errors;
    errors = Eigen::MatrixXd(errors.selfadjointView<Eigen::Upper>());
    for (index l = 0; l < set_.count(); ++l)
        errors(l, l) = std::isnan(roots_(l)) ? not_given : 0;  // 1, whatever the samples
    return errors;
}

Eigen::MatrixXd standard_errors(const LayerSet& set, const FullProducts& full, const Eigen::MatrixXd& rows,
                                const Engine& engine) {
    Deviations deviations(set);
    const RowEntries entries(set);
    const index n = rows.cols();
    const double factor = static_cast<double>(n);
    const Recentring centre(factor - 1, Centred::hollow);
    const auto without = [&](double all, double product) { return centre(all - 2 * product, product, 0); };
    Eigen::MatrixXd roots(n, set.count());
    engine.team.for_each(set.count(), [&](index l, int) {
        for (index i = 0; i < n; ++i)
            roots(i, l) = inverse_root(without(full.self(l), rows(entries.pair(l, l), i)));
    });
    engine.team.for_each(set.rows(), [&](index a, int) {
        for (index i = 0; i < n; ++i)
            for (index b = set.one_network() ? a : set.first_column(); b < set.count(); ++b)
                full.add(deviations, a, b, without(full.pair(a, b), rows(entries.pair(a, b), i)), roots(i, a),
                         roots(i, b), factor);
    });
    for (index i = 0; i < n; ++i) FullProducts::add_group(deviations, factor);
    return full.standard_errors(deviations, n);
}

template <class T>
Bytes Jackknife<T>::bytes(const LayerSet& set, const Deletions& deletions, index samples, index panel_width) {
    const index height = GramRows<T>::height_of(panel_width), count = set.count();
    const index products = 8 * layers_in_task * count;
    Bytes bytes{Deviations::bytes(set) + 8 * height * count, products};
    if (deletions.single()) return bytes;
    bytes.shared += 2 * 8 * set.rows() * set.columns() +
                    Buffer<double>::bytes(GramRows<T>::stride_of(samples, panel_width) * count) +
                    Buffer<T>::bytes(size_product(count * height, round_up(deletions.largest(), height)));
    bytes.per_thread += products;
    return bytes;
}

template <class T>
Jackknife<T>::Jackknife(const LayerSet& set, const FullProducts& full, const GramRows<T>& rows,
                        Centred centred, const Deletions& deletions, index group, const Engine& engine)
    : set_(set), full_(full), deviations_(set), engine_(engine), deletions_(deletions),
      n_(static_cast<double>(rows.samples())), centred_(centred), stride_(rows.stride()),
      height_(rows.height()), group_(group) {
    for (index i = 0; i < set.rows(); i += layers_in_task) {
        const index other = set.one_network() ? i : set.first_column();
        tasks_.push_back({i, std::min(i + layers_in_task, set.rows()), other, set.count() - other});
    }
    if (deletions_.single()) return;
    products_ = within_ = Eigen::MatrixXd::Zero(set.rows(), set.columns());
    self_products_ = self_within_ = Eigen::VectorXd::Zero(set.count());
    columns_ = Buffer<double>(stride_ * set.count());
    inside_ = Buffer<T>(size_product(set.count() * height_, round_up(deletions_.largest(), height_)));
    columns().setZero();
}

// use(task) for all pairs, some rows of them at a time; shared out to the team.
template <class T> template <class Use> void Jackknife<T>::for_each_task(Use&& use) {
    engine_.team.for_each(static_cast<index>(tasks_.size()),
                          [&](index number, int) { use(tasks_[static_cast<std::size_t>(number)]); });
}

template <class T> void Jackknife<T>::add(Span rows, index first, const std::vector<const T*>& strips) {
    if (deletions_.single()) return add_singles(rows, first, strips);
    for (index begin = rows.first; begin < rows.last;) {
        const index end = std::min(rows.last, deletions_.first(group_ + 1));
        add_group_rows(first, begin, end, strips);
        if (end == deletions_.first(group_ + 1)) finish_group();
        begin = end;
    }
}

template <class T>
void Jackknife<T>::add_singles(Span rows, index first, const std::vector<const T*>& strips) {
    const Recentring centre(n_ - 1, centred_);
    const auto remaining = [&](double all, double product, double within) {
        return centre(all - 2 * product + within, product - within, within);
    };
    const auto diagonal = [&](index l, index i) {
        return static_cast<double>(strips[static_cast<std::size_t>(l)][i * stride_ + first + i]);
    };
    const index begin = rows.first - first, end = rows.last - first;
    Eigen::MatrixXd roots(end, set_.count());
    engine_.team.for_each(set_.count(), [&](index l, int) {
        for (index i = begin; i < end; ++i) {
            const double square = engine_.operations<T>().sum_of_squares(
                strips[static_cast<std::size_t>(l)] + i * stride_, stride_);
            roots(i, l) = inverse_root(remaining(full_.self(l), square, std::pow(diagonal(l, i), 2)));
        }
    });
    for_each_task([&](const Task& task) {
        std::vector<double> products;
        std::vector<const T*> vectors(strips.size());
        for (index i = begin; i < end; ++i) {
            for (std::size_t l = 0; l < strips.size(); ++l) vectors[l] = strips[l] + i * stride_;
            multiply<T>(vectors, task.first, task.last, task.first_other, task.columns, stride_, engine_,
                        products);
            for (index a = task.first; a < task.last; ++a)
                for (index k = 0; k < task.columns; ++k) {
                    const index b = task.first_other + k;
                    if (b < a && set_.one_network()) continue;
                    const double product =
                        products[static_cast<std::size_t>((a - task.first) * task.columns + k)];
                    full_.add(deviations_, a, b,
                              remaining(full_.pair(a, b), product, diagonal(a, i) * diagonal(b, i)),
                              roots(i, a), roots(i, b), n_);
                }
        }
    });
    for (index i = begin; i < end; ++i) FullProducts::add_group(deviations_, n_);
}

// Rows [begin, end) of one group, of a strip that begins at `first`.
template <class T>
void Jackknife<T>::add_group_rows(index first, index begin, index end, const std::vector<const T*>& strips) {
    const index from = deletions_.first(group_), size = deletions_.size(group_);
    const index rows = end - begin;
    const index padded = round_up(size, height_);  // values of the group in a row, and zeros
    engine_.team.for_each(set_.count(), [&](index l, int) {
        const T* const strip = strips[static_cast<std::size_t>(l)] + (begin - first) * stride_;
        for (index i = 0; i < rows; ++i) {
            const T* const row = strip + i * stride_;
            double* const sum = columns_.data() + l * stride_;
            for (index j = 0; j < stride_; ++j) sum[j] += static_cast<double>(row[j]);
            T* const part = inside_.data() + (l * rows + i) * padded;
            std::copy_n(row + from, size, part);
            std::fill(part + size, part + padded, T(0));
            self_products_(l) += engine_.operations<T>().sum_of_squares(row, stride_);
            self_within_(l) += engine_.operations<T>().sum_of_squares(part, padded);
        }
    });
    for_each_task([&](const Task& task) {
        std::vector<double> whole, part;
        std::vector<const T*> vectors(strips.size()), parts(strips.size());
        for (index i = 0; i < rows; ++i) {
            for (std::size_t l = 0; l < strips.size(); ++l) {
                vectors[l] = strips[l] + (begin - first + i) * stride_;
                parts[l] = inside_.data() + (static_cast<index>(l) * rows + i) * padded;
            }
            multiply<T>(vectors, task.first, task.last, task.first_other, task.columns, stride_, engine_,
                        whole);
            multiply<T>(parts, task.first, task.last, task.first_other, task.columns, padded, engine_, part);
            for (index a = task.first; a < task.last; ++a)
                for (index k = 0; k < task.columns; ++k) {
                    const index column = task.first_other + k - set_.first_column();
                    const auto at = static_cast<std::size_t>((a - task.first) * task.columns + k);
                    products_(a, column) += whole[at];
                    within_(a, column) += part[at];
                }
        }
    });
}

template <class T> void Jackknife<T>::finish_group() {
    const index from = deletions_.first(group_), size = deletions_.size(group_);
    const double factor = n_ / static_cast<double>(size);
    const Recentring centre(n_ - static_cast<double>(size), centred_);
    // `columns` holds the sums over the group; those of the rows that remain are needed.
    auto columns = this->columns();
    columns.middleRows(from, size).setZero();
    const Eigen::RowVectorXd totals = columns.colwise().sum();
    const auto remaining = [&](double all, double product, double within, double rows, double of_totals) {
        return centre(all - 2 * product + within, rows, of_totals);
    };
    Eigen::VectorXd roots(set_.count());
    for (index l = 0; l < set_.count(); ++l)
        roots(l) = inverse_root(remaining(full_.self(l), self_products_(l), self_within_(l),
                                          columns.col(l).squaredNorm(), totals(l) * totals(l)));
    std::vector<const double*> vectors;
    for (index l = 0; l < set_.count(); ++l) vectors.push_back(columns.col(l).data());
    // Panels of float64 are narrower than those of float32, so a stride of either is whole panels.
    for_each_task([&](const Task& task) {
        std::vector<double> rows;
        multiply<double>(vectors, task.first, task.last, task.first_other, task.columns, stride_, engine_,
                         rows);
        for (index a = task.first; a < task.last; ++a)
            for (index k = 0; k < task.columns; ++k) {
                const index b = task.first_other + k, column = b - set_.first_column();
                if (b < a && set_.one_network()) continue;
                const double left =
                    remaining(full_.pair(a, b), products_(a, column), within_(a, column),
                              rows[static_cast<std::size_t>((a - task.first) * task.columns + k)],
                              totals(a) * totals(b));
                full_.add(deviations_, a, b, left, roots(a), roots(b), factor);
            }
    });
    FullProducts::add_group(deviations_, factor);
    products_.setZero();
    within_.setZero();
    self_products_.setZero();
    self_within_.setZero();
    columns.setZero();
    ++group_;
}

template class Jackknife<float>;
template class Jackknife<double>;

}  // namespace fastcka

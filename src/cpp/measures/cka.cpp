// SPDX-License-Identifier: BSD-3-Clause
#include "measures/cka.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace fastcka {
namespace {

using Notes = std::vector<LayerNote>;

}  // namespace

void mark_degenerate(const Estimates& self, const Formula& formula, double known_up_to, Notes& notes) {
    for (std::size_t l = 0; l < notes.size(); ++l) {
        const auto entry = static_cast<index>(l);
        const double value = self.value(entry), magnitude = self.magnitude(entry);
        if (notes[l].status != Status::fine) continue;
        if (!(value > std::max(magnitude / largest_condition, std::pow(notes[l].rounding, 2))))
            notes[l].status = formula.degenerate;
        if (known_up_to < largest_condition && value * known_up_to < magnitude)
            notes[l].status = Status::too_coarse;
    }
}

bool has_too_coarse(const Notes& notes) {
    return std::any_of(notes.begin(), notes.end(),
                       [](const LayerNote& note) { return note.status == Status::too_coarse; });
}

namespace {

double in_units(double hsic, const LayerNote& a, const LayerNote& b) {
    if (a.status == Status::zero_bandwidth || b.status == Status::zero_bandwidth)
        return not_given;  // no Gram matrix
    return hsic == 0 ? 0
                     : hsic * (a.unit * b.unit);  // a constant has HSIC zero with everything, in any units
}

Eigen::VectorXd in_units(const Estimates& self, const Notes& notes) {
    Eigen::VectorXd value(self.value.size());
    for (std::size_t l = 0; l < notes.size(); ++l)
        value(static_cast<index>(l)) = in_units(self.value(static_cast<index>(l)), notes[l], notes[l]);
    return value;
}

// sqrt(HSIC(K, K)), NaN for a degenerate layer
Eigen::VectorXd roots(const Estimates& self, const Notes& notes) {
    Eigen::VectorXd root = self.value.sqrt().matrix();
    for (std::size_t l = 0; l < notes.size(); ++l)
        if (notes[l].status != Status::fine) root(static_cast<index>(l)) = not_given;
    return root;
}

// Blocks of a size that fits in the cache with their transpose.
void copy_upper_to_lower(Eigen::MatrixXd& matrix) {
    constexpr index side = 64;
    const index n = matrix.rows();
    for (index i = 0; i < n; i += side)
        for (index j = i; j < n; j += side) {
            const index rows = std::min(side, n - i), columns = std::min(side, n - j);
            if (i == j)
                matrix.block(i, i, rows, rows) =
                    Eigen::MatrixXd(matrix.block(i, i, rows, rows).selfadjointView<Eigen::Upper>());
            else
                matrix.block(j, i, columns, rows) = matrix.block(i, j, rows, columns).transpose();
        }
}

}  // namespace

AlignmentBuilder::AlignmentBuilder(const PairSums& selves, double samples, LayerSet set,
                                   std::vector<LayerNote> layers, const Formula& formula, double known_up_to)
    : samples_(samples), formula_(formula) {
    out_.set = std::move(set);
    for (Eigen::MatrixXd* all : {&out_.cka, &out_.chance, &out_.hsic})
        all->resize(out_.set.rows(), out_.set.columns());
    const Estimates self = formula.inner_product(selves, samples);
    mark_degenerate(self, formula, known_up_to, layers);
    roots_ = roots(self, layers);
    out_.effective_dimensions = selves.traces.matrix() / ((samples - 1) * (samples - 1));
    out_.effective_dimensions.array() /= biased_hsic(selves, samples).value;
    for (std::size_t l = 0; l < layers.size(); ++l)
        if (layers[l].status != Status::fine) out_.effective_dimensions(static_cast<index>(l)) = not_given;
    out_.self = in_units(self, layers);
    out_.layers = std::move(layers);
}

void AlignmentBuilder::set_columns(index first, const PairSums& pairs) {
    const index rows = pairs.products.rows(), columns = pairs.products.cols();
    const auto in_place = [&](Eigen::MatrixXd& all) { return all.block(0, first, rows, columns); };
    // CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)); the roots are taken apart, since the product of two self-HSICs may
    // leave the range of float64.
    const Eigen::ArrayXXd of_pairs =
        (roots_.head(rows) * roots_.segment(out_.set.first_column() + first, columns).transpose()).array();
    const Eigen::ArrayXXd hsic = formula_.inner_product(pairs, samples_).value;
    in_place(out_.cka) = (hsic / of_pairs).matrix();
    in_place(out_.chance) = (formula_.chance(samples_) * pairs.traces / of_pairs).matrix();
    for (index j = 0; j < columns; ++j)
        for (index i = 0; i < rows; ++i)
            out_.hsic(i, first + j) =
                in_units(hsic(i, j), out_.layers[static_cast<std::size_t>(i)],
                         out_.layers[static_cast<std::size_t>(out_.set.first_column() + first + j)]);
}

Alignment AlignmentBuilder::finish() && {
    if (out_.set.one_network())
        for (Eigen::MatrixXd* all : {&out_.cka, &out_.chance, &out_.hsic})
            copy_upper_to_lower(*all);  // equal to the last bit
    return std::move(out_);
}

Alignment alignment_of(const Sums& sums, const LayerSet& set, std::vector<LayerNote> layers,
                       const Formula& formula, double known_up_to) {
    AlignmentBuilder builder(sums.selves, sums.samples, set, std::move(layers), formula, known_up_to);
    builder.set_columns(0, sums.pairs);
    return std::move(builder).finish();
}

}  // namespace fastcka

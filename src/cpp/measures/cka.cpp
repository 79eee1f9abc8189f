// SPDX-License-Identifier: BSD-3-Clause
#include "measures/cka.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace fastcka {
namespace {

using Notes = std::vector<LayerNote>;

// A self-HSIC that is a tiny part of the terms that it is the difference of is zero: what they leave is rounding.
void mark_degenerate(const Estimates& self, const Formula& formula, Precision precision, Notes& notes) {
    const double part = precision == Precision::float64 ? 0x1p-40 : 8 * std::numeric_limits<float>::epsilon();
    for (std::size_t l = 0; l < notes.size(); ++l) {
        const auto entry = static_cast<index>(l);
        const double zero = std::max(part * self.magnitude(entry), std::pow(notes[l].rounding, 2));
        if (notes[l].status == Status::fine && !(self.value(entry) > zero))
            notes[l].status = formula.degenerate;
    }
}

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

}  // namespace

Alignment alignment_of(const Sums& sums, const LayerSet& set, std::vector<LayerNote> layers,
                       const Formula& formula, Precision precision) {
    const double n = sums.samples;
    Alignment out;
    out.set = set;
    out.hsic = formula.inner_product(sums.pairs, n).value.matrix();
    if (set.one_network())
        out.hsic = Eigen::MatrixXd(out.hsic.selfadjointView<Eigen::Upper>());  // equal to the last bit
    const Estimates self = formula.inner_product(sums.selves, n);
    mark_degenerate(self, formula, precision, layers);

    // CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)); the roots are taken apart, since the product of two self-HSICs may
    // leave the range of float64.
    const Eigen::VectorXd root = roots(self, layers);
    const Eigen::MatrixXd of_pairs = root.head(set.rows()) * root.tail(set.columns()).transpose();
    out.cka = (out.hsic.array() / of_pairs.array()).matrix();
    out.chance = (formula.chance(n) * sums.pairs.traces / of_pairs.array()).matrix();
    out.effective_dimensions = sums.selves.traces.matrix() / ((n - 1) * (n - 1));
    out.effective_dimensions.array() /= biased_hsic(sums.selves, n).value;
    for (std::size_t l = 0; l < layers.size(); ++l)
        if (layers[l].status != Status::fine) out.effective_dimensions(static_cast<index>(l)) = not_given;
    for (index j = 0; j < set.columns(); ++j)
        for (index i = 0; i < set.rows(); ++i)
            out.hsic(i, j) = in_units(out.hsic(i, j), layers[static_cast<std::size_t>(i)],
                                      layers[static_cast<std::size_t>(set.first_column() + j)]);
    out.self = in_units(self, layers);
    out.layers = std::move(layers);
    return out;
}

}  // namespace fastcka

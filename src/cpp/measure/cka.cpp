// SPDX-License-Identifier: BSD-3-Clause
#include "measure/cka.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace fastcka {
namespace {

using Reports = std::vector<LayerReport>;

// A self-HSIC that is a tiny part of the terms that it is the difference of is zero: what they leave is rounding.
void mark_degenerate(const Estimates& self, bool unbiased, bool double_precision, Reports& reports) {
    const double part = double_precision ? 0x1p-40 : 8 * std::numeric_limits<float>::epsilon();
    for (std::size_t l = 0; l < reports.size(); ++l) {
        const auto entry = static_cast<index>(l);
        const double zero = std::max(part * self.magnitude(entry), std::pow(reports[l].rounding, 2));
        if (reports[l].status != Status::fine || self.value(entry) > zero) continue;
        reports[l].status = unbiased ? Status::nonpositive : Status::constant;
    }
}

double in_units(double hsic, const LayerReport& a, const LayerReport& b) {
    if (a.status == Status::zero_bandwidth || b.status == Status::zero_bandwidth)
        return not_given;  // no Gram matrix
    return hsic == 0 ? 0
                     : hsic * (a.unit * b.unit);  // a constant has HSIC zero with everything, in any units
}

Eigen::VectorXd in_units(const Estimates& self, const Reports& reports) {
    Eigen::VectorXd value(self.value.size());
    for (std::size_t l = 0; l < reports.size(); ++l)
        value(static_cast<index>(l)) = in_units(self.value(static_cast<index>(l)), reports[l], reports[l]);
    return value;
}

// sqrt(HSIC(K, K)), NaN for a degenerate layer
Eigen::VectorXd roots(const Estimates& self, const Reports& reports) {
    Eigen::VectorXd root = self.value.sqrt().matrix();
    for (std::size_t l = 0; l < reports.size(); ++l)
        if (reports[l].status != Status::fine) root(static_cast<index>(l)) = not_given;
    return root;
}

// E[CKA] over permutations: of the biased estimator tr(Kc) tr(Lc) / ((n - 1) |Kc| |Lc|) (Josse et al. 2008), of the
// unbiased one zero.
Eigen::MatrixXd chance_of(const RouteResult& result, bool unbiased) {
    const double n = result.sums.samples;
    const auto part = [&](const Eigen::VectorXd& traces, const PairSums& self, const Reports& reports) {
        Eigen::VectorXd norms = (biased_hsic(self, n).value.sqrt() * (n - 1)).matrix();  // |Kc|
        for (std::size_t l = 0; l < reports.size(); ++l)
            if (reports[l].status != Status::fine) norms(static_cast<index>(l)) = not_given;
        return Eigen::VectorXd((unbiased ? 0.0 : 1.0) * traces.array() / norms.array());
    };
    const Eigen::VectorXd a = part(result.sums.trace_a, result.sums.self_a, result.a),
                          b = part(result.sums.trace_b, result.sums.self_b, result.b);
    return a * b.transpose() / (n - 1);
}

}  // namespace

Alignment alignment_of(RouteResult result, bool unbiased, bool double_precision, bool one_sided) {
    const auto estimator = unbiased ? unbiased_hsic : biased_hsic;
    const double n = result.sums.samples;
    Eigen::MatrixXd hsic = estimator(result.sums.pairs, n).value.matrix();
    if (one_sided) hsic = Eigen::MatrixXd(hsic.selfadjointView<Eigen::Upper>());  // equal to the last bit
    const Estimates self_a = estimator(result.sums.self_a, n), self_b = estimator(result.sums.self_b, n);
    mark_degenerate(self_a, unbiased, double_precision, result.a);
    mark_degenerate(self_b, unbiased, double_precision, result.b);

    Alignment out;
    // CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)); the roots are taken apart, since the product of two self-HSICs may
    // leave the range of float64.
    out.chance = chance_of(result, unbiased);
    const Eigen::VectorXd root_a = roots(self_a, result.a), root_b = roots(self_b, result.b);
    out.cka = (hsic.array() / (root_a * root_b.transpose()).array()).matrix();
    for (index j = 0; j < hsic.cols(); ++j)
        for (index i = 0; i < hsic.rows(); ++i)
            hsic(i, j) = in_units(hsic(i, j), result.a[static_cast<std::size_t>(i)],
                                  result.b[static_cast<std::size_t>(j)]);
    out.hsic = std::move(hsic);
    out.self_a = in_units(self_a, result.a);
    out.self_b = in_units(self_b, result.b);
    out.a = std::move(result.a);
    out.b = std::move(result.b);
    return out;
}

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
#include "measure/pairwise.hpp"

#include "engine/dispatch.hpp"
#include "measure/hsic.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace fastcka {
namespace {

void check(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

// A self-HSIC within a few roundings of zero, measured by the terms that it is the difference of, is zero.
void mark_degenerate(const Estimates& self, bool unbiased, bool twofold, std::vector<LayerReport>& reports) {
    const double unit = twofold ? std::numeric_limits<double>::epsilon() : std::numeric_limits<float>::epsilon();
    for (index l = 0; l < self.value.size(); ++l) {
        LayerReport& report = reports[static_cast<std::size_t>(l)];
        if (report.status != Status::fine || self.value(l) > 8 * unit * self.magnitude(l)) continue;
        report.status = unbiased ? Status::nonpositive : Status::constant;
    }
}

// Estimates of each layer with itself, from the same arithmetic as those of pairs.
template <class Estimator>
Estimates self_estimates(Estimator estimator, const Eigen::VectorXd& products, const Margins& margins) {
    Estimates self{Eigen::MatrixXd(products.size(), 1), Eigen::MatrixXd(products.size(), 1)};
    for (index l = 0; l < products.size(); ++l) {
        const Margins one{margins.diagonal.col(l), margins.row_sums.col(l)};
        const Estimates estimate = estimator(Eigen::MatrixXd::Constant(1, 1, products(l)), one, one);
        self.value(l) = estimate.value(0);
        self.magnitude(l) = estimate.magnitude(0);
    }
    return self;
}

}  // namespace

Problem problem_of(const Sides& sides, const PairwiseOptions& options) {
    check(!sides.a.empty() && (!sides.b || !sides.b->empty()), "no layers");
    Problem problem;
    problem.samples = sides.a.front().rows;
    problem.one_sided = !sides.b;
    problem.kernel = options.kernel;
    problem.twofold = options.twofold;
    problem.threads = options.threads;
    problem.max_bytes = options.max_bytes;
    problem.wanted = options.route;
    const auto add = [&](const std::vector<MatrixView>& views, std::vector<index>& widths) {
        for (const MatrixView& view : views) {
            check(view.rows == problem.samples, "layers have different numbers of samples");
            check(view.columns > 0, "a layer without features");
            check(options.kernel.kind != KernelKind::precomputed || view.columns == view.rows, "a Gram matrix that is not square");
            widths.push_back(view.columns);
        }
    };
    add(sides.a, problem.widths_a);
    if (sides.b) add(*sides.b, problem.widths_b);
    check(problem.samples >= (options.unbiased ? 4 : 2), "too few samples");
    check(options.threads > 0, "threads must be positive");
    check(options.route != Route::feature || options.kernel.is_linear(), "the feature route is for linear kernels");
    return problem;
}

Pairwise pairwise(const Sides& sides, const PairwiseOptions& options, const Observer& observer) {
    const Level& level = current_level();
    Pairwise out;
    out.plan = make_plan(problem_of(sides, options), panel_width_of(level, options.twofold));

    Team team(out.plan.threads, observer);
    const Engine engine{level, team};
    const auto route = out.plan.route == Route::gram ? (options.twofold ? gram_route<double> : gram_route<float>)
                                                     : (options.twofold ? feature_route<double> : feature_route<float>);
    RouteResult result = route(sides, options.kernel, out.plan, engine);

    const Sums& sums = result.sums;
    const auto estimator = options.unbiased ? unbiased_hsic : biased_hsic;
    out.hsic = estimator(sums.products, sums.a, sums.b).value;
    if (!sides.b) out.hsic = Eigen::MatrixXd(out.hsic.selfadjointView<Eigen::Upper>());  // equal to the last bit
    const Estimates self_a = self_estimates(estimator, sums.self_a, sums.a);
    const Estimates self_b = self_estimates(estimator, sums.self_b, sums.b);
    mark_degenerate(self_a, options.unbiased, options.twofold, result.a);
    mark_degenerate(self_b, options.unbiased, options.twofold, result.b);

    // CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)); the roots are taken apart, since the product of two self-HSICs may
    // leave the range of float64.
    const auto root = [](const Estimates& self, const std::vector<LayerReport>& reports, index l) {
        return reports[static_cast<std::size_t>(l)].status == Status::fine ? std::sqrt(self.value(l)) : not_given;
    };
    out.cka.resizeLike(out.hsic);
    for (index j = 0; j < out.hsic.cols(); ++j)
        for (index i = 0; i < out.hsic.rows(); ++i) {
            const LayerReport &a = result.a[static_cast<std::size_t>(i)], &b = result.b[static_cast<std::size_t>(j)];
            double& hsic = out.hsic(i, j);
            out.cka(i, j) = hsic / (root(self_a, result.a, i) * root(self_b, result.b, j));
            if (hsic != 0) hsic *= a.unit * b.unit;  // a constant has HSIC zero with everything, in any units
            // a zero bandwidth has no Gram matrix at all
            if (a.status == Status::zero_bandwidth || b.status == Status::zero_bandwidth) hsic = not_given;
        }
    const auto in_units = [](const Estimates& self, const std::vector<LayerReport>& reports) {
        Eigen::VectorXd value = self.value;
        for (index l = 0; l < value.size(); ++l) if (value(l) != 0) value(l) *= std::pow(reports[static_cast<std::size_t>(l)].unit, 2);
        return value;
    };
    out.self_a = in_units(self_a, result.a);
    out.self_b = in_units(self_b, result.b);
    out.a = std::move(result.a);
    out.b = std::move(result.b);
    return out;
}

}  // namespace fastcka

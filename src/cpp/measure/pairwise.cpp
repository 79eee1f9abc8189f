// SPDX-License-Identifier: BSD-3-Clause
#include "measure/pairwise.hpp"

#include "base/buffer.hpp"
#include "engine/dispatch.hpp"
#include "engine/tuning.hpp"

#include <stdexcept>
#include <utility>

namespace fastcka {
namespace {

void check(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

}  // namespace

Problem problem_of(const Sides& sides, const PairwiseOptions& options) {
    check(!sides.a.empty() && (!sides.b || !sides.b->empty()), "no layers");
    Problem problem;
    problem.samples = sides.a.front().rows;
    problem.one_sided = !sides.b;
    problem.kernel = options.kernel;
    problem.double_precision = options.double_precision || problem.samples <= few_samples;
    problem.threads = options.threads;
    problem.max_bytes = options.max_bytes;
    problem.wanted = options.route;
    const auto add = [&](const std::vector<MatrixView>& views, std::vector<index>& widths) {
        for (const MatrixView& view : views) {
            check(view.rows == problem.samples, "layers have different numbers of samples");
            check(view.columns > 0, "a layer without features");
            check(options.kernel.kind != KernelKind::precomputed || view.columns == view.rows,
                  "a Gram matrix that is not square");
            widths.push_back(view.columns);
        }
    };
    add(sides.a, problem.widths_a);
    if (sides.b) add(*sides.b, problem.widths_b);
    check(problem.samples >= (options.unbiased ? 4 : 2), "too few samples");
    check(options.threads > 0, "threads must be positive");
    check(options.route != Route::feature || options.kernel.is_linear(),
          "the feature route is for linear kernels");
    return problem;
}

namespace {

Pairwise planned(const Sides& sides, const PairwiseOptions& options, const Observer& observer) {
    const Level& level = current_level();
    const Problem problem = problem_of(sides, options);
    const bool double_precision = problem.double_precision;
    const Plan plan = make_plan(problem, panel_width_of(level, double_precision));
    if (options.max_bytes > 0) release_buffers(options.max_bytes - plan.bytes);  // what idles counts, too

    Team team(plan.threads, observer);
    const Engine engine{level, team};
    const auto route = plan.route == Route::gram
                           ? (double_precision ? gram_route<double> : gram_route<float>)
                           : (double_precision ? feature_route<double> : feature_route<float>);
    RouteResult result;
    team.together([&] { result = route(sides, options.kernel, plan, engine); });
    return {alignment_of(std::move(result), options.unbiased, double_precision, !sides.b), plan};
}

}  // namespace

Pairwise pairwise(const Sides& sides, const PairwiseOptions& options, const Observer& observer) {
    try {
        return planned(sides, options, observer);
    } catch (const NeedsDouble&) {
        PairwiseOptions exact = options;
        exact.double_precision = true;
        return planned(sides, exact, observer);
    }
}

}  // namespace fastcka

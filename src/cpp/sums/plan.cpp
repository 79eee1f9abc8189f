// SPDX-License-Identifier: BSD-3-Clause
#include "sums/plan.hpp"

#include "base/errors.hpp"
#include "sums/plan_sizes.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace fastcka {
namespace {

// Problems beyond these are refused, so that no count of tiles, operations or bytes leaves 64 bits.
constexpr double most_values = 0x1p56, most_features = 0x1p36;
constexpr index most_samples = index{1} << 36;

template <class T> Plan plan_of_route(const Problem& problem, index panel_width) {
    const auto within = [&](const Plan& plan) {
        if (fits(problem, plan.bytes)) return plan;
        throw OverBudget("this needs at least " + std::to_string(plan.bytes) +
                             " bytes besides its inputs, but max_bytes is " +
                             std::to_string(problem.settings.max_bytes),
                         plan.bytes);
    };
    const Route route = problem.settings.route;
    if (route == Route::feature) return within(plan_feature<T>(problem, panel_width));
    const Plan gram = plan_gram<T>(problem, panel_width);
    if (!problem.settings.kernel.is_linear() || route == Route::gram) return within(gram);
    const Plan feature = plan_feature<T>(problem, panel_width);
    return within(feature.flops <= gram.flops ? feature : gram);  // whatever max_bytes: bits follow the route
}

}  // namespace

void choose_reading(const Problem& problem, Plan& plan) {
    plan.read_bytes = least_read_bytes(problem);
    const index whole = problem.samples * problem.layers.most_row_bytes(), more = whole - plan.read_bytes;
    if (whole == 0) return;
    if (plan.layer_by_layer || (problem.settings.kernel.is_given() && plan.held.rows == 0)) {
        plan.read_bytes = whole;  // counted already
        plan.reads = 1;
        return;
    }
    if (problem.settings.kernel.is_given() || !fits(problem, plan.bytes + more)) return;
    plan.read_bytes = whole;
    plan.bytes += more;
    plan.reads -= problem.settings.kernel.traits().rows == Rows::as_given ? 1 : 2;
}

void choose_threads(const Problem& problem, double multiply_adds, index tasks, const Bytes& bytes,
                    Plan& plan) {
    const double worth = std::max(1.0, std::floor(multiply_adds / work_per_thread));
    index threads = static_cast<index>(
        std::min({static_cast<double>(problem.settings.threads), worth, static_cast<double>(tasks)}));
    if (problem.settings.max_bytes > 0)
        threads =
            std::clamp<index>((problem.settings.max_bytes - bytes.shared) / bytes.per_thread, 1, threads);
    plan.threads = static_cast<int>(threads);
    plan.bytes = bytes.with(threads);
}

double packings(index rows, const Held& held, bool stay) {
    double strips = 0;
    walk(rows, held, [&](Span group, Span columns) {
        const bool first = columns.first == group.first;
        strips += static_cast<double>((first || !stay ? group.count() : 0) + (first ? 0 : columns.count()));
    });
    return strips / static_cast<double>(rows);
}

index least_read_bytes(const Problem& problem) {
    const index of_a_row = problem.layers.most_row_bytes();
    const index rows = std::max(fastcka::read_bytes / std::max<index>(of_a_row, 1), coordinate_block);
    return std::min(rows, problem.samples) * of_a_row;
}

Plan make_plan(const Problem& problem, index panel_width) {
    if (problem.layers.count() == 0) throw std::invalid_argument("no layers");
    double features = 0;
    for (index p : problem.layers.widths()) features += static_cast<double>(p);
    const double of_a_sample = features + 8 * static_cast<double>(problem.layers.count());
    if (of_a_sample * static_cast<double>(problem.samples) > most_values || features > most_features ||
        problem.samples > most_samples)
        throw OverBudget("more values than can be counted");
    const bool wide = problem.settings.precision == Precision::float64;
    return (wide ? plan_of_route<double> : plan_of_route<float>)(problem, panel_width);
}

}  // namespace fastcka

// SPDX-License-Identifier: BSD-3-Clause
#include "compare/pairwise.hpp"

#include "base/buffer.hpp"
#include "base/errors.hpp"
#include "simd/dispatch.hpp"
#include "simd/tuning.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

namespace fastcka {

Problem problem_of(index samples, LayerSet layers, Settings settings) {
    check(layers.rows() > 0 && layers.columns() > 0, "no layers");
    for (index width : layers.widths()) {
        check(width > 0, "a layer without features");
        check(!settings.kernel.is_given() || width == samples, "a Gram matrix that is not square");
    }
    check(samples >= formula_of(settings.measure, settings.estimator).fewest_samples, "too few samples");
    check(settings.threads > 0, "threads must be positive");
    check(settings.route != Route::feature || settings.kernel.is_linear(),
          "the feature route is for linear kernels");
    // Few samples cost nothing in float64, and given Gram matrices have no panels whose width would count.
    if (samples <= few_samples || settings.kernel.is_given()) settings.precision = Precision::float64;
    const Bytes result = result_bytes(layers, samples);
    return {samples, std::move(layers), settings, result};
}

Problem problem_of(const Layers& layers, const Settings& settings) {
    check(layers.split > 0, "no layers");
    for (const Source& source : layers.sources)
        check(source.rows() == layers.samples(), "layers have different numbers of samples");
    return problem_of(layers.samples(), layers.set(), settings);
}

Plan plan_of(const Problem& problem) {
    return make_plan(problem, panel_width_of(current_level(), problem.settings.precision));
}

namespace {

// run(sweep) with the team of a plan.
template <class Run>
void sweep(const Layers& layers, const Settings& settings, const Plan& plan, const Observer& observer,
           Run&& run) {
    for (const Source& source : layers.sources) source.read_at_once(plan.read_bytes);
    if (settings.max_bytes > 0) release_buffers(settings.max_bytes - plan.bytes);  // idle memory counts, too
    Team team(plan.threads, observer);
    const Engine engine{current_level(), team};
    team.together([&] { run(Sweep{layers, settings.kernel, plan, engine}); });
}

Partial sum_blocks(const Sweep& sweep, index first, index last, const Statistics* known) {
    const bool wide = sweep.plan.precision == Precision::float64;
    const auto blocks = sweep.plan.route == Route::gram
                            ? (wide ? gram_blocks<double> : gram_blocks<float>)
                            : (wide ? feature_blocks<double> : feature_blocks<float>);
    return blocks(sweep, first, last, known);
}

Swept of_precision(const Layers& layers, const Settings& settings, const Statistics* known,
                   const Observer& observer) {
    const Problem problem = problem_of(layers, settings);
    const Plan plan = plan_of(problem);
    std::optional<Partial> all;
    sweep(layers, settings, plan, observer,
          [&](const Sweep& sweep) { all.emplace(sum_blocks(sweep, 0, plan.blocks, known)); });
    return {problem, plan, *std::move(all)};
}

// The same in float64, which the values turned out to need. Throws OverBudget, before more work, where that does not fit.
Settings in_float64(const Layers& layers, Settings settings) {
    settings.precision = Precision::float64;
    try {
        plan_of(problem_of(layers, settings));
    } catch (const OverBudget& over) {
        throw OverBudget("some values need float64, since float32 would lose their digits: " + over.text,
                         over.least);
    }
    return settings;
}

// result_of(sums), of sums of which it has one: float64 where float32 loses digits, and where the sums are too coarse float64,
// then the Gram route.
template <class Result>
Result of_exact_sums(const Layers& layers, const Settings& settings, const Observer& observer,
                     std::optional<Result> (*result_of)(Swept&&)) {
    Settings now = settings;
    std::optional<Statistics> known;
    for (;;) {
        try {
            Swept swept = of_precision(layers, now, known ? &*known : nullptr, observer);
            const Precision precision = swept.plan.precision;
            if (std::optional<Result> result = result_of(std::move(swept))) return *std::move(result);
            if (precision == Precision::float64) {
                now.route = Route::gram;
                continue;
            }
        } catch (const NeedsDouble&) {
        }
        now = in_float64(layers, now);
        known = statistics(layers, settings, 0, layers.count(), Medians::searched, observer);
    }
}

}  // namespace

Pairwise pairwise(const Layers& layers, const Settings& settings, const Observer& observer) {
    return of_exact_sums<Pairwise>(layers, settings, observer, [](Swept&& swept) -> std::optional<Pairwise> {
        Pairwise result = finish(swept.problem, swept.plan, swept.partial);
        if (result.too_coarse) return {};
        return result;
    });
}

Swept sweep_all(const Layers& layers, const Settings& settings, const Observer& observer) {
    return of_exact_sums<Swept>(layers, settings, observer, [](Swept&& swept) -> std::optional<Swept> {
        if (too_coarse(swept.problem, swept.plan, swept.partial)) return {};
        return std::move(swept);
    });
}

namespace {

// What is found out about one layer, in float64 where float32 would lose digits.
LayerStatistics statistics_of(const Sweep& sweep, index layer, const LayerStatistics* known,
                              Medians medians) {
    const bool gram = sweep.plan.route == Route::gram, wide = sweep.plan.precision == Precision::float64;
    try {
        if (!wide && (known == nullptr || !known->needs_float64))
            return gram ? gram_statistics<float>(sweep, layer, known, medians)
                        : feature_statistics<float>(sweep, layer);
    } catch (const NeedsDouble&) {
    }
    LayerStatistics found = gram ? gram_statistics<double>(sweep, layer, known, medians)
                                 : feature_statistics<double>(sweep, layer);
    found.needs_float64 = !wide;
    return found;
}

void check_known(const Layers& layers, const Statistics& statistics) {
    check(statistics.layers.size() == layers.sources.size(), "statistics of another number of layers");
    for (std::size_t l = 0; l < layers.sources.size(); ++l) {
        const auto& known = statistics.layers[l];
        check(known.has_value(), "statistics of some layers are missing");
        check(static_cast<index>(known->centring.mean.size()) == layers.sources[l].columns(),
              "statistics of another number of features");
    }
}

}  // namespace

Statistics statistics(const Layers& layers, const Settings& settings, index first, index last,
                      Medians medians, const Observer& observer) {
    const Plan plan = plan_of(problem_of(layers, settings));
    check(0 <= first && first <= last && last <= layers.count(), "no such layers");
    Statistics statistics(layers.count());
    sweep(layers, settings, plan, observer, [&](const Sweep& sweep) {
        for (index layer = first; layer < last; ++layer)
            statistics.layers[static_cast<std::size_t>(layer)] =
                statistics_of(sweep, layer, nullptr, medians);
    });
    return statistics;
}

Statistics with_medians(const Layers& layers, const Settings& settings, const Statistics& known,
                        const Observer& observer) {
    check_known(layers, known);
    Statistics all = known;
    const Plan plan = plan_of(problem_of(layers, settings));
    sweep(layers, settings, plan, observer, [&](const Sweep& sweep) {
        for (index layer = 0; layer < layers.count(); ++layer)
            if (auto& each = all.layers[static_cast<std::size_t>(layer)]; each->is_open(settings.kernel))
                each = statistics_of(sweep, layer, &*each, Medians::searched);
    });
    return all;
}

MedianRound median_round(const Layers& layers, const Settings& settings, const Statistics& known, index first,
                         index last, const Observer& observer) {
    const Plan plan = plan_of(problem_of(layers, settings));
    check_known(layers, known);
    check(settings.kernel.needs_median(), "no bandwidth follows the median");
    check(0 <= first && first <= last && last <= plan.blocks * layers.count(), "no such blocks");
    MedianRound round(layers.samples(), settings.kernel.bandwidth()->offdiagonal,
                      plan.precision == Precision::float64, plan.blocks, known);
    sweep(layers, settings, plan, observer, [&](const Sweep& sweep) {
        for (index block = first; block < last;) {
            const index layer = block / plan.blocks, from = block - layer * plan.blocks;
            const index to = std::min(from + last - block, plan.blocks);
            const auto count = round.in_float64(layer) ? gram_counts<double> : gram_counts<float>;
            DigitCounts counts;
            if (round.counts(layer))
                counts = count(sweep, layer, *known.layers[static_cast<std::size_t>(layer)], {from, to});
            round.add(layer, {{from, to}}, std::move(counts));
            block += to - from;
        }
    });
    return round;
}

Partial partial(const Layers& layers, const Settings& settings, index first, index last,
                const Statistics& statistics, const Observer& observer) {
    const Problem problem = problem_of(layers, settings);
    const Plan plan = plan_of(problem);
    check(0 <= first && first <= last && last <= plan.blocks, "no such blocks");
    check_known(layers, statistics);
    check(!statistics.needs_float64() || plan.precision == Precision::float64, "these layers need float64");
    std::optional<Partial> sums;
    sweep(layers, settings, plan, observer,
          [&](const Sweep& sweep) { sums.emplace(sum_blocks(sweep, first, last, &statistics)); });
    return *std::move(sums);
}

}  // namespace fastcka

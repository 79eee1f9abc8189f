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
    return {samples, std::move(layers), settings};
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

Margins margins_of(const Problem& problem, const Partial& partial) {
    if (problem.settings.kernel.is_centred()) return {partial.diagonals, -partial.diagonals, {}};
    const BlockSums& root = partial.sums.root();
    for (const SampleValues* sums : {&root.row_sums, &root.column_sums})
        check(sums->first == 0 && sums->values.rows() == problem.samples &&
                  sums->values.cols() == problem.layers.count(),
              "sums of another shape");
    Margins margins{partial.diagonals, root.row_sums.values + root.column_sums.values, {}};
    if (problem.settings.kernel.of_distances()) {
        margins.left_out.resize(problem.layers.count());
        for (index l = 0; l < problem.layers.count(); ++l)
            margins.left_out(l) = partial.layers[static_cast<std::size_t>(l)].left_out;
    }
    return margins;
}

namespace {

// The sums of all pairs, out of those of all blocks.
class PairwiseSums {
  public:
    PairwiseSums(const Problem& problem, const Plan& plan, const Partial& partial)
        : set_(problem.layers), gram_(plan.route == Route::gram), joint_(plan.joint),
          terms_(margins_of(problem, partial)) {
        const index all = set_.count();
        const BlockSums& root = partial.sums.root();
        const index entries = joint_ ? all * all : set_.rows() * set_.columns() + all;
        check(static_cast<index>(root.products.size()) + root.first <= entries && !root.open,
              "sums of another shape");
        products_ = Eigen::VectorXd::Zero(entries);
        std::copy(root.products.begin(), root.products.end(), products_.data() + root.first);
        if (gram_) products_ *= 2;  // tiles hold what is above the diagonal
    }

    // The first `rows` layers with columns [first, first + count) of the result.
    PairSums columns(index rows, index first, index count, Spreads spreads) const {
        const index from = set_.first_column() + first;
        Eigen::MatrixXd products(rows, count);
        for (index i = 0; i < rows; ++i)
            for (index j = 0; j < count; ++j) products(i, j) = product(i, from + j);
        PairSums sums = pair_sums(products, terms_, {0, rows}, {from, count}, spreads);
        return gram_ ? sums : without_diagonal(std::move(sums));
    }

    PairSums selves() const {
        Eigen::VectorXd products(set_.count());
        for (index l = 0; l < set_.count(); ++l)
            products(l) = joint_ ? product(l, l) : products_(set_.rows() * set_.columns() + l);
        return gram_ ? self_sums(products, terms_) : self_sums_without_diagonal(products, terms_);
    }

  private:
    // Row by row: of all layers the upper half, or the rows of the result.
    double product(index i, index j) const {
        if (!joint_) return products_(i * set_.columns() + j - set_.first_column());
        return products_(std::min(i, j) * set_.count() + std::max(i, j));
    }

    const LayerSet& set_;
    bool gram_, joint_;
    Terms terms_;
    Eigen::VectorXd products_;
};

}  // namespace

Sums sums_of(const Problem& problem, const Plan& plan, const Partial& partial) {
    const PairwiseSums sums(problem, plan, partial);
    const LayerSet& set = problem.layers;
    return {static_cast<double>(problem.samples), sums.columns(set.rows(), 0, set.columns(), Spreads::made),
            sums.selves()};
}

namespace {

// The largest condition at which |X'X|^2 - sum |x|^4 keeps enough digits of float64.
constexpr double largest_condition_of_features = 0x1p16;

double known_up_to(const Settings& settings, double samples, const Plan& plan) {
    // Every other measure has unbiased HSIC in it.
    const Estimator estimator = settings.measure == Measure::cka ? settings.estimator : Estimator::unbiased;
    if (plan.precision == Precision::float32)
        return largest_condition_in_float32(estimator, settings.kernel.is_centred(), samples);
    const bool exact = plan.route == Route::gram || estimator == Estimator::biased;
    return exact ? largest_condition : largest_condition_of_features;
}

// See Pairwise.
bool too_coarse(const Problem& problem, const Plan& plan, const PairSums& selves,
                std::vector<LayerNote> notes) {
    Settings settings = problem.settings;
    const double samples = static_cast<double>(problem.samples);
    // Of samples that are orthogonal to each other, float32 rounds all products alike: that counts for any estimator.
    if (plan.precision == Precision::float32 && settings.measure == Measure::cka &&
        settings.kernel.is_centred())
        settings.estimator = Estimator::unbiased;
    const double limit = known_up_to(settings, samples, plan);
    if (limit >= largest_condition) return false;
    const Formula& formula = formula_of(settings.measure, settings.estimator);
    mark_degenerate(formula.inner_product(selves, samples), formula, limit, notes);
    return has_too_coarse(notes);
}

}  // namespace

Pairwise finish(const Problem& problem, const Plan& plan, const Partial& partial) {
    check(partial.sums.blocks() == plan.blocks && partial.sums.complete(), "blocks are missing");
    check(partial.diagonals.rows() == problem.samples && partial.diagonals.cols() == problem.layers.count(),
          "sums of another shape");
    const LayerSet& set = problem.layers;
    const Formula& formula = formula_of(problem.settings.measure, problem.settings.estimator);
    const PairwiseSums sums(problem, plan, partial);
    const PairSums selves = sums.selves();
    const double samples = static_cast<double>(problem.samples);
    AlignmentBuilder builder(selves, samples, set, partial.layers, formula,
                             known_up_to(problem.settings, samples, plan));
    const Spreads spreads = formula.measure == Measure::cka ? Spreads::skipped : Spreads::made;
    const index tasks = (set.columns() + finished_columns - 1) / finished_columns;
    Team team(static_cast<int>(std::min<index>(plan.threads, tasks)));
    team.for_each(tasks, [&](index task, int) {
        const index first = task * finished_columns;
        const index last = std::min(set.columns(), first + finished_columns);
        const index rows = set.one_network() ? last : set.rows();
        builder.set_columns(first, sums.columns(rows, first, last - first, spreads));
    });
    return {std::move(builder).finish(), plan, too_coarse(problem, plan, selves, partial.layers)};
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
        known = statistics(layers, settings, 0, layers.count(), Medians::searched, observer);
        now.precision = Precision::float64;
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
        const PairSums selves = PairwiseSums(swept.problem, swept.plan, swept.partial).selves();
        if (too_coarse(swept.problem, swept.plan, selves, swept.partial.layers)) return {};
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

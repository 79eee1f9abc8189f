// SPDX-License-Identifier: BSD-3-Clause
#include "compare/finish.hpp"

#include "base/errors.hpp"
#include "simd/tuning.hpp"
#include "sums/pair_products.hpp"

#include <algorithm>
#include <utility>

namespace fastcka {

Margins margins_of(const Problem& problem, const Partial& partial) {
    check(partial.diagonals.rows() == problem.samples && partial.diagonals.cols() == problem.layers.count(),
          "sums of another shape");
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

// The sums of all pairs, from the sums of all blocks.
class PairwiseSums {
  public:
    PairwiseSums(const Problem& problem, const Plan& plan, const Partial& partial)
        : set_(problem.layers), gram_(plan.route == Route::gram), joint_(plan.joint),
          terms_(margins_of(problem, partial)) {
        const BlockSums& root = partial.sums.root();
        const index entries = LayerBlock::of(set_, joint_).entries_with_selves();
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
    // Stored row by row: the upper half of all layers, or the rows of the result.
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
constexpr double largest_condition_of_features = 0x1p9;

double known_up_to(const Settings& settings, double samples, const Plan& plan) {
    // Every other measure has unbiased HSIC in it.
    const Estimator estimator = settings.measure == Measure::cka ? settings.estimator : Estimator::unbiased;
    if (plan.precision == Precision::float32)
        return largest_condition_in_float32(estimator, settings.kernel.is_centred(), samples);
    const bool exact = plan.route == Route::gram || estimator == Estimator::biased;
    return exact ? largest_condition : largest_condition_of_features;
}

bool are_too_coarse(const Problem& problem, const Plan& plan, const PairSums& selves,
                    std::vector<LayerNote> notes) {
    Settings settings = problem.settings;
    const double samples = static_cast<double>(problem.samples);
    // float32 rounds all products of samples that are orthogonal to each other alike, which matters for every estimator.
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
    const LayerSet& set = problem.layers;
    const Formula& formula = formula_of(problem.settings.measure, problem.settings.estimator);
    const PairwiseSums sums(problem, plan, partial);
    const PairSums selves = sums.selves();
    const double samples = static_cast<double>(problem.samples);
    AlignmentBuilder builder(selves, samples, set, partial.layers, formula,
                             known_up_to(problem.settings, samples, plan));
    const Spreads spreads = formula.measure == Measure::cka ? Spreads::skipped : Spreads::made;
    const index tasks = ceil_divide(set.columns(), finished_columns);
    Team team(static_cast<int>(std::min<index>(plan.threads, tasks)));
    team.for_each(tasks, [&](index task, int) {
        const index first = task * finished_columns;
        const index last = std::min(set.columns(), first + finished_columns);
        const index rows = set.one_network() ? last : set.rows();
        builder.set_columns(first, sums.columns(rows, first, last - first, spreads));
    });
    return {std::move(builder).finish(), plan, are_too_coarse(problem, plan, selves, partial.layers)};
}

Bytes result_bytes(const LayerSet& set, index samples) {
    const index layers = set.count();
    return {Terms::bytes(samples, layers) + 8 * layers * layers + Alignment::bytes(set),
            PairSums::bytes(set.rows() * std::min(finished_columns, set.columns()))};
}

bool too_coarse(const Problem& problem, const Plan& plan, const Partial& partial) {
    return are_too_coarse(problem, plan, PairwiseSums(problem, plan, partial).selves(), partial.layers);
}

}  // namespace fastcka

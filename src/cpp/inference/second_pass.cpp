// SPDX-License-Identifier: BSD-3-Clause
#include "inference/second_pass.hpp"

#include "base/errors.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace fastcka {
namespace {

// Few enough blocks that waiting sums stay small, and enough of them for some dozen processes.
constexpr index most_blocks = 64, fewest_blocks = 8, waiting_bytes = index{64} << 20;

}  // namespace

void PassSums::merge(const PassSums& right) {
    check(cubes.size() == right.cubes.size() && quadratic_forms.size() == right.quadratic_forms.size(),
          "sums of another shape");
    deviations.merge(right.deviations);
    squares.add(right.squares);
    cubes += right.cubes;
    quadratic_forms += right.quadratic_forms;
}

PassBlocks::PassBlocks(const LayerSet& set, const Deletions& deletions, index samples, index panel_width)
    : first_{0} {
    const index strip = panels_of_rows * panel_width, strips = ceil_divide(samples, strip);
    const index fit = waiting_bytes / (Deviations::bytes(set) + 1);
    const index wanted = std::min(strips, std::clamp(fit, fewest_blocks, most_blocks));
    for (index block = 1; block <= wanted; ++block) {
        const index row = block == wanted ? samples : strips * block / wanted * strip;
        index next = first_.back();
        while (next < deletions.count() && deletions.first(next) < row) ++next;
        if (next > first_.back()) first_.push_back(next);
    }
}

FullProducts full_products(const Swept& swept, const Questions& questions,
                           const std::vector<LayerNote>& notes) {
    const Sums sums = sums_of(swept.problem, swept.plan, swept.partial);
    const bool unbiased = questions.estimator == Estimator::unbiased;
    const auto estimate = unbiased ? unbiased_hsic : biased_hsic;
    const double n = sums.samples, factor = unbiased ? n * (n - 3) : (n - 1) * (n - 1);  // of <W, V> to HSIC
    Eigen::VectorXd selves = factor * estimate(sums.selves, n).value;
    for (index l = 0; l < selves.size(); ++l)
        if (notes[static_cast<std::size_t>(l)].status != Status::fine) selves(l) = not_given;
    return {swept.problem.layers, factor * estimate(sums.pairs, n).value, std::move(selves)};
}

Asked::Asked(const Problem& problem, const Questions& questions) : rows(questions), pass(questions) {
    rows.standard_errors = rows.permutations = false;
    if (!problem.settings.kernel.is_linear() || !questions.groups.empty()) return;
    sweep = problem;
    sweep->settings.route = Route::gram;
    sweep->settings.row_products = true;
    if (!plan_of(*sweep).row_products) {
        sweep.reset();
        return;
    }
    rows.permutations = std::exchange(pass.permutations, false);
    if (centred_of(questions.estimator) == Centred::hollow)
        rows.standard_errors = std::exchange(pass.standard_errors, false);
}

template <class T>
SecondPass<T>::SecondPass(const Layers& layers, const Swept& swept, const Questions& questions,
                          Centred centred, const FullProducts& full, const Engine& engine)
    : set_(swept.problem.layers), engine_(engine), centred_(centred),
      errors_(questions.standard_errors && centred == centred_of(questions.estimator)),
      permutations_(questions.permutations && centred == Centred::hollow),
      deletions_(swept.problem.samples, questions.groups), full_(full),
      rows_(layers, swept.problem.settings.kernel, margins_of(swept.problem, swept.partial),
            swept.partial.layers, centred, engine),
      blocks_(set_, deletions_, rows_.samples(), engine.operations<T>().panel_width), n_(rows_.samples()),
      count_(set_.count()) {
    for (int worker = 0; worker < engine.team.threads(); ++worker) scratch_.push_back(rows_.scratch());
    if (!permutations_) return;
    const Eigen::MatrixXd diagonals = centred_diagonals(margins_of(swept.problem, swept.partial));
    weights_ = Buffer<T>(rows_.stride() * count_);
    std::fill_n(weights_.data(), rows_.stride() * count_, T(0));
    for (index l = 0; l < count_; ++l) {
        const double mean = diagonals.col(l).mean();
        for (index i = 0; i < n_; ++i)
            weights_.data()[l * rows_.stride() + i] = static_cast<T>(diagonals(i, l) - mean);
    }
}

// Includes margins and centred diagonals, and the sums of blocks that wait for their sibling.
template <class T>
Bytes SecondPass<T>::bytes(const Problem& problem, const Questions& questions, index panel_width) {
    const LayerSet& set = problem.layers;
    const index n = problem.samples, stride = GramRows<T>::stride_of(n, panel_width);
    const Deletions deletions(n, questions.groups);
    const index of_samples = SampleValues::bytes(n, set.count());
    Bytes bytes = GramRows<T>::bytes(problem.settings.kernel, set, n, panel_width);
    bytes.shared +=
        Buffer<T>::bytes(GramRows<T>::height_of(panel_width) * stride * set.count()) + 3 * of_samples;
    if (questions.standard_errors) {
        const index blocks = PassBlocks(set, deletions, n, panel_width).count();
        bytes += Jackknife<T>::bytes(set, deletions, n, panel_width);
        bytes.shared += (most_waiting(blocks) + 2) * Deviations::bytes(set);
    }
    if (questions.permutations) bytes.shared += Buffer<T>::bytes(stride * set.count()) + 2 * of_samples;
    return bytes;
}

template <class T> SumTree<PassSums> SecondPass<T>::run(index first, index last) {
    const index strip = rows_.height() * rows_.stride();
    memory_ = Buffer<T>(size_product(strip, count_));
    strips_.clear();
    for (index l = 0; l < count_; ++l) strips_.push_back(memory_.data() + l * strip);
    SumTree<PassSums> sums(blocks_.count());
    index fills = 0;
    for (index block = first; block < last; ++block) {
        const Span rows = rows_of(block);
        fills += (rows.last - 1) / rows_.height() - rows.first / rows_.height() + 1;
    }
    engine_.team.expect(fills * count_ * rows_.chunks());
    for (index block = first; block < last; ++block) sums.add(block, sums_of(block));
    return sums;
}

template <class T> Span SecondPass<T>::rows_of(index block) const {
    const auto [first, last] = blocks_.deletions(block);
    return {deletions_.first(first), deletions_.first(last)};
}

template <class T> PassSums SecondPass<T>::sums_of(index block) {
    const Span rows = rows_of(block);
    std::optional<Jackknife<T>> jackknife;
    if (errors_)
        jackknife.emplace(set_, full_, rows_, centred_, deletions_, blocks_.deletions(block).first, engine_);
    PassSums sums;
    if (permutations_) {
        sums.squares = {rows.first, Eigen::MatrixXd(rows.count(), count_)};
        sums.cubes = sums.quadratic_forms = Eigen::VectorXd::Zero(count_);
    }
    for (index first = rows.first / rows_.height() * rows_.height(); first < rows.last;
         first += rows_.height()) {
        const Span of_strip{std::max(first, rows.first), std::min(first + rows_.height(), rows.last)};
        fill(first);
        if (permutations_) add_sums(of_strip, first, sums);
        if (jackknife) jackknife->add(of_strip, first, strips_);
    }
    if (jackknife) sums.deviations = std::move(*jackknife).deviations();
    return sums;
}

// Computes the strip of rows from sample `first` on, of all layers.
template <class T> void SecondPass<T>::fill(index first) {
    const index strip = rows_.height() * rows_.stride();
    engine_.team.for_each_observed(count_ * rows_.chunks(), [&](index task, int worker) {
        const index l = task / rows_.chunks();
        rows_.fill(l, first, task % rows_.chunks(), memory_.data() + l * strip,
                   scratch_[static_cast<std::size_t>(worker)], worker);
    });
}

template <class T> void SecondPass<T>::add_sums(Span rows, index first, PassSums& sums) {
    engine_.team.for_each(count_, [&](index l, int) {
        const T* const weights = weights_.data() + l * rows_.stride();
        for (index i = rows.first; i < rows.last; ++i) {
            const T* const row = strips_[static_cast<std::size_t>(l)] + (i - first) * rows_.stride();
            double cubes = 0, product = 0;
            cubes_and_forms(row, weights, n_, cubes, product);
            sums.squares.values(i - sums.squares.first, l) =
                engine_.operations<T>().sum_of_squares(row, rows_.stride());
            sums.cubes(l) += cubes;
            sums.quadratic_forms(l) += product * static_cast<double>(weights[i]);
        }
    });
}

template class SecondPass<float>;
template class SecondPass<double>;

}  // namespace fastcka

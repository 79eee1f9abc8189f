// SPDX-License-Identifier: BSD-3-Clause
#include "inference/inference.hpp"

#include "base/buffer.hpp"
#include "inference/second_pass.hpp"
#include "measures/measure.hpp"
#include "simd/dispatch.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

namespace fastcka {
namespace {

// Answers from the sums of single samples that a sweep has computed.
template <class T>
void from_rows(const Layers& layers, const Swept& swept, const Questions& questions, const Engine& engine,
               Inference& out) {
    const LayerSet& set = swept.problem.layers;
    const Kernel& kernel = swept.problem.settings.kernel;
    const std::vector<LayerNote>& notes = out.asked.layers;
    const RowEntries entries(set);
    const Eigen::MatrixXd rows = all_rows(swept.partial.rows, entries.count(), out.samples);
    if (questions.standard_errors) {
        const FullProducts full = full_products(swept, questions, notes);
        out.standard_errors = standard_errors(set, full, rows, engine);
    }
    if (!questions.permutations) return;
    const Margins margins = margins_of(swept.problem, swept.partial);
    PermutationSums& sums = out.sums;
    sums.diagonals = centred_diagonals(margins);
    sums.squares.resize(out.samples, set.count());
    for (index l = 0; l < set.count(); ++l) sums.squares.col(l) = rows.row(entries.pair(l, l));
    sums.cubes = rows.middleRows(entries.cube(0), set.count()).rowwise().sum();
    sums.quadratic_forms = rows.middleRows(entries.form(0), set.count()).rowwise().sum();
    const auto by_samples = [&](index l, const Source& source) {
        const Margins own{margins.diagonal.col(l), margins.row_sums.col(l)};
        const GramRows<T> of_layer(Layers::of({source}), kernel, own,
                                   {swept.partial.layers[static_cast<std::size_t>(l)]}, Centred::hollow,
                                   engine);
        return trace_by_samples(of_layer, 0, engine);
    };
    add_traces<T>(layers, kernel, notes, by_samples, engine, sums);
}

// Answers from whole rows of all Gram matrices, which are computed once more unless the sums of that pass are `done`.
template <class T>
void from_pass(const Layers& layers, const Swept& swept, const Questions& questions, Centred centred,
               const SumTree<PassSums>* done, const Engine& engine, Inference& out) {
    const FullProducts full = full_products(swept, questions, out.asked.layers);
    const bool moments = questions.permutations && centred == Centred::hollow;
    std::optional<SecondPass<T>> pass;
    std::optional<SumTree<PassSums>> made;
    if (done == nullptr || moments) pass.emplace(layers, swept, questions, centred, full, engine);
    if (done == nullptr) {
        made.emplace(pass->run(0, pass_blocks(swept.problem, questions)));
        done = &*made;
    }
    const PassSums& sums = done->root();
    if (questions.standard_errors && centred == centred_of(questions.estimator))
        out.standard_errors =
            full.standard_errors(sums.deviations, Deletions(out.samples, questions.groups).count());
    if (!moments) return;
    out.sums.diagonals = centred_diagonals(margins_of(swept.problem, swept.partial));
    out.sums.squares = sums.squares.values;
    out.sums.cubes = sums.cubes;
    out.sums.quadratic_forms = sums.quadratic_forms;
    const auto by_samples = [&](index l, const Source&) { return trace_by_samples(pass->rows(), l, engine); };
    add_traces<T>(layers, swept.problem.settings.kernel, out.asked.layers, by_samples, engine, out.sums);
}

template <class T>
void answer(const Layers& layers, const Swept& swept, const Questions& questions, const Done& done,
            const Observer& observer, Inference& out) {
    const Asked asked(swept.problem, questions);
    std::optional<Swept> more;
    if (asked.rows.any() && swept.partial.rows.empty() && done.rows != nullptr) {
        Problem problem = *asked.sweep;
        problem.settings.precision = swept.plan.precision;
        more.emplace(Swept{problem, plan_of(problem), *done.rows});
    } else if (asked.rows.any() && swept.partial.rows.empty()) {
        Settings settings = asked.sweep->settings;
        settings.precision = swept.plan.precision;
        release_buffers();  // of the first sweep: this one has buffers of other sizes
        more.emplace(sweep_all(layers, settings, observer));
        if (more->plan.precision != swept.plan.precision) throw NeedsDouble{};
    }
    if (asked.pass.any() || questions.permutations)
        release_buffers();  // of the sweep: others of other sizes follow
    Team team(swept.problem.settings.threads, observer);
    const Engine engine{current_level(), team};
    for (const Source& source : layers.sources) source.read_at_once(least_read_bytes(swept.problem));
    team.together([&] {
        if (asked.rows.any()) from_rows<T>(layers, more ? *more : swept, asked.rows, engine, out);
        const auto pass = [&](Centred centred) {
            from_pass<T>(layers, swept, asked.pass, centred, done.pass, engine, out);
        };
        const Centred centred = centred_of(questions.estimator);
        if (asked.pass.standard_errors || (asked.pass.permutations && centred == Centred::hollow))
            pass(centred);
        if (asked.pass.permutations && centred == Centred::doubly) pass(Centred::hollow);
    });
}

// The values by the estimator of the questions.
Alignment asked_of(const Swept& swept, const Questions& questions) {
    Problem asked = swept.problem;
    asked.settings.estimator = questions.estimator;
    asked.settings.measure = Measure::cka;
    return finish(asked, swept.plan, swept.partial);
}

Inference of_swept(const Layers& layers, const Swept& swept, const Questions& questions, const Done& done,
                   const Observer& observer) {
    Inference out{finish(swept.problem, swept.plan, swept.partial),
                  asked_of(swept, questions),
                  swept.problem.samples,
                  {},
                  {}};
    if (has_too_coarse(out.asked.layers)) throw NeedsDouble{};
    const bool wide = swept.plan.precision == Precision::float64;
    (wide ? answer<double> : answer<float>)(layers, swept, questions, done, observer, out);
    return out;
}

template <class T>
SumTree<PassSums> made_pass(const Layers& layers, const Swept& swept, const Questions& questions, index first,
                            index last, const Engine& engine) {
    const Asked asked(swept.problem, questions);
    const FullProducts full = full_products(swept, questions, asked_of(swept, questions).layers);
    return SecondPass<T>(layers, swept, asked.pass, centred_of(questions.estimator), full, engine)
        .run(first, last);
}

// Includes the diagonals, row and column sums of all samples that the sweep leaves in memory.
template <class T> index bytes_of(const Problem& problem, const Questions& questions) {
    const Asked asked(problem, questions);
    const LayerSet& set = problem.layers;
    const index n = problem.samples, width = panel_width_of(current_level(), problem.settings.precision);
    const index threads = std::max(problem.settings.threads, 1),
                of_samples = SampleValues::bytes(n, set.count());
    const index result = result_bytes(set, n).with(threads) + Alignment::bytes(set) +
                         FullProducts::bytes(set) + PairSums::bytes(set.rows() * set.columns()) +
                         (questions.permutations ? PermutationSums::bytes(n, set.count()) : 0);
    const index kept = Partial::bytes(n, set.count()) + 2 * of_samples + result;
    const index traces = questions.permutations ? trace_bytes<T>(problem, width).with(threads) : 0;
    index most = 0;
    if (asked.rows.any()) {
        most = kept + 2 * RowProducts::bytes(set, n) + 3 * of_samples + traces;
        if (!plan_of(problem).row_products) most = std::max(most, plan_of(*asked.sweep).bytes);
    }
    if (asked.pass.any())
        most = std::max(most, kept + least_read_bytes(problem) + (asked.pass.permutations ? traces : 0) +
                                  SecondPass<T>::bytes(problem, asked.pass, width).with(threads));
    return most;
}

}  // namespace

Inference infer(const Layers& layers, const Settings& settings, const Questions& questions,
                const Observer& observer) {
    return infer(layers, settings, sweep_all(layers, settings, observer), questions, {}, observer);
}

Inference infer(const Layers& layers, const Settings& settings, const Swept& swept,
                const Questions& questions, const Done& done, const Observer& observer) {
    try {
        return of_swept(layers, swept, questions, done, observer);
    } catch (const NeedsDouble&) {  // the sums of the sweep did not, but what follows from them does
    }
    Settings exact = settings;
    exact.precision = Precision::float64;
    if (swept.plan.precision == Precision::float64) exact.route = Route::gram;
    return infer(layers, exact, sweep_all(layers, exact, observer), questions, {}, observer);
}

Further further_work(const Problem& problem, const Questions& questions) {
    const Asked asked(problem, questions);
    if (asked.pass.any()) return Further::pass;
    return asked.rows.any() && !plan_of(problem).row_products ? Further::sweep : Further::nothing;
}

index pass_blocks(const Problem& problem, const Questions& questions) {
    return PassBlocks(problem.layers, Deletions(problem.samples, questions.groups), problem.samples,
                      panel_width_of(current_level(), problem.settings.precision))
        .count();
}

SumTree<PassSums> pass_over(const Layers& layers, const Swept& swept, const Questions& questions, index first,
                            index last, const Observer& observer) {
    const Problem& problem = swept.problem;
    if (first < 0 || first > last || last > pass_blocks(problem, questions))
        throw std::invalid_argument("no such blocks");
    for (const Source& source : layers.sources) source.read_at_once(least_read_bytes(problem));
    Team team(problem.settings.threads, observer);
    const Engine engine{current_level(), team};
    const bool wide = swept.plan.precision == Precision::float64;
    std::optional<SumTree<PassSums>> sums;
    try {
        team.together([&] {
            sums.emplace(
                (wide ? made_pass<double> : made_pass<float>)(layers, swept, questions, first, last, engine));
        });
    } catch (const NeedsDouble&) {
        throw std::invalid_argument("these layers need float64");
    }
    return *std::move(sums);
}

template <class T>
void u_centred(const MatrixView& view, const Settings& settings, const Observer& observer, T* out,
               double* diagonal) {
    const Layers layers({view});
    const Swept swept = sweep_all(layers, settings, observer);
    if (sizeof(T) == 4 && swept.plan.precision == Precision::float64) throw NeedsDouble{};
    const Margins margins = margins_of(swept.problem, swept.partial);
    const index n = view.rows;
    Eigen::Map<Eigen::VectorXd>(diagonal, n) = centred_diagonals(margins);
    Team team(settings.threads, observer);
    const Engine engine{current_level(), team};
    team.together([&] {
        const GramRows<T> rows(layers, settings.kernel, margins, swept.partial.layers, Centred::hollow,
                               engine);
        const index height = rows.height();
        team.for_each_observed(ceil_divide(n, height), [&](index strip, int worker) {
            const Buffer<T> memory(height * rows.stride());
            const auto scratch = rows.scratch();
            for (index chunk = 0; chunk < rows.chunks(); ++chunk)
                rows.fill(0, strip * height, chunk, memory.data(), scratch, worker);
            for (index i = strip * height; i < std::min((strip + 1) * height, n); ++i)
                std::copy_n(memory.data() + (i - strip * height) * rows.stride(), n, out + i * n);
        });
    });
}

template void u_centred(const MatrixView&, const Settings&, const Observer&, float*, double*);
template void u_centred(const MatrixView&, const Settings&, const Observer&, double*, double*);

index inference_bytes(const Problem& problem, const Questions& questions) {
    const bool wide = problem.settings.precision == Precision::float64;
    return (wide ? bytes_of<double> : bytes_of<float>)(problem, questions);
}

}  // namespace fastcka

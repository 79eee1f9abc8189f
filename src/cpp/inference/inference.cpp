// SPDX-License-Identifier: BSD-3-Clause
#include "inference/inference.hpp"

#include "base/buffer.hpp"
#include "inference/jackknife.hpp"
#include "measures/measure.hpp"
#include "simd/dispatch.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace fastcka {
namespace {

Centred centred_of(Estimator estimator) {
    return estimator == Estimator::unbiased ? Centred::hollow : Centred::doubly;
}

// <W, V> = `factor` * HSIC.
double factor_of(Estimator estimator, double n) {
    return estimator == Estimator::unbiased ? n * (n - 3) : (n - 1) * (n - 1);
}

// <W, V> over all samples.
struct Products {
    Eigen::MatrixXd pairs;  // rows x columns
    Eigen::VectorXd selves;

    Products(const Swept& swept, const Questions& questions, const std::vector<LayerNote>& notes) {
        const Sums sums = sums_of(swept.problem, swept.plan, swept.partial);
        const auto estimate = questions.estimator == Estimator::unbiased ? unbiased_hsic : biased_hsic;
        const double factor = factor_of(questions.estimator, sums.samples);
        pairs = factor * estimate(sums.pairs, sums.samples).value;
        selves = factor * estimate(sums.selves, sums.samples).value;
        for (index l = 0; l < selves.size(); ++l)
            if (notes[static_cast<std::size_t>(l)].status != Status::fine) selves(l) = not_given;
    }
};

// From the sums of single samples, which a sweep has made.
template <class T>
void from_rows(const Layers& layers, const Swept& swept, const Questions& questions, const Engine& engine,
               Inference& out) {
    const LayerSet& set = swept.problem.layers;
    const Kernel& kernel = swept.problem.settings.kernel;
    const std::vector<LayerNote>& notes = out.asked.layers;
    const RowEntries entries(set);
    const Eigen::MatrixXd rows = all_rows(swept.partial.rows, entries.count(), out.samples);
    if (questions.standard_errors) {
        const Products products(swept, questions, notes);
        out.standard_errors =
            standard_errors(set, Deviations(set, products.pairs, products.selves), rows, engine);
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

// From whole rows of all Gram matrices, which are formed once more.
template <class T> class SecondPass {
  public:
    SecondPass(const Layers& layers, const Swept& swept, const Questions& questions, Centred centred,
               const Engine& engine)
        : layers_(layers), swept_(swept), questions_(questions), centred_(centred),
          errors_(questions.standard_errors && centred == centred_of(questions.estimator)),
          permutations_(questions.permutations && centred == Centred::hollow), engine_(engine),
          set_(swept.problem.layers), margins_(margins_of(swept.problem, swept.partial)),
          rows_(layers, swept.problem.settings.kernel, margins_, swept.partial.layers, centred, engine),
          n_(rows_.samples()), count_(set_.count()) {
        for (int worker = 0; worker < engine.team.threads(); ++worker) scratch_.push_back(rows_.scratch());
    }

    void run(Inference& out) {
        const Products products(swept_, questions_, out.asked.layers);
        std::optional<Jackknife<T>> jackknife;
        if (errors_)
            jackknife.emplace(set_, Deviations(set_, products.pairs, products.selves), rows_, centred_,
                              Deletions(n_, questions_.groups), engine_);
        if (permutations_) {
            out.sums.diagonals = centred_diagonals(margins_);
            out.sums.squares = cubes_ = forms_ = Eigen::MatrixXd(n_, count_);
            weights_ = Buffer<T>(rows_.stride() * count_);
            std::fill_n(weights_.data(), rows_.stride() * count_, T(0));
            for (index l = 0; l < count_; ++l) {
                const double mean = out.sums.diagonals.col(l).mean();
                for (index i = 0; i < n_; ++i)
                    weights_.data()[l * rows_.stride() + i] = static_cast<T>(out.sums.diagonals(i, l) - mean);
            }
        }

        const index strip = rows_.height() * rows_.stride();
        const Buffer<T> memory(size_product(strip, count_));
        std::vector<const T*> strips;
        for (index l = 0; l < count_; ++l) strips.push_back(memory.data() + l * strip);
        engine_.team.expect((n_ + rows_.height() - 1) / rows_.height() * count_ * rows_.chunks());
        for (index first = 0; first < n_; first += rows_.height()) {
            engine_.team.for_each_observed(count_ * rows_.chunks(), [&](index task, int worker) {
                const index l = task / rows_.chunks();
                rows_.fill(l, first, task % rows_.chunks(), memory.data() + l * strip,
                           scratch_[static_cast<std::size_t>(worker)], worker);
            });
            if (permutations_) add_sums(first, strips, out.sums);
            if (jackknife) jackknife->add(first, strips);
        }
        if (jackknife) out.standard_errors = jackknife->standard_errors();
        if (!permutations_) return;
        out.sums.cubes = cubes_.colwise().sum();
        out.sums.quadratic_forms = forms_.colwise().sum();
        const auto by_samples = [&](index l, const Source&) { return trace_by_samples(rows_, l, engine_); };
        add_traces<T>(layers_, swept_.problem.settings.kernel, out.asked.layers, by_samples, engine_,
                      out.sums);
    }

  private:
    void add_sums(index first, const std::vector<const T*>& strips, PermutationSums& sums) {
        engine_.team.for_each(count_, [&](index l, int) {
            for (index i = first; i < std::min(first + rows_.height(), n_); ++i) {
                const T* const row = strips[static_cast<std::size_t>(l)] + (i - first) * rows_.stride();
                sums.squares(i, l) = engine_.operations<T>().sum_of_squares(row, rows_.stride());
                cubes_and_forms(row, weights_.data() + l * rows_.stride(), n_, cubes_(i, l), forms_(i, l));
                forms_(i, l) *= static_cast<double>(weights_.data()[l * rows_.stride() + i]);
            }
        });
    }

    const Layers& layers_;
    const Swept& swept_;
    const Questions& questions_;
    Centred centred_;
    bool errors_, permutations_;  // whether that is what this pass is for
    const Engine& engine_;
    const LayerSet& set_;
    Margins margins_;
    GramRows<T> rows_;
    index n_, count_;
    std::vector<typename GramRows<T>::Scratch> scratch_;  // per thread
    Buffer<T> weights_;                                   // k - mean k of each layer, `stride` apart
    Eigen::MatrixXd cubes_, forms_;                       // per row
};

// What is asked of the sums of single samples, and what of whole rows.
struct Asked {
    Questions rows, rest;
    std::optional<Problem> sweep;  // that makes those sums; nothing where none can

    Asked(const Problem& problem, const Questions& questions) : rows(questions), rest(questions) {
        rows.standard_errors = rows.permutations = false;
        if (!problem.settings.kernel.is_linear() || !questions.groups.empty()) return;
        sweep = problem;
        sweep->settings.route = Route::gram;
        sweep->settings.row_products = true;
        if (!plan_of(*sweep).row_products) {
            sweep.reset();
            return;
        }
        rows.permutations = std::exchange(rest.permutations, false);
        if (centred_of(questions.estimator) == Centred::hollow)
            rows.standard_errors = std::exchange(rest.standard_errors, false);
    }
};

template <class T>
void answer(const Layers& layers, const Swept& swept, const Questions& questions, const Observer& observer,
            Inference& out) {
    const Asked asked(swept.problem, questions);
    std::optional<Swept> more;
    if (asked.rows.any() && swept.partial.rows.empty()) {
        Settings settings = asked.sweep->settings;
        settings.precision = swept.plan.precision;
        release_buffers();  // of the first sweep: this one has buffers of other sizes
        more.emplace(sweep_all(layers, settings, observer));
        if (more->plan.precision != swept.plan.precision) throw NeedsDouble{};
    }
    Team team(swept.problem.settings.threads, observer);
    const Engine engine{current_level(), team};
    for (const Source& source : layers.sources) source.read_at_once(least_read_bytes(swept.problem));
    team.together([&] {
        if (asked.rows.any()) from_rows<T>(layers, more ? *more : swept, asked.rows, engine, out);
        const auto pass = [&](Centred centred) {
            SecondPass<T>(layers, swept, asked.rest, centred, engine).run(out);
        };
        const Centred centred = centred_of(questions.estimator);
        if (asked.rest.standard_errors || (asked.rest.permutations && centred == Centred::hollow))
            pass(centred);
        if (asked.rest.permutations && centred == Centred::doubly) pass(Centred::hollow);
    });
}

Inference of_swept(const Layers& layers, const Swept& swept, const Questions& questions,
                   const Observer& observer) {
    Inference out{finish(swept.problem, swept.plan, swept.partial), {}, swept.problem.samples, {}, {}};
    Problem asked = swept.problem;
    asked.settings.estimator = questions.estimator;
    asked.settings.measure = Measure::cka;
    out.asked = finish(asked, swept.plan, swept.partial);
    if (has_too_coarse(out.asked.layers)) throw NeedsDouble{};
    const bool wide = swept.plan.precision == Precision::float64;
    (wide ? answer<double> : answer<float>)(layers, swept, questions, observer, out);
    return out;
}

}  // namespace

Inference infer(const Layers& layers, const Settings& settings, const Questions& questions,
                const Observer& observer) {
    return infer(layers, settings, sweep_all(layers, settings, observer), questions, observer);
}

Inference infer(const Layers& layers, const Settings& settings, const Swept& swept,
                const Questions& questions, const Observer& observer) {
    try {
        return of_swept(layers, swept, questions, observer);
    } catch (const NeedsDouble&) {  // the sums asked for did not, but what else is made of them does
    }
    Settings exact = settings;
    exact.precision = Precision::float64;
    if (swept.plan.precision == Precision::float64) exact.route = Route::gram;
    return infer(layers, exact, sweep_all(layers, exact, observer), questions, observer);
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
        team.for_each_observed((n + height - 1) / height, [&](index strip, int worker) {
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
    const Asked asked(problem, questions);
    const index n = problem.samples, layers = problem.layers.count();
    const index cubes = questions.permutations ? trace_bytes(problem) : 0;
    index bytes = 0;
    if (asked.rows.any()) {
        const index of_samples = row_products_size(problem.layers, n);
        bytes = 2 * of_samples + cubes + layers * 12 * 8 * n;
        if (!plan_of(problem).row_products) bytes = std::max(bytes, plan_of(*asked.sweep).bytes);
    }
    if (asked.rest.any()) {
        const index element = problem.settings.precision == Precision::float64 ? 8 : 4;
        const index width = panel_width_of(current_level(), problem.settings.precision);
        const index stride = (n + width - 1) / width * width;
        index panels = 0;
        if (!problem.settings.kernel.is_given())
            for (index p : problem.layers.widths()) panels += stride * p * element;
        else
            for (index l = 0; l < layers; ++l) panels += n * problem.layers.row_bytes(l);
        const index pairs = problem.layers.rows() * problem.layers.columns();
        const index strip = panels_of_rows * width * stride * element;
        bytes = std::max(bytes, panels + least_read_bytes(problem) + layers * (strip + 12 * 8 * n) +
                                    pairs * 8 * 16 + (asked.rest.permutations ? cubes : 0));
    }
    return bytes;
}

}  // namespace fastcka

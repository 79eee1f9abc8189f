// SPDX-License-Identifier: BSD-3-Clause
#include "inference/inference.hpp"

#include "inference/cubes.hpp"
#include "inference/jackknife.hpp"
#include "measures/measure.hpp"
#include "simd/dispatch.hpp"

#include <algorithm>
#include <optional>

namespace fastcka {
namespace {

Centred centred_of(Estimator estimator) {
    return estimator == Estimator::unbiased ? Centred::hollow : Centred::doubly;
}

// <W, V> = `factor` * HSIC.
double factor_of(Estimator estimator, double n) {
    return estimator == Estimator::unbiased ? n * (n - 3) : (n - 1) * (n - 1);
}

// sum_j value_j^3 and sum_j value_j weight_j: short sums in the type of the values, in lanes that a compiler can use.
template <class T>
void row_sums(const T* values, const T* weights, index length, double& cubes, double& product) {
    constexpr index lanes = 16, chunk = 16 * lanes;
    cubes = product = 0;
    for (index first = 0; first < length; first += chunk) {
        T cube[lanes] = {}, weighted[lanes] = {};
        const index last = std::min(length, first + chunk);
        index j = first;
        for (; j + lanes <= last; j += lanes)
            for (index lane = 0; lane < lanes; ++lane) {
                const T value = values[j + lane];
                cube[lane] += value * value * value;
                weighted[lane] += value * weights[j + lane];
            }
        for (index lane = 0; j < last; ++j, ++lane) {
            cube[lane] += values[j] * values[j] * values[j];
            weighted[lane] += values[j] * weights[j];
        }
        for (index lane = 0; lane < lanes; ++lane) {
            cubes += static_cast<double>(cube[lane]);
            product += static_cast<double>(weighted[lane]);
        }
    }
}

bool by_features(const Kernel& kernel, index width, index samples) {
    return kernel.is_linear() && width < samples;
}

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
        const double factor = factor_of(questions_.estimator, static_cast<double>(n_));
        const Sums sums = sums_of(swept_.problem, swept_.plan, swept_.partial);
        const auto estimate = questions_.estimator == Estimator::unbiased ? unbiased_hsic : biased_hsic;
        const Eigen::MatrixXd pairs = factor * estimate(sums.pairs, sums.samples).value;
        Eigen::VectorXd selves = factor * estimate(sums.selves, sums.samples).value;
        for (index l = 0; l < count_; ++l)
            if (out.asked.layers[static_cast<std::size_t>(l)].status != Status::fine) selves(l) = not_given;

        std::optional<Jackknife<T>> jackknife;
        if (errors_)
            jackknife.emplace(set_, pairs, selves, rows_, centred_, Deletions(n_, questions_.groups),
                              engine_);
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
        if (permutations_) finish_sums(out);
    }

  private:
    void add_sums(index first, const std::vector<const T*>& strips, PermutationSums& sums) {
        engine_.team.for_each(count_, [&](index l, int) {
            for (index i = first; i < std::min(first + rows_.height(), n_); ++i) {
                const T* const row = strips[static_cast<std::size_t>(l)] + (i - first) * rows_.stride();
                sums.squares(i, l) = engine_.operations<T>().sum_of_squares(row, rows_.stride());
                row_sums(row, weights_.data() + l * rows_.stride(), n_, cubes_(i, l), forms_(i, l));
                forms_(i, l) *= static_cast<double>(weights_.data()[l * rows_.stride() + i]);
            }
        });
    }

    void finish_sums(Inference& out) {
        PermutationSums& sums = out.sums;
        sums.cubes = cubes_.colwise().sum();
        sums.quadratic_forms = forms_.colwise().sum();
        sums.traces_of_cubes = Eigen::VectorXd::Constant(count_, not_given);
        for (index l = 0; l < count_; ++l) {
            if (out.asked.layers[static_cast<std::size_t>(l)].status != Status::fine) continue;
            layers_.at(l, [&](index, const MatrixView& view) {
                sums.traces_of_cubes(l) = by_features(swept_.problem.settings.kernel, view.columns, n_)
                                              ? trace_by_features(view, l, sums)
                                              : trace_by_samples(l);
            });
        }
    }

    double trace_by_samples(index layer) {
        const index stride = rows_.stride(), height = rows_.height();
        const Buffer<T> matrix(size_product(stride, stride));
        const index strips = (n_ + height - 1) / height;
        engine_.team.for_each(strips * rows_.chunks(), [&](index task, int worker) {
            const index first = task / rows_.chunks() * height;
            rows_.fill(layer, first, task % rows_.chunks(), matrix.data() + first * stride,
                       scratch_[static_cast<std::size_t>(worker)], worker);
        });
        return trace_of_cube(matrix.data(), n_, stride, engine_);
    }

    // tr(Kc^3) = tr((X'X)^3). Off the diagonal, Ku = M = Kc + E with E = a 1' + 1 a' - c 1 1', a = k / (n - 2) and
    // c = sum k / ((n - 1) (n - 2)); Ku = M - D with D = diag(M). Since Kc 1 = 0,
    // tr(M^3) = tr(Kc^3) + 3 n a' Kc a + tr(E^3), and tr(Ku^3) = tr(M^3) - 3 sum d_i sum_j Ku_ij^2 - sum d_i^3.
    double trace_by_features(const MatrixView& view, index layer, const PermutationSums& sums) {
        const Kernel& kernel = swept_.problem.settings.kernel;
        const std::optional<RowScaling> scaling = row_scaling(view, kernel.traits().rows, engine_);
        const RowScaling* const rows = scaling ? &*scaling : nullptr;
        const Centring centring = centring_of(view, rows, engine_);
        const double cube = trace_of_cube_of_features<T>(view, centring, rows, engine_);
        const double n = static_cast<double>(n_);
        const Eigen::VectorXd k = sums.diagonals.col(layer), a = k / (n - 2);
        const double sum = a.sum(), c = k.sum() / ((n - 1) * (n - 2));
        const Eigen::VectorXd d = n * a.array() - c;  // k + 2 a - c
        // k' Ku k = k' Kc k + k' E k - k' D k
        const double form = sums.quadratic_forms(layer) - 2 * k.dot(a) * k.sum() + c * k.sum() * k.sum() +
                            d.dot(k.cwiseAbs2());
        Eigen::Matrix2d e;  // E on the span of a and 1
        e << sum, n, a.squaredNorm() - c * sum, sum - c * n;
        return cube + 3 * n * form / ((n - 2) * (n - 2)) + (e * e * e).trace() -
               3 * d.dot(sums.squares.col(layer)) - d.array().cube().sum();
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

template <class T>
void second_pass(const Layers& layers, const Swept& swept, const Questions& questions,
                 const Observer& observer, Inference& out) {
    Team team(swept.problem.settings.threads, observer);
    const Engine engine{current_level(), team};
    const Centred centred = centred_of(questions.estimator);
    team.together([&] {
        if (questions.standard_errors || centred == Centred::hollow)
            SecondPass<T>(layers, swept, questions, centred, engine).run(out);
        if (questions.permutations && centred == Centred::doubly)
            SecondPass<T>(layers, swept, questions, Centred::hollow, engine).run(out);
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
    (wide ? second_pass<double> : second_pass<float>)(layers, swept, questions, observer, out);
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
    const index n = problem.samples, layers = problem.layers.count();
    const index element = problem.settings.precision == Precision::float64 ? 8 : 4;
    const index width = panel_width_of(current_level(), problem.settings.precision);
    const index stride = (n + width - 1) / width * width;
    index panels = 0, most = 0;
    for (index p : problem.layers.widths()) {
        if (!problem.settings.kernel.is_given()) panels += stride * p * element;
        index of_cube = 3 * stride * stride * element;
        if (by_features(problem.settings.kernel, p, n)) of_cube = (2 * p * p + (n + p) * p) * element;
        most = std::max(most, of_cube);
    }
    const index pairs = problem.layers.rows() * problem.layers.columns();
    const index strip = panels_of_rows * width * stride * element;
    return panels + layers * (strip + 12 * 8 * n) + pairs * 8 * 16 + (questions.permutations ? most : 0);
}

}  // namespace fastcka

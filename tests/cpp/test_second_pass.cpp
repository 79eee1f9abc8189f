// SPDX-License-Identifier: BSD-3-Clause
// The second pass of inference, against n x n matrices: sums over rows of Ku, and CKA without each sample or group; merged
// pieces against the whole.
#include "check.hpp"
#include "inference/second_pass.hpp"
#include "support.hpp"

#include <numeric>
#include <optional>

namespace fastcka::test {
namespace {

// Kc = H K H, or Ku.
LongMatrix centred_matrix(LongMatrix k, Centred centred) {
    const long double n = static_cast<long double>(k.rows());
    if (centred == Centred::doubly) {
        k.rowwise() -= k.colwise().mean().eval();
        k.colwise() -= k.rowwise().mean().eval();
        return k;
    }
    k.diagonal().setZero();
    const LongMatrix rows = k.rowwise().sum() / (n - 2);
    const long double all = k.sum() / ((n - 1) * (n - 2));
    k -= rows.replicate(1, k.cols()) + rows.transpose().replicate(k.rows(), 1);
    k.array() += all;
    k.diagonal().setZero();
    return k;
}

LongMatrix without(const LongMatrix& k, index first, index count) {
    std::vector<index> kept;
    for (index i = 0; i < k.rows(); ++i)
        if (i < first || i >= first + count) kept.push_back(i);
    return k(kept, kept);
}

long double cka_of(const LongMatrix& k, const LongMatrix& l, bool unbiased) {
    return hsic_of(k, l, unbiased) / std::sqrt(hsic_of(k, k, unbiased) * hsic_of(l, l, unbiased));
}

// A pass over some layers, and their Gram matrices by the definition.
template <class T> class Pass {
  public:
    Pass(const std::vector<Stored>& stored, index split, const Kernel& kernel, Questions questions,
         int threads = 1)
        : questions_(std::move(questions)) {
        std::vector<MatrixView> first, second;
        for (std::size_t l = 0; l < stored.size(); ++l) {
            (static_cast<index>(l) < split ? first : second).push_back(stored[l].view);
            grams.push_back(gram_matrix(stored[l].values, kernel));
        }
        layers_ = second.empty() ? Layers(first) : Layers(first, second);
        settings_ = settings(kernel, questions_.estimator == Estimator::unbiased, sizeof(T) == 8, threads,
                             Route::gram);
        swept_.emplace(sweep_all(layers_, settings_));
    }

    // run(pass)
    template <class Run> void with(Centred centred, Run&& run) const {
        const FullProducts full = full_products(*swept_, questions_, swept_->partial.layers);
        Team team(settings_.threads);
        const Engine engine{current_level(), team};
        SecondPass<T> pass(layers_, *swept_, questions_, centred, full, engine);
        run(pass);
    }
    index blocks() const { return pass_blocks(swept_->problem, questions_); }
    const LayerSet& set() const { return swept_->problem.layers; }
    double unit(index layer) const { return swept_->partial.layers[static_cast<std::size_t>(layer)].unit; }

    std::vector<LongMatrix> grams;

  private:
    Questions questions_;
    Layers layers_;
    Settings settings_;
    std::optional<Swept> swept_;
};

std::vector<Stored> layers_of(index n, Random& random) {
    const Matrix common = random.normal(n, 4);
    std::vector<Stored> layers;
    for (index p : {3, 9, 5}) {
        const Matrix values = common * random.normal(4, p) + random.normal(n, p);
        layers.push_back(store((values.array() + 1).matrix(), Element::f32));
    }
    return layers;
}

// What is relative to the largest is rounding.
void check_close(const Eigen::MatrixXd& actual, const LongMatrix& expected, double tolerance) {
    CHECK(actual.rows() == expected.rows() && actual.cols() == expected.cols());
    const double largest = static_cast<double>(expected.cwiseAbs().maxCoeff());
    CHECK_CLOSE((actual.cast<long double>() - expected).cwiseAbs().maxCoeff(), 0, tolerance * largest);
}

// Sums over rows of Ku.
template <class T> void check_row_sums(const Pass<T>& pass, const PassSums& sums, index n, double tolerance) {
    CHECK(sums.squares.first == 0 && sums.squares.values.rows() == n);
    for (index l = 0; l < pass.set().count(); ++l) {
        const LongMatrix& k = pass.grams[static_cast<std::size_t>(l)];
        const LongMatrix ku = centred_matrix(k, Centred::hollow);
        const LongMatrix diagonal = centred_matrix(k, Centred::doubly).diagonal();
        const long double unit = pass.unit(l);
        check_close(sums.squares.values.col(l) * static_cast<double>(unit * unit),
                    ku.cwiseAbs2().rowwise().sum(), tolerance);
        // Terms of both signs: rounding is relative to their magnitudes.
        const long double cubes = ku.array().cube().sum(), size = ku.array().abs().cube().sum();
        CHECK_CLOSE(sums.cubes(l) * unit * unit * unit, cubes, tolerance * static_cast<double>(size));
        const LongMatrix centred = (diagonal.array() - diagonal.mean()).abs().matrix();
        const long double form = diagonal.cwiseProduct(ku * diagonal).sum();
        const long double terms = centred.cwiseProduct(ku.cwiseAbs() * centred).sum();
        CHECK_CLOSE(sums.quadratic_forms(l) * unit * unit * unit, form,
                    tolerance * static_cast<double>(terms));
    }
}

// Deviations of CKA without each group from that of all samples.
template <class T>
void check_deviations(const Pass<T>& pass, const Deviations& out, const Deletions& deletions, index n,
                      bool unbiased, double tolerance) {
    const LayerSet& set = pass.set();
    double weights = 0;
    for (index g = 0; g < deletions.count(); ++g)
        weights += 1 / (static_cast<double>(n) / static_cast<double>(deletions.size(g)) - 1);
    CHECK_CLOSE(out.weights, weights, 1e-12 * weights);
    for (index i = 0; i < set.rows(); ++i)
        for (index j = set.one_network() ? i + 1 : set.first_column(); j < set.count(); ++j) {
            const LongMatrix& k = pass.grams[static_cast<std::size_t>(i)];
            const LongMatrix& l = pass.grams[static_cast<std::size_t>(j)];
            const long double whole = cka_of(k, l, unbiased);
            long double sum = 0, squares = 0, weighted = 0, absolute = 0;
            for (index g = 0; g < deletions.count(); ++g) {
                const index first = deletions.first(g), size = deletions.size(g);
                const long double h = static_cast<long double>(n) / static_cast<long double>(size);
                const long double d =
                    cka_of(without(k, first, size), without(l, first, size), unbiased) - whole;
                sum += d, absolute += std::abs(d);
                squares += (h - 1) * d * d;
                weighted += (1 - 1 / h) * d;
            }
            const index column = j - set.first_column();
            const double each = tolerance * static_cast<double>(deletions.count());
            CHECK_CLOSE(out.sums(i, column), sum, each);
            CHECK_CLOSE(out.weighted_sums(i, column), weighted, each);
            CHECK_CLOSE(out.squares(i, column), squares,
                        2 * tolerance * static_cast<double>(n) * static_cast<double>(absolute) +
                            each * tolerance);
        }
}

std::vector<Kernel> kernels() { return {Linear{}, RBF{}, Laplacian{{.sigma = 3}}, Polynomial{}, Distance{}}; }

Questions questions_of(bool unbiased, std::vector<index> groups = {}) {
    return {unbiased ? Estimator::unbiased : Estimator::biased, true, std::move(groups), unbiased};
}

bool same(const PassSums& x, const PassSums& y) {
    return x.deviations.sums == y.deviations.sums && x.deviations.squares == y.deviations.squares &&
           x.deviations.weighted_sums == y.deviations.weighted_sums &&
           x.deviations.weights == y.deviations.weights && x.squares.first == y.squares.first &&
           x.squares.values == y.squares.values && x.cubes == y.cubes &&
           x.quadratic_forms == y.quadratic_forms;
}

}  // namespace

TEST(second_pass_is_that_of_matrices) {
    Random random(71);
    for (index n : {6, 40, sanitized ? 50 : 130}) {
        const std::vector<Stored> stored = layers_of(n, random);
        std::vector<std::vector<index>> partitions{{}};  // each sample alone
        partitions.push_back({0, 1, n / 2, n / 2 + 1, n});
        partitions.push_back({0, n / 2, n});
        partitions.push_back({0, 3, 3 * n / 4, n});  // one may be longer than a strip
        const std::vector<Kernel> all = kernels();
        for (const Kernel& kernel : n > 40 ? std::vector<Kernel>{all[0], all[1]} : all)
            for (index split : n > 40 ? std::vector<index>{1} : std::vector<index>{3, 1})
                for (bool unbiased : {false, true})
                    for (const std::vector<index>& groups : partitions) {
                        if (unbiased && n == 6 && !groups.empty()) continue;  // four samples must stay
                        const Pass<double> pass(stored, split, kernel, questions_of(unbiased, groups), 2);
                        const Deletions deletions(n, groups);
                        pass.with(unbiased ? Centred::hollow : Centred::doubly, [&](SecondPass<double>& of) {
                            const SumTree<PassSums> sums = of.run(0, pass.blocks());
                            CHECK(sums.complete());
                            check_deviations(pass, sums.root().deviations, deletions, n, unbiased,
                                             n == 6 ? 1e-9 : 1e-11);
                            if (unbiased) check_row_sums(pass, sums.root(), n, 1e-12);
                        });
                    }
    }
}

TEST(second_pass_in_float32_is_that_of_matrices) {
    Random random(72);
    const index n = 120;
    const std::vector<Stored> stored = layers_of(n, random);
    for (const Kernel& kernel : {Kernel(Linear{}), Kernel(RBF{})}) {
        const Pass<float> pass(stored, 3, kernel, questions_of(true), 2);
        pass.with(Centred::hollow, [&](SecondPass<float>& of) {
            const SumTree<PassSums> sums = of.run(0, pass.blocks());
            check_row_sums(pass, sums.root(), n, 2e-6);
            check_deviations(pass, sums.root().deviations, Deletions(n, {}), n, true, 1e-6);
        });
    }
}

TEST(second_pass_in_pieces_has_the_bits_of_the_whole) {
    Random random(73);
    std::mt19937 engine(74);
    const index n =
        6 * panels_of_rows * most_panel_width + 5;  // several blocks at any level, the last of few rows
    const std::vector<Stored> stored = layers_of(n, random);
    for (const std::vector<index>& groups : std::vector<std::vector<index>>{{}, {0, 7, 200, 201, 900, n}}) {
        const Pass<double> pass(stored, 1, RBF{}, questions_of(true, groups), 3);
        const index blocks = pass.blocks();
        CHECK(blocks > 3 || !groups.empty());
        pass.with(Centred::hollow, [&](SecondPass<double>& of) {
            const SumTree<PassSums> whole = of.run(0, blocks);
            std::vector<index> order(static_cast<std::size_t>(blocks));
            std::iota(order.begin(), order.end(), index{0});
            std::shuffle(order.begin(), order.end(), engine);
            SumTree<PassSums> merged(blocks);
            for (index block : order) merged.merge(of.run(block, block + 1));
            CHECK(merged.complete() && same(merged.root(), whole.root()));
            CHECK(of.run(0, 0).nodes().empty());
            CHECK_THROWS(std::invalid_argument, merged.merge(of.run(0, 1)));  // is in already
            CHECK(same(merged.root(), whole.root()));
        });
    }
}

TEST(blocks_of_the_second_pass_are_whole_deletions) {
    for (index width : {6, 24, 48})
        for (index n : {4, 100, 3000, 200000}) {
            const LayerSet set({3, 9}, 1);
            for (const std::vector<index>& groups :
                 std::vector<std::vector<index>>{{}, {0, n}, {0, 1, n}, {0, n / 4, n / 2, n / 2 + 1, n}}) {
                const Deletions deletions(n, groups);
                const PassBlocks blocks(set, deletions, n, width);
                CHECK(blocks.count() >= 1);
                index next = 0;  // one after the other, all of them, none empty
                for (index block = 0; block < blocks.count(); ++block) {
                    const Span span = blocks.deletions(block);
                    CHECK(span.first == next && span.last > span.first);
                    next = span.last;
                }
                CHECK(next == deletions.count());
                if (deletions.single() && n > panels_of_rows * width) CHECK(blocks.count() > 1);
            }
        }
}

TEST(sums_of_a_pass_of_another_shape_are_refused) {
    const LayerSet one({3, 9}, 1), three({3, 9, 5}, 3);
    const auto sums_of = [](const LayerSet& set, index first, index rows) {
        const Eigen::VectorXd ones = Eigen::VectorXd::Ones(set.count());
        return PassSums{Deviations(set), {first, Eigen::MatrixXd::Ones(rows, set.count())}, ones, ones};
    };
    PassSums sums = sums_of(one, 0, 4);
    const PassSums before = sums;
    CHECK_THROWS(std::invalid_argument, sums.merge(sums_of(three, 4, 2)));
    PassSums without_moments = sums_of(one, 4, 2);
    without_moments.cubes = without_moments.quadratic_forms = {};
    CHECK_THROWS(std::invalid_argument, sums.merge(without_moments));
    PassSums without_errors = sums_of(one, 4, 2);
    without_errors.deviations = {};
    CHECK_THROWS(std::invalid_argument, sums.merge(without_errors));
    CHECK(same(sums, before));
    sums.merge(sums_of(one, 4, 2));
    CHECK(sums.squares.first == 0 && sums.squares.values.rows() == 6 && (sums.cubes.array() == 2).all());
}

}  // namespace fastcka::test
